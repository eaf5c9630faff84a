//! `bareme status`: how a server is, for a person on a terminal.
//!
//! **Invariant**: nothing but the text when the output goes into a file or another program: colours are for terminals,
//! and not for those who set `NO_COLOR`.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Failure;
use crate::app::own_address;
use crate::http::monitoring::SocketStats;

/// How long each of the two answers may take; `/readyz` waits three seconds for a store that does not answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Rooms that are listed; more would only scroll by. The JSON has them all.
const MAX_ROOMS: usize = 50;

#[derive(Deserialize)]
struct Ready {
    ready: bool,
    reasons: Vec<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

/// Prints how the server is that listens for operators at `url`, or else where the settings say.
pub(super) fn status(url: Option<&str>, ops_listen: SocketAddr, as_json: bool) -> Result<(), Failure> {
    let base = match url {
        Some(url) => checked(url)?,
        None => format!("http://{}", own_address(ops_listen)),
    };
    let client = Client::builder().timeout(TIMEOUT).build().map_err(|error| Failure::running(error.to_string()))?;
    let ask = |path: &str| {
        client.get(format!("{base}{path}")).send().map_err(|error| Failure::running(unreachable(&base, &error)))
    };
    let stats = ask("/api/v1/monitoring/websocket/stats")?;
    if stats.status() != StatusCode::OK {
        return Err(Failure::running(refused(&base, stats.status())));
    }
    let stats: SocketStats = read(&base, stats)?;
    let ready: Ready = read(&base, ask("/readyz")?)?;
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let out = match as_json {
        true => serde_json::to_string(&stats).map_err(|error| Failure::running(error.to_string()))? + "\n",
        false => text(&base, &stats, &ready, colours),
    };
    std::io::stdout().write_all(out.as_bytes())?;
    if ready.ready {
        return Ok(());
    }
    Err(Failure::running(format!("{base} is not ready: {}", ready.reasons.join(", "))))
}

fn checked(url: &str) -> Result<String, Failure> {
    let usable = url::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    match usable {
        Some(usable) => Ok(usable.as_str().trim_end_matches('/').to_owned()),
        None => Err(Failure { code: 2, message: format!("--url: `{url}` cannot be used; use http://127.0.0.1:9080") }),
    }
}

fn read<T: DeserializeOwned>(base: &str, response: Response) -> Result<T, Failure> {
    response.json().map_err(|_| Failure::running(format!("{base} is not a Barème server of this version")))
}

/// Why nothing came, down to what the system said.
fn unreachable(base: &str, error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    let reason = match cause {
        _ if error.is_timeout() => format!("it does not answer within {} s", TIMEOUT.as_secs()),
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    };
    format!("no server at {base}: {reason}; start one, or name another with --url")
}

fn refused(base: &str, status: StatusCode) -> String {
    let hint = match status {
        StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => {
            "is it a Barème server of this version? Operators have an address of their own, not that of viewers: \
             name the one of --ops-listen"
        }
        _ => "see its log",
    };
    format!("{base} answers {status}; {hint}")
}

/// `1 d 2 h`, `2 h 3 min`, `3 min 4 s`.
fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// With a comma after each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn text(base: &str, stats: &SocketStats, ready: &Ready, colours: bool) -> String {
    let paint = |code: &str, text: &str| match colours {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    };
    let well = match (ready.ready, stats.draining) {
        (true, _) if !ready.warnings.is_empty() => paint("33", &format!("yes, but {}", ready.warnings.join(", "))),
        (true, _) => paint("32", "yes"),
        (false, true) => paint("33", "no: it is stopping"),
        (false, false) => paint("31", &format!("no: {}", ready.reasons.join(", "))),
    };
    let max = u64::try_from(stats.max_connections).unwrap_or(u64::MAX);
    let connections = format!("{} of {}", grouped(stats.connections), grouped(max));
    let is_near = stats.connections.saturating_mul(5) >= max.saturating_mul(4);
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{}", paint("1", &format!("Barème {} at {base}", stats.version)));
    let _ = writeln!(out, "  ready          {well}");
    let _ = writeln!(out, "  pod            {}", stats.pod);
    let _ = writeln!(out, "  up             {}", duration(stats.uptime_s));
    let _ = writeln!(out, "  connections    {}", if is_near { paint("33", &connections) } else { connections });
    let files =
        stats.max_open_files.map_or_else(|| "no limit".to_owned(), |files| format!("{} allowed", grouped(files)));
    let _ = writeln!(out, "  open files     {files}");
    let _ = writeln!(out, "  pending votes  {}", grouped(stats.pending_votes));
    if stats.rooms.is_empty() {
        out.push_str("\nNobody looks at a channel here.\n");
        return out;
    }
    let width = stats.rooms.iter().take(MAX_ROOMS).map(|room| room.channel.chars().count()).max().unwrap_or(0).max(7);
    let head =
        format!("{:<width$}  {:>11}  {:>9}  {:>8}  {:>6}", "channel", "connections", "viewers", "overlays", "admins");
    let _ = writeln!(out, "\n{}", paint("1", &head));
    let mut rooms: Vec<_> = stats.rooms.iter().collect();
    rooms.sort_by(|one, other| other.connections.cmp(&one.connections).then_with(|| one.channel.cmp(&other.channel)));
    for room in rooms.iter().take(MAX_ROOMS) {
        let [connections, viewers, overlays, admins] =
            [room.connections, room.viewers, room.overlays, room.admins].map(grouped);
        let channel = &room.channel;
        let _ = writeln!(out, "{channel:<width$}  {connections:>11}  {viewers:>9}  {overlays:>8}  {admins:>6}");
    }
    if rooms.len() > MAX_ROOMS {
        let _ = writeln!(out, "and {} more; see --json", rooms.len() - MAX_ROOMS);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::monitoring::RoomStats;

    fn stats(rooms: usize) -> SocketStats {
        let room = |index: usize| RoomStats {
            channel: format!("chaine-{index}"),
            connections: 1203,
            viewers: 1200,
            overlays: 2,
            admins: 1,
        };
        SocketStats {
            pod: "pod".to_owned(),
            version: "0.1.0".to_owned(),
            draining: false,
            uptime_s: 7380,
            connections: 1203,
            max_connections: 1400,
            max_open_files: Some(20_000),
            pending_votes: 0,
            rooms: (0..rooms).map(room).collect(),
        }
    }

    #[test]
    fn what_is_printed_has_colours_on_a_terminal_only() {
        let ready = Ready { ready: true, reasons: Vec::new(), warnings: Vec::new() };
        let plain = text("http://a", &stats(1), &ready, false);
        assert!(
            !plain.contains('\x1b')
                && plain.contains("1,203 of 1,400")
                && plain.contains("20,000 allowed")
                && plain.contains("2 h 3 min"),
            "{plain}"
        );
        assert!(plain.contains("chaine-0        1,203      1,200         2       1"), "{plain}");
        let coloured = text("http://a", &stats(1), &ready, true);
        assert!(coloured.contains("\x1b[32myes\x1b[0m") && coloured.contains("\x1b[33m1,203"), "{coloured}");
        let away = Ready { ready: false, reasons: vec!["the store is away".to_owned()], warnings: Vec::new() };
        assert!(text("http://a", &stats(0), &away, true).contains("\x1b[31mno: the store is away"));
    }

    #[test]
    fn a_list_that_is_too_long_says_how_many_are_left() {
        let ready = Ready { ready: true, reasons: Vec::new(), warnings: Vec::new() };
        let text = text("http://a", &stats(MAX_ROOMS + 3), &ready, false);
        assert!(text.ends_with("and 3 more; see --json\n"), "{text}");
        assert_eq!((grouped(1_234_567), grouped(12), duration(59)), ("1,234,567".into(), "12".into(), "59 s".into()));
    }

    #[test]
    fn an_address_that_is_none_is_refused_with_one_that_is() {
        assert_eq!(checked("127.0.0.1:8080").unwrap_err().code, 2);
        assert_eq!(checked("http://a:1/").ok(), Some("http://a:1".to_owned()));
    }
}
