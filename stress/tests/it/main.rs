//! The tool against servers: one that lies in a chosen way, and the real one, which is killed, away, or asked wrongly.

#![expect(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a test fails by panicking")]

mod liar;
mod lies;
mod real;
