//! What is on: open lives, a channel's live, its state for pages without WebSocket.

use actix_web::{HttpRequest, HttpResponse, get, web};
use serde::Serialize;
use uuid::Uuid;

use super::super::error::Problem;
use super::super::{State, identity, slug_of};
use super::OpenLive;
use crate::conductor::ChannelView;
use crate::domain::bareme::Bareme;
use crate::domain::key::Slug;
use crate::domain::live::LiveId;
use crate::hub::frames::Audience;
use crate::protocol::{LiveState, Mine, ProgrammeEntry, State as ChannelState, TallyFrame};

/// A channel and its live.
#[derive(Serialize, utoipa::ToSchema)]
struct ChannelLive {
    /// Slug.
    channel: String,
    /// Title of the channel.
    title: String,
    /// The live on air, or else the last one; null when there was none.
    live_id: Option<Uuid>,
    /// The jeu that pages follow.
    current: Option<u32>,
    /// The jeux of the live, in order.
    programme: Vec<ProgrammeEntry>,
    /// The bareme of the live.
    bareme: Option<Bareme>,
    /// The live as pages know it.
    live: Option<LiveState>,
}

/// All that a page needs which cannot hold a WebSocket.
#[derive(Serialize, utoipa::ToSchema)]
struct Polled {
    /// As the message `state`.
    #[schema(value_type = Object)]
    state: ChannelState,
    /// As the messages `tally`, one for each jeu.
    #[schema(value_type = Vec<Object>)]
    tallies: Vec<TallyFrame>,
    /// As the messages `mine`, for the viewer of the cookie.
    #[schema(value_type = Vec<Object>)]
    mine: Vec<Mine>,
    /// The server's clock.
    now_us: u64,
}

/// The lives on air
#[utoipa::path(tag = "public", responses((status = 200, description = "In order of channel", body = [OpenLive])))]
#[get("/api/lives")]
pub(super) async fn open_lives(state: State) -> Result<HttpResponse, Problem> {
    let mut lives = Vec::new();
    for live in state.conductor.open_lives() {
        // A channel deleted at this moment has no title any more.
        let title = state.conductor.channel_view(&live.channel).await?;
        let title = title.and_then(|view| view.borrow().channel.as_ref().map(|channel| channel.title.clone()));
        lives.push(OpenLive {
            channel: live.channel.to_string(),
            title: title.unwrap_or_else(|| live.channel.to_string()),
            live_id: live.live_id.0,
            live_title: live.title.clone(),
        });
    }
    Ok(HttpResponse::Ok().json(lives))
}

async fn view_of(state: &State, slug: &Slug) -> Result<std::sync::Arc<ChannelView>, Problem> {
    let view = state.conductor.channel_view(slug).await?.map(|view| view.borrow().clone());
    view.filter(|view| view.channel.is_some())
        .ok_or_else(|| Problem::unknown("unknown_channel", format!("there is no channel {slug}")))
}

/// The live of a channel
///
/// The one on air, or else the last one.
#[utoipa::path(tag = "public", params(("channel" = String, Path, description = "Slug")),
    responses((status = 200, description = "The channel and its live", body = ChannelLive)))]
#[get("/api/channels/{channel}/live")]
pub(super) async fn channel_live(state: State, channel: web::Path<String>) -> Result<HttpResponse, Problem> {
    let slug = slug_of(&channel)?;
    let view = view_of(&state, &slug).await?;
    let live = view.shown.as_ref().map(|shown| shown.state());
    Ok(HttpResponse::Ok().json(ChannelLive {
        channel: slug.to_string(),
        title: view.channel.as_ref().map(|channel| channel.title.clone()).unwrap_or_default(),
        live_id: live.as_ref().map(|live| live.live_id),
        current: live.as_ref().and_then(|live| live.current),
        programme: live.as_ref().map(|live| live.programme.clone()).unwrap_or_default(),
        bareme: live.as_ref().map(|live| live.bareme.clone()),
        live,
    }))
}

/// What a page without WebSocket polls
///
/// The same messages as on the socket, masked for the viewer of the cookie.
#[utoipa::path(tag = "public", params(("channel" = String, Path, description = "Slug")),
    responses((status = 200, description = "State, tallies and own notes", body = Polled)))]
#[get("/api/channels/{channel}/state")]
pub(super) async fn channel_state(
    state: State,
    request: HttpRequest,
    channel: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let slug = slug_of(&channel)?;
    let unknown = || Problem::unknown("unknown_channel", format!("there is no channel {slug}"));
    let frames = state.hub.look(&slug).await?.ok_or_else(unknown)?;
    if frames.gone {
        return Err(unknown());
    }
    let mine = match (identity::viewer_of(&state, &request), &frames.state.value.live) {
        (Some((viewer, _)), Some(live)) => state.conductor.own_notes(LiveId(live.live_id), viewer).await?,
        _ => Vec::new(),
    };
    let has_voted = |jeu: u32| mine.iter().any(|note: &Mine| note.jeu == jeu && !note.scores.is_empty());
    let audience = |jeu| if has_voted(jeu) { Audience::Voter } else { Audience::Public };
    let tallies = frames.jeux.iter().map(|jeu| (*jeu.for_audience(audience(jeu.jeu)).value).clone()).collect();
    let polled = Polled { state: (*frames.state.value).clone(), tallies, mine, now_us: state.now_us() };
    Ok(HttpResponse::Ok().json(polled))
}
