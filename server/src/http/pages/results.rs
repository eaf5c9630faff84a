//! The public results of a live, `/{channel}/{live_id}`: all of it in the HTML, for links that people share.
//!
//! It shows what a viewer who has not voted may see: [`mask`] decides, as it does for sockets.

use actix_web::cookie::time::OffsetDateTime;
use actix_web::guard;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Query, get, head, resource};
use actix_web::{HttpRequest, HttpResponse, Resource};
use askama::Template;

use super::{MissingPage, Page, PageQuery, Script, html};
use crate::conductor::{ConductError, JeuNumbers};
use crate::domain::bareme::{Critere, Scale};
use crate::domain::key::Slug;
use crate::domain::live::{Live, LiveStatus};
use crate::domain::phase::Phase;
use crate::domain::tally::CritereSummary;
use crate::http::{AppState, identity, live_of};
use crate::hub::frames::{Audience, mask};

/// More columns than this are too thin to read and become [`BINS`], as in `overlay/lib/scale.js`.
const MOST_COLUMNS: usize = 21;
const BINS: usize = 20;
/// Height of the columns in the units of their drawing, whose columns are 10 wide.
const COLUMNS_HEIGHT: f64 = 40.0;
/// Jeux that the description of the link names.
const MOST_DESCRIBED: usize = 3;

const MONTHS: [&str; 12] = [
    "results.month.1",
    "results.month.2",
    "results.month.3",
    "results.month.4",
    "results.month.5",
    "results.month.6",
    "results.month.7",
    "results.month.8",
    "results.month.9",
    "results.month.10",
    "results.month.11",
    "results.month.12",
];

/// One column of a histogram.
struct Column {
    x: String,
    y: String,
    height: String,
    nearest: bool,
}

/// One critere of a jeu as its graduated scale.
struct ScaleView {
    label: String,
    mean: String,
    votes: String,
    min: String,
    max: String,
    width: usize,
    columns: Vec<Column>,
    pin: String,
    /// What the drawing shows, in words.
    said: String,
}

/// One jeu in the ranking.
struct Row {
    rank: String,
    first: bool,
    title: String,
    mean: String,
    /// Width of its bar, of 100.
    share: String,
    votes: String,
    scales: Vec<ScaleView>,
}

#[derive(Template)]
#[template(path = "results.html")]
struct ResultsPage {
    page: Page,
    address: String,
    viewer: String,
    channel_title: String,
    title: String,
    date: String,
    iso_date: String,
    on_air: bool,
    facts: String,
    description: String,
    /// The end of the scale, for "4,2 / 5".
    out_of: String,
    rows: Vec<Row>,
}

impl Page {
    /// A day, in words and as machines read it. Days are those of UTC: the server does not know another one.
    fn day(&self, at_us: u64) -> (String, String) {
        let seconds = i64::try_from(at_us / 1_000_000).unwrap_or_default();
        let Ok(date) = OffsetDateTime::from_unix_timestamp(seconds) else { return (String::new(), String::new()) };
        let month = u8::from(date.month());
        let name = MONTHS.get(usize::from(month) - 1).copied().unwrap_or_default();
        let (day, year) = (date.day().to_string(), date.year().to_string());
        let words = self.texts.fill("results.date", &[("day", &day), ("month", self.say(name)), ("year", &year)]);
        (words, format!("{year}-{month:02}-{:02}", date.day()))
    }
}

/// Key of the words for a jeu whose numbers still move.
const fn phase_key(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "phase.pending",
        Phase::Open => "phase.short_open",
        Phase::Closing => "phase.finalising",
        Phase::Final => "phase.final",
    }
}

/// Where a mean lies on its scale, 0 to 1.
fn share(mean: f64, scale: Scale) -> f64 {
    let (min, max) = (scale.min.as_f64(), scale.max.as_f64());
    ((mean - min) / (max - min)).clamp(0.0, 1.0)
}

