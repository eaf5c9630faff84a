//! The suite and the old Python it needs, from Debian and PyPI, unpacked below the target folder.
//!
//! Debian 11 is the last release with Python 2.7. Its packages are looked up in a view of apt's own, made for this
//! and thrown away, from the mirror that this machine's apt uses; nothing is installed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::setup;
use crate::steps::Steps;

const SUITE: &str = "autobahntestsuite==25.10.1";
/// The last of each that runs on Python 2.7.
const TOOLS: [&str; 2] = ["pip==20.3.4", "setuptools==44.1.1"];
const RELEASE: &str = "bullseye";
const PACKAGES: [&str; 8] = [
    "python2.7",
    "python2.7-minimal",
    "libpython2.7",
    "libpython2.7-minimal",
    "libpython2.7-stdlib",
    // Headers: one of the suite's dependencies is compiled.
    "libpython2.7-dev",
    "libssl1.1",
    "libffi7",
];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An installed suite.
pub(super) struct Suite {
    folder: PathBuf,
}

impl Suite {
    /// Its Python, with its modules.
    pub(super) fn command(&self) -> Command {
        self.python(&self.folder.join("site"))
    }

    fn python(&self, modules: &Path) -> Command {
        let root = self.folder.join("root/usr");
        let mut command = Command::new(root.join("bin/python2.7"));
        let libraries = self.folder.join("root/usr/lib").join(triplet());
        let headers = format!("{}:{}", root.join("include/python2.7").display(), root.join("include").display());
        command.env_remove("VIRTUAL_ENV").env("PYTHONHOME", &root).env("PYTHONPATH", modules);
        command.env("LD_LIBRARY_PATH", libraries).env("CPATH", headers);
        command
    }
}

fn triplet() -> String {
    format!("{}-linux-gnu", std::env::consts::ARCH)
}

/// The mirror of Debian's main component that this machine's apt uses, from the lines `site codename component`.
fn mirror(targets: &str) -> Option<&str> {
    targets.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        // Updates and security have names with a dash, or a place of their own, and are no whole release.
        [site, release, "main"] if !release.contains('-') && !site.contains("security") => Some(site),
        _ => None,
    })
}

fn output(command: &mut Command, what: &str) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot {what}"))?;
    if !output.status.success() {
        bail!("cannot {what}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Installs the suite unless it is there.
pub(super) fn suite(steps: &Steps) -> Result<Suite> {
    let folder = steps.target().join("autobahn");
    let suite = Suite { folder: folder.clone() };
    let wanted = format!("{SUITE} {} {}", TOOLS.join(" "), PACKAGES.join(" "));
    let stamp = folder.join("installed.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(suite);
    }
    if !cfg!(target_os = "linux") || !Path::new(KEYRING).exists() {
        bail!("the Autobahn test suite is unpacked from Debian's archive, by apt: run this on Debian 12 or later");
    }
    setup::python(steps)?;
    let _was_not_there = std::fs::remove_dir_all(&folder);
    unpack(steps, &folder)?;
    let wheels = folder.join("wheels");
    let mut download = Command::new(steps.venv().join("bin/pip"));
    download.args(["download", "--quiet", "--no-deps", "--disable-pip-version-check", "--dest"]).arg(&wheels);
    steps.run("pip download: pip for Python 2.7", download.args(TOOLS))?;
    let wheel = std::fs::read_dir(&wheels)?.flatten().map(|entry| entry.path());
    let wheel = wheel.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pip-")));
    let wheel = wheel.last().context("pip did not download itself")?;
    let site = folder.join("site");
    let pip = |modules: &Path| {
        let mut pip = suite.python(modules);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-python-version-warning"]);
        pip.arg("--no-warn-script-location").arg("--target").arg(&site);
        pip
    };
    steps.run("pip install: pip for Python 2.7", pip(&wheel).args(TOOLS).arg("wheel"))?;
    steps.run("pip install: Autobahn test suite", pip(&site).arg(SUITE))?;
    // A namespace package, which --target leaves without its mark.
    std::fs::write(site.join("zope/__init__.py"), "")?;
    std::fs::write(stamp, wanted)?;
    Ok(suite)
}

/// Unpacks the Debian packages through a view of apt that knows the old release and nothing else.
fn unpack(steps: &Steps, folder: &Path) -> Result<()> {
    let (apt, packages, root) = (folder.join("apt"), folder.join("packages"), folder.join("root"));
    for folder in [&apt.join("lists/partial"), &apt.join("archives/partial"), &apt.join("none"), &packages, &root] {
        std::fs::create_dir_all(folder)?;
    }
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(SITE) $(CODENAME) $(COMPONENT)", "Created-By: Packages"]);
    let targets = output(&mut targets, "ask apt for its mirror")?;
    let mirror = mirror(&targets).context("this machine's apt names no Debian mirror")?;
    std::fs::write(apt.join("sources.list"), format!("deb [signed-by={KEYRING}] {mirror} {RELEASE} main\n"))?;
    std::fs::write(apt.join("status"), "")?;
    let mut settings = String::new();
    let paths = [
        ("Dir::Etc::sourcelist", "sources.list"),
        ("Dir::Etc::sourceparts", "none"),
        ("Dir::State", ""),
        ("Dir::State::lists", "lists"),
        ("Dir::State::status", "status"),
        ("Dir::Cache", ""),
        ("Dir::Cache::archives", "archives"),
    ];
    for (name, path) in paths {
        // Writing to a string cannot fail.
        let _ = writeln!(settings, "{name} \"{}\";", apt.join(path).display());
    }
    settings.push_str("Debug::NoLocking \"1\";\n");
    if setup::is_root() {
        // Otherwise apt's own user would need to reach this folder.
        settings.push_str("APT::Sandbox::User \"root\";\n");
    }
    std::fs::write(apt.join("apt.conf"), settings)?;
    let view = || {
        let mut command = Command::new("apt-get");
        command.env("APT_CONFIG", apt.join("apt.conf")).arg("-qq");
        command
    };
    steps.run(&format!("apt-get update of a view of Debian {RELEASE}"), view().arg("update"))?;
    steps.run("apt-get download: Python 2.7", view().arg("download").args(PACKAGES).current_dir(&packages))?;
    for package in std::fs::read_dir(&packages)? {
        output(Command::new("dpkg").arg("-x").arg(package?.path()).arg(&root), "unpack a Debian package")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_that_of_the_release_and_not_of_its_security_updates() {
        let targets = "http://a.example/debian-security bookworm-security main\n\
                       http://b.example/debian bookworm-updates main\n\
                       http://c.example/apt cloud-sdk-bookworm main\n\
                       http://d.example/debian bookworm contrib\n\
                       http://d.example/debian bookworm main\n";
        assert_eq!(mirror(targets), Some("http://d.example/debian"));
        assert_eq!(mirror(""), None);
    }
}
