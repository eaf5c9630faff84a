//! The public API: votes, lives, results.

mod caching;
mod channels;
mod export;
mod lives;
mod note;
mod qr;
mod results;
mod votes;

use serde::Serialize;

pub use export::Exports;
pub(crate) use export::lines;
pub(crate) use qr::qr_svg;
pub use results::{JeuResult, Results};
pub(crate) use results::{results_from, table_of};

/// A live on air.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct OpenLive {
    /// Slug of its channel.
    pub channel: String,
    /// Title of the channel.
    pub title: String,
    /// The live.
    pub live_id: uuid::Uuid,
    /// Title of the live.
    pub live_title: String,
}

/// Registers the routes. The vote comes first, because the router looks in this order.
pub(super) fn configure(config: &mut utoipa_actix_web::service_config::ServiceConfig<'_>) {
    config
        .service(note::post_note)
        .service(channels::open_lives)
        .service(channels::channel_live)
        .service(lives::channel_lives)
        .service(channels::channel_state)
        .service(qr::channel_qr)
        .service(results::live_results)
        .service(results::live_results_csv)
        .service(export::live_notes);
}