#[expect(clippy::cast_precision_loss, reason = "counts and steps stay far below 2^53")]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a mean lies on its scale, which has at most 255 steps"
)]
fn scale_view(page: &Page, critere: &Critere, summary: &CritereSummary, jeu: &str) -> Option<ScaleView> {
    let mean = summary.mean?;
    let scores = summary.histogram.len();
    let count = if scores > MOST_COLUMNS { BINS } else { scores };
    let column_of = |k: usize| (k * count / scores.max(1)).min(count.saturating_sub(1));
    let mut sums = vec![0_u64; count];
    for (k, votes) in summary.histogram.iter().enumerate() {
        if let Some(sum) = sums.get_mut(column_of(k)) {
            *sum += votes;
        }
    }
    let most = sums.iter().copied().max().unwrap_or_default().max(1);
    let at = (mean - critere.min.as_f64()) / critere.step.as_f64();
    let nearest = column_of(at.round().max(0.0) as usize);
    let column = |(index, sum): (usize, &u64)| {
        let height = COLUMNS_HEIGHT * (*sum as f64 / most as f64);
        Column {
            x: format!("{}.5", index * 10),
            y: format!("{:.2}", COLUMNS_HEIGHT - height),
            height: format!("{height:.2}"),
            nearest: index == nearest,
        }
    };
    let mean = page.lang.mean(mean, critere.min, critere.max);
    let label = page.own(&critere.labels).to_owned();
    let chosen =
        summary.histogram.iter().zip(0..=critere.steps()).filter(|(votes, _)| **votes > 0).map(|(votes, k)| {
            page.texts.fill(
                "results.chose",
                &[("score", &page.lang.decimal(critere.score(k))), ("n", &page.lang.count(*votes))],
            )
        });
    let chosen = chosen.collect::<Vec<_>>().join(", ");
    let votes = page.texts.count("votes.count", summary.count);
    let words = [("critere", label.as_str()), ("jeu", jeu), ("mean", &mean), ("votes", &votes), ("chosen", &chosen)];
    Some(ScaleView {
        said: page.texts.fill("results.scale", &words),
        votes,
        min: page.lang.decimal(critere.min),
        max: page.lang.decimal(critere.max),
        width: count * 10,
        columns: sums.iter().enumerate().map(column).collect(),
        pin: format!("{:.2}", (at + 0.5) / scores as f64 * (count * 10) as f64),
        label,
        mean,
    })
}

fn row(page: &Page, live: &Live, scale: Scale, jeu: &JeuNumbers, rank: Option<usize>) -> Row {
    let title = live.jeu(jeu.jeu).map(|(_, jeu)| jeu.details.title.clone()).unwrap_or_default();
    let frame = &jeu.frame;
    let mean = rank.and(frame.mean);
    let votes = match (mask(live, frame, Audience::Public), frame.phase) {
        _ if !jeu.available => page.say("results.unavailable").to_owned(),
        (_, Phase::Pending) => page.say("phase.pending").to_owned(),
        (Some(crate::protocol::Masked::Minimum), _) => {
            let minimum = page.lang.count(u64::from(live.minimum_votes));
            page.texts.fill("votes.minimum", &[("n", &page.lang.count(frame.voters)), ("k", &minimum)])
        }
        (_, Phase::Final) => page.texts.count("votes.count", frame.voters),
        (_, phase) => format!("{} · {}", page.texts.count("votes.count", frame.voters), page.say(phase_key(phase))),
    };
    let scales = frame.criteres.iter().filter(|_| mean.is_some()).filter_map(|summary| {
        let (_, critere) = live.bareme.critere(&summary.key)?;
        scale_view(page, critere, summary, &title)
    });
    Row {
        rank: rank.map(|rank| rank.to_string()).unwrap_or_default(),
        first: rank == Some(1),
        mean: mean.map_or_else(|| "–".to_owned(), |mean| page.lang.mean(mean, scale.min, scale.max)),
        share: format!("{:.2}", mean.map_or(0.0, |mean| share(mean, scale)) * 100.0),
        votes,
        scales: scales.collect(),
        title,
    }
}

