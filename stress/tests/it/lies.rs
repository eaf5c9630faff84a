//! Each lie is found, and is called what it is.

use bareme_stress::config::{Config, Scenario, Thresholds};
use bareme_stress::oracle::Wrong;
use bareme_stress::result::RunResult;
use bareme_stress::run;
use bareme_stress::scores::Taste;
use tokio::sync::watch;

use crate::liar::{Liar, Lie};

fn config(url: String) -> Config {
    Config {
        scenario: Scenario::Live,
        urls: vec![url],
        ops_url: None,
        channel: None,
        drive: true,
        seed: 11,
        threads: 2,
        viewers: 30,
        notes: 90,
        jeux: 1,
        tastes: vec![Taste::Uniform],
        stage_s: 2.0,
        ramp_s: 0.0,
        burst_s: 0.0,
        change: 1.0,
        withdraw: 0.1,
        nap: 0.0,
        leave: 0.0,
        rate: 0.0,
        settle_s: 5.0,
        expect_restarts: false,
        watch: Vec::new(),
        race_s: 0.0,
        skewed_clocks: false,
        bareme: None,
        ports_per_address: None,
        thresholds: Thresholds { acked_share: Some(0.99), errors: Some(0), ..Thresholds::default() },
    }
}

async fn run(liar: &Liar, change: impl FnOnce(&mut Config)) -> RunResult {
    let mut config = config(liar.url());
    change(&mut config);
    let (_sender, interrupted) = watch::channel(false);
    run::run(config, Some("token".to_owned()), interrupted, true).await.unwrap()
}

async fn found(lie: Lie) -> RunResult {
    let liar = Liar::start(lie).await;
    let result = run(&liar, |_| {}).await;
    assert_eq!(result.passed, lie == Lie::Honest, "{lie:?}: {:?} {:?}", result.recount, result.thresholds);
    result
}

/// The lie is found, and nothing is said that is not so.
async fn is_found(lie: Lie, allowed: &[Wrong]) {
    let complaints = found(lie).await.recount.complaints;
    assert!(complaints.of(allowed[0]) > 0, "{lie:?}: {complaints:?}");
    assert!(complaints.counts.keys().all(|wrong| allowed.contains(wrong)), "{lie:?}: {complaints:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_server_passes() {
    let result = found(Lie::Honest).await;
    assert_eq!(
        result.recount.line(),
        format!("sent 90, acked 90, unknown 0, refused 0, counted {}, lost 0, double 0", result.recount.counted)
    );
    assert!(
        result.frames_checked > 5 && result.points_of("visible").count == 90 - result.counters.not_shown,
        "{result:?}"
    );
    let whole = result.times_of("ack").unwrap();
    assert_eq!(whole.count(), 90);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_note_is_lost() {
    // A frame without it is impossible, too.
    is_found(Lie::DropsAcked, &[Wrong::Lost, Wrong::Impossible]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counting_twice_is_double() {
    is_found(Lie::CountsTwice, &[Wrong::Double, Wrong::Impossible]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_mean_does_not_follow_from_its_histogram() {
    is_found(Lie::StaleMean, &[Wrong::Numbers]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_numbers_with_a_new_time_are_impossible() {
    is_found(Lie::StaleNumbers, &[Wrong::Impossible]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_go_back_are_noticed() {
    is_found(Lie::GoesBackwards, &[Wrong::Backwards]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_that_nobody_sent_is_invented() {
    is_found(Lie::Invents, &[Wrong::Invented, Wrong::Numbers]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_is_not_the_recount_is_noticed() {
    is_found(Lie::WrongResult, &[Wrong::Numbers]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_ports_run_out_sockets_come_from_several_addresses() {
    let liar = Liar::start(Lie::Honest).await;
    let result = run(&liar, |config| config.ports_per_address = Some(12)).await;
    assert!(result.passed, "{:?} {:?}", result.recount, result.thresholds);
    // Thirty sockets, at most ten from each.
    assert_eq!(liar.peers(), 3);
}
