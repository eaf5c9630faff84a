//! What one loop measures of itself. Summed up in plain numbers and handed over once a round.

/// Names and labels of the metrics of one loop.
pub(super) struct Meters {
    connections: metrics::Gauge,
    inbox: metrics::Gauge,
    frames: metrics::Counter,
    frames_of_all: metrics::Counter,
    would_block: metrics::Counter,
    slow: metrics::Counter,
    /// Messages handed over since the last round.
    pub(super) sent: u64,
    /// Writes that found no room.
    pub(super) blocked: u64,
    /// Readers given up.
    pub(super) given_up: u64,
    shown: (usize, usize),
}

impl Meters {
    pub(super) fn new(worker: usize) -> Self {
        let worker = worker.to_string();
        Self {
            connections: metrics::gauge!("ws_worker_connections", "worker" => worker.clone()),
            inbox: metrics::gauge!("ws_worker_inbox_length", "worker" => worker.clone()),
            frames: metrics::counter!("ws_worker_frames_sent_total", "worker" => worker.clone()),
            frames_of_all: metrics::counter!(crate::metrics::FRAMES_SENT),
            would_block: metrics::counter!("ws_worker_would_block_total", "worker" => worker.clone()),
            slow: metrics::counter!("ws_worker_slow_total", "worker" => worker),
            sent: 0,
            blocked: 0,
            given_up: 0,
            shown: (0, 0),
        }
    }

    /// Hands over what was counted, and how many connections and letters there are.
    #[expect(clippy::cast_precision_loss, reason = "counts of things in memory stay far below 2^53")]
    pub(super) fn publish(&mut self, connections: usize, inbox: usize) {
        let take = |count: &mut u64, counter: &metrics::Counter| {
            if *count > 0 {
                counter.increment(*count);
            }
        };
        take(&mut self.sent, &self.frames);
        take(&mut self.sent, &self.frames_of_all);
        take(&mut self.blocked, &self.would_block);
        take(&mut self.given_up, &self.slow);
        (self.sent, self.blocked, self.given_up) = (0, 0, 0);
        if self.shown.0 != connections {
            self.connections.set(connections as f64);
        }
        if self.shown.1 != inbox {
            self.inbox.set(inbox as f64);
        }
        self.shown = (connections, inbox);
    }
}
