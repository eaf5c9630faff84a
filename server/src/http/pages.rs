//! The pages as HTML: what people see before any script runs, and what scripts need to know, as `data-` attributes.

use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Path, Query, ServiceConfig, get};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::Deserialize;

use super::AppState;
use super::assets::{self, Files};
use super::identity::viewer_cookie;
use crate::auth::request::overlay_key;
use crate::domain::bareme::{Bilingual, Critere};
use crate::domain::channel::Channel;
use crate::domain::decimal::Decimal;
use crate::domain::key::Slug;
use crate::domain::live::LiveStatus;
use crate::domain::phase::Phase;
use crate::i18n::{Lang, Texts};
use crate::protocol::LiveState;
use crate::settings::Settings;
use crate::store::{RecordKey, RecordKind};

/// More scores than this are rated with a slider, as in `overlay/lib/scale.js`.
const MOST_BUTTONS: usize = 11;

/// More buttons than this wrap to several rows.
const MOST_IN_A_ROW: usize = 6;

/// What every page knows.
struct Page {
    lang: Lang,
    base: String,
    assets: String,
    build: &'static str,
    /// `?lang=…` again for links, when the language was chosen in the URL.
    lang_query: &'static str,
    texts: Texts,
}

/// What pages read of their own URL on the server; scripts read the rest.
#[derive(Debug, Default, Deserialize)]
struct PageQuery {
    lang: Option<String>,
    key: Option<String>,
}

impl Page {
    fn new(settings: &Settings, lang: Lang, chosen: bool) -> Self {
        let files = Files::of(settings);
        let base = base_path(settings);
        Self {
            lang,
            assets: format!("{base}/assets/{}", files.segment()),
            base,
            build: assets::build(),
            lang_query: match (chosen, lang) {
                (false, _) => "",
                (true, Lang::Fr) => "?lang=fr",
                (true, Lang::En) => "?lang=en",
            },
            texts: Texts::load(&files, lang),
        }
    }

    fn of(state: &AppState, request: &HttpRequest, query: &PageQuery) -> Self {
        let accepted = request.headers().get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let lang = Lang::choose(query.lang.as_deref(), accepted);
        Self::new(&state.settings, lang, query.lang.as_deref().and_then(Lang::of_tag).is_some())
    }

    fn say<'a>(&'a self, key: &'a str) -> &'a str {
        self.texts.say(key)
    }

    fn own<'a>(&self, text: &'a Bilingual) -> &'a str {
        match self.lang {
            Lang::Fr => &text.fr,
            Lang::En => &text.en,
        }
    }

    /// A score or an end of a scale, exactly, as the language writes it.
    fn number(&self, number: Decimal) -> String {
        match self.lang {
            Lang::Fr => number.to_string().replace('.', ","),
            Lang::En => number.to_string(),
        }
    }
}

/// Path under which browsers reach this server, without a trailing slash.
fn base_path(settings: &Settings) -> String {
    settings.public_url.as_ref().map_or_else(String::new, |url| url.path().trim_end_matches('/').to_owned())
}

/// One live on air, on the front page.
struct LiveLink {
    channel: String,
    channel_title: String,
    title: String,
}

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    page: Page,
    lives: Vec<LiveLink>,
}

#[derive(Template)]
#[template(path = "missing.html")]
struct MissingPage {
    page: Page,
    text: String,
}

#[derive(Template)]
#[template(path = "admin.html")]
struct AdminPage {
    page: Page,
}

#[derive(Template)]
#[template(path = "overlay.html")]
struct OverlayPage {
    page: Page,
    channel: String,
    refused: bool,
}

/// One critere as the page first shows it.
struct CritereView {
    label: String,
    low: String,
    high: String,
    slider: bool,
    many: bool,
    scores: Vec<String>,
}

#[derive(Template)]
#[template(path = "viewer.html")]
struct ViewerPage {
    page: Page,
    channel: String,
    channel_title: String,
    has_jeu: bool,
    place: String,
    title: String,
    scale_max: String,
    moment: &'static str,
    criteres: Vec<CritereView>,
    message_title: &'static str,
    message_text: &'static str,
}

