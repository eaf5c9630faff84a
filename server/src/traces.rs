//! Traces of votes for an OpenTelemetry collector: join → vote → durable → shown. Off unless an endpoint is set.
//!
//! A viewer who is sampled when they join gets a trace; their votes are spans in it. Whoever is not, or everybody while
//! traces are off, has none: then a vote costs one look at an empty pointer, and nothing is allocated.
//!
//! **Invariant**: a vote never waits for its trace. What the full queue does not take, and what the collector does not,
//! is lost and counted.
//!
//! `traceparent` of a client is not read: with it, anybody could have everything sampled.

mod export;
mod unshown;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanKind, Status as SpanStatus, TraceContextExt as _, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span};
use uuid::Uuid;

use crate::protocol::Status;

pub use export::{MAX_QUEUED_SPANS, SPANS_EXPORTED, SPANS_LOST, SPANS_QUEUED};
pub use unshown::Unshown;

/// Votes of one socket that become spans: a page that is open for an evening must not make a trace nobody can read.
const MAX_VOTES_IN_TRACE: u32 = 64;

/// How long what is queued may take to leave when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Traces cannot be sent: the settings do not make an exporter.
#[derive(Debug, thiserror::Error)]
#[error("otlp_endpoint: traces cannot be sent there: {0}")]
pub struct TracesError(String);

#[derive(Debug)]
struct Pipeline {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Pipeline {
    fn span(&self, name: &'static str, kind: SpanKind, parent: Option<&SpanContext>) -> Span {
        self.build(SpanBuilder::from_name(name).with_kind(kind), parent)
    }

    fn build(&self, span: SpanBuilder, parent: Option<&SpanContext>) -> Span {
        // Never the context of the thread: what it happens to be doing is not what this span belongs to.
        let context = match parent {
            Some(parent) => Context::new().with_remote_span_context(parent.clone()),
            None => Context::new(),
        };
        self.tracer.build_with_context(span, &context)
    }
}

/// Where traces begin; off, or on its way to a collector. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Arc<Pipeline>>);

impl Traces {
    /// Traces for the collector at `endpoint` (OTLP over HTTP with protobuf), of `ratio` of those who join.
    ///
    /// # Errors
    /// When the exporter cannot be made; not when nobody answers there.
    pub fn start(endpoint: &url::Url, ratio: f64, pod: &str) -> Result<Self, TracesError> {
        let processor = export::processor(endpoint).map_err(|error| TracesError(error.to_string()))?;
        let resource = Resource::builder_empty().with_service_name("bareme").with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", pod.to_owned()),
        ]);
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)));
        let provider = SdkTracerProvider::builder().with_sampler(sampler).with_resource(resource.build());
        let provider = provider.with_span_processor(processor).build();
        let tracer = provider.tracer("bareme");
        Ok(Self(Some(Arc::new(Pipeline { provider, tracer }))))
    }

    /// Begins a trace with a span of this name, which ends when what is returned is dropped; `None` when they are off or
    /// this one is not sampled.
    pub fn begin(&self, name: &'static str) -> Option<Begun> {
        let pipeline = self.0.as_ref()?;
        let span = pipeline.span(name, SpanKind::Server, None);
        let context = span.span_context().clone();
        context.is_sampled().then(|| {
            let votes_left = AtomicU32::new(MAX_VOTES_IN_TRACE);
            Begun { span, joined: Arc::new(Joined { pipeline: Arc::clone(pipeline), context, votes_left }) }
        })
    }

    /// Sends what is queued, for a while, and ends.
    pub async fn stop(&self) {
        let Some(pipeline) = self.0.clone() else { return };
        let stopping = tokio::task::spawn_blocking(move || pipeline.provider.shutdown_with_timeout(STOP_TIMEOUT));
        if !matches!(stopping.await, Ok(Ok(()))) {
            tracing::warn!("some traces could not be sent before the end");
        }
    }
}

/// A trace whose first span is under way.
#[derive(Debug)]
pub struct Begun {
    span: Span,
    joined: Arc<Joined>,
}

