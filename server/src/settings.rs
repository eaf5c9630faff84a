//! Settings: one struct, checked before anything starts. Flags, then `BAREME_*`, then a file, then defaults.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Settings of a server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Folder of the database file.
    pub data_dir: PathBuf,
    /// Which store: `sqlite` (default) or `memory`.
    pub store: String,
    /// Origin and path prefix people reach this server under, without a trailing slash; `None`: what the request says.
    pub public_url: Option<url::Url>,
    /// Serves `overlay/` from this folder instead of the embedded files, while working on them.
    pub assets_dir: Option<PathBuf>,
}
