//! How many connections there may be, by what the system allows.

/// Descriptors that are not for connections: the store's files (each reading thread of SQLite has two, a cluster one
/// connection for each processor of each node), three for each event loop and worker, dumps, logs.
const OWN_FILES: usize = 192;

/// Connections beyond those of viewers: for admins with their pages.
const RESERVE: usize = 48;

/// Connections of operators' programs, on their own listener: probes of a few balancers, Prometheus, `bareme status`. The
/// second half of them is a reserve.
const OPS_CONNECTIONS: usize = 16;

/// Connections that one address may have for requests, for each socket it may have: a browser has up to six while it loads
/// a page, and keeps one or two.
const FOR_EACH_SOCKET: u32 = 4;

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections of everybody, sockets or not.
    pub ordinary: usize,
    /// Connections beyond them, for which the oldest of these has to go when there are more.
    pub reserve: usize,
    /// Of them, those of one address that are not sockets.
    pub per_address: u32,
}

impl Limits {
    /// What so many open files allow of what settings ask for.
    pub fn new(files: Option<u64>, max_connections: usize, sockets_per_address: u32) -> Self {
        let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
        // With very few, half of them: it is better to serve somebody.
        let most = files.saturating_sub(OWN_FILES).max(files / 2);
        let ordinary = most.saturating_sub(RESERVE + OPS_CONNECTIONS).clamp(1, max_connections);
        // Nobody alone takes all there is.
        let half = u32::try_from(ordinary.div_ceil(2)).unwrap_or(u32::MAX);
        let per_address = sockets_per_address.saturating_mul(FOR_EACH_SOCKET).min(half);
        Self { ordinary, reserve: RESERVE, per_address }
    }

    /// Those of the listener of operators, of whom none is limited by its address.
    pub const fn of_operators() -> Self {
        let half = OPS_CONNECTIONS / 2;
        Self { ordinary: half, reserve: half, per_address: u32::MAX }
    }
}

/// Open files that the system allows this process now; `None` where it does not tell or knows no limit.
pub(crate) fn file_limit() -> Option<u64> {
    #[cfg(unix)]
    return rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    #[cfg(not(unix))]
    None
}

/// Raises the limit of open files as far as this process may: the soft limit is a default from when programs could not
/// count beyond it.
pub(crate) fn raise_file_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        if limit.current != limit.maximum
            && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        {
            tracing::warn!(%error, "the limit of open files cannot be raised");
        }
    }
}
