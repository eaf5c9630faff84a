//! Two clients of the socket: one that keeps the rules, by a WebSocket library, and one that writes what bytes it likes.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_websockets::{ClientBuilder, MaybeTlsStream, Message, WebSocketStream};

use crate::harness::{PATIENCE, Server};

/// Microseconds since 1970: client and server share a clock here.
pub(crate) fn now_us() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

/// What a socket hears.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    /// A message, and its text as it came.
    Message(Value, String),
    /// The end, with its code if the server said goodbye.
    End(Option<u16>),
}

/// A page: a client that keeps the rules.
pub(crate) struct Page {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The viewer token it was given.
    pub(crate) token: Option<String>,
    /// The newest state.
    pub(crate) state: Value,
    /// Every text it heard, in order, with its time.
    pub(crate) log: Vec<(Instant, String)>,
    /// How much it had heard when it last said something.
    said_at: usize,
    /// Version of its last note.
    pub(crate) last_v: u64,
}

impl Page {
    /// Connects as a new viewer of the channel.
    pub(crate) async fn viewer(server: &Server, channel: &str) -> Self {
        Self::open(server, &format!("/ws/{channel}"), &[]).await.unwrap()
    }

    /// Connects to an address with some headers and waits for welcome and state; fails with the status of a refusal.
    pub(crate) async fn open(server: &Server, path: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        Self::connect(&server.ws_url(path), headers).await.map_err(|error| error.expect("the server is there"))
    }

    /// Connects; `Err(None)` when nobody is there.
    pub(crate) async fn connect(url: &str, headers: &[(&str, &str)]) -> Result<Self, Option<u16>> {
        let mut builder = ClientBuilder::new().uri(url).unwrap();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            builder = builder.add_header(name, HeaderValue::from_str(value).unwrap()).unwrap();
        }
        let connected = tokio::time::timeout(PATIENCE, builder.connect()).await.map_err(|_| None)?;
        let (socket, _) = connected.map_err(|error| match error {
            tokio_websockets::Error::Upgrade(tokio_websockets::upgrade::Error::DidNotSwitchProtocols(status)) => {
                Some(status)
            }
            _ => None,
        })?;
        let mut page = Self { socket, token: None, state: Value::Null, log: Vec::new(), said_at: 0, last_v: 0 };
        while page.state.is_null() {
            let Heard::Message(message, _) = page.hear().await else { return Err(None) };
            if message["t"] == "welcome" {
                page.token = message["viewer"].as_str().map(str::to_owned);
            }
        }
        Ok(page)
    }

    /// The next message, or the end.
    pub(crate) async fn hear(&mut self) -> Heard {
        self.hear_within(PATIENCE).await.expect("a message in time")
    }

    /// The next message, or the end; `None` when nothing comes in time.
    pub(crate) async fn hear_within(&mut self, patience: Duration) -> Option<Heard> {
        let end = tokio::time::Instant::now() + patience;
        loop {
            let message = match tokio::time::timeout_at(end, self.socket.next()).await {
                Err(_) => return None,
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(_)) | None) => return Some(Heard::End(None)),
            };
            if let Some((code, _)) = message.as_close() {
                return Some(Heard::End(Some(code.into())));
            }
            let Some(text) = message.as_text() else { continue };
            self.log.push((Instant::now(), text.to_owned()));
            let value: Value = serde_json::from_str(text).unwrap();
            if value["t"] == "state" {
                self.state = value.clone();
            }
            return Some(Heard::Message(value, text.to_owned()));
        }
    }

    /// The first message from now on that is wanted.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.hear_within(end.saturating_duration_since(Instant::now())).await {
                Some(Heard::Message(message, _)) if wanted(&message) => return message,
                Some(Heard::Message(..)) => {}
                Some(Heard::End(code)) => panic!("waiting for {what}, the socket ended with {code:?}"),
                None => panic!("never heard: {what}; last was {:?}", self.log.last()),
            }
        }
    }

    /// As [`Page::until`], among what came before the reply to what was said last, too: a snapshot waits for nobody.
    pub(crate) async fn since_said(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let since = self.log[self.said_at..].iter().rev().filter_map(|(_, text)| serde_json::from_str(text).ok());
        match since.into_iter().find(&wanted) {
            Some(heard) => heard,
            None => self.until(what, wanted).await,
        }
    }

    /// Listens to the end and says how it came.
    pub(crate) async fn end(&mut self) -> Option<u16> {
        loop {
            if let Heard::End(code) = self.hear().await {
                return code;
            }
        }
    }

    /// Hears everything that comes for a while.
    pub(crate) async fn listen(&mut self, time: Duration) -> Vec<Value> {
        let end = Instant::now() + time;
        let mut heard = Vec::new();
        while let Some(Heard::Message(message, _)) =
            self.hear_within(end.saturating_duration_since(Instant::now())).await
        {
            heard.push(message);
        }
        heard
    }

    pub(crate) async fn say(&mut self, message: &Value) {
        self.say_text(message.to_string()).await;
    }

    pub(crate) async fn say_text(&mut self, text: String) {
        self.said_at = self.log.len();
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Sends; `false` when the socket is gone.
    pub(crate) async fn try_say(&mut self, message: &Value) -> bool {
        self.socket.send(Message::text(message.to_string())).await.is_ok()
    }

    pub(crate) async fn say_binary(&mut self) {
        self.socket.send(Message::binary(&b"\x00\x01"[..])).await.unwrap();
    }

    /// The live it was last shown.
    pub(crate) fn live(&self) -> String {
        self.state["live"]["live_id"].as_str().expect("a live is shown").to_owned()
    }

    /// The next version.
    pub(crate) fn next_v(&mut self) -> u64 {
        self.last_v = now_us().max(self.last_v + 1);
        self.last_v
    }

    /// A note message with a version of its own.
    #[expect(clippy::needless_pass_by_value, reason = "callers write the scores in place")]
    pub(crate) fn note(&mut self, jeu: u32, scores: Value) -> Value {
        let v = self.next_v();
        json!({"t": "note", "live": self.live(), "jeu": jeu, "v": v, "scores": scores})
    }

    /// Sends a message and waits for its reply.
    pub(crate) async fn ask(&mut self, message: &Value) -> Value {
        self.say(message).await;
        let v = message["v"].clone();
        self.until("a reply", |heard| heard["t"] == "reply" && (heard["v"] == v || heard["v"].is_null())).await
    }

    /// Votes and waits for the reply.
    pub(crate) async fn vote(&mut self, jeu: u32, scores: Value) -> Value {
        let note = self.note(jeu, scores);
        self.ask(&note).await
    }

    /// Votes, and sends the same again as long as it is told to, as every client has to.
    pub(crate) async fn noted(&mut self, jeu: u32, scores: Value) -> Value {
        let note = self.note(jeu, scores);
        let started = Instant::now();
        loop {
            let reply = self.ask(&note).await;
            assert!(started.elapsed() < PATIENCE, "in {PATIENCE:?} never taken: {reply}");
            match reply["retry_after_ms"].as_u64() {
                Some(wait_ms) => tokio::time::sleep(Duration::from_millis(wait_ms)).await,
                None if reply["status"] == "unknown" => {}
                None => return reply,
            }
        }
    }

    /// Waits until a tally of the jeu shows so many voters.
    pub(crate) async fn tally(&mut self, jeu: u32, voters: u64) -> Value {
        let what = format!("{voters} voters on jeu {jeu}");
        let wanted = |heard: &Value| heard["t"] == "tally" && heard["jeu"] == jeu && heard["voters"] == voters;
        // It may have come before the reply to what was said last: the snapshot's tick waits for nobody.
        let since = self.log[self.said_at..].iter().rev().filter_map(|(_, text)| serde_json::from_str(text).ok());
        let newest = since.into_iter().find(|heard: &Value| heard["t"] == "tally" && heard["jeu"] == jeu);
        match newest.filter(wanted) {
            Some(heard) => heard,
            None => self.until(&what, wanted).await,
        }
    }

    /// Answers to protocol-level pings come by themselves; this asks the other side.
    pub(crate) async fn ping(&mut self, payload: &'static [u8]) -> Vec<u8> {
        self.socket.send(Message::ping(payload)).await.unwrap();
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await.unwrap().unwrap().unwrap();
            if message.is_pong() {
                return message.as_payload().to_vec();
            }
        }
    }
}