fn critere_view(page: &Page, critere: &Critere) -> CritereView {
    let scores: Vec<_> = (0..=critere.steps()).map(|k| page.number(critere.score(k))).collect();
    let slider = scores.len() > MOST_BUTTONS;
    CritereView {
        label: page.own(&critere.labels).to_owned(),
        low: page.own(&critere.low).to_owned(),
        high: page.own(&critere.high).to_owned(),
        slider,
        many: scores.len() > MOST_IN_A_ROW,
        scores: if slider { Vec::new() } else { scores },
    }
}

/// Key of the words for where a jeu stands.
const fn phase_key(phase: Phase, closing_announced: bool) -> &'static str {
    match phase {
        Phase::Pending => "phase.pending",
        Phase::Open if closing_announced => "phase.short_closing",
        Phase::Open => "phase.open",
        Phase::Closing => "phase.finalising",
        Phase::Final => "phase.final",
    }
}

impl ViewerPage {
    fn new(page: Page, channel: &Slug, channel_title: String, live: Option<&LiveState>) -> Self {
        let shown = live.and_then(|live| {
            let mut entries = live.programme.iter().enumerate();
            let current = entries.find(|(_, entry)| Some(entry.jeu.jeu_id.0) == live.current);
            current.filter(|(_, entry)| entry.phase != Phase::Pending).map(|(index, entry)| (live, index, entry))
        });
        let (message_title, message_text) = match live.map(|live| live.status) {
            None => ("viewer.before.title", "viewer.before.text"),
            Some(LiveStatus::Closed) => ("viewer.over.title", "viewer.over.text"),
            Some(_) => ("viewer.soon.title", "viewer.soon.text"),
        };
        let mut view = Self {
            channel: channel.to_string(),
            channel_title,
            has_jeu: shown.is_some(),
            place: String::new(),
            title: String::new(),
            scale_max: String::new(),
            moment: "",
            criteres: Vec::new(),
            message_title,
            message_text,
            page,
        };
        if let Some((live, index, entry)) = shown {
            let (place, count) = ((index + 1).to_string(), live.programme.len().to_string());
            view.place = view.page.texts.fill("viewer.place", &[("place", &place), ("count", &count)]);
            view.title.clone_from(&entry.jeu.details.title);
            view.scale_max = view.page.number(live.scale.max);
            view.moment = phase_key(entry.phase, entry.closes_at_us.is_some());
            view.criteres = live.bareme.criteres.iter().map(|critere| critere_view(&view.page, critere)).collect();
        }
        view
    }
}

fn html(status: StatusCode, page: &impl Template) -> HttpResponse {
    let Ok(body) = page.render() else {
        return HttpResponse::InternalServerError().finish();
    };
    HttpResponse::build(status)
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .insert_header((header::VARY, "Accept-Language"))
        .body(body)
}

async fn home(state: Data<AppState>, request: HttpRequest, query: Query<PageQuery>) -> HttpResponse {
    let page = Page::of(&state, &request, &query);
    let mut lives = Vec::new();
    for live in state.conductor.open_lives() {
        let channel = live.channel.to_string();
        let channel_title =
            channel_of(&state, &live.channel).await.map_or_else(|| channel.clone(), |found| found.title);
        lives.push(LiveLink { channel, channel_title, title: live.title.clone() });
    }
    lives.sort_by(|a, b| a.channel_title.cmp(&b.channel_title));
    html(StatusCode::OK, &HomePage { page, lives })
}

/// The record of a channel.
async fn channel_of(state: &AppState, slug: &Slug) -> Option<Channel> {
    let key = RecordKey::new(RecordKind::Channel, "", slug.as_str());
    match state.records.get::<Channel>(&key).await {
        Ok(channel) => channel.map(|versioned| versioned.value),
        Err(error) => {
            tracing::warn!(channel = slug.as_str(), %error, "a page cannot read its channel");
            None
        }
    }
}

