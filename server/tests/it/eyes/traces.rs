//! Traces of votes, as a collector gets them.

use std::time::Instant;

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;

use super::collector::{Collector, Mood, attribute};
use crate::harness::{Server, client, data_dir};
use crate::wire::Page;

const DEMO: [&str; 3] = ["demo", "--viewers", "0"];

async fn traced(collector: &Collector, ratio: &str, dir: &std::path::Path) -> Server {
    traced_with(&[], collector, ratio, dir).await
}

async fn traced_with(more: &[&str], collector: &Collector, ratio: &str, dir: &std::path::Path) -> Server {
    let mut command = DEMO.to_vec();
    command.extend(["--otlp-endpoint", &collector.url, "--trace-ratio", ratio]);
    command.extend(more);
    Server::start(&command, dir).await
}

fn named<'a>(spans: &'a [Span], name: &'a str) -> impl Iterator<Item = &'a Span> {
    spans.iter().filter(move |span| span.name == name)
}

fn status(span: &Span) -> Option<String> {
    attribute(&span.attributes, "status")
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_trace_goes_from_joining_to_votes_that_are_durable_and_then_shown() {
    joined_voted_shown("fast").await;
}

#[tokio::test]
async fn on_the_portable_path_a_trace_is_the_same() {
    joined_voted_shown("portable").await;
}

async fn joined_voted_shown(sockets: &str) {
    let dir = data_dir();
    let collector = Collector::start(Mood::Takes).await;
    let server = traced_with(&["--sockets", sockets], &collector, "1", dir.path()).await;
    let (channel, live) = server.open_live().await;
    let mut page = Page::open(&server, &format!("/ws/{channel}"), &[("x-request-id", "join-7")]).await.unwrap();
    let note = page.note(1, json!({"fun": 4}));
    assert_eq!(page.ask(&note).await["status"], "ok");
    let wrong = page.note(2, json!({"fun": 400}));
    assert_eq!(page.ask(&wrong).await["status"], "invalid");

    let spans = collector
        .until("both votes, the one that counts shown", |spans| {
            named(spans, "shown").count() == 1 && named(spans, "vote").count() == 2
        })
        .await;
    let join = named(&spans, "join").next().unwrap();
    assert!(join.parent_span_id.is_empty(), "it begins the trace");
    let of_join = |key| attribute(&join.attributes, key);
    assert_eq!((of_join("channel"), of_join("role")), (Some(channel.clone()), Some("viewer".to_owned())));
    assert_eq!(of_join("request_id").as_deref(), Some("join-7"));
    assert!(spans.iter().all(|span| span.trace_id == join.trace_id), "one viewer, one trace");

    let vote = named(&spans, "vote").find(|span| status(span).as_deref() == Some("ok")).unwrap();
    assert_eq!(vote.parent_span_id, join.span_id);
    assert_eq!(attribute(&vote.attributes, "live"), Some(live));
    assert_eq!(attribute(&vote.attributes, "jeu").as_deref(), Some("1"));
    let [durable] = named(&spans, "durable").collect::<Vec<_>>()[..] else { panic!("one vote reached the store") };
    assert_eq!((&durable.parent_span_id, status(durable).as_deref()), (&vote.span_id, Some("ok")));
    let shown = named(&spans, "shown").next().unwrap();
    assert_eq!(shown.parent_span_id, vote.span_id);
    let times = [
        join.start_time_unix_nano,
        vote.start_time_unix_nano,
        durable.start_time_unix_nano,
        durable.end_time_unix_nano,
        shown.start_time_unix_nano,
        shown.end_time_unix_nano,
    ];
    assert!(times.is_sorted(), "{times:?}");
    assert!(vote.end_time_unix_nano <= shown.end_time_unix_nano);
    let refused = named(&spans, "vote").find(|span| status(span).as_deref() == Some("invalid")).unwrap();
    assert_eq!(refused.parent_span_id, join.span_id);

    let posted = client().post(server.url("/api/note")).form(&[("jeu_id", "2"), ("fun", "4")]).send().await.unwrap();
    assert_eq!(posted.status(), 200);
    let token = posted.json::<serde_json::Value>().await.unwrap()["viewer"].as_str().unwrap().to_owned();
    let spans = collector.until("a vote over HTTP", |spans| named(spans, "POST /api/note").count() == 1).await;
    let root = named(&spans, "POST /api/note").next().unwrap();
    let of_root = |span: &&Span| span.parent_span_id == root.span_id && span.trace_id == root.trace_id;
    assert!(named(&spans, "vote").any(|span| of_root(&span)));

    assert_eq!(collector.resource("service.name").as_deref(), Some("bareme"));
    for secret in [token.as_str(), page.token.as_deref().unwrap(), "127.0.0.1", "fun"] {
        assert!(!collector.heard(secret), "{secret} left the machine");
    }
    assert!(server.metric("spans_exported_total").await >= 7.0);
    assert_eq!(server.metric("spans_lost_total").await, 0.0);
    assert_eq!(server.complaints(), Vec::<String>::new());
    server.stop().await;
}

#[tokio::test]
async fn who_is_not_sampled_is_not_traced_and_without_an_endpoint_there_are_no_traces_at_all() {
    let dir = data_dir();
    let collector = Collector::start(Mood::Takes).await;
    let server = traced(&collector, "0", dir.path()).await;
    let (channel, _) = server.open_live().await;
    let mut page = Page::viewer(&server, &channel).await;
    let note = page.note(1, json!({"fun": 4}));
    assert_eq!(page.ask(&note).await["status"], "ok");
    drop(page);
    // The end sends whatever there is.
    server.stop().await;
    assert_eq!(collector.spans(), []);

    let server = Server::start(&DEMO, dir.path()).await;
    let metrics = client().get(server.ops_url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(!metrics.contains("\nspans_"), "off is off");
    server.stop().await;
}

#[tokio::test]
async fn a_collector_that_never_answers_costs_traces_and_no_vote() {
    let dir = data_dir();
    let collector = Collector::start(Mood::Hangs).await;
    let server = traced(&collector, "1", dir.path()).await;
    // Three spans each. The collector's patience empties the queue a little all the time, so that it takes more votes to
    // fill it on a machine that is slow.
    let started = Instant::now();
    let one = async |count: u32| {
        let client = client();
        for _ in 0..count {
            let form = [("jeu_id", "2"), ("fun", "4")];
            let response = client.post(server.url("/api/note")).form(&form).send().await.unwrap();
            assert_eq!(response.status(), 200);
        }
    };
    let mut votes = 0;
    let is_full = async || server.metric("spans_lost_total{reason=\"full\"}").await > 0.0;
    while votes < 16_000 && !is_full().await {
        tokio::join!(one(400), one(400), one(400), one(400));
        votes += 1600;
    }
    println!("{votes} votes in {:?} while the collector hangs", started.elapsed());
    assert!(is_full().await, "{votes} votes do not fill the queue");
    assert_eq!(server.metric("notes_accepted_total").await, f64::from(votes));
    let queued = server.metric("spans_queued").await;
    assert!((1.0..=4096.0).contains(&queued), "{queued} spans in memory");
    // The collector never answers: a server that waited for it would not end at all.
    server.stop().await;
}

#[tokio::test]
async fn a_collector_that_is_away_is_said_once_and_counted() {
    let dir = data_dir();
    let nobody = Collector::nobody();
    let server = traced(&nobody, "1", dir.path()).await;
    let (channel, _) = server.open_live().await;
    for rounds in 1..=2 {
        let mut page = Page::viewer(&server, &channel).await;
        let note = page.note(1, json!({"fun": 4}));
        assert_eq!(page.ask(&note).await["status"], "ok");
        drop(page);
        let lost = async || server.metric("spans_lost_total{reason=\"failed\"}").await;
        crate::harness::eventually("they are lost", async || (lost().await >= 3.0 * f64::from(rounds)).then_some(()))
            .await;
    }
    let complaints = server.complaints();
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(complaints[0].contains("traces cannot be sent and are lost; votes go on"), "{complaints:?}");
    server.stop().await;
}
