//! The recount at the end: what the server counts against what was sent and answered.
//!
//! The server names viewers by numbers that mean nothing outside it. But no two notes of a run have the same version, so
//! a counted note tells by its version which note it is, and whose.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::ledger::{Fate, Fates, Ledger, Note};
use super::means::{Counts, Published, check_against};
use super::{Complaints, Wrong};
use crate::shape::{Shape, Steps, WITHDRAWN};

/// A note that the server counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The server's name for the viewer.
    pub viewer: String,
    /// The jeu.
    pub jeu: u32,
    /// Version.
    pub v: u64,
    /// Its steps; `None` when its scores are none of the scale.
    pub steps: Option<Steps>,
}

/// How the server came to say which notes count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Every counted note, by the export for admins.
    Export,
    /// Each simulated viewer's own note, asked for on a new connection. Nothing can be said of others.
    OwnNotes,
}

/// What is recounted against.
#[derive(Debug)]
pub struct Counted {
    /// Where the rows come from.
    pub source: Source,
    /// The notes that count.
    pub rows: Vec<Row>,
    /// Published results by jeu, unmasked.
    pub results: BTreeMap<u32, Published>,
    /// Whether nobody else was there to vote.
    pub exclusive: bool,
}

/// What the recount found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Recount {
    /// Notes by what became of them.
    pub fates: Fates,
    /// Counted notes that this run sent.
    pub counted: u64,
    /// Counted notes of others.
    pub foreign: u64,
    /// What does not fit.
    pub complaints: Complaints,
}

impl Recount {
    /// The line that sums it up.
    pub fn line(&self) -> String {
        let Fates { sent, acked, unknown, refused, .. } = self.fates;
        let (lost, double) = (self.complaints.of(Wrong::Lost), self.complaints.of(Wrong::Double));
        let counted = self.counted;
        format!(
            "sent {sent}, acked {acked}, unknown {unknown}, refused {refused}, counted {counted}, lost {lost}, double {double}"
        )
    }
}

/// Recounts.
pub fn recount(shape: &Shape, ledger: &Ledger, server: &Counted) -> Recount {
    let mut found = Recount { fates: ledger.fates(), ..Recount::default() };
    let by_version: HashMap<u64, &Note> = ledger.notes.iter().map(|note| (note.v, note)).collect();
    let counting = match_rows(server, &by_version, &mut found);
    check_promises(ledger, &counting, &mut found.complaints);
    if server.source == Source::Export {
        check_results(shape, server, &mut found.complaints);
    }
    found
}

/// What counts of each viewer and jeu.
type Counting<'a> = HashMap<(u32, u32), Vec<&'a Note>>;

fn match_rows<'a>(server: &Counted, by_version: &HashMap<u64, &'a Note>, found: &mut Recount) -> Counting<'a> {
    let mut counting = Counting::new();
    let mut of_name: HashMap<&str, u32> = HashMap::new();
    let mut name_of: HashMap<u32, &str> = HashMap::new();
    let mut rows_of: HashMap<(&str, u32), u64> = HashMap::new();
    let complaints = &mut found.complaints;
    for row in &server.rows {
        let times = rows_of.entry((&row.viewer, row.jeu)).or_default();
        *times += 1;
        if *times == 2 {
            complaints.add(Wrong::Double, || format!("jeu {}: {} is in the export twice", row.jeu, row.viewer));
        }
        let Some(&note) = by_version.get(&row.v).filter(|note| note.jeu == row.jeu) else {
            found.foreign += 1;
            if server.exclusive || server.source == Source::OwnNotes {
                complaints.add(Wrong::Invented, || format!("jeu {}: nobody here sent version {}", row.jeu, row.v));
            }
            continue;
        };
        found.counted += 1;
        let viewer = note.viewer;
        if let Fate::Refused(status) = note.fate {
            complaints.add(Wrong::Invented, || {
                format!(
                    "jeu {}: viewer {viewer}'s version {} counts, but was refused: {}",
                    row.jeu,
                    row.v,
                    status.as_str()
                )
            });
        }
        if note.fate == Fate::Unsent {
            complaints.add(Wrong::Invented, || format!("jeu {}: version {} counts, but never left", row.jeu, row.v));
        }
        if row.steps != Some(note.steps) || note.steps == WITHDRAWN {
            complaints.add(Wrong::Changed, || {
                format!(
                    "jeu {}: viewer {viewer}'s version {} counts as {:?}, was {:?}",
                    row.jeu, row.v, row.steps, note.steps
                )
            });
        }
        let (name, owner) =
            (*name_of.entry(viewer).or_insert(&row.viewer), *of_name.entry(&row.viewer).or_insert(viewer));
        if name != row.viewer {
            complaints.add(Wrong::Double, || format!("viewer {viewer} counts as {name} and as {}", row.viewer));
        }
        if owner != viewer {
            complaints.add(Wrong::Lost, || format!("viewers {owner} and {viewer} count as one, {name}"));
        }
        counting.entry((viewer, note.jeu)).or_default().push(note);
    }
    counting
}

