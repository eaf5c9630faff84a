//! What the viewer page shows before any script runs: the jeu with its criteres and numbers, or how things stand, and
//! the jeux of the live. The script then builds the same out of the same words; nothing may move when it does.

use askama::Template;

use super::Page;
use crate::conductor::{LiveView, tally_frame};
use crate::domain::bareme::Critere;
use crate::domain::key::Slug;
use crate::domain::live::LiveStatus;
use crate::domain::phase::Phase;
use crate::hub::frames::{Audience, mask, masked};
use crate::i18n::NO_NUMBER;
use crate::protocol::{LiveState, Masked, ProgrammeEntry, TallyFrame};

/// More scores than this are rated with a slider, as in `overlay/lib/scale.js`.
const MOST_BUTTONS: usize = 11;

/// More buttons than this wrap to several rows.
const MOST_IN_A_ROW: usize = 6;

/// A live and the numbers of it that everybody may see.
pub(super) struct Shown {
    pub(super) live: LiveState,
    tallies: Vec<TallyFrame>,
}

impl Shown {
    /// What a viewer sees who has not voted: the page may have been asked for by anybody.
    pub(super) fn of(view: &LiveView) -> Self {
        let public = |frame: TallyFrame| match mask(&view.live, &frame, Audience::Public) {
            Some(reason) => masked(&frame, reason),
            None => frame,
        };
        let read = view.items.iter().map(|item| (item.item().jeu, item.view()));
        let known = read.filter(|(_, item)| item.loaded && item.rank.phase() != Phase::Pending);
        let tallies = known.map(|(jeu, item)| public(tally_frame(&view.live, jeu, &item))).collect();
        Self { live: view.state(), tallies }
    }

    fn tally(&self, entry: &ProgrammeEntry) -> Option<&TallyFrame> {
        self.tallies.iter().find(|tally| tally.jeu == entry.jeu.jeu_id.0)
    }

    /// The jeu that the page shows, with its place in the programme.
    pub(super) fn current(&self) -> Option<(usize, &ProgrammeEntry)> {
        let mut entries = (1..).zip(&self.live.programme);
        let current = entries.find(|(_, entry)| Some(entry.jeu.jeu_id.0) == self.live.current);
        current.filter(|(_, entry)| entry.phase != Phase::Pending && self.live.status == LiveStatus::Open)
    }

    /// "1 248 votes", or "3 / 10 votes" below the minimum.
    pub(super) fn votes(&self, page: &Page, entry: &ProgrammeEntry) -> String {
        let tally = self.tally(entry);
        let voters = tally.map_or(0, |tally| tally.voters);
        if tally.is_some_and(|tally| tally.masked == Some(Masked::Minimum)) {
            let (n, k) = (page.lang.count(voters), page.lang.count(self.live.minimum_votes.into()));
            return page.texts.fill("votes.minimum", &[("n", &n), ("k", &k)]);
        }
        page.texts.count("votes.count", voters)
    }

    fn mean(&self, page: &Page, mean: Option<f64>) -> String {
        mean.map_or_else(|| NO_NUMBER.to_owned(), |mean| page.lang.mean(mean, self.live.scale.min, self.live.scale.max))
    }
}

/// One critere as the page first shows it.
struct CritereView {
    label: String,
    mean: String,
    low: String,
    high: String,
    slider: bool,
    many: bool,
    optional: bool,
    scores: Vec<String>,
}

/// One jeu of the list.
struct Row {
    place: String,
    title: String,
    words: String,
    mean: String,
    is_open: bool,
    on_air: bool,
}

/// The jeu that one rates.
struct Stage {
    place: String,
    moment: &'static str,
    moment_words: &'static str,
    title: String,
    details: String,
    mean: String,
    is_words: bool,
    is_none: bool,
    votes: String,
    criteres: Vec<CritereView>,
}

#[derive(Template)]
#[template(path = "viewer.html")]
pub(super) struct ViewerPage {
    page: Page,
    channel: String,
    channel_title: String,
    stage: Option<Stage>,
    /// Keys of title and text of how things stand.
    message: Option<(&'static str, &'static str)>,
    /// Key of the list's heading.
    list: &'static str,
    is_ranking: bool,
    rows: Vec<Row>,
}

