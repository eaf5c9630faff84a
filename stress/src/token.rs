//! An admin's token for a run on the machine of the server: made before it, revoked after it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use url::Url;

/// A token that is revoked when the run is over.
pub struct Lent {
    program: PathBuf,
    data_dir: PathBuf,
    name: String,
    /// The token.
    pub token: String,
}

/// The server's program beside this one.
fn program() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.with_file_name("bareme");
    path.is_file().then_some(path)
}

/// Whether a URL means this machine.
fn is_local(url: &str) -> bool {
    let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn tokens(program: &Path, data_dir: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.arg("token").args(arguments).arg("--data-dir").arg(data_dir).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Lent {
    /// A token for servers on this machine whose data directory is at hand; `None` when one of the two is not so.
    ///
    /// # Errors
    /// When making it failed.
    pub fn make(urls: &[String], data_dir: &Path) -> Result<Option<Self>> {
        let Some(program) = program() else { return Ok(None) };
        if !urls.iter().all(|url| is_local(url)) || !data_dir.join("bareme.sqlite3").is_file() {
            return Ok(None);
        }
        let name = format!("stress-{}-{}", std::process::id(), crate::clock::local_now_us());
        let token = tokens(&program, data_dir, &["new", "--name", &name, "--role", "admin"])?;
        Ok(Some(Self { program, data_dir: data_dir.to_owned(), name, token }))
    }

    /// Takes it back.
    ///
    /// # Errors
    /// When that failed; it is still valid then.
    pub fn revoke(&self) -> Result<()> {
        let list = tokens(&self.program, &self.data_dir, &["list"])?;
        let line = list.lines().find(|line| line.split_whitespace().last() == Some(&self.name));
        let id = line.and_then(|line| line.split_whitespace().next()).context("it is not in the list of tokens")?;
        tokens(&self.program, &self.data_dir, &["revoke", id]).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_on_this_machine_is_local() {
        assert!(is_local("http://127.0.0.1:8080") && is_local("http://localhost") && is_local("http://[::1]:1"));
        assert!(!is_local("http://10.0.0.1:8080") && !is_local("http://example.org") && !is_local("what"));
    }

    #[test]
    fn without_a_data_directory_no_token_is_made() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Lent::make(&["http://127.0.0.1:1".to_owned()], folder.path()).unwrap().is_none());
    }
}
