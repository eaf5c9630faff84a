use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::domain::bareme::presets;
use crate::domain::live::LiveStatus;
use crate::domain::phase::Phase;
use crate::protocol::{LiveState, Masked, State};

const LIVE: Uuid = Uuid::from_u128(7);

fn encoded<T>(value: T, message: &ServerMessage) -> Encoded<T> {
    Encoded { value: Arc::new(value), text: encode(message) }
}

fn tally(rev: u64, masked: Option<Masked>) -> Encoded<TallyFrame> {
    let frame = TallyFrame {
        live: LIVE,
        jeu: 1,
        epoch: 0,
        phase: Phase::Open,
        rev,
        voters: 3,
        mean: masked.is_none().then_some(4.5),
        criteres: Vec::new(),
        masked,
        as_of_us: 0,
    };
    encoded(frame.clone(), &ServerMessage::Tally(frame))
}

fn frames(rev: u64, blind: bool) -> Frames {
    let bareme = presets().remove(0);
    let live = LiveState {
        live_id: LIVE,
        channel: "demo".into(),
        title: "t".into(),
        status: LiveStatus::Open,
        current: Some(1),
        blind,
        minimum_votes: 1,
        scale: bareme.overall_scale(),
        bareme,
        programme: Vec::new(),
        ends_at_us: None,
        closed_at_us: None,
        test: false,
    };
    let state = State { rev: 1, channel_title: "d".into(), live: Some(live), stale: false };
    let public = tally(rev, blind.then_some(Masked::Blind));
    let open = tally(rev, None);
    Frames {
        state: encoded(state.clone(), &ServerMessage::State(Box::new(state))),
        jeux: vec![JeuFrames { jeu: 1, rev, admin: open.clone(), voter: open, public }],
        view: None,
        gone: false,
        rehearsal: None,
        highest: 0,
    }
}

fn session() -> (Session, ViewerSecret) {
    let secret = ViewerSecret::new([1; 32]);
    let role = Role::Viewer(secret.viewer([9; 16]));
    (Session::new(role, "demo", secret.clone(), Rate { per_second: 10.0, burst: 5.0 }, Duration::ZERO), secret)
}

fn texts(actions: &[Action]) -> Vec<Value> {
    let text = |action: &Action| match action {
        Action::Send(text) => serde_json::from_str(text).ok(),
        _ => None,
    };
    actions.iter().filter_map(text).collect()
}

fn say(session: &mut Session, text: &str) -> Vec<Action> {
    let mut actions = Vec::new();
    session.on_text(text, Duration::ZERO, 1000, &mut actions);
    actions
}

fn note(jeu: u32, v: u64) -> String {
    json!({"t": "note", "live": LIVE, "jeu": jeu, "v": v, "scores": {"fun": 4}}).to_string()
}

#[test]
fn what_did_not_change_is_not_sent_again() {
    let (mut session, _) = session();
    let mut actions = Vec::new();
    session.on_frames(&frames(1, false), &mut actions);
    assert_eq!(actions.len(), 2);
    actions.clear();
    session.on_frames(&frames(1, false), &mut actions);
    assert_eq!(actions, []);
    session.on_frames(&frames(4, false), &mut actions);
    assert_eq!(texts(&actions)[0]["rev"], 4);
}

#[test]
fn a_blind_jeu_shows_its_numbers_only_after_the_viewers_own_note() {
    let (mut session, _) = session();
    let frames = frames(1, true);
    let mut actions = Vec::new();
    session.on_frames(&frames, &mut actions);
    assert_eq!(texts(&actions)[1]["masked"], "blind");
    let [Action::Submit(vote)] = &say(&mut session, &note(1, 5))[..] else { panic!("a vote") };
    assert_eq!((vote.jeu, vote.v), (1, Some(5)));
    actions.clear();
    let refused = Reply::plain(Some(LIVE), Some(1), Some(5), Status::RetryAfter);
    session.on_reply(refused, &frames, &mut actions);
    assert_eq!(actions.len(), 1, "a refused note reveals nothing");
    actions.clear();
    session.on_reply(Reply::plain(Some(LIVE), Some(1), Some(5), Status::Ok), &frames, &mut actions);
    assert_eq!(texts(&actions)[1]["mean"], 4.5);
}