fn critere_view(page: &Page, critere: &Critere, tally: Option<&TallyFrame>) -> CritereView {
    let scores: Vec<_> = (0..=critere.steps()).map(|k| page.lang.decimal(critere.score(k))).collect();
    let slider = scores.len() > MOST_BUTTONS;
    let summary = tally.and_then(|tally| tally.criteres.iter().find(|summary| summary.key == critere.key.as_str()));
    let mean = summary.and_then(|summary| summary.mean).map(|mean| page.lang.mean(mean, critere.min, critere.max));
    CritereView {
        label: page.own(&critere.labels).to_owned(),
        mean: mean.map_or_else(String::new, |mean| page.texts.fill("viewer.mean", &[("mean", &mean)])),
        low: page.own(&critere.low).to_owned(),
        high: page.own(&critere.high).to_owned(),
        slider,
        many: scores.len() > MOST_IN_A_ROW,
        optional: critere.optional,
        scores: if slider { Vec::new() } else { scores },
    }
}

/// What styles call where a jeu stands, and the key of its words.
const fn moment(entry: &ProgrammeEntry) -> (&'static str, &'static str) {
    match entry.phase {
        Phase::Pending => ("pending", "phase.pending"),
        Phase::Open if entry.closes_at_us.is_some() => ("closing", "phase.short_closing"),
        Phase::Open => ("open", "phase.open"),
        Phase::Closing => ("finalising", "phase.finalising"),
        Phase::Final => ("final", "phase.final"),
    }
}

fn stage(page: &Page, shown: &Shown, place: usize, entry: &ProgrammeEntry) -> Stage {
    let live = &shown.live;
    let tally = shown.tally(entry);
    let is_words = tally.is_some_and(|tally| tally.masked == Some(Masked::Blind));
    let votes = shown.votes(page, entry);
    let (place, count) = (place.to_string(), live.programme.len().to_string());
    let details = &entry.jeu.details;
    let year = details.year.map(|year| year.to_string()).unwrap_or_default();
    let known = [&*details.platform, &*details.genre, &*year].into_iter().filter(|detail| !detail.is_empty());
    let (moment, moment_words) = moment(entry);
    Stage {
        place: page.texts.fill("phase.place", &[("place", &place), ("count", &count)]),
        moment,
        moment_words,
        title: details.title.clone(),
        details: known.collect::<Vec<_>>().join(" · "),
        mean: match is_words {
            true => page.say("viewer.after_your_vote").to_owned(),
            false => shown.mean(page, tally.and_then(|tally| tally.mean)),
        },
        is_words,
        is_none: tally.is_none_or(|tally| tally.mean.is_none()),
        votes: if is_words { votes } else { format!("/ {} · {votes}", page.lang.decimal(live.scale.max)) },
        criteres: live.bareme.criteres.iter().map(|critere| critere_view(page, critere, tally)).collect(),
    }
}

/// The jeux of a live on air in order of the programme; of one that is over, best first.
fn rows(page: &Page, shown: &Shown, is_ranking: bool) -> Vec<Row> {
    // A ranking knows final means only.
    let counts = |entry: &ProgrammeEntry| !is_ranking || entry.phase == Phase::Final;
    let numbers = |entry| shown.tally(entry).filter(|_| counts(entry));
    let mut jeux: Vec<_> = shown.live.programme.iter().map(|entry| (entry, numbers(entry))).collect();
    let rank = |tally: Option<&TallyFrame>| tally.and_then(|tally| tally.mean).unwrap_or(f64::NEG_INFINITY);
    if is_ranking {
        // A stable sort: what has no mean keeps its order, at the end.
        let voters = |tally: Option<&TallyFrame>| tally.map_or(0, |tally| tally.voters);
        jeux.sort_by(|(_, a), (_, b)| rank(*b).total_cmp(&rank(*a)).then_with(|| voters(*b).cmp(&voters(*a))));
    }
    let place = |index: usize, mean: Option<f64>| match (is_ranking, mean) {
        (false, _) => (index + 1).to_string(),
        (true, None) => String::new(),
        // Equal means share a place.
        (true, Some(mean)) => (1 + jeux.iter().filter(|(_, other)| rank(*other) > mean).count()).to_string(),
    };
    let row = |(index, (entry, tally)): (usize, &(&ProgrammeEntry, Option<&TallyFrame>))| {
        let mean = tally.and_then(|tally| tally.mean);
        let words = match (is_ranking, entry.phase) {
            (true, Phase::Pending) => page.say("viewer.not_played").to_owned(),
            (true, Phase::Final) => shown.votes(page, entry),
            (false, Phase::Open) if entry.closes_at_us.is_none() => page.say("phase.short_open").to_owned(),
            _ => page.say(moment(entry).1).to_owned(),
        };
        Row {
            place: place(index, mean),
            title: entry.jeu.details.title.clone(),
            words,
            mean: shown.mean(page, mean),
            is_open: entry.phase == Phase::Open,
            on_air: !is_ranking && Some(entry.jeu.jeu_id.0) == shown.live.current,
        }
    };
    jeux.iter().enumerate().map(row).collect()
}

