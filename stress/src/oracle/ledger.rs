//! Every note that was wanted, and what was heard of it.

use std::collections::HashMap;

use bareme::protocol::Status;
use serde::{Deserialize, Serialize};

use crate::shape::Steps;

/// What became of a note, as far as its sender knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It never left.
    Unsent,
    /// It left, and no answer that settles it came. It may count or not, once.
    Unknown,
    /// The server promised that it counts.
    Acked,
    /// The server said that it does not.
    Refused(Status),
}

/// One note of one viewer on one jeu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Whose, by this program's own count.
    pub viewer: u32,
    /// On which jeu.
    pub jeu: u32,
    /// Its version, which no other note of the run has.
    pub v: u64,
    /// What it chooses.
    pub steps: Steps,
    /// When it left first, by the server's clock as estimated; 0 while it did not.
    pub sent_us: u64,
    /// When its `ok` came, by the same clock; 0 while none came.
    pub acked_us: u64,
    /// What became of it.
    pub fate: Fate,
    /// Whether some attempt's fate will never be heard.
    pub doubtful: bool,
}

/// The notes of one worker, or of all.
#[derive(Debug, Default)]
pub struct Ledger {
    /// In the order in which they were wanted.
    pub notes: Vec<Note>,
}

/// Notes by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fates {
    /// Left at least once.
    pub sent: u64,
    /// Acknowledged.
    pub acked: u64,
    /// Left, and nobody knows.
    pub unknown: u64,
    /// Refused for good.
    pub refused: u64,
    /// Wanted, but never sent: the server was away.
    pub unsent: u64,
}

impl Ledger {
    /// Writes a note down that is wanted now; returns its place.
    pub fn want(&mut self, viewer: u32, jeu: u32, v: u64, steps: Steps) -> usize {
        let fate = Fate::Unsent;
        self.notes.push(Note { viewer, jeu, v, steps, sent_us: 0, acked_us: 0, fate, doubtful: false });
        self.notes.len() - 1
    }

    /// It leaves, for the first time or again.
    pub fn sent(&mut self, note: usize, now_us: u64) {
        let note = &mut self.notes[note];
        if note.sent_us == 0 {
            note.sent_us = now_us;
        }
        match note.fate {
            // The attempt before was not answered; an answer from now on may be to either.
            Fate::Unknown => note.doubtful = true,
            Fate::Unsent | Fate::Refused(_) => note.fate = Fate::Unknown,
            Fate::Acked => {}
        }
    }

    /// The connection it left on has ended; an attempt without an answer will get none.
    pub fn cut(&mut self, note: usize) {
        let note = &mut self.notes[note];
        if note.fate == Fate::Unknown {
            note.doubtful = true;
        }
    }

    /// An answer came.
    pub fn answered(&mut self, note: usize, status: Status, now_us: u64) {
        let note = &mut self.notes[note];
        match status {
            Status::Ok => {
                if note.fate != Fate::Acked {
                    note.acked_us = now_us;
                }
                note.fate = Fate::Acked;
            }
            _ if note.fate == Fate::Acked => {}
            Status::Unknown => note.doubtful = true,
            // A refusal speaks of one attempt; an earlier one may be stored.
            refusal if !note.doubtful => note.fate = Fate::Refused(refusal),
            _ => note.fate = Fate::Unknown,
        }
    }

    /// How many wishes there were, and how many of them were acknowledged. A wish is a viewer's last note on a jeu: those
    /// before it may have been given up for it without an answer.
    pub fn last_wishes(&self) -> (u64, u64) {
        let mut last: HashMap<(u32, u32), (u64, bool)> = HashMap::new();
        for note in &self.notes {
            let wish = last.entry((note.viewer, note.jeu)).or_default();
            *wish = (*wish).max((note.v, note.fate == Fate::Acked));
        }
        let acked = last.values().filter(|(_, acked)| *acked).count();
        (u64::try_from(last.len()).unwrap_or(0), u64::try_from(acked).unwrap_or(0))
    }

    /// Notes by what became of them.
    pub fn fates(&self) -> Fates {
        let mut fates = Fates::default();
        for note in &self.notes {
            fates.sent += u64::from(note.sent_us != 0);
            match note.fate {
                Fate::Unsent => fates.unsent += 1,
                Fate::Unknown => fates.unknown += 1,
                Fate::Acked => fates.acked += 1,
                Fate::Refused(_) => fates.refused += 1,
            }
        }
        fates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::WITHDRAWN;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.want(0, 1, 10, WITHDRAWN);
        ledger
    }

    #[test]
    fn a_note_is_settled_by_its_answer() {
        let mut ledger = ledger();
        assert_eq!(ledger.fates(), Fates { unsent: 1, ..Fates::default() });
        ledger.sent(0, 5);
        assert_eq!(ledger.notes[0].fate, Fate::Unknown);
        ledger.answered(0, Status::Ok, 7);
        assert_eq!((ledger.notes[0].fate, ledger.notes[0].sent_us, ledger.notes[0].acked_us), (Fate::Acked, 5, 7));
        ledger.answered(0, Status::Closed, 9);
        assert_eq!((ledger.notes[0].fate, ledger.notes[0].acked_us), (Fate::Acked, 7), "a promise stays a promise");
    }

    #[test]
    fn a_refusal_after_an_attempt_nobody_heard_of_leaves_the_note_unknown() {
        let mut ledger = ledger();
        ledger.sent(0, 5);
        ledger.cut(0);
        ledger.sent(0, 6);
        ledger.answered(0, Status::Closed, 7);
        assert_eq!(ledger.notes[0].fate, Fate::Unknown);
    }

    #[test]
    fn a_refusal_of_the_only_attempt_settles_it_until_it_is_sent_again() {
        let mut ledger = ledger();
        ledger.sent(0, 5);
        ledger.answered(0, Status::TooFast, 6);
        assert_eq!(ledger.notes[0].fate, Fate::Refused(Status::TooFast));
        ledger.sent(0, 7);
        assert_eq!((ledger.notes[0].fate, ledger.notes[0].doubtful), (Fate::Unknown, false));
    }

    #[test]
    fn a_wish_that_was_given_up_for_a_newer_one_is_no_wish_any_more() {
        let mut ledger = ledger();
        ledger.sent(0, 5);
        let newer = ledger.want(0, 1, 20, WITHDRAWN);
        ledger.sent(newer, 6);
        assert_eq!(ledger.last_wishes(), (1, 0));
        ledger.answered(newer, Status::Ok, 7);
        assert_eq!(ledger.last_wishes(), (1, 1));
    }

    #[test]
    fn two_attempts_at_once_make_a_refusal_of_one_worth_nothing() {
        let mut ledger = ledger();
        ledger.sent(0, 5);
        ledger.sent(0, 6);
        ledger.answered(0, Status::Closed, 7);
        assert_eq!(ledger.notes[0].fate, Fate::Unknown);
    }
}
