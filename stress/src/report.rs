//! What a run says when it is over: some lines for the terminal, and a page that needs nothing but itself.

pub(crate) mod plot;

use std::fmt::Write as _;

use crate::result::{RunResult, SecondRow};
use crate::stats::Points;
use plot::{Plot, Scale, Series, escape, short, time_ticks};

/// Distributions that are times, and what they are called.
const TIMES: [(&str, &str); 6] = [
    ("ack", "tap to ok"),
    ("visible", "tap to frame"),
    ("everywhere", "left to every pod"),
    ("connect", "connect"),
    ("reconnect", "reconnect"),
    ("lag", "this tool's lateness"),
];

/// Milliseconds as they are read.
fn ms(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn headline(result: &RunResult) -> &'static str {
    match (result.passed, result.interrupted, result.recount.complaints.is_empty()) {
        (true, ..) => "passed",
        (false, true, true) => "ended early",
        (false, _, true) => "a threshold was not kept",
        (false, _, false) => "the recount is not clean",
    }
}

/// The result in some lines.
pub fn summary(result: &RunResult) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ =
        writeln!(text, "\n{:<22} {:>9} {:>9} {:>9} {:>9} {:>9}", "milliseconds", "count", "p50", "p99", "p99.9", "max");
    for (name, called) in TIMES {
        let Points { count, p50, p99, p999, max, .. } = result.points_of(name);
        if count > 0 {
            let _ =
                writeln!(text, "{called:<22} {count:>9} {:>9} {:>9} {:>9} {:>9}", ms(p50), ms(p99), ms(p999), ms(max));
        }
    }
    for stage in &result.stages {
        let mean = stage.mean.map_or_else(|| "–".to_owned(), |mean| format!("{mean:.2}"));
        let title: String = stage.title.chars().filter(|c| !c.is_control()).collect();
        let _ = writeln!(text, "jeu {:<3} {mean:>6}  {:>8} voters  {title}", stage.jeu, stage.voters);
    }
    for (what, counts) in [("refused", &result.counters.refusals), ("errors", &result.counters.errors)] {
        for (kind, count) in counts {
            let _ = writeln!(text, "{what}: {count} times {kind}");
        }
    }
    for (what, value) in cost_rows(result) {
        let _ = writeln!(text, "{what}: {value}");
    }
    for threshold in result.thresholds.iter().filter(|threshold| !threshold.kept) {
        let _ = writeln!(
            text,
            "NOT KEPT {}: {} instead of {}",
            threshold.what,
            short(threshold.measured),
            threshold.allowed
        );
    }
    for sample in &result.recount.complaints.samples {
        let _ = writeln!(text, "WRONG {}: {}", sample.wrong, sample.detail);
    }
    let _ = writeln!(
        text,
        "\n{}\n{} distinct frames checked; {}",
        result.oracle_line(),
        result.frames_checked,
        headline(result)
    );
    text
}

fn cost_rows(result: &RunResult) -> Vec<(&'static str, String)> {
    let cost = &result.cost;
    let us = |value: Option<f64>| value.map(|value| format!("{value:.1} µs"));
    let rows = [
        ("server CPU per vote, everything included", us(cost.cpu_us_per_vote)),
        ("server CPU per message sent", us(cost.cpu_us_per_message)),
        ("server memory per socket", cost.rss_per_socket.map(|bytes| format!("{bytes:.0} B"))),
        (
            "server load while people voted",
            cost.server_load.map(|load| format!("{:.0} % of a processor", load * 100.0)),
        ),
        ("this tool's CPU per vote", us(cost.own_cpu_us_per_vote)),
        ("this tool's load", Some(format!("{:.0} % of a processor", cost.own_load * 100.0))),
    ];
    rows.into_iter().filter_map(|(what, value)| Some((what, value?))).collect()
}

fn over_time(rows: &[SecondRow], name: &str, of: impl Fn(&SecondRow) -> Option<f64>) -> Series {
    #[expect(clippy::cast_precision_loss, reason = "seconds of a run")]
    let points = rows.iter().filter_map(|row| Some((row.at_s as f64, of(row)?))).collect();
    Series { name: name.to_owned(), points }
}

