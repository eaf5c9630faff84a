//! How much a viewer says to a server that is in trouble.

use std::time::Duration;

use bareme::protocol::{Reply, Status};
use rand::SeedableRng as _;
use rand_pcg::Pcg64;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Audience, Subject};
use crate::clock::Clock;
use crate::oracle::ledger::Fate;
use crate::shape::tests::shape;
use crate::shape::{MAX_CRITERES, NO_STEP, Steps};

const LIVE: Uuid = Uuid::from_u128(7);

fn steps(first: u8) -> Steps {
    let mut steps = [NO_STEP; MAX_CRITERES];
    steps[0] = first;
    steps
}

/// One viewer whose socket shows the live.
fn audience(began: Instant) -> Audience {
    let subject = Subject { live: LIVE, shape: shape() };
    let mut audience = Audience::new(Clock::start(0), &subject, 1, (0, 1), Pcg64::seed_from_u64(11));
    audience.on_open(0, began, began);
    audience.on_ready(0, began);
    audience
}

/// Lets `length` of virtual time pass while the viewer taps every `tap_every`, and each message that leaves is answered at
/// once by `answer`. Returns how many left.
fn serve(
    audience: &mut Audience,
    began: Instant,
    length: Duration,
    tap_every: Option<Duration>,
    answer: Option<(Status, Option<u64>)>,
) -> u64 {
    let before = audience.counters.sent;
    let step = Duration::from_millis(10);
    let mut next_tap = began;
    let mut now = began;
    let mut answered = before;
    while now < began + length {
        if let Some(every) = tap_every.filter(|_| now >= next_tap) {
            audience.tap(0, 1, steps(u8::try_from(audience.counters.wanted % 5).unwrap()), now, now);
            next_tap += every;
        }
        audience.on_timers(now);
        while answered < audience.counters.sent {
            answered += 1;
            if let Some((status, retry_after_ms)) = answer {
                let v = audience.viewers[0].flights.first().unwrap().wanted.v;
                let reply = Reply { retry_after_ms, ..Reply::plain(Some(LIVE), Some(1), Some(v), status) };
                audience.on_reply(0, &reply, now);
            }
        }
        now += step;
    }
    audience.counters.sent - before
}

#[test]
fn a_server_in_trouble_for_40_s_gets_a_bounded_number_of_messages_from_each_viewer_however_often_they_tap() {
    let length = Duration::from_secs(40);
    for (answer, most) in [(Some((Status::RetryAfter, Some(500))), 20), (Some((Status::Unknown, None)), 20), (None, 9)]
    {
        for tap_every in [Duration::from_secs(3600), Duration::from_millis(100)] {
            let began = Instant::now();
            let mut audience = audience(began);
            let sent = serve(&mut audience, began, length, Some(tap_every), answer);
            assert!((5..=most).contains(&sent), "{sent} messages, {answer:?}, a tap every {tap_every:?}");
            // Then it is well again: the newest note is what leaves, and it is the last.
            audience.viewers[0].flights.clear();
            let calm = serve(&mut audience, began + length, Duration::from_secs(20), None, Some((Status::Ok, None)));
            assert_eq!((calm, audience.gauges().2), (1, 0), "{answer:?}");
            assert_eq!(audience.ledger.notes.last().unwrap().fate, Fate::Acked);
            assert!(audience.complaints.is_empty());
        }
    }
}

#[test]
fn what_was_on_its_way_is_sent_on_the_next_socket_at_once() {
    let began = Instant::now();
    let mut audience = audience(began);
    audience.tap(0, 1, steps(1), began, began);
    audience.tap(0, 1, steps(2), began, began);
    assert_eq!(audience.counters.sent, 1, "one message on its way for each jeu");
    audience.on_closed(0);
    audience.on_open(0, began, began);
    audience.on_ready(0, began);
    assert_eq!((audience.counters.sent, audience.viewers[0].flights[0].wanted.steps), (2, steps(2)));
}
