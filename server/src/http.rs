//! HTTP: the API, the pages, the files, health. Maps what the rooms below say to responses; decides nothing itself.

pub mod assets;
pub mod pages;

use std::sync::Arc;

use crate::conductor::Conductor;
use crate::domain::viewer::ViewerSecret;
use crate::hub::Hub;
use crate::records::Records;
use crate::settings::Settings;
use crate::store::Store;

/// What every handler can reach.
#[derive(Clone)]
pub struct AppState {
    /// Settings, checked.
    pub settings: Arc<Settings>,
    /// Durable facts.
    pub store: Arc<dyn Store>,
    /// Documents over the store.
    pub records: Records,
    /// The lives of this pod.
    pub conductor: Conductor,
    /// Rooms and their sockets.
    pub hub: Hub,
    /// Signs viewer tokens.
    pub viewers: ViewerSecret,
}