#[test]
fn withdrawing_a_note_one_never_gave_reveals_nothing() {
    let (mut session, _) = session();
    let frames = frames(1, true);
    session.on_frames(&frames, &mut Vec::new());
    let withdraw = json!({"t": "withdraw", "live": LIVE, "jeu": 1, "v": 5}).to_string();
    assert!(matches!(say(&mut session, &withdraw)[..], [Action::Submit(_)]));
    let mut actions = Vec::new();
    session.on_reply(Reply::plain(Some(LIVE), Some(1), Some(5), Status::Ok), &frames, &mut actions);
    assert_eq!(actions.len(), 1);
}

#[test]
fn messages_that_make_no_sense_are_refused_by_name_and_the_socket_stays() {
    let (mut session, _) = session();
    session.on_frames(&frames(1, false), &mut Vec::new());
    for (text, field) in [
        ("{", "message"),
        ("[]", "message"),
        (r#"{"t":"dance"}"#, "message"),
        (r#"{"t":"ping","extra":1}"#, "message"),
        (&"[".repeat(100), "message"),
    ] {
        session.tokens = 5.0;
        let actions = say(&mut session, text);
        let answer = &texts(&actions)[0];
        assert_eq!((answer["status"].as_str(), answer["problem"]["field"].as_str()), (Some("invalid"), Some(field)));
    }
}

#[test]
fn a_note_of_another_live_is_refused_with_the_one_to_send_to() {
    let (mut session, _) = session();
    session.on_frames(&frames(1, false), &mut Vec::new());
    let other = json!({"t": "note", "live": Uuid::nil(), "jeu": 1, "v": 1, "scores": {}}).to_string();
    let answer = texts(&say(&mut session, &other)).remove(0);
    assert_eq!(answer["problem"]["field"], "live");
    assert!(answer["problem"]["remedy"].as_str().unwrap().contains(&LIVE.to_string()));
}

#[test]
fn a_message_longer_than_the_limit_closes_the_socket() {
    let (mut session, _) = session();
    assert_eq!(say(&mut session, &" ".repeat(5000)), [Action::Close(close::TOO_BIG)]);
}

#[test]
fn a_socket_above_its_rate_is_told_so_and_one_that_goes_on_is_closed() {
    let (mut session, _) = session();
    session.on_frames(&frames(1, false), &mut Vec::new());
    for _ in 0..5 {
        assert!(matches!(say(&mut session, &note(1, 5))[..], [Action::Submit(_)]));
    }
    let answer = texts(&say(&mut session, &note(1, 6))).remove(0);
    assert_eq!((answer["status"].as_str(), answer["v"].as_u64()), (Some("too_fast"), Some(6)));
    assert_eq!(answer["retry_after_ms"], 100);
    let mut last = Vec::new();
    for _ in 0..MAX_EXCESS {
        last = say(&mut session, &note(1, 7));
    }
    assert_eq!(last, [Action::Close(close::FLOOD)]);
    let mut actions = Vec::new();
    session.on_text(&note(1, 8), Duration::from_secs(1), 0, &mut actions);
    assert!(matches!(actions[..], [Action::Submit(_)]), "after a second there is room again");
}

/// Sends so many votes a second for ten seconds; whether the socket is closed for it.
fn is_closed_at(messages_per_second: u64) -> bool {
    let (mut socket, _) = session();
    socket.on_frames(&frames(1, false), &mut Vec::new());
    (0..10 * messages_per_second).any(|number| {
        let now = Duration::from_micros(number * 1_000_000 / messages_per_second);
        let mut actions = Vec::new();
        socket.on_text(&note(1, 5 + number), now, 1_000_000, &mut actions);
        actions.contains(&Action::Close(close::FLOOD))
    })
}

#[test]
fn a_socket_far_above_its_rate_is_closed_although_some_of_what_it_sends_is_in_order() {
    assert!(!is_closed_at(50), "five times its rate");
    assert!(is_closed_at(400), "forty times its rate");
}

#[test]
fn hello_makes_the_socket_speak_for_an_earlier_viewer_but_not_after_a_note() {
    let (mut session, secret) = session();
    session.on_frames(&frames(1, false), &mut Vec::new());
    let hello = json!({"t": "hello", "viewer": secret.token([3; 16])}).to_string();
    assert_eq!(say(&mut session, &hello), [Action::ReadOwnNotes(secret.viewer([3; 16]))]);
    let forged = json!({"t": "hello", "viewer": "x"}).to_string();
    assert_eq!(texts(&say(&mut session, &forged))[0]["problem"]["field"], "viewer");
    say(&mut session, &note(1, 5));
    assert_eq!(texts(&say(&mut session, &hello))[0]["status"], "invalid");
}

fn mine() -> Vec<Mine> {
    let scores = json!({ "fun": 4 }).as_object().cloned().unwrap();
    vec![Mine { live: LIVE, jeu: 1, v: 5, scores }]
}

#[test]
fn notes_of_the_viewer_one_was_before_hello_are_neither_sent_nor_lift_a_mask() {
    let (mut session, secret) = session();
    let frames = frames(1, true);
    session.on_frames(&frames, &mut Vec::new());
    let (before, after) = (secret.viewer([9; 16]), secret.viewer([3; 16]));
    let mut actions = Vec::new();
    session.read_own_notes(&mut actions);
    assert_eq!(actions, [Action::ReadOwnNotes(before)]);
    let hello = json!({"t": "hello", "viewer": secret.token([3; 16])}).to_string();
    assert_eq!(say(&mut session, &hello), []);
    actions.clear();
    session.on_own_notes(before, mine(), &frames, &mut actions);
    assert_eq!(actions, [Action::ReadOwnNotes(after)], "only now, and only for the viewer one is");
    actions.clear();
    session.on_own_notes(after, mine(), &frames, &mut actions);
    let texts = texts(&actions);
    assert_eq!((texts[0]["t"].as_str(), texts[1]["mean"].as_f64()), (Some("mine"), Some(4.5)));
}

#[test]
fn saying_hello_again_and_again_reads_one_at_a_time() {
    let (mut session, secret) = session();
    session.on_frames(&frames(1, true), &mut Vec::new());
    let hello = json!({"t": "hello", "viewer": secret.token([3; 16])}).to_string();
    let readings: Vec<_> = (0..5).flat_map(|_| say(&mut session, &hello)).collect();
    assert_eq!(readings, [Action::ReadOwnNotes(secret.viewer([3; 16]))]);
}

#[test]
fn another_reason_for_a_mask_is_sent() {
    let (mut session, secret) = session();
    let mut frames = frames(1, true);
    frames.jeux[0].voter = tally(1, Some(Masked::Minimum));
    session.on_frames(&frames, &mut Vec::new());
    let mut actions = Vec::new();
    session.on_own_notes(secret.viewer([9; 16]), mine(), &frames, &mut actions);
    assert_eq!(texts(&actions)[1]["masked"], "minimum");
}

#[test]
fn overlays_cannot_vote() {
    let secret = ViewerSecret::new([1; 32]);
    let mut session = Session::new(Role::Overlay, "demo", secret, Rate::default(), Duration::ZERO);
    session.on_frames(&frames(1, false), &mut Vec::new());
    assert_eq!(texts(&say(&mut session, &note(1, 5)))[0]["problem"]["reason"], "only viewers vote");
}
