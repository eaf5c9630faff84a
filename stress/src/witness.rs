//! Sockets that only look, one at each watched server: when all of them show a note.

use std::sync::{Arc, Mutex, PoisonError};

use bareme::domain::phase::Phase;
use bareme::protocol::ServerMessage;
use tokio::time::Instant;
use uuid::Uuid;

use crate::clock::Clock;
use crate::connect::Server;
use crate::monitor;
use crate::oracle::ledger::{Fate, Note};
use crate::stats::Times;

/// A frame of an open jeu.
#[derive(Debug, Clone, Copy)]
pub struct Sight {
    /// Of which jeu.
    pub jeu: u32,
    /// When its numbers were true, by the server's clock.
    pub as_of_us: u64,
    /// When it arrived, by the same clock as estimated here.
    pub arrived_us: u64,
}

/// Frames of one server, in the order in which they came.
pub type Sights = Arc<Mutex<Vec<Sight>>>;

/// Writes the frames of one server down for as long as it runs.
pub async fn watch(server: Server, path: String, live: Uuid, clock: Clock, sights: Sights) {
    monitor::listen(&server, &path, "", |message| {
        if let ServerMessage::Tally(tally) = message
            && tally.live == live
            && tally.phase == Phase::Open
        {
            let arrived_us = clock.server_us(Instant::now());
            let sight = Sight { jeu: tally.jeu, as_of_us: tally.as_of_us, arrived_us };
            sights.lock().unwrap_or_else(PoisonError::into_inner).push(sight);
        }
    })
    .await;
}

/// For each acknowledged note: from the moment it left until every server had shown a frame as of its `ok` or later, which
/// counts it for sure. An earlier frame may have counted it, so these times are upper limits. A note without such a frame
/// somewhere, as the last ones before a closing, is left out.
pub fn everywhere(notes: &[Note], servers: &[Vec<Sight>]) -> Times {
    let mut times = Times::default();
    if servers.is_empty() {
        return times;
    }
    let mut jeux: Vec<u32> = notes.iter().map(|note| note.jeu).collect();
    jeux.sort_unstable();
    jeux.dedup();
    for jeu in jeux {
        // A server that started again may go back in time; what counts is the greatest moment shown so far.
        let of_jeu = |sights: &Vec<Sight>| {
            let mut newest = 0;
            let own = sights.iter().filter(|sight| sight.jeu == jeu);
            own.map(|sight| {
                newest = newest.max(sight.as_of_us);
                (newest, sight.arrived_us)
            })
            .collect::<Vec<_>>()
        };
        let servers: Vec<_> = servers.iter().map(of_jeu).collect();
        for note in notes.iter().filter(|note| note.jeu == jeu && note.fate == Fate::Acked) {
            let shown = |frames: &Vec<(u64, u64)>| {
                frames.get(frames.partition_point(|(as_of_us, _)| *as_of_us < note.acked_us)).map(|frame| frame.1)
            };
            let latest = servers.iter().map(shown).collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max());
            if let Some(latest) = latest {
                times.record_value(latest.saturating_sub(note.sent_us));
            }
        }
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::tests::steps;

    fn sight(as_of_us: u64, arrived_us: u64) -> Sight {
        Sight { jeu: 1, as_of_us, arrived_us }
    }

    fn note(sent_us: u64, acked_us: u64) -> Note {
        let fate = Fate::Acked;
        Note { viewer: 1, jeu: 1, v: sent_us, steps: steps(&[1]), sent_us, acked_us, fate, doubtful: false }
    }

    #[test]
    fn a_note_is_shown_everywhere_when_the_last_server_has_a_frame_as_of_its_ok() {
        let quick = vec![sight(900, 950), sight(1_300, 1_350), sight(1_400, 1_450)];
        let slow = vec![sight(1_150, 1_900), sight(1_250, 2_000)];
        let times = everywhere(&[note(1_000, 1_200)], &[quick.clone(), slow]);
        assert_eq!((times.count(), times.points().max), (1, 1.0));
        let never = everywhere(&[note(1_000, 1_200)], &[quick, vec![sight(1_199, 1_300)]]);
        assert_eq!(never.count(), 0);
    }

    #[test]
    fn a_server_that_starts_again_with_an_older_time_has_not_forgotten_what_it_showed() {
        let again = vec![sight(1_300, 1_350), sight(1_100, 1_400), sight(1_500, 1_550)];
        let times = everywhere(&[note(1_000, 1_200), note(1_310, 1_320)], &[again]);
        assert_eq!((times.count(), times.points().max), (2, 0.35));
    }
}
