//! The socket paths of a program.

use std::fmt;
use std::path::Path;
use std::process::Stdio;

use clap::ValueEnum;

use crate::served::program;

/// What serves a socket after its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SocketPath {
    /// Wherever actix runs.
    Portable,
    /// Close to the kernel.
    Fast,
    /// The only one of a program that has no choice of paths.
    #[value(skip)]
    Only,
}

impl fmt::Display for SocketPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable | Self::Only => "portable",
            Self::Fast => "fast",
        })
    }
}

impl SocketPath {
    /// The arguments that choose it.
    pub(crate) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Portable => &["--sockets", "portable"],
            Self::Fast => &["--sockets", "fast"],
            Self::Only => &[],
        }
    }

    /// Those that a program takes, on this machine.
    pub(crate) fn of(binary: &Path) -> Vec<Self> {
        let takes = |path: &Self| {
            let mut config = program(binary);
            config.arg("config").args(path.arguments()).stdin(Stdio::null()).stdout(Stdio::null());
            config.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        };
        let known: Vec<_> = [Self::Portable, Self::Fast].into_iter().filter(takes).collect();
        if known.is_empty() { vec![Self::Only] } else { known }
    }
}
