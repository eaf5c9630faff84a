//! One more socket that only looks: the averages for the screen, the phases of the live, and the server's clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bareme::protocol::{LiveState, ServerMessage, TallyFrame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::clock::local_now_us;
use crate::connect::{self, Server};
use crate::wire::{self, Heard, Reader};

/// Pings from which the server's clock is estimated.
const PINGS: u64 = 8;

/// How long a handshake or an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the monitor was shown last.
#[derive(Debug, Default)]
pub struct Board {
    /// The live on the channel.
    pub live: Option<LiveState>,
    /// Its numbers.
    pub tallies: BTreeMap<u32, TallyFrame>,
    /// Numbers over time: seconds of the run, jeu, voters, overall mean.
    pub history: Vec<(f64, u32, u64, Option<f64>)>,
}

/// A board that several look at.
pub type SharedBoard = Arc<Mutex<Board>>;

/// What a socket that only looks does with what it hears.
struct Looking {
    stream: TcpStream,
    reader: Reader,
    heard: Vec<ServerMessage>,
    pongs: Vec<Vec<u8>>,
    ended: bool,
}

impl Looking {
    async fn open(server: &Server, path: &str, headers: &str) -> Result<Self> {
        let opened = timeout(PATIENCE, connect::open(server, path, None, rand::random(), headers)).await??;
        let mut looking = Self {
            stream: opened.stream,
            reader: Reader::default(),
            heard: Vec::new(),
            pongs: Vec::new(),
            ended: false,
        };
        looking.take(&opened.rest)?;
        Ok(looking)
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let Self { reader, heard, pongs, ended, .. } = self;
        reader.feed(bytes, |message| match message {
            Heard::Text(text) => heard.extend(serde_json::from_str(text)),
            Heard::Ping(payload) => pongs.push(payload.to_vec()),
            Heard::Close(_) => *ended = true,
        })?;
        Ok(())
    }

    async fn say(&mut self, text: &str) -> Result<()> {
        let mut out = Vec::new();
        wire::put_text(&mut out, text, rand::random());
        Ok(self.stream.write_all(&out).await?)
    }

    /// What came since it was asked last; waits until something does.
    async fn hear(&mut self) -> Result<Vec<ServerMessage>> {
        let mut buffer = vec![0; 64 << 10];
        while self.heard.is_empty() {
            for payload in std::mem::take(&mut self.pongs) {
                let mut out = Vec::new();
                wire::put_pong(&mut out, &payload, rand::random());
                self.stream.write_all(&out).await?;
            }
            let count = self.stream.read(&mut buffer).await?;
            if count == 0 || self.ended {
                bail!("the connection ended");
            }
            self.take(&buffer[..count])?;
        }
        Ok(std::mem::take(&mut self.heard))
    }
}

/// How far the server's clock is ahead of this machine's, and how far that may be wrong, in microseconds.
///
/// # Errors
/// When no socket opens, or no answer comes.
pub async fn measure_clock(server: &Server, path: &str) -> Result<(i64, u64)> {
    let mut looking = Looking::open(server, path, "").await.context("cannot open a WebSocket")?;
    let mut best: Option<(u64, i64)> = None;
    for id in 1..=PINGS {
        let (sent_us, sent) = (local_now_us(), Instant::now());
        looking.say(&format!(r#"{{"t":"ping","id":{id}}}"#)).await?;
        let server_us = timeout(PATIENCE, async {
            loop {
                let messages = looking.hear().await?;
                let pong = messages.iter().find_map(|message| match message {
                    ServerMessage::Pong { id: answered, now_us } if *answered == id => Some(*now_us),
                    _ => None,
                });
                if let Some(now_us) = pong {
                    return anyhow::Ok(now_us);
                }
            }
        })
        .await
        .context("the server does not answer a ping")??;
        let round_trip_us = u64::try_from(sent.elapsed().as_micros())?;
        let ahead_us = i64::try_from(server_us)? - i64::try_from(sent_us + round_trip_us / 2)?;
        if best.is_none_or(|(least, _)| round_trip_us < least) {
            best = Some((round_trip_us, ahead_us));
        }
    }
    let (round_trip_us, ahead_us) = best.unwrap_or_default();
    // One machine has one clock: what is measured there is only the way there and back.
    let same_machine = server.address.ip().is_loopback();
    Ok(if same_machine { (0, 0) } else { (ahead_us, round_trip_us / 2 + 1000) })
}

/// Keeps a board up to date for as long as it runs, through restarts of the server.
pub async fn watch(server: Server, path: String, headers: String, live: Uuid, board: SharedBoard, start: Instant) {
    listen(&server, &path, &headers, |message| {
        board.lock().unwrap_or_else(PoisonError::into_inner).take(message, live, start.elapsed().as_secs_f64());
    })
    .await;
}

/// Hands over everything a server says to a socket that only looks, through restarts, for as long as it is polled.
pub async fn listen(server: &Server, path: &str, headers: &str, mut take: impl FnMut(ServerMessage)) {
    loop {
        if let Ok(mut looking) = Looking::open(server, path, headers).await {
            while let Ok(messages) = looking.hear().await {
                messages.into_iter().for_each(&mut take);
            }
        }
        sleep(Duration::from_millis(200)).await;
    }
}

impl Board {
    fn take(&mut self, message: ServerMessage, live: Uuid, at_s: f64) {
        match message {
            ServerMessage::State(state) => self.live = state.live,
            ServerMessage::Tally(tally) if tally.live == live => {
                // Ten a second are more than a plot shows.
                let last = self.history.iter().rev().find(|(_, jeu, ..)| *jeu == tally.jeu);
                if last.is_none_or(|&(last_s, ..)| at_s - last_s >= 0.5) {
                    self.history.push((at_s, tally.jeu, tally.voters, tally.mean));
                }
                self.tallies.insert(tally.jeu, tally);
            }
            _ => {}
        }
    }
}