fn plots(result: &RunResult) -> String {
    let rows = &result.seconds;
    let ticks = || time_ticks(result.wall_s);
    let marks = || -> Vec<(f64, String)> {
        result.stages.iter().map(|stage| (stage.at_s, format!("jeu {} opens", stage.jeu))).collect()
    };
    #[expect(clippy::cast_precision_loss, reason = "counts for people")]
    let count = |value: u64| Some(value as f64);
    let time = |points: Points, value: f64| (points.count > 0).then_some(value);
    let plot =
        |title, unit, scale, series| Plot { title, unit, scale, series, x_ticks: ticks(), marks: marks() }.figure();
    let mut html = plot(
        "Votes",
        "a second",
        Scale::Linear,
        vec![over_time(rows, "due", |row| count(row.wanted)), over_time(rows, "acknowledged", |row| count(row.acked))],
    );
    html += &plot(
        "Tap to ok",
        "ms",
        Scale::Logarithmic,
        vec![
            over_time(rows, "p99", |row| time(row.ack, row.ack.p99)),
            over_time(rows, "p50", |row| time(row.ack, row.ack.p50)),
        ],
    );
    html += &plot(
        "Tap to the frame that counts it",
        "ms",
        Scale::Logarithmic,
        vec![
            over_time(rows, "p99", |row| time(row.visible, row.visible.p99)),
            over_time(rows, "p50", |row| time(row.visible, row.visible.p50)),
        ],
    );
    html += &percentiles(result);
    let averages = result.stages.iter().map(|stage| {
        let own = result.averages.iter().filter(|row| row.jeu == stage.jeu);
        let points = own.filter_map(|row| Some((row.at_s, row.mean?))).collect();
        Series { name: format!("{} ({})", stage.title, stage.voters), points }
    });
    html += &plot("Averages as they moved", "", Scale::Fitted, averages.collect());
    let load = |of: &dyn Fn(&crate::sampler::Sample) -> Option<f64>| -> Vec<(f64, f64)> {
        let grown = |pair: &[crate::sampler::Sample]| {
            let seconds = pair[1].at_s - pair[0].at_s;
            let same = pair[0].pid == pair[1].pid && seconds > 0.2;
            same.then_some((pair[1].at_s, ((of(&pair[1])? - of(&pair[0])?) / seconds * 100.0).max(0.0)))
        };
        result.samples.windows(2).filter_map(grown).collect()
    };
    html += &plot(
        "Load",
        "% of a processor",
        Scale::Linear,
        vec![
            Series { name: "server".to_owned(), points: load(&|sample| sample.cpu_s) },
            Series { name: "this tool".to_owned(), points: load(&|sample| Some(sample.own_cpu_s)) },
        ],
    );
    #[expect(clippy::cast_precision_loss, reason = "bytes for people")]
    let memory = result.samples.iter().filter_map(|sample| Some((sample.at_s, sample.rss? as f64 / 1_048_576.0)));
    html += &plot(
        "Memory of the server",
        "MiB",
        Scale::Linear,
        vec![Series { name: "resident".to_owned(), points: memory.collect() }],
    );
    let said = result.samples.iter();
    let said = said.filter_map(|sample| Some((sample.at_s, *sample.metrics.get("ws_active_connections")?)));
    html += &plot(
        "Open sockets",
        "",
        Scale::Linear,
        vec![
            over_time(rows, "here", |row| count(row.open)),
            Series { name: "as the server says".to_owned(), points: said.collect() },
        ],
    );
    html
}

/// Distributions whole: how much of all is faster than so many milliseconds.
fn percentiles(result: &RunResult) -> String {
    let shares: Vec<f64> = (0..=80).map(|place| f64::from(place) / 20.0).collect();
    let series = TIMES.iter().take(4).filter_map(|(name, called)| {
        let times = result.times_of(name).filter(|times| times.count() > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "counts for people")]
        let most = (times.count() as f64).log10().max(1.0);
        let inside = shares.iter().filter(|&&share| share <= most);
        let points = inside.map(|&share| (share, times.quantile_ms(1.0 - 10_f64.powf(-share)))).collect();
        Some(Series { name: (*called).to_owned(), points })
    });
    let x_ticks = [(0.0, "0 %"), (0.301, "50 %"), (1.0, "90 %"), (2.0, "99 %"), (3.0, "99.9 %"), (4.0, "99.99 %")];
    let series: Vec<Series> = series.collect();
    let longest = series.iter().filter_map(|series| series.points.last()).map(|&(at, _)| at).fold(1.0, f64::max);
    let inside = x_ticks.into_iter().filter(|(at, _)| *at <= longest);
    let x_ticks = inside.map(|(at, text)| (at, text.to_owned())).collect();
    Plot { title: "Share that is faster", unit: "ms", scale: Scale::Logarithmic, series, x_ticks, marks: Vec::new() }
        .figure()
}

fn tiles(result: &RunResult) -> String {
    let fates = result.recount.fates;
    let wrong = |wrong| result.recount.complaints.of(wrong);
    let double = match result.recount_from {
        crate::oracle::recount::Source::Export => wrong(crate::oracle::Wrong::Double).to_string(),
        crate::oracle::recount::Source::OwnNotes => "–".to_owned(),
    };
    let tiles = [
        ("sent", fates.sent.to_string()),
        ("acknowledged", fates.acked.to_string()),
        ("unknown", fates.unknown.to_string()),
        ("refused", fates.refused.to_string()),
        ("counted", result.recount.counted.to_string()),
        ("lost", wrong(crate::oracle::Wrong::Lost).to_string()),
        ("double", double),
        ("frames checked", result.frames_checked.to_string()),
    ];
    tiles.iter().map(|(name, value)| format!("<li><b>{value}</b>{name}</li>")).collect()
}

