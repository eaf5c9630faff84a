//! The secret of viewer tokens, replaced after it has leaked.

use serde_json::{Value, json};

use crate::harness::{Server, client, data_dir, eventually, run};
use crate::wire::Page;

#[tokio::test]
async fn a_viewer_secret_that_leaked_is_replaced_beside_the_server_and_old_tokens_stand_for_nobody() {
    let dir = data_dir();
    let server = Server::demo(dir.path()).await;
    let (channel, live) = server.open_live().await;
    let mut page = Page::viewer(&server, &channel).await;
    assert_eq!(page.vote(1, json!({"fun": 4})).await["status"], "ok");
    let old = page.token.clone().unwrap();
    let vote = async |viewer: &str| {
        let note = json!({"jeu_id": 1, "fun": 5, "viewer": viewer});
        let answer = client().post(server.url("/api/note")).json(&note).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let place = ["--data-dir", dir.path().to_str().unwrap()];
    let refused = run(&[&["viewers", "rotate"], &place[..]].concat());
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("on air") && refused.stderr.contains("--force"), "{}", refused.stderr);
    assert_eq!(vote(&old).await.0, 200, "nothing was changed");

    assert_eq!(run(&[&["viewers", "rotate", "--force"], &place[..]].concat()).code, Some(0));
    let (status, answer) = eventually("the server follows", async || {
        let (status, answer) = vote(&old).await;
        (status != 200).then_some((status, answer))
    })
    .await;
    assert_eq!((status, answer["rule"].as_str()), (422, Some("invalid_viewer")));
    let mut again = Page::viewer(&server, &channel).await;
    let hello = again.ask(&json!({"t": "hello", "viewer": old})).await;
    assert_eq!(hello["problem"]["rule"], "invalid_viewer");
    let token = again.token.clone().unwrap();
    assert_ne!(token, old);
    assert_eq!(vote(&token).await.0, 200, "the new secret signs");
    let voters = server.results(&live).await["jeux"][0]["voters"].as_u64();
    assert_eq!(voters, Some(2), "what was voted before counts under a viewer nobody can speak for");
    server.stop().await;
}
