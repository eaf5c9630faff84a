//! What is logged, and what never is.

use serde_json::{Value, json};

use super::{admin_token, overlay_key};
use crate::harness::{Server, client, data_dir, eventually};
use crate::wire::Page;

/// Log lines; what is announced for people is none.
fn lines(server: &Server) -> Vec<Value> {
    server.said().lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The value of a field of the spans that a line lies in.
fn of_span<'a>(line: &'a Value, name: &str, field: &str) -> Option<&'a str> {
    let spans = line["spans"].as_array()?;
    spans.iter().find(|span| span["name"] == name)?[field].as_str()
}

#[tokio::test]
async fn every_line_says_which_request_or_jeu_it_is_about_and_none_holds_a_secret_or_an_address() {
    let dir = data_dir();
    let command = ["demo", "--viewers", "0", "--log", "info,bareme=trace", "--trusted-proxies", "127.0.0.1"];
    let server = Server::start(&command, dir.path()).await;
    let (channel, live) = server.open_live().await;
    let (token, key) = (admin_token(dir.path()), overlay_key(&server));
    let (address, password) = ("203.0.113.77", "correct horse battery");
    let client = client();
    let get = |path: &str| client.get(server.url(path)).header("X-Forwarded-For", address);

    let answer = get("/api/lives").header("X-Request-Id", "abc-1").send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "abc-1");
    let forged = get("/api/lives").header("X-Request-Id", "x\", \"level\": \"ERROR").send().await.unwrap();
    assert_eq!(forged.headers()["x-request-id"].len(), 36, "one of our own");
    let ops = client.get(server.ops_url("/metrics")).header("X-Forwarded-For", address);
    for (asked, status) in [(get("/api/nothing"), 404), (get("/nobody"), 404), (ops, 200), (get("/"), 200)] {
        let answer = asked.header("X-Request-Id", "abc-2").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["x-request-id"]), (status, &"abc-2".parse().unwrap()));
    }

    let file = get("/assets/nothing.js").send().await.unwrap();
    assert!(!file.headers().contains_key("x-request-id"), "heads of files count in what a page weighs");

    // Everything that takes a secret, right and wrong.
    let mut page = Page::viewer(&server, &channel).await;
    let note = page.note(1, json!({"fun": 4}));
    assert_eq!(page.ask(&note).await["status"], "ok");
    let viewer = page.token.clone().unwrap();
    page.say(&json!({"t": "hello", "viewer": viewer})).await;
    let overlay = format!("/ws/{channel}?role=overlay&key=");
    drop(Page::open(&server, &format!("{overlay}{key}"), &[]).await.unwrap());
    assert_eq!(Page::open(&server, &format!("{overlay}brm_overlay_wrongwrongwrong"), &[]).await.err(), Some(403));
    let bearer = format!("Bearer {token}");
    drop(Page::open(&server, &format!("/ws/{channel}?role=admin"), &[("authorization", &bearer)]).await.unwrap());
    let login = json!({"name": "nobody", "password": password});
    assert_eq!(client.post(server.url("/api/admin/login")).json(&login).send().await.unwrap().status(), 401);
    let close = client.post(server.url(&format!("/api/admin/lives/{live}/jeux/1/close"))).bearer_auth(&token);
    let closed = close.header("X-Request-Id", "close-1").json(&json!({"delay_ms": 0})).send().await.unwrap();
    assert!(closed.status().is_success(), "{}", closed.text().await.unwrap());

    let is_final = |line: &&Value| {
        of_span(line, "item", "live") == Some(&live)
            && of_span(line, "item", "jeu") == Some("1")
            && line["phase"] == "Final"
    };
    eventually("jeu 1 is final in the log", async || lines(&server).iter().find(is_final).map(drop)).await;
    let lines = lines(&server);
    for id in ["abc-1", "abc-2", "close-1"] {
        let answered =
            |line: &&Value| of_span(line, "request", "request_id") == Some(id) && line["message"] == "answered";
        assert!(lines.iter().any(|line| answered(&line)), "{id}: {lines:?}");
    }
    let text = server.said();
    let text: Vec<_> = text.lines().filter(|line| line.starts_with('{')).collect();
    let setup = server.said().lines().find_map(|line| Some(line.split_once("#setup=")?.1.to_owned())).unwrap();
    for secret in [&token, &key, &viewer, "wrongwrongwrong", password, &setup, address, "127.0.0.1:"] {
        let told: Vec<_> = text.iter().filter(|line| line.contains(secret)).collect();
        assert!(told.is_empty(), "`{secret}` is in {told:?}");
    }
}
