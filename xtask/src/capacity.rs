//! The capacity table of `docs/capacity.md`, computed from the inputs that the document itself lists.
//!
//! **Invariant**: no number of the computed table is written by hand. Whoever measures anew changes the inputs there and
//! runs `cargo xtask capacity`; a test sees that the table follows from them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// The document.
pub(crate) const DOCUMENT: &str = "docs/capacity.md";

const BEGIN: &str = "<!-- computed by `cargo xtask capacity` -->";
const END: &str = "<!-- computed until here -->";

/// Viewers at once; the last is Twitch's record.
const AUDIENCES: [f64; 5] = [1_000.0, 10_000.0, 100_000.0, 1_000_000.0, 9_300_000.0];

/// A row of the table of inputs begins with its name in code, and has the value in its second column.
fn inputs(document: &str) -> BTreeMap<String, f64> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let name = cells.next()?.trim().strip_suffix('`')?.to_owned();
        let value = cells.next()?.trim().replace(',', "").parse().ok()?;
        Some((name, value))
    };
    document.lines().filter_map(row).collect()
}

/// What one audience takes.
struct Need {
    viewers: f64,
    votes_per_s: f64,
    message_cores: [f64; 2],
    vote_cores: f64,
    connection_gib: f64,
    map_gib: f64,
    servers: f64,
    out_gbit_per_s: f64,
    journal_mb_per_s: f64,
    statements_per_s: f64,
}

fn need(viewers: f64, inputs: &BTreeMap<String, f64>) -> Result<Need> {
    let input = |name: &str| inputs.get(name).copied().with_context(|| format!("{DOCUMENT} has no input `{name}`"));
    const GIB: f64 = 1_073_741_824.0;
    let voters = viewers * input("voting_share")?;
    let votes_per_s = voters / input("burst_s")?;
    let cores = |messages_per_s: f64| Ok::<_, anyhow::Error>(viewers * messages_per_s * input("message_cpu_us")? / 1e6);
    let message_cores = [cores(10.0)?, cores(1.0)?];
    let vote_cores = votes_per_s * input("vote_cpu_us")? / 1e6;
    let connection_gib = viewers * input("connection_bytes")? / GIB;
    let map_gib = voters * input("map_bytes")? / GIB;
    let by_cores = (message_cores[1] + vote_cores) / (input("server_cores")? * input("server_load")?);
    // Each server holds the whole map and its share of the connections, in half of its memory.
    let room_gib = input("server_memory_gib")? / 2.0 - map_gib;
    if room_gib <= 0.0 {
        bail!("a server of this memory does not hold the votes of {viewers} viewers");
    }
    let needed = by_cores.max(connection_gib / room_gib).ceil();
    // One more than needed, where there are several: one may fail.
    let servers = if needed > 1.0 { needed + 1.0 } else { 1.0 };
    let others = servers - 1.0;
    let statements_per_s = if others > 0.0 { statements(servers) } else { 0.0 };
    Ok(Need {
        viewers,
        votes_per_s,
        message_cores,
        vote_cores,
        connection_gib,
        map_gib,
        servers,
        out_gbit_per_s: viewers * input("frame_bytes")? * 8.0 / 1e9,
        journal_mb_per_s: votes_per_s * input("journal_bytes")? * others / 1e6,
        statements_per_s,
    })
}

/// Readings a second of what other servers write: `poll_interval` of `Cadence::shared`.
const POLLS_PER_S: f64 = 14.0;
/// Looks a second for lanes of other servers: `lanes_interval`, same place.
const LANE_LISTS_PER_S: f64 = 5.0;
/// Heartbeats and documents of one live, and what a server asks without one: the table of `docs/cluster.md`.
const OTHERS_PER_S: f64 = 6.0;

/// Statements a second of so many servers with one live on air, one jeu of it open and nobody voting.
fn statements(servers: f64) -> f64 {
    servers * (POLLS_PER_S + LANE_LISTS_PER_S + POLLS_PER_S * (servers - 1.0) + OTHERS_PER_S)
}

