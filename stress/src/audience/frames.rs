//! Frames that viewers are shown. Thousands of sockets get the same bytes, so each frame is read once.

use std::rc::Rc;

use bareme::protocol::{State, TallyFrame};
use tokio::time::Instant;
use uuid::Uuid;

use super::Audience;
use super::viewer::Waiting;
use crate::oracle::Wrong;
pub use crate::oracle::bounds::Seen;
use crate::oracle::means::{Published, check_inside};

/// Frames that are remembered: of a few jeux, with and without mask, and the one before for slow sockets.
const MAX_REMEMBERED: usize = 24;

/// What a frame says.
#[derive(Clone)]
enum Frame {
    Tally(Rc<TallyFrame>),
    State { rev: u64, live: Option<Uuid> },
}

/// The frames that came last, newest first, and all the numbers that ever came.
#[derive(Default)]
pub(super) struct Cache {
    remembered: Vec<(Box<str>, Frame)>,
    seen: Vec<Seen>,
}

impl Cache {
    pub(super) fn take_seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    fn find(&mut self, text: &str) -> Option<Frame> {
        let place = self.remembered.iter().position(|(known, _)| **known == *text)?;
        Some(self.remembered[place].1.clone())
    }

    fn remember(&mut self, text: &str, frame: Frame) {
        self.remembered.truncate(MAX_REMEMBERED - 1);
        self.remembered.insert(0, (text.into(), frame));
    }
}

impl Audience {
    pub(super) fn on_frame(&mut self, index: usize, text: &str, now: Instant) {
        self.count(|counters| counters.frames += 1);
        self.viewers[index].frames += 1;
        let frame = match self.cache.find(text) {
            Some(frame) => frame,
            None => match self.read_frame(text, now) {
                Ok(frame) => {
                    self.cache.remember(text, frame.clone());
                    frame
                }
                Err(error) => {
                    self.complaints.add(Wrong::Protocol, || format!("{error}: {text}"));
                    return;
                }
            },
        };
        match frame {
            Frame::Tally(frame) => self.on_tally(index, &frame, now),
            Frame::State { rev, live } => self.on_state(index, rev, live, now),
        }
    }

    fn read_frame(&mut self, text: &str, now: Instant) -> Result<Frame, serde_json::Error> {
        if super::kind_of(text) == "state" {
            let state: State = serde_json::from_str(text)?;
            return Ok(Frame::State { rev: state.rev, live: state.live.map(|live| live.live_id) });
        }
        let frame: TallyFrame = serde_json::from_str(text)?;
        if frame.live == self.live {
            let numbers = Published::from(&frame);
            let masked = frame.masked.is_some();
            if !masked && let Err(wrong) = check_inside(&self.shape, &numbers) {
                self.complaints.add(Wrong::Numbers, || format!("jeu {}, rev {}: {wrong}", frame.jeu, frame.rev));
            }
            let arrived_us = self.clock.server_us(now);
            let (jeu, as_of_us) = (frame.jeu, frame.as_of_us);
            self.cache.seen.push(Seen { jeu, as_of_us, arrived_us, masked, numbers });
        }
        Ok(Frame::Tally(Rc::new(frame)))
    }

    fn on_state(&mut self, index: usize, rev: u64, live: Option<Uuid>, now: Instant) {
        let viewer = &mut self.viewers[index];
        if let Err(wrong) = viewer.watch.on_state(rev) {
            let number = self.number(index);
            self.complaints.add(Wrong::Backwards, || format!("viewer {number}: {wrong}"));
        }
        if live != Some(self.live) {
            self.viewers[index].watch.on_other_live();
        } else if !self.viewers[index].ready {
            self.on_ready(index, now);
        }
    }

    fn on_tally(&mut self, index: usize, frame: &TallyFrame, now: Instant) {
        if frame.live != self.live {
            return;
        }
        let viewer = &mut self.viewers[index];
        if let Err(wrong) = viewer.watch.on_tally(frame) {
            let number = self.number(index);
            self.complaints.add(Wrong::Backwards, || format!("viewer {number}: {wrong}"));
        }
        let viewer = &mut self.viewers[index];
        for flight in &mut viewer.flights {
            flight.shown_early |= flight.wanted.jeu == frame.jeu && flight.sent_us <= frame.as_of_us;
        }
        if viewer.waiting.is_empty() {
            return;
        }
        let (distribution, second) = (&mut self.distributions.visible, &mut self.second.visible);
        viewer.waiting.retain(|waiting: &Waiting| {
            let counted = waiting.jeu == frame.jeu && waiting.sent_us <= frame.as_of_us;
            if counted {
                let took = waiting.with_frame(now);
                distribution.record(took);
                second.record(took);
            }
            !counted
        });
    }
}