/// What a viewer's answers promise on one jeu.
#[derive(Default)]
struct Promise<'a> {
    /// Greatest acknowledged note.
    acked: Option<&'a Note>,
    /// Greatest note of unknown fate.
    unknown: Option<&'a Note>,
}

fn check_promises(ledger: &Ledger, counting: &Counting<'_>, complaints: &mut Complaints) {
    let mut promises: HashMap<(u32, u32), Promise<'_>> = HashMap::new();
    for note in &ledger.notes {
        let promise = promises.entry((note.viewer, note.jeu)).or_default();
        let place = match note.fate {
            Fate::Acked => &mut promise.acked,
            // Of several unknown ones any may count; the greatest withdrawal is the one that may explain an absence.
            Fate::Unknown if note.steps == WITHDRAWN => &mut promise.unknown,
            _ => continue,
        };
        if place.is_none_or(|greatest| greatest.v < note.v) {
            *place = Some(note);
        }
    }
    for (&(viewer, jeu), notes) in counting {
        if notes.len() > 1 {
            let versions: Vec<u64> = notes.iter().map(|note| note.v).collect();
            complaints.add(Wrong::Double, || format!("jeu {jeu}: viewer {viewer} counts with versions {versions:?}"));
        }
    }
    for ((viewer, jeu), promise) in promises {
        let Some(acked) = promise.acked else { continue };
        let counts = counting.get(&(viewer, jeu)).and_then(|notes| notes.iter().map(|note| note.v).max());
        let kept = match counts {
            Some(v) => v >= acked.v,
            None => acked.steps == WITHDRAWN || promise.unknown.is_some_and(|unknown| unknown.v > acked.v),
        };
        if !kept {
            let instead = counts.map_or_else(|| "nothing counts".to_owned(), |v| format!("version {v} counts"));
            complaints.add(Wrong::Lost, || {
                format!("jeu {jeu}: viewer {viewer}'s version {} was acknowledged, but {instead}", acked.v)
            });
        }
    }
}

