//! What an operator sees: traces, logs, connections.

mod collector;
mod logs;
mod stats;
mod traces;

use crate::harness::Server;

/// Overlay key of the demo, as it was announced.
fn overlay_key(server: &Server) -> String {
    let said = server.said();
    let (_, key) =
        said.lines().find(|line| line.trim_start().starts_with("overlay")).unwrap().rsplit_once('=').unwrap();
    key.trim().to_owned()
}

/// A new token of an admin.
fn admin_token(data_dir: &std::path::Path) -> String {
    let dir = data_dir.display().to_string();
    let made = crate::harness::run(&["token", "new", "--name", "eyes", "--role", "admin", "--data-dir", &dir]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    made.stdout.trim().to_owned()
}