impl ViewerPage {
    /// The page of a channel: `None` while the store is away, which says nothing about a live.
    pub(super) fn new(page: Page, channel: &Slug, channel_title: Option<String>, shown: Option<&Shown>) -> Self {
        let message = match shown.map(|shown| shown.live.status) {
            None if channel_title.is_none() => Some(("viewer.away.title", "viewer.away.text")),
            None | Some(LiveStatus::Draft) => Some(("viewer.before.title", "viewer.before.text")),
            Some(LiveStatus::Closed) => Some(("viewer.over.title", "viewer.over.text")),
            Some(LiveStatus::Open) => Some(("viewer.soon.title", "viewer.soon.text")),
        };
        let stage = shown.and_then(|shown| {
            let (place, entry) = shown.current()?;
            Some(stage(&page, shown, place, entry))
        });
        let is_ranking = shown.is_some_and(|shown| shown.live.status == LiveStatus::Closed);
        let listed = shown.filter(|shown| shown.live.status != LiveStatus::Draft);
        let listed = listed.filter(|shown| is_ranking || shown.live.programme.len() > 1);
        Self {
            channel: channel.to_string(),
            channel_title: channel_title.unwrap_or_else(|| channel.to_string()),
            message: message.filter(|_| stage.is_none()),
            stage,
            list: if is_ranking { "viewer.ranking" } else { "viewer.programme" },
            is_ranking,
            rows: listed.map(|shown| rows(&page, shown, is_ranking)).unwrap_or_default(),
            page,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::bareme::presets;
    use crate::domain::jeu::{Jeu, JeuDetails, JeuId};
    use crate::domain::tally::CritereSummary;

    /// A live with a jeu that one rates and one that was rated better.
    pub(in crate::http::pages) fn sample(title: &str, preset: usize) -> Shown {
        let bareme = presets().remove(preset);
        let entry = |jeu_id: u32, title: &str, phase| {
            let details = JeuDetails { title: title.to_owned(), ..JeuDetails::default() };
            let jeu = Jeu { jeu_id: JeuId(jeu_id), details };
            ProgrammeEntry { jeu, phase, epoch: 0, closes_at_us: None, closed_at_us: None, unreadable: false }
        };
        let summary = |critere: &Critere| CritereSummary {
            key: critere.key.to_string(),
            count: 3,
            mean: Some(4.6),
            histogram: Vec::new(),
        };
        let tally = |jeu, mean, voters, phase| TallyFrame {
            live: Uuid::nil(),
            jeu,
            epoch: 0,
            phase,
            rev: 1,
            voters,
            mean: Some(mean),
            criteres: bareme.criteres.iter().map(summary).collect(),
            masked: None,
            as_of_us: 0,
        };
        let tallies = vec![tally(3, 4.25, 1248, Phase::Open), tally(4, 4.8, 7, Phase::Final)];
        let programme = vec![entry(3, title, Phase::Open), entry(4, "Petite Forge", Phase::Final)];
        let live = LiveState {
            live_id: Uuid::nil(),
            channel: "max".to_owned(),
            title: "Soirée".to_owned(),
            status: LiveStatus::Open,
            current: Some(3),
            blind: false,
            minimum_votes: 1,
            scale: bareme.overall_scale(),
            bareme,
            programme,
            ends_at_us: None,
            closed_at_us: None,
            test: false,
        };
        Shown { live, tallies }
    }

    impl Shown {
        pub(in crate::http::pages) fn mask(&mut self, index: usize, reason: Masked) {
            self.tallies[index] = masked(&self.tallies[index], reason);
        }

        pub(in crate::http::pages) fn end(&mut self) {
            self.live.status = LiveStatus::Closed;
            for entry in &mut self.live.programme {
                entry.phase = Phase::Final;
            }
        }
    }
}
