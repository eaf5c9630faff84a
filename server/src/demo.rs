//! `bareme demo`: a sample channel with a live on air, and simulated viewers who vote over real sockets.
//!
//! **Invariant**: started again on the same data, it goes on with what is there. It never touches another channel, and
//! never changes what somebody changed in its own.

mod viewers;

pub use viewers::simulate;

use crate::app::AppError;
use crate::catalogue::{NewLive, Refused};
use crate::conductor::OpenJeux;
use crate::domain::bareme::presets;
use crate::domain::jeu::{JeuDetails, JeuId};
use crate::domain::key::Slug;
use crate::domain::live::LiveStatus;
use crate::domain::rule::Rule;
use crate::http::AppState;

/// Slug of the sample channel.
pub const CHANNEL: &str = "demo";

/// What was prepared.
#[derive(Debug)]
pub struct Demo {
    /// The channel.
    pub channel: Slug,
    /// Key of its overlay.
    pub overlay_key: String,
}

/// Makes what is missing of the sample, and puts its live on air.
///
/// # Errors
/// [`AppError`].
pub async fn prepare(state: &AppState) -> Result<Demo, AppError> {
    let slug = Slug::new(CHANNEL).map_err(Refused::from)?;
    let catalogue = &state.catalogue;
    let channel = match catalogue.channel(&slug).await {
        Err(Refused::Unknown { .. }) => {
            catalogue.create_channel(slug.clone(), "Barème en démonstration", state.now_us()).await?
        }
        other => other?,
    };
    if catalogue.jeux(&slug).await?.is_empty() {
        for details in JeuDetails::samples() {
            catalogue.add_jeu(&slug, &details).await?;
        }
    }
    let bareme_id = match catalogue.baremes(&slug).await?.first() {
        Some((bareme_id, _)) => *bareme_id,
        None => {
            let preset = presets()
                .into_iter()
                .next()
                .ok_or_else(|| Refused::conflict(Rule::UnknownBareme, "no preset", "build again"))?;
            catalogue.add_bareme(&slug, &preset).await?.0
        }
    };
    let overlay_key = overlay_key(state, &slug).await?;
    if channel.open_live.is_none() {
        let draft = catalogue.lives(&slug).await?.into_iter().find(|live| live.status == LiveStatus::Draft);
        let live = match draft {
            Some(draft) => draft,
            None => {
                let jeux: Vec<JeuId> = catalogue.jeux(&slug).await?.iter().map(|jeu| jeu.jeu_id).collect();
                let title = "Trois jeux à noter".to_owned();
                let new = NewLive { title, bareme_id, jeux, blind: false, minimum_votes: 1 };
                catalogue.create_live(&slug, new, state.now_us()).await?
            }
        };
        state.conductor.open_live(live.live_id, OpenJeux::All).await?;
    }
    Ok(Demo { channel: slug, overlay_key })
}

/// The oldest key of the channel, which is the one printed at the last start, or a new one when there is none.
async fn overlay_key(state: &AppState, slug: &Slug) -> Result<String, AppError> {
    let known = state.catalogue.overlay_keys(slug).await?;
    if let Some(key) = known.into_iter().find_map(|(_, known)| known.key) {
        return Ok(key);
    }
    let (_, made) = state.auth.new_overlay_key(slug, "démonstration", state.now_us()).await?;
    Ok(made.key.unwrap_or_default())
}
