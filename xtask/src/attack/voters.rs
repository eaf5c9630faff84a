//! Ballot stuffing: viewers that somebody makes up by the thousand, from one address and from many.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::{ANSWERS_WITHIN, Outcome, Target};
use crate::served::knock_from;

/// First votes of one address: what it may cast at once, and as many again in ten minutes (`docs/operations.md`).
const PER_ADDRESS: u32 = 600;
/// As many addresses as a provider of IPv6 counts for.
const PER_PROVIDER: u32 = 64 * PER_ADDRESS;
/// Made-up viewers of one address, more than it may bring.
const VOTERS: u32 = 1_500;
/// Networks of one provider: more than a table of limits has room for, which is 100,000.
const NETWORKS: u32 = 110_000;
/// Requests on their way at once.
const PIPELINE: u32 = 200;

/// How many of these were answered 200 and 429.
#[derive(Default, Clone, Copy)]
struct Answers {
    counted: u32,
    refused: u32,
}

/// Votes over HTTP, one connection, each from the address that a proxy says it is from. Without a cookie each is a viewer
/// that nobody has seen.
fn post(target: &Target, addresses: &mut dyn Iterator<Item = String>) -> Result<Answers> {
    let mut stream = target.connect()?;
    let body = json!({"jeu_id": target.jeu, "fun": 5}).to_string();
    let mut answers = Answers::default();
    loop {
        let mut requests = String::new();
        let mut sent = 0;
        for address in addresses.take(PIPELINE as usize) {
            requests += &format!(
                "POST /api/note HTTP/1.1\r\nHost: {}\r\nX-Forwarded-For: {address}\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                target.address,
                body.len()
            );
            sent += 1;
        }
        if sent == 0 {
            return Ok(answers);
        }
        stream.write_all(requests.as_bytes())?;
        for status in statuses(&mut stream, sent)? {
            match status {
                200 => answers.counted += 1,
                429 => answers.refused += 1,
                other => bail!("a vote is answered {other}"),
            }
        }
    }
}

/// The statuses of so many answers on a connection. The last one's body may stay unread: it is part of what the next call
/// passes over.
fn statuses(stream: &mut TcpStream, count: u32) -> Result<Vec<u16>> {
    const HEAD: &[u8] = b"HTTP/1.1 ";
    let (mut heard, mut found, mut bytes) = (Vec::new(), Vec::new(), [0; 65_536]);
    let mut looked = 0;
    while found.len() < count as usize {
        match stream.read(&mut bytes)? {
            0 => bail!("the connection ended after {} of {count} answers", found.len()),
            read => heard.extend(bytes.iter().take(read)),
        }
        while let Some(at) = heard[looked..].windows(HEAD.len() + 3).position(|window| window.starts_with(HEAD)) {
            let from = looked + at + HEAD.len();
            found.push(std::str::from_utf8(&heard[from..from + 3])?.parse()?);
            looked = from + 3;
        }
    }
    Ok(found)
}

/// Votes over sockets: connect, vote, close.
fn by_socket(target: &Target, address: &str, count: u32) -> Result<Answers> {
    let mut answers = Answers::default();
    let vote = json!({"t": "note", "live": target.live, "jeu": target.jeu, "v": 1_767_225_600_950_000_u64, "scores": {"fun": 5}});
    let vote = vote.to_string();
    for _ in 0..count {
        let (mut stream, head) = knock_from(&target.address, "/ws/demo", &format!("X-Forwarded-For: {address}\r\n"))?;
        if head.starts_with("HTTP/1.1 429") {
            answers.refused += 1;
            continue;
        }
        if !head.starts_with("HTTP/1.1 101") {
            bail!("a handshake is answered {head}");
        }
        stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
        stream.write_all(&text_frame(&vote)?)?;
        match reply(&mut stream)? {
            true => answers.counted += 1,
            false => answers.refused += 1,
        }
    }
    Ok(answers)
}

/// A text of a client, in one frame, masked with zeros.
fn text_frame(text: &str) -> Result<Vec<u8>> {
    let length = u16::try_from(text.len())?.to_be_bytes();
    Ok([&[0x81, 0x80 | 126], &length[..], &[0; 4], text.as_bytes()].concat())
}

/// Whether the vote of a socket was counted; `false` when it was too much.
fn reply(stream: &mut TcpStream) -> Result<bool> {
    let (mut heard, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut bytes).context("a vote is not answered")? {
            0 => bail!("a socket ended without an answer to its vote"),
            read => heard.extend(bytes.iter().take(read)),
        }
        let text = String::from_utf8_lossy(&heard);
        if let Some((_, reply)) = text.split_once(r#""t":"reply""#) {
            if reply.contains(r#""status":"ok""#) {
                return Ok(true);
            }
            if reply.contains(r#""status":"too_fast""#) {
                return Ok(false);
            }
            if reply.contains('}') {
                bail!("a vote is answered {reply}");
            }
        }
    }
}

/// First votes that an address may have brought by now.
fn allowance(most: u32, began: Instant) -> u32 {
    let refilled = (began.elapsed().as_secs() + 1) * u64::from(most) / 600;
    most.saturating_add(u32::try_from(refilled).unwrap_or(u32::MAX))
}

/// Row 4: one address casts as many votes as it can, over HTTP and over sockets together.
pub(super) fn stuffing(target: &Target) -> Result<Outcome> {
    let (began, address) = (Instant::now(), "192.0.2.1");
    let before = target.voters()?;
    let posted = post(target, &mut (0..VOTERS).map(|_| address.to_owned()))?;
    let sent = by_socket(target, address, VOTERS)?;
    let most = allowance(PER_ADDRESS, began);
    let neighbour = post(target, &mut std::iter::once("192.0.2.2".to_owned()))?;
    let counted = posted.counted + sent.counted;
    let shown = target.voters()? - before;
    let figures = format!(
        "{VOTERS} over HTTP and {VOTERS} over sockets: {} and {} counted of {most} allowed; results show {shown} more with a \
         neighbour's",
        posted.counted, sent.counted
    );
    let is_bounded = counted <= most && sent.refused > 0 && posted.refused > 0;
    Ok(Outcome { has_held: is_bounded && neighbour.counted == 1 && shown == u64::from(counted) + 1, figures })
}

/// Row 6: more networks than a table has room for, each with one vote; those who are known keep what they have.
pub(super) fn networks(target: &Target) -> Result<Outcome> {
    let known = "198.51.100.7";
    post(target, &mut std::iter::once(known.to_owned()))?;
    let began = Instant::now();
    // As many /64 as there are, in one /48 after the other of a /32.
    let mut cheap = (0..NETWORKS).map(|number| format!("2001:db8:{:x}:{:x}::1", number >> 12, number & 0xFFF));
    let flood = post(target, &mut cheap)?;
    let took = began.elapsed();
    let most = allowance(PER_PROVIDER, began);
    // As many more as a household has that has voted once.
    let rest = post(target, &mut (0..PER_ADDRESS - 1).map(|_| known.to_owned()))?;
    let others = post(target, &mut (1..=50).map(|number| format!("203.0.113.{number}")))?;
    let figures = format!(
        "{NETWORKS} /64 of one provider in {:.0} s: {} counted of {most} allowed; {} of {} more from a known address, {} of 50 \
         from new ones",
        took.as_secs_f64(),
        flood.counted,
        rest.counted,
        PER_ADDRESS - 1,
        others.counted
    );
    let has_held = flood.counted <= most && rest.refused == 0 && others.refused == 0;
    Ok(Outcome { has_held, figures })
}