fn missing_channel(page: Page, name: &str) -> HttpResponse {
    let shown: String = name.chars().take(60).collect();
    let text = page.texts.fill("missing.channel", &[("channel", &shown)]);
    html(StatusCode::NOT_FOUND, &MissingPage { page, text })
}

async fn viewer(
    state: Data<AppState>,
    request: HttpRequest,
    path: Path<String>,
    query: Query<PageQuery>,
) -> HttpResponse {
    let page = Page::of(&state, &request, &query);
    let Ok(slug) = Slug::new(&path) else { return missing_channel(page, &path) };
    // From memory: when a live begins, everybody opens this page at once, and a store's reading queue is short.
    let (status, title, live) = match state.conductor.channel_view(&slug).await {
        Ok(Some(view)) => {
            let view = view.borrow().clone();
            let title = view.channel.as_ref().map(|channel| channel.title.clone()).unwrap_or_default();
            (StatusCode::OK, title, view.shown.as_ref().map(|live| live.state()))
        }
        Ok(None) => return missing_channel(page, slug.as_str()),
        // A store that is away does not say that there is no such channel. The page finds out from its socket.
        Err(error) => {
            tracing::warn!(channel = slug.as_str(), %error, "a page cannot read its channel");
            (StatusCode::SERVICE_UNAVAILABLE, slug.to_string(), None)
        }
    };
    let view = ViewerPage::new(page, &slug, title, live.as_ref());
    let mut response = html(status, &view);
    if let (_, Some(cookie)) = viewer_cookie(&state, &request)
        && let Err(error) = response.add_cookie(&cookie)
    {
        tracing::error!(%error, "the viewer cookie cannot be set");
    }
    response
}

async fn overlay(
    state: Data<AppState>,
    request: HttpRequest,
    path: Path<String>,
    query: Query<PageQuery>,
) -> HttpResponse {
    let page = Page::of(&state, &request, &query);
    let Ok(slug) = Slug::new(&path) else { return missing_channel(page, &path) };
    let key = query.key.as_deref().unwrap_or_default();
    // A store that is away says nothing about a key. The page finds out from its socket.
    let refused = matches!(overlay_key(&state, &slug, key).await, Ok(None));
    let status = if refused { StatusCode::FORBIDDEN } else { StatusCode::OK };
    html(status, &OverlayPage { page, channel: slug.to_string(), refused })
}

async fn admin(state: Data<AppState>, request: HttpRequest, query: Query<PageQuery>) -> HttpResponse {
    html(StatusCode::OK, &AdminPage { page: Page::of(&state, &request, &query) })
}

/// The page for addresses nothing answers to.
pub async fn not_found(state: Data<AppState>, request: HttpRequest) -> HttpResponse {
    let page = Page::of(&state, &request, &PageQuery::default());
    let text = page.say("missing.page").to_owned();
    html(StatusCode::NOT_FOUND, &MissingPage { page, text })
}