impl Begun {
    /// Adds to the first span. Neither tokens nor addresses: traces leave the machine.
    pub fn note(&mut self, key: &'static str, value: impl Into<opentelemetry::Value>) {
        self.span.set_attribute(KeyValue::new(key, value));
    }

    /// Says that what the first span stands for did not work.
    pub fn failed(&mut self, what: &'static str) {
        self.span.set_status(SpanStatus::error(what));
    }

    /// What votes carry, to become part of this trace.
    pub fn joined(&self) -> Arc<Joined> {
        Arc::clone(&self.joined)
    }
}

/// Somebody who joined and was sampled.
pub struct Joined {
    pipeline: Arc<Pipeline>,
    context: SpanContext,
    votes_left: AtomicU32,
}

impl fmt::Debug for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Joined({})", self.context.trace_id())
    }
}

impl PartialEq for Joined {
    fn eq(&self, other: &Self) -> bool {
        self.context == other.context
    }
}

impl Joined {
    /// The span of a vote that has just arrived; `None` when the trace has enough of them.
    pub fn vote(self: &Arc<Self>, live: Uuid, jeu: u32) -> Option<Box<VoteTrace>> {
        let take = |left: u32| left.checked_sub(1);
        self.votes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        let mut span = self.pipeline.span("vote", SpanKind::Internal, Some(&self.context));
        span.set_attribute(KeyValue::new("live", live.to_string()));
        span.set_attribute(KeyValue::new("jeu", i64::from(jeu)));
        Some(Box::new(VoteTrace { pipeline: Arc::clone(&self.pipeline), span, durable: None }))
    }
}

/// A vote under way. Dropped without an answer, its spans end as they are.
pub struct VoteTrace {
    pipeline: Arc<Pipeline>,
    span: Span,
    durable: Option<Span>,
}

impl VoteTrace {
    /// It goes to the engine: from here to the answer is the span `durable`.
    pub fn handed_in(&mut self) {
        let parent = self.span.span_context();
        self.durable = Some(self.pipeline.span("durable", SpanKind::Internal, Some(parent)));
    }

    /// It was answered. What comes back waits to be shown, if it was stored.
    pub fn answered(mut self, status: Status) -> Option<Stored> {
        let answer = KeyValue::new("status", status.as_str());
        if let Some(mut durable) = self.durable.take() {
            durable.set_attribute(answer.clone());
            durable.end();
        }
        self.span.set_attribute(answer);
        self.span.end();
        let stored = || Stored {
            pipeline: Arc::clone(&self.pipeline),
            vote: self.span.span_context().clone(),
            since: std::time::SystemTime::now(),
        };
        (status == Status::Ok).then(stored)
    }
}

/// A vote that is durable and not yet in the numbers that pages get.
pub struct Stored {
    pipeline: Arc<Pipeline>,
    vote: SpanContext,
    since: std::time::SystemTime,
}

impl Stored {
    /// Pages get it now: from the commit to here is the span `shown`.
    fn shown(self) {
        let span = SpanBuilder::from_name("shown").with_kind(SpanKind::Internal).with_start_time(self.since);
        self.pipeline.build(span, Some(&self.vote)).end();
    }

    fn is_older_than(&self, age: Duration) -> bool {
        self.since.elapsed().is_ok_and(|elapsed| elapsed > age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_nothing_begins() {
        assert!(Traces::default().begin("join").is_none());
    }

    #[test]
    fn a_ratio_of_nothing_samples_nobody_and_one_of_all_everybody() {
        // Nobody answers there, and nothing here waits for an answer.
        let endpoint = url::Url::parse("http://127.0.0.1:9/").unwrap();
        assert!(Traces::start(&endpoint, 0.0, "pod").unwrap().begin("join").is_none());
        let traces = Traces::start(&endpoint, 1.0, "pod").unwrap();
        let begun = traces.begin("join").unwrap();
        let joined = begun.joined();
        let votes = (0..1000).filter_map(|jeu| joined.vote(Uuid::nil(), jeu)).count();
        assert_eq!(votes, usize::try_from(MAX_VOTES_IN_TRACE).unwrap(), "a trace has an end");
    }
}