fn check_results(shape: &Shape, server: &Counted, complaints: &mut Complaints) {
    let mut counts: BTreeMap<u32, Counts> = server.results.keys().map(|&jeu| (jeu, Counts::empty(shape))).collect();
    for row in &server.rows {
        if let Some(steps) = &row.steps {
            counts.entry(row.jeu).or_insert_with(|| Counts::empty(shape)).add(steps);
        }
    }
    for (jeu, counts) in counts {
        let wrong = match server.results.get(&jeu) {
            Some(published) => check_against(shape, published, &counts).err(),
            None if server.exclusive => Some(format!("{} notes count, but no result is published", counts.voters)),
            // Others vote on: their numbers move between the questions.
            None => None,
        };
        if let Some(wrong) = wrong {
            complaints.add(Wrong::Numbers, || format!("jeu {jeu}: {wrong}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use bareme::protocol::Status;

    use super::super::means::tests::publish;
    use super::*;
    use crate::shape::tests::{shape, steps};

    /// Three viewers voted; the first changed their mind, the third's answer never came.
    fn run() -> (Ledger, Counted) {
        let mut ledger = Ledger::default();
        for (viewer, v, chosen, answer) in [
            (0, 10, steps(&[1]), Some(Status::Ok)),
            (1, 11, steps(&[2, 3]), Some(Status::Ok)),
            (0, 12, steps(&[4]), Some(Status::Ok)),
            (2, 13, steps(&[0]), None),
            (3, 14, steps(&[0]), Some(Status::Closed)),
        ] {
            let note = ledger.want(viewer, 1, v, chosen);
            ledger.sent(note, v);
            if let Some(status) = answer {
                ledger.answered(note, status, v + 1);
            }
        }
        let row = |viewer: &str, v, chosen| Row { viewer: viewer.to_owned(), jeu: 1, v, steps: Some(chosen) };
        let rows = vec![row("aa", 12, steps(&[4])), row("bb", 11, steps(&[2, 3]))];
        let mut counted = Counted { source: Source::Export, rows, results: BTreeMap::new(), exclusive: true };
        results(&mut counted);
        (ledger, counted)
    }

    /// Results that follow from the rows.
    fn results(counted: &mut Counted) {
        let mut counts = Counts::empty(&shape());
        counted.rows.iter().filter_map(|row| row.steps).for_each(|steps| counts.add(&steps));
        counted.results.insert(1, publish(&shape(), &counts));
    }

    fn wrong(ledger: &Ledger, counted: &Counted) -> Vec<(Wrong, u64)> {
        recount(&shape(), ledger, counted).complaints.counts.into_iter().collect()
    }

    #[test]
    fn an_honest_server_has_nothing_to_hear() {
        let (ledger, mut counted) = run();
        let found = recount(&shape(), &ledger, &counted);
        assert_eq!(found.line(), "sent 5, acked 3, unknown 1, refused 1, counted 2, lost 0, double 0");
        assert!(found.complaints.is_empty(), "{found:?}");
        counted.rows.push(Row { viewer: "cc".to_owned(), jeu: 1, v: 13, steps: Some(steps(&[0])) });
        results(&mut counted);
        assert!(recount(&shape(), &ledger, &counted).complaints.is_empty(), "the unknown one may count, too");
    }

    #[test]
    fn a_dropped_acknowledged_note_is_lost() {
        let (ledger, mut counted) = run();
        counted.rows.remove(1);
        results(&mut counted);
        assert_eq!(wrong(&ledger, &counted), [(Wrong::Lost, 1)]);
    }

    #[test]
    fn an_older_note_in_place_of_a_newer_acknowledged_one_is_a_loss() {
        let (ledger, mut counted) = run();
        counted.rows[0] = Row { viewer: "aa".to_owned(), jeu: 1, v: 10, steps: Some(steps(&[1])) };
        results(&mut counted);
        assert_eq!(wrong(&ledger, &counted), [(Wrong::Lost, 1)]);
    }

    #[test]
    fn who_counts_twice_is_double_under_one_name_or_two() {
        for name in ["aa", "zz"] {
            let (ledger, mut counted) = run();
            counted.rows.push(Row { viewer: name.to_owned(), jeu: 1, v: 10, steps: Some(steps(&[1])) });
            results(&mut counted);
            let found = wrong(&ledger, &counted);
            assert_eq!((found.len(), found[0].0), (1, Wrong::Double), "{name}: {found:?}");
        }
    }

    #[test]
    fn two_viewers_under_one_name_are_noticed() {
        let (ledger, mut counted) = run();
        counted.rows[1].viewer = "aa".to_owned();
        results(&mut counted);
        assert!(wrong(&ledger, &counted).iter().any(|&(wrong, _)| wrong == Wrong::Lost));
    }

    #[test]
    fn a_note_that_nobody_sent_is_invented_unless_others_vote_as_well() {
        let (ledger, mut counted) = run();
        counted.rows.push(Row { viewer: "dd".to_owned(), jeu: 1, v: 99, steps: Some(steps(&[0])) });
        results(&mut counted);
        assert_eq!(wrong(&ledger, &counted), [(Wrong::Invented, 1)]);
        counted.exclusive = false;
        let found = recount(&shape(), &ledger, &counted);
        assert!(found.complaints.is_empty());
        assert_eq!((found.counted, found.foreign), (2, 1));
    }

    #[test]
    fn a_refused_note_that_counts_is_invented() {
        let (ledger, mut counted) = run();
        counted.rows.push(Row { viewer: "dd".to_owned(), jeu: 1, v: 14, steps: Some(steps(&[0])) });
        results(&mut counted);
        assert_eq!(wrong(&ledger, &counted), [(Wrong::Invented, 1)]);
    }

    #[test]
    fn other_scores_than_were_sent_are_a_change() {
        let (ledger, mut counted) = run();
        counted.rows[1].steps = Some(steps(&[2, 4]));
        results(&mut counted);
        assert_eq!(wrong(&ledger, &counted), [(Wrong::Changed, 1)]);
    }

    #[test]
    fn a_stale_result_is_noticed() {
        let (ledger, mut counted) = run();
        let mut counts = Counts::empty(&shape());
        counts.add(&steps(&[1]));
        counts.add(&steps(&[2, 3]));
        counted.results.insert(1, publish(&shape(), &counts));
        assert_eq!(wrong(&ledger, &counted), [(Wrong::Numbers, 1)]);
        counted.results.clear();
        assert_eq!(wrong(&ledger, &counted), [(Wrong::Numbers, 1)]);
    }

    #[test]
    fn a_withdrawal_is_kept_when_nothing_counts_and_lost_when_the_note_still_does() {
        let (mut ledger, mut counted) = run();
        let note = ledger.want(1, 1, 20, WITHDRAWN);
        ledger.sent(note, 20);
        counted.rows.remove(1);
        results(&mut counted);
        assert!(wrong(&ledger, &counted).is_empty(), "it may have been taken");
        ledger.answered(note, Status::Ok, 21);
        assert!(wrong(&ledger, &counted).is_empty());
        let (_, counted) = run();
        assert_eq!(wrong(&ledger, &counted), [(Wrong::Lost, 1)]);
    }
}