/// Adds the pages. To come after every other route: `/{channel}` takes any single segment.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/", get().to(home))
        .route("/admin", get().to(admin))
        .route("/overlay/{channel}", get().to(overlay))
        .route("/{channel}", get().to(viewer));
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::bareme::presets;
    use crate::domain::jeu::{Jeu, JeuDetails, JeuId};
    use crate::protocol::ProgrammeEntry;

    fn page(lang: Lang) -> Page {
        let settings = Settings {
            public_url: Some(url::Url::parse("https://vote.example.org/notes/").unwrap()),
            ..Settings::default()
        };
        Page::new(&settings, lang, true)
    }

    fn live(title: &str, preset: usize) -> LiveState {
        let bareme = presets().remove(preset);
        let jeu = Jeu { jeu_id: JeuId(3), details: JeuDetails { title: title.to_owned(), ..JeuDetails::default() } };
        LiveState {
            live_id: Uuid::nil(),
            channel: "max".to_owned(),
            title: "Soirée".to_owned(),
            status: LiveStatus::Open,
            current: Some(3),
            blind: false,
            minimum_votes: 1,
            scale: bareme.overall_scale(),
            bareme,
            programme: vec![ProgrammeEntry { jeu, phase: Phase::Open, epoch: 0, closes_at_us: None }],
            ends_at_us: None,
        }
    }

    fn viewer_html(lang: Lang, live: Option<&LiveState>) -> String {
        ViewerPage::new(page(lang), &Slug::new("max").unwrap(), "Max <3".to_owned(), live).render().unwrap()
    }

    #[actix_web::test]
    async fn a_store_that_is_away_does_not_make_a_channel_unknown() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicBool, Ordering};

        use crate::store::ErrorKind;
        use crate::store::faulty::{Fault, FaultyStore};
        use crate::store::memory::MemoryStore;

        let away = Arc::new(AtomicBool::new(false));
        let switch = Arc::clone(&away);
        let plan = Arc::new(move |_: &'static str| match switch.load(Ordering::Relaxed) {
            true => Fault::Refused(ErrorKind::Unavailable),
            false => Fault::None,
        });
        let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::exclusive()), plan));
        let listener = crate::app::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let state = crate::app::App::build(Settings::default(), store, listener).await.unwrap().state();
        for name in ["known", "unseen"] {
            state.catalogue.create_channel(Slug::new(name).unwrap(), "Ma chaîne", 0).await.unwrap();
        }
        let page = async |name: &str| {
            let request = actix_web::test::TestRequest::default().to_http_request();
            let path = Path::from(name.to_owned());
            viewer(state.clone(), request, path, Query(PageQuery::default())).await.status()
        };
        assert_eq!((page("known").await, page("nobody").await), (StatusCode::OK, StatusCode::NOT_FOUND));
        away.store(true, Ordering::Relaxed);
        assert_eq!(page("known").await, StatusCode::OK, "what was shown once is in memory");
        assert_eq!(page("unseen").await, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn the_viewer_page_says_jeu_and_criteres_before_any_script() {
        let html = viewer_html(Lang::Fr, Some(&live("Les Brumes", 0)));
        for part in ["Les Brumes", "Jeu 1 sur 1", "Votes ouverts", "Durée de vie", "inépuisable", "Max &#60;3"] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert!(html.contains(r#"data-base="/notes" data-lang="fr""#));
        assert!(html.contains(r#"src="/notes/assets/"#));
        let halves = viewer_html(Lang::Fr, Some(&live("Les Brumes", 1)));
        assert!(halves.contains(">3,5<") && halves.contains("is-many"));
        assert!(viewer_html(Lang::En, Some(&live("x", 1))).contains(">3.5<"));
        assert!(viewer_html(Lang::En, None).contains("No live yet"));
    }

    #[test]
    fn text_that_people_typed_is_escaped() {
        let html = viewer_html(Lang::En, Some(&live("<script>alert(1)</script>\" onload=\"", 0)));
        assert!(!html.contains("<script>alert") && !html.contains("\" onload"));
    }

    #[test]
    fn no_page_has_inline_script_or_style() {
        for lang in Lang::ALL {
            let lives = vec![LiveLink { channel: "max".into(), channel_title: "Max".into(), title: "Live".into() }];
            let pages = [
                HomePage { page: page(lang), lives }.render().unwrap(),
                HomePage { page: page(lang), lives: Vec::new() }.render().unwrap(),
                MissingPage { page: page(lang), text: "…".into() }.render().unwrap(),
                AdminPage { page: page(lang) }.render().unwrap(),
                OverlayPage { page: page(lang), channel: "max".into(), refused: true }.render().unwrap(),
                OverlayPage { page: page(lang), channel: "max".into(), refused: false }.render().unwrap(),
                viewer_html(lang, Some(&live("Jeu", 0))),
            ];
            for html in pages {
                assert!(html.contains(&format!("<html lang=\"{}\"", lang.as_str())));
                assert!(!html.contains("<style") && !html.contains(" style=") && !html.contains("<script>"), "{html}");
                assert!(!html.contains(" onclick=") && !html.contains("http://"), "{html}");
            }
        }
    }
}
