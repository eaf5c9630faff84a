//! The pages as HTML: what people see before any script runs, and what scripts need to know, as `data-` attributes.

mod first_look;
mod results;

use std::sync::{Arc, LazyLock};

use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Path, Query, ServiceConfig, get, head, resource};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource};
use askama::Template;
use serde::Deserialize;

use self::first_look::{Shown, ViewerPage};
use super::AppState;
use super::assets::{self, Files, modules};
use super::identity::{public_base, relying_party, viewer_cookie};
use crate::auth::request::overlay_key;
use crate::domain::bareme::Bilingual;
use crate::domain::key::Slug;
use crate::i18n::{Lang, Texts};
use crate::settings::Settings;

/// What every page knows.
struct Page {
    lang: Lang,
    base: String,
    assets: String,
    build: &'static str,
    /// `?lang=…` again for links, when the language was chosen in the URL.
    lang_query: &'static str,
    texts: Texts,
    /// Modules of the page's script, for the browser to fetch at once.
    modules: Arc<[String]>,
}

/// What pages read of their own URL on the server; scripts read the rest.
#[derive(Debug, Default, Deserialize)]
struct PageQuery {
    lang: Option<String>,
    key: Option<String>,
    demo: Option<String>,
}

/// The script of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    None,
    Viewer,
    Overlay,
    Admin,
}

impl Script {
    const ALL: [Self; 3] = [Self::Viewer, Self::Overlay, Self::Admin];

    /// Its file in `pages/`.
    const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Viewer => "viewer",
            Self::Overlay => "overlay",
            Self::Admin => "admin",
        }
    }

    fn modules(self, files: &Files, lang: Lang) -> Arc<[String]> {
        static EMBEDDED: LazyLock<[[Arc<[String]>; 2]; 3]> = LazyLock::new(|| {
            Script::ALL.map(|script| Lang::ALL.map(|lang| modules(&Files::Embedded, script.name(), lang).into()))
        });
        let index = Self::ALL.iter().position(|known| *known == self);
        match (files, index) {
            (_, None) => Arc::default(),
            (Files::Embedded, Some(index)) => Arc::clone(&EMBEDDED[index][usize::from(lang == Lang::En)]),
            (Files::Folder(_), Some(_)) => modules(files, self.name(), lang).into(),
        }
    }
}

impl Page {
    fn new(settings: &Settings, lang: Lang, chosen: bool, script: Script) -> Self {
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
            modules: script.modules(&files, lang),
        }
    }

    fn of(state: &AppState, request: &HttpRequest, query: &PageQuery, script: Script) -> Self {
        let accepted = request.headers().get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let lang = Lang::choose(query.lang.as_deref(), accepted);
        Self::new(&state.settings, lang, query.lang.as_deref().and_then(Lang::of_tag).is_some(), script)
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
    /// Title of the jeu that one rates now, with how many did; empty between two jeux.
    jeu: String,
    votes: String,
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
    lives: Vec<LiveLink>,
}

#[derive(Template)]
#[template(path = "admin.html")]
struct AdminPage {
    page: Page,
    /// Relying party ID of passkeys; empty where browsers give none.
    party: String,
}