/// With commas, and as many digits as mean something.
fn number(value: f64) -> String {
    if value == 0.0 {
        return "–".to_owned();
    }
    if value < 0.01 {
        return "< 0.01".to_owned();
    }
    if value < 10.0 && value.fract() != 0.0 {
        return if value < 0.1 { format!("{value:.2}") } else { format!("{value:.1}") };
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The table for these inputs.
fn table(document: &str) -> Result<String> {
    let inputs = inputs(document);
    let mut out = String::from(
        "| viewers | votes/s at the peak | cores for messages, 10 a second each | 1 a second each | cores for votes | \
         connections, GiB | map of votes, GiB on each server | servers, at 1 a second | out, Gbit/s at 1 a second | \
         journal read, MB/s in all | statements/s without votes |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for viewers in AUDIENCES {
        let need = need(viewers, &inputs)?;
        let cells = [
            need.viewers,
            need.votes_per_s,
            need.message_cores[0],
            need.message_cores[1],
            need.vote_cores,
            need.connection_gib,
            need.map_gib,
            need.servers,
            need.out_gbit_per_s,
            need.journal_mb_per_s,
            need.statements_per_s,
        ];
        writeln!(out, "| {} |", cells.map(number).join(" | "))?;
    }
    Ok(out)
}

/// The document with its table computed anew.
fn renewed(document: &str) -> Result<String> {
    let (before, rest) = document.split_once(BEGIN).with_context(|| format!("{DOCUMENT} has no `{BEGIN}`"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("{DOCUMENT} has no `{END}`"))?;
    Ok(format!("{before}{BEGIN}\n\n{}\n{END}{after}", table(document)?))
}

/// Writes the table.
pub(crate) fn write(root: &Path) -> Result<()> {
    let path = root.join(DOCUMENT);
    let document = std::fs::read_to_string(&path)?;
    Ok(std::fs::write(&path, renewed(&document)?)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_table_of_the_document_follows_from_its_inputs() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let document = std::fs::read_to_string(root.join(DOCUMENT)).unwrap();
        assert_eq!(document, renewed(&document).unwrap(), "run cargo xtask capacity");
    }

    #[test]
    fn a_server_is_full_by_its_processor_or_by_its_memory() {
        let names = [
            ("message_cpu_us", 10.0),
            ("vote_cpu_us", 0.0),
            ("connection_bytes", 1024.0),
            ("frame_bytes", 125.0),
            ("journal_bytes", 30.0),
            ("map_bytes", 0.0),
            ("voting_share", 0.5),
            ("burst_s", 50.0),
            ("server_cores", 10.0),
            ("server_load", 1.0),
            ("server_memory_gib", 2.0),
        ];
        let mut inputs: BTreeMap<_, _> = names.map(|(name, value)| (name.to_owned(), value)).into();
        let by_processor = need(4_000_000.0, &inputs).unwrap();
        assert_eq!(
            (by_processor.message_cores[1], by_processor.servers, by_processor.out_gbit_per_s),
            (40.0, 5.0, 4.0)
        );
        assert_eq!(by_processor.votes_per_s, 40_000.0);
        inputs.insert("connection_bytes".to_owned(), 8192.0);
        assert_eq!(
            need(4_000_000.0, &inputs).unwrap().servers,
            32.0,
            "30.5 GiB of connections, 1 GiB on each, and a spare"
        );
        inputs.remove("burst_s");
        assert!(need(1.0, &inputs).err().unwrap().to_string().contains("`burst_s`"));
    }

    #[test]
    fn the_documents_count_statements_as_the_engine_makes_them() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let engine = std::fs::read_to_string(root.join("server/src/cluster/engine.rs")).unwrap();
        let shared = engine.split("pub const fn shared").nth(1).unwrap();
        let a_second = |name: &str| {
            let text = shared.split(&format!("{name}: Duration::from_millis(")).nth(1).unwrap();
            1000.0 / text.split(')').next().unwrap().parse::<f64>().unwrap()
        };
        assert_eq!((a_second("  poll_interval").floor(), a_second("lanes_interval")), (POLLS_PER_S, LANE_LISTS_PER_S));
        let cluster = std::fs::read_to_string(root.join("docs/cluster.md")).unwrap();
        let said = [1.0, 3.0, 10.0].map(|servers| number(statements(servers)));
        let line = format!("{} for one server, {} for three, {} for", said[0], said[1], said[2]);
        assert!(cluster.contains(&line), "{line}");
        let drawn = std::fs::read_to_string(root.join(DOCUMENT)).unwrap();
        assert!(drawn.contains(&format!("other's journal, {POLLS_PER_S} times a s")), "the drawing");
    }

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        assert_eq!([0.0, 0.001, 0.02, 3.12, 5.0, 1234.5].map(number), ["–", "< 0.01", "0.02", "3.1", "5", "1,234"]);
    }
}