impl ResultsPage {
    fn new(page: Page, live: &Live, channel_title: String, numbers: &[JeuNumbers], site: &str) -> Self {
        let scale = live.bareme.overall_scale();
        let is_public = |jeu: &&JeuNumbers| mask(live, &jeu.frame, Audience::Public).is_none();
        let mut ranked: Vec<_> =
            numbers.iter().filter(is_public).filter_map(|jeu| jeu.frame.mean.map(|mean| (mean, jeu))).collect();
        ranked.sort_by(|(a, one), (b, other)| b.total_cmp(a).then(other.frame.voters.cmp(&one.frame.voters)));
        // Equal means share a rank, which is that of the first of them.
        let rank_of = |mean: f64| ranked.iter().position(|(other, _)| other.total_cmp(&mean).is_eq()).map(|at| at + 1);
        let mut rows: Vec<_> = ranked.iter().map(|(mean, jeu)| row(&page, live, scale, jeu, rank_of(*mean))).collect();
        let described = rows.iter().take(MOST_DESCRIBED).map(|row| format!("{}. {} {}", row.rank, row.title, row.mean));
        let described = described.collect::<Vec<_>>().join(" · ");
        let rest = numbers.iter().filter(|jeu| !ranked.iter().any(|(_, shown)| shown.jeu == jeu.jeu));
        rows.extend(rest.map(|jeu| row(&page, live, scale, jeu, None)));
        let jeux = page.texts.count("results.jeux", numbers.len() as u64);
        let notes: u64 = numbers.iter().map(|jeu| jeu.frame.voters).sum();
        let facts = format!("{jeux} · {}", page.texts.count("results.notes", notes));
        let (date, iso_date) = page.day(live.opened_at_us.unwrap_or(live.created_at_us));
        let query = page.lang_query;
        Self {
            address: format!("{site}/{}/{}", live.channel, live.live_id),
            viewer: format!("{}/{}{query}", page.base, live.channel),
            description: if described.is_empty() { facts.clone() } else { described },
            out_of: page.lang.decimal(scale.max),
            on_air: live.status == LiveStatus::Open,
            title: live.title.clone(),
            channel_title,
            date,
            iso_date,
            facts,
            rows,
            page,
        }
    }
}

async fn results(
    state: Data<AppState>,
    request: HttpRequest,
    path: Path<(String, String)>,
    query: Query<PageQuery>,
) -> HttpResponse {
    let page = Page::of(&state, &request, &query, Script::None);
    let (Ok(slug), Ok(live_id)) = (Slug::new(&path.0), live_of(&path.1)) else { return missing(&state, page).await };
    let (live, numbers) = match state.conductor.numbers(live_id).await {
        Ok(found) => found,
        Err(ConductError::UnknownLive(_)) => return missing(&state, page).await,
        Err(error) => {
            tracing::warn!(%live_id, %error, "a page cannot read its results");
            let text = page.say("results.away").to_owned();
            return html(StatusCode::SERVICE_UNAVAILABLE, &MissingPage { page, text, lives: Vec::new() });
        }
    };
    // A draft is its streamer's secret, and a live of another channel is not found here.
    if live.status == LiveStatus::Draft || live.channel != slug {
        return missing(&state, page).await;
    }
    // From memory, as the viewers' page has it.
    let view = state.conductor.channel_view(&slug).await.ok().flatten().map(|view| view.borrow().clone());
    let channel = view.and_then(|view| view.channel.as_ref().map(|channel| channel.title.clone()));
    let channel_title = channel.unwrap_or_else(|| slug.to_string());
    let site = identity::public_base(&state.settings, &request);
    html(StatusCode::OK, &ResultsPage::new(page, &live, channel_title, &numbers, &site))
}

async fn missing(state: &AppState, page: Page) -> HttpResponse {
    let text = page.say("results.missing").to_owned();
    super::missing(state, page, text).await
}

