//! Whether the numbers of a frame are those of a state that can have existed when it was made.
//!
//! Nobody outside knows in which order the server took notes that were under way together. But a frame whose numbers were
//! true at `as_of_us` counts every note whose `ok` had come by then, unless a newer one of the same viewer may have beaten
//! it, and no note that had not yet left when the frame arrived. That leaves each viewer a few notes that may count, and
//! each number of the frame a least and a greatest value. When nothing is under way the two are equal.

use std::collections::HashMap;

use super::ledger::{Fate, Note};
use super::means::Published;
use super::{Complaints, Wrong};
use crate::shape::{NO_STEP, Shape, WITHDRAWN};

/// Numbers of one jeu as a frame or an answer had them.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The jeu.
    pub jeu: u32,
    /// When they were true, by the server's clock.
    pub as_of_us: u64,
    /// When they arrived first, by the same clock as estimated here.
    pub arrived_us: u64,
    /// Whether only the number of voters is shown.
    pub masked: bool,
    /// The numbers.
    pub numbers: Published,
}

/// What is known beside the notes.
#[derive(Debug, Clone, Copy)]
pub struct Knowledge {
    /// How far the estimate of the server's clock may be off.
    pub clock_error_us: u64,
    /// Whether nobody else votes. If others do, numbers have a least value only.
    pub exclusive: bool,
    /// Whether what frames say of their time is believed. If not, numbers have a greatest value only.
    pub clocks: bool,
}

/// What one viewer may have in the tally.
#[derive(Default)]
struct Choice {
    /// Greatest version that surely counts, or is surely beaten only by a greater one.
    floor: u64,
    /// Notes that left, of at least that version.
    open: Vec<usize>,
}

struct Sweep<'a> {
    shape: &'a Shape,
    notes: &'a [&'a Note],
    choices: HashMap<u32, Choice>,
    voters: (i64, i64),
    /// Least and greatest count for each critere and step.
    cells: Vec<Vec<(i64, i64)>>,
}

impl Sweep<'_> {
    /// Adds (or takes back, with `sign` −1) what a viewer contributes to the limits.
    fn contribute(&mut self, viewer: u32, sign: i64) {
        let Some(choice) = self.choices.get(&viewer) else { return };
        let open: Vec<&Note> = choice.open.iter().map(|&index| self.notes[index]).collect();
        let none_possible = choice.floor == 0;
        let counts = |note: &&&Note| note.steps != WITHDRAWN;
        let voting = open.iter().filter(counts).count();
        self.voters.0 += sign * i64::from(!none_possible && voting == open.len() && voting > 0);
        self.voters.1 += sign * i64::from(voting > 0);
        for (index, cells) in self.cells.iter_mut().enumerate() {
            let Some(&first) = open.first() else { continue };
            let first = first.steps[index];
            let same = !none_possible && open.iter().all(|note| note.steps[index] == first);
            if same {
                if let Some(cell) = cells.get_mut(usize::from(first)).filter(|_| first != NO_STEP) {
                    *cell = (cell.0 + sign, cell.1 + sign);
                }
                continue;
            }
            for (at, note) in open.iter().enumerate() {
                let step = note.steps[index];
                let repeated = open[..at].iter().any(|other| other.steps[index] == step);
                if let Some(cell) = cells.get_mut(usize::from(step)).filter(|_| step != NO_STEP && !repeated) {
                    cell.1 += sign;
                }
            }
        }
    }

    fn left(&mut self, index: usize) {
        let (viewer, v) = (self.notes[index].viewer, self.notes[index].v);
        self.contribute(viewer, -1);
        let choice = self.choices.entry(viewer).or_default();
        if v >= choice.floor {
            choice.open.push(index);
        }
        self.contribute(viewer, 1);
    }

    fn acked(&mut self, index: usize) {
        let (viewer, v) = (self.notes[index].viewer, self.notes[index].v);
        self.contribute(viewer, -1);
        let choice = self.choices.entry(viewer).or_default();
        choice.floor = choice.floor.max(v);
        let floor = choice.floor;
        choice.open.retain(|&open| self.notes[open].v >= floor);
        self.contribute(viewer, 1);
    }

    fn check(&self, seen: &Seen, exclusive: bool) -> Result<(), String> {
        let outside = |count: u64, (least, greatest): (i64, i64)| {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            count < least || (exclusive && count > greatest)
        };
        let say = |what: &str, count: u64, (least, greatest): (i64, i64)| {
            Err(format!(
                "jeu {} as of {}: {what} is {count}, can only be {least} to {greatest}",
                seen.jeu, seen.as_of_us
            ))
        };
        if outside(seen.numbers.voters, self.voters) {
            return say("voters", seen.numbers.voters, self.voters);
        }
        if seen.masked {
            return Ok(());
        }
        for ((critere, published), cells) in self.shape.criteres.iter().zip(&seen.numbers.criteres).zip(&self.cells) {
            for (step, (&count, &limits)) in published.histogram.iter().zip(cells).enumerate() {
                if outside(count, limits) {
                    return say(&format!("step {step} of {}", critere.key), count, limits);
                }
            }
        }
        Ok(())
    }
}