#[derive(Template)]
#[template(path = "overlay.html")]
struct OverlayPage {
    page: Page,
    channel: String,
    /// Where people vote, as they read it: without a scheme.
    address: String,
    refused: bool,
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

/// The lives on air, in order of what their channels are called.
async fn lives_on_air(state: &AppState, page: &Page) -> Vec<LiveLink> {
    let mut lives = Vec::new();
    for live in state.conductor.open_lives() {
        // From memory, as everything here is: the front page must not wait for a store.
        let view = state.conductor.channel_view(&live.channel).await.ok().flatten().map(|view| view.borrow().clone());
        let Some(view) = view else { continue };
        let Some(shown) = view.shown.as_deref().filter(|shown| shown.live.live_id == live.live_id) else { continue };
        let shown = Shown::of(shown);
        let current = shown.current().map(|(_, entry)| entry);
        lives.push(LiveLink {
            channel: live.channel.to_string(),
            channel_title: view.channel.as_ref().map_or_else(|| live.channel.to_string(), |known| known.title.clone()),
            title: live.title.clone(),
            jeu: current.map(|entry| entry.jeu.details.title.clone()).unwrap_or_default(),
            votes: current.map(|entry| shown.votes(page, entry)).unwrap_or_default(),
        });
    }
    lives.sort_by(|a, b| a.channel_title.cmp(&b.channel_title));
    lives
}

async fn home(state: Data<AppState>, request: HttpRequest, query: Query<PageQuery>) -> HttpResponse {
    let page = Page::of(&state, &request, &query, Script::None);
    let lives = lives_on_air(&state, &page).await;
    html(StatusCode::OK, &HomePage { page, lives })
}

async fn missing_channel(state: &AppState, page: Page, name: &str) -> HttpResponse {
    let shown: String = name.chars().take(60).collect();
    let text = page.texts.fill("missing.channel", &[("channel", &shown)]);
    missing(state, page, text).await
}

async fn missing(state: &AppState, page: Page, text: String) -> HttpResponse {
    let lives = lives_on_air(state, &page).await;
    html(StatusCode::NOT_FOUND, &MissingPage { page, text, lives })
}

async fn viewer(
    state: Data<AppState>,
    request: HttpRequest,
    path: Path<String>,
    query: Query<PageQuery>,
) -> HttpResponse {
    let page = Page::of(&state, &request, &query, Script::Viewer);
    let Ok(slug) = Slug::new(&path) else { return missing_channel(&state, page, &path).await };
    // From memory: when a live begins, everybody opens this page at once, and a store's reading queue is short.
    let (status, title, shown) = match state.conductor.channel_view(&slug).await {
        Ok(Some(view)) => {
            let view = view.borrow().clone();
            let title = view.channel.as_ref().map(|channel| channel.title.clone()).unwrap_or_default();
            (StatusCode::OK, Some(title), view.shown.as_deref().map(Shown::of))
        }
        Ok(None) => return missing_channel(&state, page, slug.as_str()).await,
        // A store that is away does not say that there is no such channel. The page finds out from its socket.
        Err(error) => {
            tracing::warn!(channel = slug.as_str(), %error, "a page cannot read its channel");
            (StatusCode::SERVICE_UNAVAILABLE, None, None)
        }
    };
    let view = ViewerPage::new(page, &slug, title, shown.as_ref());
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
    let page = Page::of(&state, &request, &query, Script::Overlay);
    let Ok(slug) = Slug::new(&path) else { return missing_channel(&state, page, &path).await };
    let key = query.key.as_deref().unwrap_or_default();
    // A demo shows made-up numbers and opens no connection, so it needs no key.
    let is_demo = query.demo.as_deref().is_some_and(|demo| demo != "off");
    // A store that is away says nothing about a key. The page finds out from its socket.
    let refused = !is_demo && matches!(overlay_key(&state, &slug, key).await, Ok(None));
    let status = if refused { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let base = public_base(&state.settings, &request);
    let address = format!("{}/{slug}", base.split_once("://").map_or(base.as_str(), |(_, rest)| rest));
    html(status, &OverlayPage { page, channel: slug.to_string(), address, refused })
}

async fn admin(state: Data<AppState>, request: HttpRequest, query: Query<PageQuery>) -> HttpResponse {
    let party = relying_party(&state.settings, &request).map(|party| party.id().to_owned()).unwrap_or_default();
    html(StatusCode::OK, &AdminPage { page: Page::of(&state, &request, &query, Script::Admin), party })
}

/// The page for addresses nothing answers to.
pub async fn not_found(state: Data<AppState>, request: HttpRequest) -> HttpResponse {
    let query = Query::<PageQuery>::from_query(request.query_string()).map(Query::into_inner).unwrap_or_default();
    let page = Page::of(&state, &request, &query, Script::None);
    let text = page.say("missing.page").to_owned();
    missing(&state, page, text).await
}

/// A page at a path: `HEAD` answers as `GET` does, without the body.
fn page_at<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args, Output = HttpResponse>,
    Args: FromRequest + 'static,
{
    resource(path).route(get().to(handler.clone())).route(head().to(handler))
}

/// Adds the pages. To come after every other route: `/{channel}` takes any single segment.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(page_at("/", home))
        .service(page_at("/admin", admin))
        .service(page_at("/overlay/{channel}", overlay))
        .service(results::page())
        .service(page_at("/{channel}", viewer));
}

#[cfg(test)]
mod tests {
    use super::first_look::tests::sample;
    use super::*;
    use crate::protocol::Masked;

    fn page(lang: Lang) -> Page {
        let settings = Settings {
            public_url: Some(url::Url::parse("https://vote.example.org/notes/").unwrap()),
            ..Settings::default()
        };
        Page::new(&settings, lang, true, Script::Viewer)
    }

