//! Passkeys: added, signed in with, refused, removed.

use bareme::auth::webauthn::RelyingParty;
use bareme::catalogue::{Account, Session};
use bareme::store::{RecordKey, RecordKind};
use reqwest::Method;
use serde_json::{Value, json};

use super::auth::{Browser, PASSWORD, anonymous, browser, set_up};
use super::authenticator::{Key, MAY_SYNC, PRESENT, Passkey, VERIFIED};
use super::second_factor::switched_on;
use super::support::{Server, read, refused};
use crate::harness::{data_dir, run};

const PATH: &str = "/api/admin/passkeys";
const OPTIONS: &str = "/api/admin/passkey-options";
const LOGIN: &str = "/api/admin/login/passkey";
const CONFIRM: &str = "/api/admin/confirm/passkey";
const MINUTES: u64 = 60 * 1_000_000;

async fn options(server: &Server) -> Value {
    let (status, asked) = read(server.client.get(format!("{}{LOGIN}", server.base)).send().await.unwrap()).await;
    assert_eq!(status, 200, "{asked}");
    asked
}

/// What an answer says wrong: in words, the rule and the reason it is refused by, and how.
type Wrong = (&'static str, &'static str, &'static str, fn(&mut Passkey));

/// Adds a passkey to the account of a browser.
async fn added(server: &Server, owner: &Browser, key: Key) -> Passkey {
    let (status, asked) = owner.send(server, Method::GET, OPTIONS, Value::Null).await;
    assert_eq!(status, 200, "{asked}");
    let passkey = Passkey::make(key, &server.base, &asked);
    let (status, made) = owner.send(server, Method::POST, PATH, passkey.made("Téléphone", &asked)).await;
    assert_eq!((status, &made["name"], &made["used_at_us"]), (201, &json!("Téléphone"), &Value::Null), "{made}");
    passkey
}

async fn sign_in(server: &Server, answer: &Value) -> (u16, Value) {
    read(anonymous(server, LOGIN, answer).await).await
}

#[track_caller]
fn refused_by(answer: &(u16, Value), rule: &str) {
    refused(answer, 403, "forbidden", None);
    assert_eq!(answer.1["rule"], rule, "{}", answer.1);
}

/// The newest entry of an action in the audit log.
async fn logged(server: &Server, action: &str) -> Value {
    let (_, page) = server.get("/api/admin/audit?limit=50").await;
    let entries = page["entries"].as_array().unwrap();
    entries.iter().find(|entry| entry["action"] == action).unwrap_or_else(|| panic!("{action} in {page}")).clone()
}

async fn moderator(server: &Server, owner: &Browser, name: &str) -> Browser {
    let body = json!({"name": name, "password": PASSWORD, "role": "moderator"});
    assert_eq!(owner.send(server, Method::POST, "/api/admin/accounts", body).await.0, 201);
    let login = json!({"name": name, "password": PASSWORD});
    browser(anonymous(server, "/api/admin/login", &login).await).await
}

/// Makes a session older, as if the password had been given long ago.
async fn age(server: &Server, of: &Browser) {
    let secret = of.cookie.split_once('=').unwrap().1;
    let key = RecordKey::new(RecordKind::Session, "", bareme::auth::secrets::hash(secret));
    let make_old = |session: &mut Session| {
        session.confirmed_at_us -= 11 * MINUTES;
        Ok::<_, ()>(())
    };
    server.state.records.update(&key, make_old).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_of_each_kind_signs_in_without_password_or_code_until_it_is_removed() {
    let server = Server::start().await;
    let owner = set_up(&server).await;
    switched_on(&server, &owner).await;
    for key in [Key::es256(), Key::ed25519(), Key::rs256()] {
        let mut passkey = added(&server, &owner, key).await;
        let entry = logged(&server, "add_passkey").await;
        assert_eq!((&entry["who"], &entry["about"]["name"]), (&json!("Éloïse"), &json!("Téléphone")), "{entry}");
        passkey.counter = 7;
        let response = anonymous(&server, LOGIN, &passkey.answer(&options(&server).await)).await;
        assert_eq!(response.status(), 200);
        let signed_in = browser(response).await;
        let (_, session) = signed_in.send(&server, Method::GET, "/api/admin/session", Value::Null).await;
        assert_eq!((&session["name"], &session["has_passkey"]), (&json!("Éloïse"), &json!(true)), "{session}");
        let entry = logged(&server, "log_in_with_passkey").await;
        let said = (&entry["who"], &entry["outcome"], &entry["about"]["passkey"]);
        assert_eq!(said, (&json!("Éloïse"), &json!("done"), &json!("Téléphone")), "{entry}");
        // It counts as just confirmed: it may be removed at once.
        let (_, known) = signed_in.send(&server, Method::GET, PATH, Value::Null).await;
        assert!(known[0]["used_at_us"].is_u64() && known[0]["party"] == "localhost", "{known}");
        let path = format!("{PATH}/{}", known[0]["passkey_id"].as_str().unwrap());
        assert_eq!(signed_in.send(&server, Method::DELETE, &path, Value::Null).await.0, 204);
        let entry = logged(&server, "remove_passkey").await;
        assert_eq!(entry["about"]["name"], "Téléphone", "{entry}");
        refused(&signed_in.send(&server, Method::DELETE, &path, Value::Null).await, 404, "unknown_passkey", None);
        passkey.counter = 8;
        refused_by(&sign_in_known(&server, &owner, &passkey.answer(&options(&server).await)).await, "passkey_refused");
        let entry = logged(&server, "log_in_with_passkey").await;
        assert_eq!((&entry["outcome"], &entry["about"]["reason"]), (&json!("refused"), &json!("unknown")), "{entry}");
    }
    let password = json!({"name": "eloise", "password": PASSWORD});
    let (_, problem) = read(anonymous(&server, "/api/admin/login", &password).await).await;
    assert_eq!(problem["code"], "code_required", "the password goes on to need its code");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_wrong_anywhere_is_refused_and_the_log_says_why() {
    let server = Server::start().await;
    let owner = set_up(&server).await;
    let lea = moderator(&server, &owner, "lea").await;
    let of_lea = added(&server, &lea, Key::es256()).await;
    let changes: [Wrong; 10] = [
        ("another site", "passkey_refused", "origin", |it| it.origin = "http://localhost:1".to_owned()),
        ("another scheme", "passkey_refused", "origin", |it| it.origin = it.origin.replace("http:", "https:")),
        ("another relying party", "passkey_refused", "origin", |it| it.party = "example.org".to_owned()),
        ("a page framed by another site", "passkey_refused", "origin", |it| it.is_framed = true),
        ("nobody was verified", "passkey_refused", "unverified", |it| it.flags = PRESENT),
        ("nobody was there", "passkey_refused", "unverified", |it| it.flags = VERIFIED),
        ("it may be copied now", "passkey_refused", "changed", |it| it.flags |= MAY_SYNC),
        ("another passkey", "passkey_refused", "unknown", |it| it.id = vec![1; 24]),
        ("no account is named", "passkey_refused", "unknown", |it| it.handle = None),
        ("an account that is none", "passkey_refused", "unknown", |it| it.handle = Some("A".repeat(43))),
    ];
    // Some accounts, so that none is slowed down.
    let mut browsers = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        browsers.push(moderator(&server, &owner, name).await);
    }
    for ((what, rule, reason, change), one) in changes.into_iter().zip(browsers.iter().cycle()) {
        let mut passkey = added(&server, one, Key::es256()).await;
        let (party, origin, flags) = (passkey.party.clone(), passkey.origin.clone(), passkey.flags);
        let (id, handle) = (passkey.id.clone(), passkey.handle.clone());
        change(&mut passkey);
        let answer = sign_in_known(&server, one, &passkey.answer(&options(&server).await)).await;
        refused_by(&answer, rule);
        let entry = logged(&server, "log_in_with_passkey").await;
        assert_eq!(
            (&entry["about"]["reason"], &entry["outcome"]),
            (&json!(reason), &json!("refused")),
            "{what}: {entry}"
        );
        (passkey.party, passkey.origin, passkey.flags, passkey.is_framed) = (party, origin, flags, false);
        (passkey.id, passkey.handle) = (id, handle);
        let right = sign_in_known(&server, one, &passkey.answer(&options(&server).await)).await;
        assert_eq!(right.0, 200, "the same passkey, but for `{what}`: {}", right.1);
    }
    // Léa's passkey under the name of another account, and another's under hers.
    let mut of_owner = added(&server, &owner, Key::es256()).await;
    let own = of_owner.handle.clone();
    of_owner.handle.clone_from(&of_lea.handle);
    refused_by(&sign_in_known(&server, &lea, &of_owner.answer(&options(&server).await)).await, "passkey_refused");
    of_owner.handle = own;
    let mut forged = of_owner.answer(&options(&server).await);
    forged["signature"] = of_lea.answer(&options(&server).await)["signature"].clone();
    refused_by(&sign_in_known(&server, &owner, &forged).await, "passkey_refused");
    let entry = logged(&server, "log_in_with_passkey").await;
    assert_eq!((&entry["who"], &entry["about"]["reason"]), (&json!("Éloïse"), &json!("signature")), "{entry}");
    for wrong in [json!({}), json!({"credential_id": 1}), json!([])] {
        assert!((400..=422).contains(&sign_in(&server, &wrong).await.0));
    }
    for text in ["", "é", "=", "AAAA"] {
        let mut wrong = of_owner.answer(&options(&server).await);
        wrong["client_data"] = json!(text);
        refused_by(&sign_in_known(&server, &owner, &wrong).await, "passkey_refused");
    }
}

/// Signs in from a browser that the account knows, which nobody slows down.
async fn sign_in_known(server: &Server, known: &Browser, answer: &Value) -> (u16, Value) {
    let request = server.client.post(format!("{}{LOGIN}", server.base)).json(answer);
    read(request.header("Cookie", known.device()).send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_is_answered_once_within_five_minutes_and_for_what_it_was_made() {
    let server = Server::start().await;
    let owner = set_up(&server).await;
    let passkey = added(&server, &owner, Key::es256()).await;
    // It counts nothing, so that its counter refuses no copy of an answer.
    let answer = passkey.answer(&options(&server).await);
    let tries = (0..6).map(|_| sign_in_known(&server, &owner, &answer));
    let tries = futures_util::future::join_all(tries).await;
    assert_eq!(tries.iter().filter(|(status, _)| *status == 200).count(), 1, "{tries:?}");
    tries.iter().filter(|(status, _)| *status != 200).for_each(|again| refused_by(again, "passkey_late"));
    assert_eq!(logged(&server, "log_in_with_passkey").await["about"]["reason"], "used");

    let party = RelyingParty::of(&server.base.parse().unwrap()).unwrap();
    let now_us = server.state.now_us();
    let at = async |made_us: u64| {
        let asked = server.state.auth.passkey_request(&party, made_us).await.unwrap();
        sign_in_known(&server, &owner, &passkey.answer(&asked)).await
    };
    refused_by(&at(now_us - 5 * MINUTES - 1).await, "passkey_late");
    assert_eq!(logged(&server, "log_in_with_passkey").await["about"]["reason"], "late");
    assert_eq!(at(now_us - 4 * MINUTES).await.0, 200);

    let (_, asked) = owner.send(&server, Method::GET, CONFIRM, Value::Null).await;
    assert_eq!(asked["allowCredentials"][0]["id"], passkey.id(), "{asked}");
    refused_by(&sign_in_known(&server, &owner, &passkey.answer(&asked)).await, "passkey_late");
    let made_up = json!({"challenge": "A".repeat(54)});
    refused_by(&sign_in_known(&server, &owner, &passkey.answer(&made_up)).await, "passkey_late");
    assert_eq!(logged(&server, "log_in_with_passkey").await["about"]["reason"], "challenge");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_that_does_not_go_on_is_refused_and_changes_nothing() {
    let server = Server::start().await;
    let owner = set_up(&server).await;
    let mut passkey = added(&server, &owner, Key::es256()).await;
    for (counter, is_right) in [(5, true), (5, false), (4, false), (0, false), (6, true), (1_000_000, true)] {
        passkey.counter = counter;
        let answer = sign_in_known(&server, &owner, &passkey.answer(&options(&server).await)).await;
        if is_right {
            assert_eq!(answer.0, 200, "{counter}: {}", answer.1);
            continue;
        }
        refused_by(&answer, "passkey_copied");
        let entry = logged(&server, "log_in_with_passkey").await;
        assert_eq!((&entry["who"], &entry["about"]["reason"]), (&json!("Éloïse"), &json!("counter")), "{entry}");
    }
    // Whoever does not have the key cannot make it look copied.
    passkey.counter = 1;
    let mut forged = passkey.answer(&options(&server).await);
    forged["signature"] = json!("AAAA");
    refused_by(&sign_in_known(&server, &owner, &forged).await, "passkey_refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_two_halves_of_a_ceremony_may_reach_two_pods() {
    let (one, other) = Server::pair().await;
    // The set-up link of the server that started last is the one that works.
    let owner = set_up(&other).await;
    let (_, asked) = owner.send(&one, Method::GET, OPTIONS, Value::Null).await;
    // Behind a balancer both have one origin; here each has its own.
    let mut passkey = Passkey::make(Key::es256(), &other.base, &asked);
    let made = passkey.made("Clé", &asked);
    assert_eq!(owner.send(&other, Method::POST, PATH, made.clone()).await.0, 201);
    let asked = options(&one).await;
    assert_eq!(sign_in(&other, &passkey.answer(&asked)).await.0, 200);
    passkey.origin.clone_from(&one.base);
    refused_by(&sign_in(&one, &passkey.answer(&asked)).await, "passkey_late");
    // The copy of what added it does not bring it back.
    let (_, known) = owner.send(&one, Method::GET, PATH, Value::Null).await;
    let path = format!("{PATH}/{}", known[0]["passkey_id"].as_str().unwrap());
    assert_eq!(owner.send(&one, Method::DELETE, &path, Value::Null).await.0, 204);
    refused_by(&owner.send(&other, Method::POST, PATH, made).await, "passkey_late");
    assert_eq!(owner.send(&one, Method::GET, PATH, Value::Null).await.1, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn passkeys_are_added_and_removed_soon_after_the_password_or_a_passkey_was_given() {
    let server = Server::start().await;
    let owner = set_up(&server).await;
    let lea = moderator(&server, &owner, "lea").await;
    let (of_owner, of_lea) = (added(&server, &owner, Key::es256()).await, added(&server, &lea, Key::ed25519()).await);
    age(&server, &owner).await;
    for (method, path) in [
        (Method::GET, OPTIONS),
        (Method::POST, PATH),
        (Method::DELETE, "/api/admin/passkeys/x"),
        (Method::DELETE, "/api/admin/accounts/lea/passkeys"),
    ] {
        refused(&owner.send(&server, method, path, Value::Null).await, 403, "confirm_required", None);
    }
    let asked = async |of: &Browser| of.send(&server, Method::GET, CONFIRM, Value::Null).await.1;
    let confirm = async |answer: Value| owner.send(&server, Method::POST, CONFIRM, answer).await;
    refused_by(&confirm(of_lea.answer(&asked(&owner).await)).await, "passkey_refused");
    assert_eq!(logged(&server, "confirm_with_passkey").await["about"]["reason"], "account");
    refused_by(&confirm(of_owner.answer(&asked(&lea).await)).await, "passkey_late");
    refused_by(&confirm(of_owner.answer(&options(&server).await)).await, "passkey_late");
    refused(&owner.send(&server, Method::GET, OPTIONS, Value::Null).await, 403, "confirm_required", None);
    assert_eq!(confirm(of_owner.answer(&asked(&owner).await)).await.0, 204);
    assert_eq!(owner.send(&server, Method::GET, OPTIONS, Value::Null).await.0, 200);
    // A lost device of somebody else.
    let off = async || owner.send(&server, Method::DELETE, "/api/admin/accounts/lea/passkeys", Value::Null).await;
    let (_, accounts) = owner.send(&server, Method::GET, "/api/admin/accounts", Value::Null).await;
    assert_eq!((&accounts[1]["name"], &accounts[1]["passkeys"]), (&json!("lea"), &json!(1)), "{accounts}");
    assert_eq!(off().await.0, 204);
    refused(&off().await, 404, "unknown_passkey", None);
    refused_by(&sign_in_known(&server, &lea, &of_lea.answer(&options(&server).await)).await, "passkey_refused");
    refused(&lea.send(&server, Method::GET, CONFIRM, Value::Null).await, 404, "unknown_passkey", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_is_added_as_it_was_asked_for_once_and_ten_are_enough() {
    let server = Server::start().await;
    let owner = set_up(&server).await;
    let lea = moderator(&server, &owner, "lea").await;
    let asked = async |of: &Browser| of.send(&server, Method::GET, OPTIONS, Value::Null).await.1;
    let add = async |of: &Browser, made: Value| of.send(&server, Method::POST, PATH, made).await;
    let first = asked(&owner).await;
    let mut passkey = Passkey::make(Key::es256(), &server.base, &first);
    passkey.origin = "https://evil.example".to_owned();
    refused_by(&add(&owner, passkey.made("x", &first)).await, "passkey_refused");
    assert_eq!(logged(&server, "add_passkey").await["about"]["reason"], "origin");
    passkey.origin.clone_from(&server.base);
    passkey.flags = PRESENT;
    refused_by(&add(&owner, passkey.made("x", &first)).await, "passkey_refused");
    passkey.flags = PRESENT | VERIFIED;
    refused_by(&add(&lea, passkey.made("x", &first)).await, "passkey_late");
    refused_by(&add(&owner, passkey.made("x", &options(&server).await)).await, "passkey_late");
    refused(&add(&owner, passkey.made(" ", &first)).await, 422, "invalid", Some("name"));
    let unasked = Passkey::make(Key::unasked(), &server.base, &first);
    let mut long = Passkey::make(Key::es256(), &server.base, &first);
    long.id = vec![1; 1_024];
    for wrong in [unasked, long] {
        refused_by(&add(&owner, wrong.made("x", &first)).await, "passkey_refused");
        assert_eq!(logged(&server, "add_passkey").await["about"]["reason"], "unreadable");
    }
    assert_eq!(add(&owner, passkey.made("x", &first)).await.0, 201);
    let second = asked(&owner).await;
    assert_eq!(second["excludeCredentials"][0]["id"], passkey.id(), "{second}");
    assert_eq!(second["user"]["id"], first["user"]["id"]);
    for of in [&owner, &lea] {
        let again = add(of, passkey.made("y", &asked(of).await)).await;
        let entry = logged(&server, "add_passkey").await;
        assert_eq!((again.0, &again.1["rule"]), (409, &json!("passkey_known")), "{entry}");
    }
    let (third, fourth) = (asked(&lea).await, asked(&lea).await);
    let fill = |account: &mut Account| {
        let passkeys = account.passkeys.as_mut().unwrap();
        let first = passkeys.keys[0].clone();
        passkeys.keys =
            (0..10).map(|n| bareme::catalogue::Passkey { id: format!("AAA{n}"), ..first.clone() }).collect();
        Ok::<_, ()>(())
    };
    let key = RecordKey::new(RecordKind::Account, "", "lea");
    let other = Passkey::make(Key::es256(), &server.base, &third);
    assert_eq!(add(&lea, other.made("z", &third)).await.0, 201);
    server.state.records.update(&key, fill).await.unwrap().unwrap().unwrap();
    // Asked for before it was full.
    let one_more = Passkey::make(Key::es256(), &server.base, &fourth);
    for full in
        [lea.send(&server, Method::GET, OPTIONS, Value::Null).await, add(&lea, one_more.made("z", &fourth)).await]
    {
        refused(&full, 409, "conflict", None);
        assert_eq!((&full.1["rule"], &full.1["params"]["max"]), (&json!("full"), &json!(10)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_is_slowed_down_as_with_passwords_and_a_known_browser_is_not() {
    let server = Server::start().await;
    let owner = set_up(&server).await;
    let mut passkey = added(&server, &owner, Key::es256()).await;
    passkey.origin = "https://evil.example".to_owned();
    let mut passed = 0;
    let slowed = loop {
        let answer = sign_in(&server, &passkey.answer(&options(&server).await)).await;
        if answer.0 == 429 {
            break answer;
        }
        refused_by(&answer, "passkey_refused");
        passed += 1;
        assert!(passed < 50);
    };
    refused(&slowed, 429, "too_fast", None);
    assert!(passed >= 6, "{passed}");
    // The same buckets.
    let password = json!({"name": "eloise", "password": PASSWORD});
    refused(&read(anonymous(&server, "/api/admin/login", &password).await).await, 429, "too_fast", None);
    passkey.origin.clone_from(&server.base);
    refused(&sign_in(&server, &passkey.answer(&options(&server).await)).await, 429, "too_fast", None);
    assert_eq!(sign_in_known(&server, &owner, &passkey.answer(&options(&server).await)).await.0, 200);
    // What another site makes a browser send is refused before anything of it is read.
    let request = server.client.post(format!("{}{LOGIN}", server.base)).json(&passkey.answer(&options(&server).await));
    let request = request.header("Cookie", owner.device()).header("Origin", "https://evil.example");
    refused(&read(request.send().await.unwrap()).await, 403, "wrong_origin", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_passkeys_where_browsers_have_some_for_the_address() {
    let server = Server::start().await;
    let by_number = server.base.replace("localhost", "127.0.0.1");
    let answer = read(server.client.get(format!("{by_number}{LOGIN}")).send().await.unwrap()).await;
    refused(&answer, 409, "conflict", None);
    assert_eq!(answer.1["rule"], "passkeys_unavailable");
    let party_of = async |server: &Server, base: &str| {
        let page = server.client.get(format!("{base}/admin")).header("Host", "vote.example.org").send().await.unwrap();
        let text = page.text().await.unwrap();
        text.split("data-party=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    let page = server.client.get(format!("{}/admin", server.base)).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("data-party=\"localhost\""), "{page}");
    for (url, party) in [("https://vote.example.org/notes", "vote.example.org"), ("http://vote.example.org", "")] {
        let server = Server::with(|settings| settings.public_url = Some(url.parse().unwrap())).await;
        assert_eq!(party_of(&server, &server.base).await, party, "{url}");
        let asked = server.client.get(format!("{}{LOGIN}", server.base)).header("Host", "vote.example.org");
        let (status, asked) = read(asked.send().await.unwrap()).await;
        assert_eq!(
            (status, asked["rpId"].as_str().unwrap_or_default()),
            (if party.is_empty() { 409 } else { 200 }, party)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lost_a_device_comes_back_by_the_command_line() {
    let folder = data_dir();
    let place = ["--data-dir", folder.path().to_str().unwrap()];
    let command = |arguments: &[&str]| run(&[arguments, &place[..]].concat());
    let password = command(&["streamer", "add", "lea"]).stdout.trim().to_owned();
    let server = crate::harness::Server::start(&["serve"], folder.path()).await;
    let base = server.url("").replace("127.0.0.1", "localhost");
    let client = reqwest::Client::builder().cookie_store(true).build().unwrap();
    let call = async |request: reqwest::RequestBuilder| read(request.send().await.unwrap()).await;
    let login = json!({"name": "lea", "password": password});
    let (status, session) = call(client.post(format!("{base}/api/admin/login")).json(&login)).await;
    assert_eq!(status, 200, "{session}");
    let csrf = session["csrf"].as_str().unwrap();
    let (_, asked) = call(client.get(format!("{base}{OPTIONS}"))).await;
    let passkey = Passkey::make(Key::es256(), &base, &asked);
    let add = client.post(format!("{base}{PATH}")).header("X-CSRF-Token", csrf).json(&passkey.made("x", &asked));
    assert_eq!(call(add).await.0, 201);
    let sign_in = async || {
        let (_, asked) = call(client.get(format!("{base}{LOGIN}"))).await;
        call(client.post(format!("{base}{LOGIN}")).json(&passkey.answer(&asked))).await
    };
    assert_eq!(sign_in().await.0, 200);
    // Beside the running server.
    let listed = command(&["streamer", "list"]).stdout;
    assert!(listed.ends_with("lea  1 passkey"), "{listed}");
    let off = command(&["streamer", "passkeys-off", "lea"]);
    assert_eq!(off.code, Some(0), "{}", off.stderr);
    assert_eq!(command(&["streamer", "passkeys-off", "lea"]).code, Some(1));
    refused_by(&sign_in().await, "passkey_refused");
    let listed = command(&["streamer", "list"]).stdout;
    assert!(listed.ends_with("lea"), "{listed}");
    let log = command(&["audit"]).stdout;
    assert!(log.contains("remove_passkeys_of") && log.contains("cli"), "{log}");
}