/// The page's route. Nothing under `/api`: what is not found there is told as a problem.
pub(super) fn page() -> Resource {
    let elsewhere = guard::fn_guard(|context| !context.head().uri.path().starts_with("/api/"));
    resource("/{channel}/{live_id:[0-9A-Fa-f-]{36}}")
        .guard(elsewhere)
        .route(get().to(results))
        .route(head().to(results))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use uuid::Uuid;

    use super::*;
    use crate::domain::bareme::presets;
    use crate::domain::jeu::{Jeu, JeuDetails, JeuId};
    use crate::domain::live::LiveId;
    use crate::domain::tally::Tally;
    use crate::i18n::Lang;
    use crate::protocol::TallyFrame;
    use crate::settings::Settings;

    fn page(lang: Lang) -> Page {
        Page::new(&Settings::default(), lang, false, Script::None)
    }

    fn live(titles: &[&str]) -> Live {
        let jeu = |(title, number): (&&str, u32)| Jeu {
            jeu_id: JeuId(number),
            details: JeuDetails { title: (*title).to_owned(), ..JeuDetails::default() },
        };
        Live {
            live_id: LiveId(Uuid::nil()),
            channel: Slug::new("max").unwrap(),
            title: "Soirée <3".into(),
            bareme_id: Uuid::nil(),
            bareme: presets().remove(0),
            programme: titles.iter().zip(1..).map(jeu).collect(),
            blind: false,
            minimum_votes: 1,
            status: LiveStatus::Closed,
            current: None,
            closes_at_us: BTreeMap::new(),
            delays_us: BTreeMap::new(),
            ends_at_us: None,
            created_at_us: 0,
            opened_at_us: Some(1_767_225_600_000_000),
            closed_at_us: None,
            closed_with: BTreeSet::new(),
        }
    }

    /// Numbers of a jeu whose every critere got these votes.
    fn numbers(live: &Live, jeu: u32, histogram: [u64; 5]) -> JeuNumbers {
        let voters = histogram.iter().sum();
        let tally = Tally { voters, histograms: live.bareme.criteres.iter().map(|_| histogram.to_vec()).collect() };
        let summary = tally.summary(&live.bareme);
        let frame = TallyFrame {
            live: Uuid::nil(),
            jeu,
            epoch: 0,
            phase: Phase::Final,
            rev: 1,
            voters,
            mean: summary.mean,
            criteres: summary.criteres,
            masked: None,
            as_of_us: 0,
        };
        JeuNumbers { jeu: JeuId(jeu), frame, available: true }
    }

    fn shown(lang: Lang, live: &Live, numbers: &[JeuNumbers]) -> ResultsPage {
        ResultsPage::new(page(lang), live, "Max".to_owned(), numbers, "https://vote.example.org")
    }

    #[test]
    fn a_day_is_said_in_words_and_as_machines_read_it() {
        let day = |lang| page(lang).day(1_767_225_600_000_000);
        assert_eq!(day(Lang::Fr), ("1 janvier 2026 (UTC)".to_owned(), "2026-01-01".to_owned()));
        assert_eq!(day(Lang::En).0, "1 January 2026 (UTC)");
    }

    #[test]
    fn the_best_comes_first_and_equal_means_share_a_rank() {
        let live = live(&["un", "deux", "trois", "quatre"]);
        let given = [[0, 2, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 3, 0], [0; 5]];
        let numbers: Vec<_> = (1..).zip(given).map(|(jeu, votes)| numbers(&live, jeu, votes)).collect();
        let page = shown(Lang::En, &live, &numbers);
        let rows: Vec<_> = page.rows.iter().map(|row| (row.rank.as_str(), row.title.as_str(), &*row.mean)).collect();
        assert_eq!(rows, [("1", "trois", "4.0"), ("1", "deux", "4.0"), ("3", "un", "2.0"), ("", "quatre", "–")]);
        assert_eq!(page.description, "1. trois 4.0 · 1. deux 4.0 · 3. un 2.0");
        assert_eq!(page.facts, "4\u{a0}games · 6\u{a0}ratings");
    }

    #[test]
    fn what_the_public_must_not_see_is_not_in_the_page() {
        let mut live = live(&["vu", "secret"]);
        live.blind = true;
        let mut open = numbers(&live, 2, [0, 0, 0, 0, 7]);
        open.frame.phase = Phase::Open;
        let html = shown(Lang::Fr, &live, &[numbers(&live, 1, [0, 0, 5, 0, 0]), open]).render().unwrap();
        assert!(html.contains("3,0") && !html.contains("5,0"), "{html}");
        live.minimum_votes = 10;
        let html = shown(Lang::Fr, &live, &[numbers(&live, 1, [0, 0, 5, 0, 0])]).render().unwrap();
        assert!(html.contains("5 / 10 votes") && !html.contains("3,0"), "{html}");
    }

    #[test]
    fn titles_are_text_and_nothing_is_inline() {
        let live = live(&["<script>x</script>\" onload=\""]);
        for lang in Lang::ALL {
            let html = shown(lang, &live, &[numbers(&live, 1, [1, 0, 0, 4, 2])]).render().unwrap();
            assert!(html.contains("Soirée &#60;3 · Max") && !html.contains("<script") && !html.contains("\" onload"));
            assert!(!html.contains("<style") && !html.contains(" style="), "{html}");
            assert_eq!(html.matches("is-nearest").count(), live.bareme.criteres.len());
        }
    }
}
