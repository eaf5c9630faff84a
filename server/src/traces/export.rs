//! The way out: a bounded queue, batches, a thread that sends them, and what became of each span as a metric.
//!
//! **Invariant**: [`MAX_QUEUED_SPANS`] bounds everything that is in memory, the batch on its way included. The thread
//! that sends is the SDK's own; whoever ends a span only puts it into a queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_otlp::{ExporterBuildError, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};

/// Spans that wait to be sent, or are being sent.
pub const SPANS_QUEUED: &str = "spans_queued";
/// Spans that a collector took.
pub const SPANS_EXPORTED: &str = "spans_exported_total";
/// Spans that were not sent, by `reason`: `full` queue, `failed` export.
pub const SPANS_LOST: &str = "spans_lost_total";

/// Most spans in memory, some 1 KiB each.
pub const MAX_QUEUED_SPANS: usize = 4096;
/// Spans sent at once.
const BATCH_SPANS: usize = 512;
/// How long a batch that is not full waits.
const BATCH_DELAY: Duration = Duration::from_secs(1);
/// How long the collector may take for a batch.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where OTLP/HTTP takes traces, below an endpoint that names no path.
const TRACES_PATH: &str = "v1/traces";

/// The address that batches are posted to.
fn target(endpoint: &url::Url) -> String {
    let text = endpoint.as_str();
    if endpoint.path() == "/" { format!("{}/{TRACES_PATH}", text.trim_end_matches('/')) } else { text.to_owned() }
}

/// The queue before a collector.
pub(super) fn processor(endpoint: &url::Url) -> Result<impl SpanProcessor + 'static, ExporterBuildError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_http();
    let exporter = exporter.with_endpoint(target(endpoint)).with_timeout(EXPORT_TIMEOUT).build()?;
    let queued = Arc::new(AtomicUsize::new(0));
    let exporter = Counted {
        inner: exporter,
        queued: Arc::clone(&queued),
        fails: AtomicBool::new(false),
        exported: metrics::counter!(SPANS_EXPORTED),
        failed: metrics::counter!(SPANS_LOST, "reason" => "failed"),
        gauge: metrics::gauge!(SPANS_QUEUED),
    };
    exporter.exported.absolute(0);
    exporter.gauge.set(0.0);
    exporter.failed.absolute(0);
    let full = metrics::counter!(SPANS_LOST, "reason" => "full");
    full.absolute(0);
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(MAX_QUEUED_SPANS)
        .with_max_export_batch_size(BATCH_SPANS)
        .with_scheduled_delay(BATCH_DELAY);
    let inner = BatchSpanProcessor::builder(exporter).with_batch_config(config.build()).build();
    Ok(Bounded { inner, queued, full, gauge: metrics::gauge!(SPANS_QUEUED) })
}

fn as_gauge(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Lets as many spans in as there is room for.
struct Bounded {
    inner: BatchSpanProcessor,
    queued: Arc<AtomicUsize>,
    full: metrics::Counter,
    gauge: metrics::Gauge,
}

impl std::fmt::Debug for Bounded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bounded").field("queued", &self.queued).finish_non_exhaustive()
    }
}

impl SpanProcessor for Bounded {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        let before = self.queued.fetch_add(1, Ordering::Relaxed);
        if before >= MAX_QUEUED_SPANS {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            self.full.increment(1);
            return;
        }
        self.gauge.set(as_gauge(before + 1));
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Counts what became of spans, and says in the log when that changes.
struct Counted {
    inner: opentelemetry_otlp::SpanExporter,
    queued: Arc<AtomicUsize>,
    fails: AtomicBool,
    exported: metrics::Counter,
    failed: metrics::Counter,
    gauge: metrics::Gauge,
}

impl std::fmt::Debug for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counted").field("queued", &self.queued).finish_non_exhaustive()
    }
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let result = self.inner.export(batch).await;
        let left = self.queued.fetch_sub(count, Ordering::Relaxed).saturating_sub(count);
        self.gauge.set(as_gauge(left));
        let counted = u64::try_from(count).unwrap_or(u64::MAX);
        let failed_before = self.fails.swap(result.is_err(), Ordering::Relaxed);
        match (&result, failed_before) {
            (Ok(()), true) => tracing::info!("traces are sent again"),
            (Err(error), false) => tracing::warn!(%error, "traces cannot be sent and are lost; votes go on"),
            _ => {}
        }
        if result.is_ok() { &self.exported } else { &self.failed }.increment(counted);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_without_a_path_gets_that_of_otlp() {
        let target = |text: &str| target(&url::Url::parse(text).unwrap());
        assert_eq!(target("http://collector:4318"), "http://collector:4318/v1/traces");
        assert_eq!(target("https://example.org/otlp/v1/traces"), "https://example.org/otlp/v1/traces");
    }
}