    fn viewer_html(lang: Lang, shown: Option<&Shown>) -> String {
        ViewerPage::new(page(lang), &Slug::new("max").unwrap(), Some("Max <3".to_owned()), shown).render().unwrap()
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
        let listeners = crate::app::Listeners::any();
        let state = crate::app::App::build(Settings::default(), store, listeners).await.unwrap().state();
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
    fn the_viewer_page_says_jeu_criteres_and_numbers_before_any_script() {
        let html = viewer_html(Lang::Fr, Some(&sample("Les Brumes", 0)));
        for part in ["Les Brumes", "Jeu 1 sur 2", "Votes ouverts", "Durée de vie", "inépuisable", "Max &#60;3"] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert!(html.contains(">4,3</span>") && html.contains("/ 5 · 1\u{202f}248 votes"), "{html}");
        assert!(html.contains("moyenne 4,6"), "{html}");
        assert!(html.contains(r#"data-base="/notes" data-lang="fr""#));
        assert!(html.contains(r#"src="/notes/assets/"#));
        let halves = viewer_html(Lang::Fr, Some(&sample("Les Brumes", 1)));
        assert!(halves.contains(">3,5<") && halves.contains("is-many"));
        assert!(viewer_html(Lang::En, Some(&sample("x", 1))).contains(">3.5<"));
        assert!(viewer_html(Lang::En, None).contains("No live yet"));
        let away = ViewerPage::new(page(Lang::En), &Slug::new("max").unwrap(), None, None).render().unwrap();
        assert!(away.contains("The server does not answer") && !away.contains("No live yet"));
    }

    #[test]
    fn masked_numbers_are_not_in_the_page() {
        let mut shown = sample("Les Brumes", 0);
        shown.mask(0, Masked::Blind);
        let html = viewer_html(Lang::Fr, Some(&shown));
        assert!(html.contains("Moyenne après votre vote") && html.contains("1\u{202f}248 votes"), "{html}");
        assert!(!html.contains("4,3") && !html.contains("4,6"), "{html}");
        shown.mask(0, Masked::Minimum);
        let html = viewer_html(Lang::Fr, Some(&shown));
        assert!(html.contains("1\u{202f}248 / 1 votes") && !html.contains("4,3"), "{html}");
    }

    #[test]
    fn a_live_that_is_over_shows_its_ranking() {
        let mut shown = sample("Les Brumes", 0);
        shown.end();
        let html = viewer_html(Lang::Fr, Some(&shown));
        let place = |text: &str| html.find(text).unwrap_or_else(|| panic!("{text} in {html}"));
        assert!(place("Le live est terminé") < place("Classement"));
        assert!(place("Classement") < place("Petite Forge") && place("Petite Forge") < place("Les Brumes"));
        assert!(html.contains(">4,8<") && !html.contains("critere__"), "{html}");
    }

    #[test]
    fn text_that_people_typed_is_escaped() {
        let html = viewer_html(Lang::En, Some(&sample("<script>alert(1)</script>\" onload=\"", 0)));
        assert!(!html.contains("<script>alert") && !html.contains("\" onload"));
    }

    fn overlay_html(lang: Lang, refused: bool) -> String {
        let (channel, address) = ("max".to_owned(), "vote.example.org/notes/max".to_owned());
        OverlayPage { page: page(lang), channel, address, refused }.render().unwrap()
    }

    #[test]
    fn no_page_has_inline_script_or_style() {
        for lang in Lang::ALL {
            let lives = || {
                let [channel, channel_title, title] = ["max", "Max", "Live"].map(str::to_owned);
                vec![LiveLink { channel, channel_title, title, jeu: "Jeu".into(), votes: "1 vote".into() }]
            };
            let pages = [
                HomePage { page: page(lang), lives: lives() }.render().unwrap(),
                HomePage { page: page(lang), lives: Vec::new() }.render().unwrap(),
                MissingPage { page: page(lang), text: "…".into(), lives: lives() }.render().unwrap(),
                AdminPage { page: page(lang), party: String::new() }.render().unwrap(),
                overlay_html(lang, true),
                overlay_html(lang, false),
                viewer_html(lang, Some(&sample("Jeu", 0))),
            ];
            for html in pages {
                assert!(html.contains(&format!("<html lang=\"{}\"", lang.as_str())));
                assert!(!html.contains("<style") && !html.contains(" style=") && !html.contains("<script>"), "{html}");
                assert!(!html.contains(" onclick=") && !html.contains("http://"), "{html}");
            }
        }
    }
}
