//! The QR code of a channel's page, read by a decoder that shares no code with what drew it.

use super::support::{Server, read};

/// Pixels for each module, as a camera would have some.
const SCALE: usize = 6;

/// What is between `start` and `end`.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    text.split_once(start).unwrap().1.split_once(end).unwrap().0
}

/// The one path of the code, painted; its side in modules and whether each one is dark.
fn modules(svg: &str) -> (usize, Vec<bool>) {
    assert_eq!(svg.matches("<path").count(), 1, "{svg}");
    let side: usize = between(svg, "viewBox=\"0 0 ", " ").parse().unwrap();
    let mut dark = vec![false; side * side];
    for run in between(svg, " d=\"", "\"").split('M').skip(1) {
        let (x, rest) = run.split_once(' ').unwrap();
        let (y, rest) = rest.split_once('h').unwrap();
        let (x, y): (usize, usize) = (x.parse().unwrap(), y.parse().unwrap());
        let length: usize = rest.split_once('v').unwrap().0.parse().unwrap();
        assert_eq!(rest, format!("{length}v1h-{length}z"));
        dark[y * side + x..y * side + x + length].fill(true);
    }
    (side, dark)
}

fn decoded(svg: &str) -> String {
    let (side, dark) = modules(svg);
    let shade = |x: usize, y: usize| if dark[y / SCALE * side + x / SCALE] { 16 } else { 255 };
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(side * SCALE, side * SCALE, shade);
    let [grid] = &image.detect_grids()[..] else { panic!("one code in {svg}") };
    let (meta, text) = grid.decode().unwrap();
    // 0 is how the standard writes level M.
    assert_eq!(meta.ecc_level, 0, "medium error correction");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn the_qr_code_reads_as_the_very_address_of_the_channels_page() {
    let server = Server::start().await;
    server.draft("max").await;
    let response = server.client.get(format!("{}/api/channels/max/qr.svg", server.base)).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "image/svg+xml");
    assert!(header("cache-control").contains("max-age"), "{:?}", response.headers());
    let etag = header("etag");
    let svg = response.text().await.unwrap();
    assert_eq!(decoded(&svg), format!("{}/max", server.base));
    assert_eq!(svg.matches("http").count(), 1, "nothing but the namespace is named: {svg}");
    let (side, dark) = modules(&svg);
    let quiet = |x: usize, y: usize| x.min(y).min(side - 1 - x).min(side - 1 - y) < 4;
    assert!((0..side * side).all(|at| !(dark[at] && quiet(at % side, at / side))), "four modules of light: {svg}");
    let request = server.client.get(format!("{}/api/channels/max/qr.svg", server.base));
    let again = request.header("If-None-Match", etag).send().await.unwrap();
    assert_eq!((again.status().as_u16(), again.text().await.unwrap()), (304, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_qr_code_names_the_public_address_with_its_prefix() {
    let server = Server::with(|settings| {
        settings.public_url = Some("https://vote.example.org/sous/chemin/".parse().unwrap());
        settings.allowed_hosts = bareme::http::hosts::HostName::parse("localhost").into_iter().collect();
    })
    .await;
    server.draft("max").await;
    let request = server.client.get(format!("{}/api/channels/max/qr.svg", server.base));
    let response = request.header("Host", "vote.example.org").send().await.unwrap();
    assert_eq!(response.headers()["cache-control"], "public, max-age=300");
    assert_eq!(decoded(&response.text().await.unwrap()), "https://vote.example.org/sous/chemin/max");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_qr_code_leads_to_a_channel_that_is_not_there() {
    let server = Server::start().await;
    for slug in ["max", "..", "a%20b"] {
        let response = server.client.get(format!("{}/api/channels/{slug}/qr.svg", server.base)).send().await.unwrap();
        let (status, problem) = read(response).await;
        assert_eq!(status, 404, "{slug}: {problem}");
    }
}