/// A client that writes what bytes it likes.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Raw {
    /// Upgrades a connection whose receive buffer is as small as the system allows if `narrow`.
    pub(crate) async fn upgrade(server: &Server, path: &str, narrow: bool) -> Self {
        Self::upgrade_with(server, path, narrow, b"", 0).await
    }

    /// As [`Raw::upgrade`], with bytes that follow the request in the same write, and so many of its own in one before.
    pub(crate) async fn upgrade_with(server: &Server, path: &str, narrow: bool, early: &[u8], first: usize) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        if narrow {
            socket.set_recv_buffer_size(2304).unwrap();
        }
        let stream = socket.connect(([127, 0, 0, 1], server.port()).into()).await.unwrap();
        let mut raw = Self { stream, buffer: Vec::new() };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            server.port()
        );
        let (first, rest) = request.split_at(first);
        raw.write(first.as_bytes()).await;
        tokio::task::yield_now().await;
        raw.write(&[rest.as_bytes(), early].concat()).await;
        while !raw.buffer.windows(4).any(|end| end == b"\r\n\r\n") {
            assert!(raw.fill().await, "the head of a response");
        }
        let head = raw.buffer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        let rest = raw.buffer.split_off(head);
        let head = String::from_utf8(std::mem::replace(&mut raw.buffer, rest)).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        raw
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn fill(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut bytes)).await.expect("bytes in time");
        let count = read.unwrap_or(0);
        self.buffer.extend_from_slice(&bytes[..count]);
        count > 0
    }

    /// One frame: opcode and payload. `None` at the end of the connection.
    pub(crate) async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((opcode, start, end)) = frame_at(&self.buffer) {
                let payload = self.buffer[start..end].to_vec();
                self.buffer.drain(..end);
                return Some((opcode, payload));
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Reads until the server says goodbye, and says with which code; `None` when the connection just ends.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        loop {
            let (opcode, payload) = self.frame().await?;
            if opcode == 8 {
                return payload.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
            }
        }
    }

    /// Waits for the reply to a message.
    pub(crate) async fn reply(&mut self) -> Value {
        loop {
            let (opcode, payload) = self.frame().await.expect("a reply before the end");
            assert_ne!(opcode, 8, "the server closed: {payload:?}");
            if opcode == 1 {
                let value: Value = serde_json::from_slice(&payload).unwrap();
                if value["t"] == "reply" || value["t"] == "pong" {
                    return value;
                }
            }
        }
    }
}

fn frame_at(buffer: &[u8]) -> Option<(u8, usize, usize)> {
    let [first, second] = *buffer.first_chunk()?;
    let (start, length) = match second & 0x7F {
        126 => (4, usize::from(u16::from_be_bytes(*buffer.get(2..)?.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*buffer.get(2..)?.first_chunk()?)).unwrap()),
        short => (2, usize::from(short)),
    };
    (buffer.len() >= start + length).then_some((first & 0x0F, start, start + length))
}

/// A client's frame: masked, as RFC 6455 wants it.
pub(crate) fn frame(is_last: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![u8::from(is_last) << 7 | opcode];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
        length @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
