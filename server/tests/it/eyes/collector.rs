//! A receiver of OTLP over HTTP that keeps what it gets: real requests, decoded by OpenTelemetry's own types.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{eventually, free_port};

/// How it answers.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Mood {
    Takes,
    /// Reads, and never answers.
    Hangs,
}

#[derive(Default)]
struct Kept {
    bodies: Vec<Vec<u8>>,
    spans: Vec<Span>,
    resources: Vec<Vec<KeyValue>>,
}

/// It listens as long as the test's runtime runs.
pub(super) struct Collector {
    pub(super) url: String,
    kept: Arc<Mutex<Kept>>,
}

impl Collector {
    pub(super) async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let kept: Arc<Mutex<Kept>> = Arc::default();
        let keeper = Arc::clone(&kept);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, mood, Arc::clone(&keeper)));
            }
        });
        Self { url, kept }
    }

    /// One that is not there.
    pub(super) fn nobody() -> Self {
        Self { url: format!("http://127.0.0.1:{}", free_port()), kept: Arc::default() }
    }

    pub(super) fn spans(&self) -> Vec<Span> {
        self.kept.lock().unwrap().spans.clone()
    }

    /// The attributes of the resources that spans came from.
    pub(super) fn resource(&self, key: &str) -> Option<String> {
        self.kept.lock().unwrap().resources.iter().find_map(|attributes| attribute(attributes, key))
    }

    /// Whether some text was in anything that came.
    pub(super) fn heard(&self, text: &str) -> bool {
        let kept = self.kept.lock().unwrap();
        kept.bodies.iter().any(|body| body.windows(text.len()).any(|window| window == text.as_bytes()))
    }

    /// Waits for spans of which `wanted` says yes, and returns all.
    pub(super) async fn until(&self, what: &str, wanted: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        eventually(what, async || Some(self.spans()).filter(|spans| wanted(spans))).await
    }
}

/// The text of an attribute.
pub(super) fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match &found.value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => Some(text.clone()),
        Some(AnyValue { value: Some(Value::IntValue(number)) }) => Some(number.to_string()),
        other => panic!("{key}: {other:?}"),
    }
}

async fn serve(mut stream: TcpStream, mood: Mood, kept: Arc<Mutex<Kept>>) {
    loop {
        let mut bytes = Vec::new();
        let (head, body) = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
                let length: Option<usize> =
                    head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
                if let Some(length) = length
                    && bytes.len() >= end + 4 + length
                {
                    break (head, bytes[end + 4..end + 4 + length].to_vec());
                }
            }
            if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
                return;
            }
        };
        if mood == Mood::Hangs {
            std::future::pending::<()>().await;
        }
        assert!(head.starts_with("post /v1/traces "), "{head}");
        assert!(head.contains("content-type: application/x-protobuf"), "{head}");
        let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
        {
            let mut kept = kept.lock().unwrap();
            kept.bodies.push(body);
            for resource in request.resource_spans {
                kept.resources.extend(resource.resource.map(|resource| resource.attributes));
                kept.spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
        }
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
