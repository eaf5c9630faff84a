//! What an operator looks at beside `/metrics`: connections of this pod, in all and by room.
//!
//! **Invariant**: it names channels and counts sockets, and nobody who sits at one.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use super::State;
use crate::app::connections::file_limit;
use crate::hub::Occupancy;

/// Connections of one pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketStats {
    /// This pod's name, new at each start.
    pub pod: String,
    /// Version of the program.
    pub version: String,
    /// Whether it is stopping: sockets are told to go elsewhere.
    pub draining: bool,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Open WebSockets.
    pub connections: u64,
    /// Most connections at once, WebSockets or not: the setting, or what the system's limit of open files allows.
    pub max_connections: usize,
    /// Most open files and connections that the system allows; `null` where there is no limit.
    pub max_open_files: Option<u64>,
    /// Votes that were handed in and are not answered yet.
    pub pending_votes: u64,
    /// Those open now, by name of their channel.
    pub rooms: Vec<RoomStats>,
}

/// Connections of one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomStats {
    /// Slug of the channel.
    pub channel: String,
    /// Open WebSockets.
    pub connections: u64,
    /// Those of viewers.
    pub viewers: u64,
    /// Those of overlays.
    pub overlays: u64,
    /// Those of admin pages and tools.
    pub admins: u64,
}

impl From<Occupancy> for RoomStats {
    fn from(room: Occupancy) -> Self {
        let Occupancy { channel, sockets, overlays, admins } = room;
        // The three counters are not read at one moment.
        let viewers = sockets.saturating_sub(overlays).saturating_sub(admins);
        Self { channel: channel.to_string(), connections: sockets, viewers, overlays, admins }
    }
}

/// Connections of this pod: in all, and of each room that is open on it.
async fn websocket_stats(state: State) -> HttpResponse {
    HttpResponse::Ok().json(SocketStats {
        pod: state.conductor.pod(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        draining: state.readiness.is_draining(),
        uptime_s: state.started.elapsed().as_secs(),
        connections: state.hub.sockets(),
        max_connections: state.connections.limits().ordinary,
        max_open_files: file_limit(),
        pending_votes: state.conductor.pending_votes(),
        rooms: state.hub.occupancy().into_iter().map(RoomStats::from).collect(),
    })
}

/// Registers it.
pub fn configure(config: &mut web::ServiceConfig) {
    config.route("/api/v1/monitoring/websocket/stats", web::get().to(websocket_stats));
}