fn table(title: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    // The first column is text, the others are numbers.
    let class = |column: usize| if column == 0 { "" } else { r#" class="n""# };
    let cells = |tag: &str, cells: Vec<String>| -> String {
        cells
            .iter()
            .enumerate()
            .map(|(column, cell)| format!("<{tag}{}>{}</{tag}>", class(column), escape(cell)))
            .collect()
    };
    let head = cells("th", head.iter().map(|&name| name.to_owned()).collect());
    let rows: String = rows.iter().map(|row| format!("<tr>{}</tr>", cells("td", row.clone()))).collect();
    format!(
        "<section><h2>{}</h2><div class=\"scroll\"><table><tr>{head}</tr>{rows}</table></div></section>",
        escape(title)
    )
}

fn tables(result: &RunResult) -> String {
    let times: Vec<Vec<String>> = TIMES
        .iter()
        .map(|(name, called)| (called, result.points_of(name)))
        .filter(|(_, points)| points.count > 0)
        .map(|(called, p)| {
            let count = p.count.to_string();
            vec![(*called).to_owned(), count, ms(p.p50), ms(p.p90), ms(p.p99), ms(p.p999), ms(p.max), ms(p.mean)]
        })
        .collect();
    let mut html = table(
        "Times in milliseconds, from the instant each was due",
        &["", "count", "p50", "p90", "p99", "p99.9", "max", "mean"],
        &times,
    );
    let keys: Vec<&str> = result.shape.criteres.iter().map(|critere| critere.key.as_str()).collect();
    let mean = |mean: Option<f64>| mean.map_or_else(|| "–".to_owned(), |mean| format!("{mean:.2}"));
    let jeux: Vec<Vec<String>> = result
        .stages
        .iter()
        .map(|stage| {
            let start = [stage.title.clone(), stage.voters.to_string(), mean(stage.mean)];
            start.into_iter().chain(stage.criteres.iter().map(|&(_, of)| mean(of))).collect()
        })
        .collect();
    let head: Vec<&str> = ["jeu", "voters", "mean"].into_iter().chain(keys).collect();
    html += &table("Averages at the end", &head, &jeux);
    let pairs =
        |rows: Vec<(String, String)>| rows.into_iter().map(|(name, value)| vec![name, value]).collect::<Vec<_>>();
    let cost = cost_rows(result).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    html += &table("Cost", &["", ""], &pairs(cost));
    let shown = |counts: &std::collections::BTreeMap<String, u64>| {
        pairs(counts.iter().map(|(kind, count)| (kind.clone(), count.to_string())).collect())
    };
    html += &table("Answers other than ok", &["status", "count"], &shown(&result.counters.refusals));
    html += &table("Connections failed or lost", &["reason", "count"], &shown(&result.counters.errors));
    let kept: Vec<Vec<String>> = result
        .thresholds
        .iter()
        .map(|threshold| {
            let kept = if threshold.kept { "kept" } else { "NOT KEPT" };
            vec![
                threshold.what.clone(),
                format!("{:.3}", threshold.measured),
                threshold.allowed.to_string(),
                kept.to_owned(),
            ]
        })
        .collect();
    html += &table("Thresholds", &["", "measured", "allowed", ""], &kept);
    html
}

/// The page.
pub fn html(result: &RunResult) -> String {
    let title = format!("{} with {} viewers", result.config.scenario, result.config.viewers);
    let bad = if result.passed { "" } else { " bad" };
    let complaints: Vec<Vec<String>> = result
        .recount
        .complaints
        .samples
        .iter()
        .map(|sample| vec![format!("{}: {}", sample.wrong, sample.detail)])
        .collect();
    let config = serde_json::to_value(&result.config).unwrap_or_default();
    let config: Vec<Vec<String>> = config
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| vec![name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)])
        .collect();
    let machine = &result.machine;
    let server = result.server["version"].as_str().unwrap_or("?");
    let where_and_when = format!(
        "seed {} · server {server} · tool {} · {} × {} · Linux {} · {:.0} s · live {}",
        result.config.seed,
        result.version,
        machine.processors,
        machine.processor,
        machine.kernel,
        result.wall_s,
        result.live
    );
    let (title, where_and_when) = (escape(&title), escape(&where_and_when));
    let (verdict, line) = (escape(headline(result)), escape(&result.oracle_line()));
    let (style, tiles, plots, tables) =
        (include_str!("report/style.css"), tiles(result), plots(result), tables(result));
    let complaints = table("What is wrong", &["the first of each kind"], &complaints);
    let config = table("Everything that was chosen", &["", ""], &config);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Barème load test: {title}</title><style>{style}</style></head><body><main>\
         <header><h1><em>Barème</em> load test: {title}</h1><p class=\"wrap\">{where_and_when}</p></header>\
         <div class=\"verdict{bad}\"><strong>{verdict}</strong><span>{line}</span></div>\
         <ul class=\"tiles\">{tiles}</ul>{complaints}<div class=\"plots\">{plots}</div>{tables}{config}</main></body></html>\n"
    )
}