/// Checks every frame against what can have been counted at its time.
pub fn check(shape: &Shape, notes: &[Note], frames: &[Seen], knowledge: Knowledge) -> Complaints {
    let mut complaints = Complaints::default();
    let mut jeux: Vec<u32> = frames.iter().map(|seen| seen.jeu).collect();
    jeux.sort_unstable();
    jeux.dedup();
    for jeu in jeux {
        let possible = |note: &&Note| note.jeu == jeu && note.sent_us != 0 && !matches!(note.fate, Fate::Refused(_));
        let mut by_sent: Vec<&Note> = notes.iter().filter(possible).collect();
        by_sent.sort_by_key(|note| note.sent_us);
        let mut by_acked: Vec<usize> = (0..by_sent.len()).filter(|&index| by_sent[index].acked_us != 0).collect();
        by_acked.sort_by_key(|&index| by_sent[index].acked_us);
        let mut seen: Vec<&Seen> = frames.iter().filter(|seen| seen.jeu == jeu).collect();
        seen.sort_by_key(|seen| (if knowledge.clocks { seen.as_of_us } else { 0 }, seen.arrived_us));
        let cells = shape.criteres.iter().map(|critere| vec![(0, 0); usize::from(critere.steps) + 1]).collect();
        let mut sweep = Sweep { shape, notes: &by_sent, choices: HashMap::new(), voters: (0, 0), cells };
        let (mut sent, mut acked, mut arrived) = (0, 0, 0);
        for seen in seen {
            let error = knowledge.clock_error_us;
            let as_of_us = if knowledge.clocks { seen.as_of_us } else { 0 };
            // A later frame that arrived earlier elsewhere must not narrow what this one may have.
            arrived = arrived.max(seen.arrived_us + error).max(as_of_us + error);
            while sent < by_sent.len() && by_sent[sent].sent_us <= arrived {
                sweep.left(sent);
                sent += 1;
            }
            while let Some(&index) = by_acked.get(acked).filter(|&&index| by_sent[index].acked_us + error < as_of_us) {
                sweep.acked(index);
                acked += 1;
            }
            if let Err(detail) = sweep.check(seen, knowledge.exclusive) {
                complaints.add(Wrong::Impossible, || detail);
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::super::means::Counts;
    use super::super::means::tests::publish;
    use super::*;
    use crate::shape::Steps;
    use crate::shape::tests::{shape, steps};

    const ALONE: Knowledge = Knowledge { clock_error_us: 0, exclusive: true, clocks: true };

    fn note(viewer: u32, v: u64, chosen: Steps, sent_us: u64, acked_us: u64) -> Note {
        let fate = if acked_us == 0 { Fate::Unknown } else { Fate::Acked };
        Note { viewer, jeu: 1, v, steps: chosen, sent_us, acked_us, fate, doubtful: false }
    }

    fn seen(as_of_us: u64, arrived_us: u64, counted: &[Steps]) -> Seen {
        let mut counts = Counts::empty(&shape());
        counted.iter().for_each(|steps| counts.add(steps));
        Seen { jeu: 1, as_of_us, arrived_us, masked: false, numbers: publish(&shape(), &counts) }
    }

    fn complaints(notes: &[Note], frames: &[Seen]) -> u64 {
        check(&shape(), notes, frames, ALONE).of(Wrong::Impossible)
    }

    #[test]
    fn what_was_acknowledged_has_to_show_and_what_had_not_left_cannot() {
        let notes = [note(0, 1, steps(&[3]), 100, 110), note(1, 2, steps(&[2]), 200, 210)];
        let (first, second) = (steps(&[3]), steps(&[2]));
        assert_eq!(
            complaints(&notes, &[seen(0, 5, &[]), seen(150, 160, &[first]), seen(300, 310, &[first, second])]),
            0
        );
        assert_eq!(complaints(&notes, &[seen(150, 160, &[])]), 1, "the acknowledged note is missing");
        assert_eq!(complaints(&notes, &[seen(150, 160, &[first, second])]), 1, "the second had not left");
        assert_eq!(complaints(&notes, &[seen(150, 160, &[second])]), 1, "another note is shown");
        assert_eq!(complaints(&notes, &[seen(300, 310, &[first])]), 1, "stale numbers with a new time");
    }

    #[test]
    fn a_note_under_way_may_show_or_not() {
        let notes = [note(0, 1, steps(&[3]), 100, 200)];
        assert_eq!(complaints(&notes, &[seen(150, 160, &[]), seen(155, 165, &[steps(&[3])])]), 0);
        let unknown = [note(0, 1, steps(&[3]), 100, 0)];
        assert_eq!(complaints(&unknown, &[seen(900, 900, &[]), seen(901, 901, &[steps(&[3])])]), 0);
    }

    #[test]
    fn a_change_of_mind_replaces_and_does_not_add() {
        let notes = [note(0, 1, steps(&[3]), 100, 110), note(0, 2, steps(&[1]), 200, 210)];
        assert_eq!(complaints(&notes, &[seen(205, 206, &[steps(&[3])]), seen(206, 207, &[steps(&[1])])]), 0);
        assert_eq!(complaints(&notes, &[seen(300, 301, &[steps(&[1])])]), 0);
        assert_eq!(complaints(&notes, &[seen(300, 301, &[steps(&[3])])]), 1, "the older note is back");
        assert_eq!(complaints(&notes, &[seen(300, 301, &[steps(&[3]), steps(&[1])])]), 1, "it counts twice");
    }

    #[test]
    fn a_withdrawal_takes_the_note_out() {
        let notes = [note(0, 1, steps(&[3]), 100, 110), note(0, 2, WITHDRAWN, 200, 210)];
        assert_eq!(complaints(&notes, &[seen(205, 206, &[]), seen(300, 301, &[])]), 0);
        assert_eq!(complaints(&notes, &[seen(300, 301, &[steps(&[3])])]), 1);
    }

    #[test]
    fn a_refused_note_cannot_show() {
        let mut refused = note(0, 1, steps(&[3]), 100, 0);
        refused.fate = Fate::Refused(bareme::protocol::Status::Closed);
        assert_eq!(complaints(&[refused], &[seen(300, 301, &[steps(&[3])])]), 1);
    }

    #[test]
    fn with_other_voters_there_is_only_a_least_value() {
        let notes = [note(0, 1, steps(&[3]), 100, 110)];
        let knowledge = Knowledge { exclusive: false, ..ALONE };
        let frames = [seen(300, 301, &[steps(&[3]), steps(&[3]), steps(&[0])])];
        assert!(check(&shape(), &notes, &frames, knowledge).is_empty());
        let frames = [seen(300, 301, &[steps(&[0]), steps(&[1])])];
        assert_eq!(check(&shape(), &notes, &frames, knowledge).of(Wrong::Impossible), 1);
    }

    #[test]
    fn an_uncertain_clock_forgives_as_much_as_it_may_be_off() {
        let notes = [note(0, 1, steps(&[3]), 100, 110)];
        let frames = [seen(120, 125, &[])];
        assert_eq!(complaints(&notes, &frames), 1);
        assert!(check(&shape(), &notes, &frames, Knowledge { clock_error_us: 20, ..ALONE }).is_empty());
    }
}
