//! Measurements that the program can make of itself, on the machine where it runs.
//!
//! Invariant: every figure comes with a baseline taken in the same run, so that it means something elsewhere.

pub mod echo_ws;
pub mod socket;
pub mod store;
