//! Bytes on a socket that no honest client writes, and the close code each of them gets.

use std::time::Instant;

use serde_json::json;

use crate::harness::{Server, data_dir};
use crate::wire::{Raw, frame};

const LIMIT: usize = 4096;

async fn server() -> (tempfile::TempDir, Server, String) {
    let dir = data_dir();
    let server = Server::demo_of(module_path!(), dir.path()).await;
    let (channel, _) = server.open_live().await;
    (dir, server, format!("/ws/{channel}"))
}

/// A ping of exactly so many bytes.
fn ping(length: usize) -> String {
    let ping = json!({"t": "ping", "id": 5}).to_string();
    format!("{ping}{}", " ".repeat(length - ping.len()))
}

#[tokio::test]
async fn a_message_of_the_largest_size_is_read_and_one_byte_more_ends_the_socket() {
    let (_dir, server, path) = server().await;
    let mut raw = Raw::upgrade(&server, &path, false).await;
    raw.write(&frame(true, 1, ping(LIMIT).as_bytes())).await;
    assert_eq!(raw.reply().await["id"], 5);
    raw.write(&frame(true, 1, ping(LIMIT + 1).as_bytes())).await;
    assert_eq!(raw.close_code().await, Some(1009));
    let mut raw = Raw::upgrade(&server, &path, false).await;
    raw.write(&frame(true, 1, &vec![b' '; 1 << 20])[..100]).await;
    assert_eq!(raw.close_code().await, Some(1009), "the length alone is enough");
}

#[tokio::test]
async fn fragments_are_put_together_up_to_the_same_limit() {
    let (_dir, server, path) = server().await;
    let mut raw = Raw::upgrade(&server, &path, false).await;
    let text = ping(LIMIT);
    let (first, rest) = text.as_bytes().split_at(3);
    let (second, third) = rest.split_at(2000);
    raw.write(&frame(false, 1, first)).await;
    raw.write(&frame(false, 0, second)).await;
    raw.write(&frame(true, 9, b"between")).await;
    raw.write(&frame(true, 0, third)).await;
    assert_eq!(raw.reply().await["id"], 5);
    raw.write(&frame(false, 1, &[b' '; 3000])).await;
    raw.write(&frame(true, 0, &[b' '; 3000])).await;
    assert_eq!(raw.close_code().await, Some(1009));
    let mut raw = Raw::upgrade(&server, &path, false).await;
    raw.write(&frame(false, 1, b"")).await;
    for _ in 0..5 {
        raw.write(&frame(false, 0, &[b' '; 1000])).await;
    }
    assert_eq!(raw.close_code().await, Some(1009), "a message without an end does not fill memory");
}

#[tokio::test]
async fn text_that_is_not_utf8_ends_the_socket() {
    let (_dir, server, path) = server().await;
    for bytes in [&b"{\"t\":\"ping\",\"id\":\xFF}"[..], b"\xC3", b"\xED\xA0\x80", b"\xF8\x88\x80\x80\x80"] {
        let mut raw = Raw::upgrade(&server, &path, false).await;
        raw.write(&frame(true, 1, bytes)).await;
        assert_eq!(raw.close_code().await, Some(1007), "{bytes:?}");
    }
    let mut raw = Raw::upgrade(&server, &path, false).await;
    raw.write(&frame(false, 1, b"{\"t\":\"\xC3")).await;
    raw.write(&frame(true, 0, b"\xC3\"}")).await;
    assert_eq!(raw.close_code().await, Some(1007), "in fragments");
    // A character cut in two by a fragment is a character all the same.
    let mut raw = Raw::upgrade(&server, &path, false).await;
    raw.write(&frame(false, 1, b"{\"t\":\"\xC3")).await;
    raw.write(&frame(true, 0, b"\xA9\"}")).await;
    assert_eq!(raw.reply().await["status"], "invalid");
}

#[tokio::test]
async fn frames_against_the_rules_end_the_socket() {
    let (_dir, server, path) = server().await;
    let mut unmasked = vec![0x81, 2];
    unmasked.extend(b"{}");
    let mut reserved_bit = frame(true, 1, b"{}");
    reserved_bit[0] |= 0x40;
    let cases = [
        ("unmasked", unmasked),
        ("reserved opcode", frame(true, 3, b"{}")),
        ("reserved control opcode", frame(true, 11, b"{}")),
        ("reserved bit", reserved_bit),
        ("fragmented control frame", frame(false, 9, b"x")),
        ("long control frame", frame(true, 9, &[b'x'; 200])),
        ("continuation of nothing", frame(true, 0, b"x")),
    ];
    for (what, bytes) in cases {
        let mut raw = Raw::upgrade(&server, &path, false).await;
        raw.write(&bytes).await;
        assert_eq!(raw.close_code().await, Some(1002), "{what}");
    }
    let mut raw = Raw::upgrade(&server, &path, false).await;
    raw.write(&frame(false, 1, b"{")).await;
    raw.write(&frame(true, 1, b"{}")).await;
    assert_eq!(raw.close_code().await, Some(1002), "a message inside a message");
}

#[tokio::test]
async fn a_goodbye_that_is_wrong_ends_the_connection() {
    let (_dir, server, path) = server().await;
    let cases = [
        ("half a code", &b"\x03"[..]),
        ("a code that is never sent", &1005_u16.to_be_bytes()),
        ("a code of nobody", &999_u16.to_be_bytes()),
        ("a reason that is no text", b"\x03\xE8\xFF"),
    ];
    for (what, payload) in cases {
        let mut raw = Raw::upgrade(&server, &path, false).await;
        raw.write(&frame(true, 8, payload)).await;
        // Text that is none in a close frame is wrong in two ways; either may be named (RFC 6455 sections 7.4 and 8.1).
        let code = raw.close_code().await;
        assert!(matches!(code, Some(1002 | 1007)), "{what}: {code:?}");
        let said = Instant::now();
        assert_eq!(raw.frame().await, None, "{what}: the connection ends");
        println!("{what}: ended {:?} after the server's own goodbye", said.elapsed());
    }
}

#[tokio::test]
async fn a_goodbye_is_answered_and_a_connection_that_just_ends_leaves_nothing_behind() {
    let (_dir, server, path) = server().await;
    let mut raw = Raw::upgrade(&server, &path, false).await;
    raw.write(&frame(true, 8, &1000_u16.to_be_bytes())).await;
    assert_eq!(raw.close_code().await, Some(1000));
    assert_eq!(raw.frame().await, None, "the connection ends");
    for half in [&b""[..], b"\x81", b"\x81\xFE\x01", b"\x01\x85\x01\x02\x03\x04he"] {
        let mut raw = Raw::upgrade(&server, &path, false).await;
        raw.write(half).await;
        drop(raw);
    }
    crate::harness::eventually("every socket is gone", async || {
        (server.metric("ws_active_connections").await == 0.0).then_some(())
    })
    .await;
    assert_eq!(server.complaints(), Vec::<String>::new());
}
