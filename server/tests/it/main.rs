//! Integration tests: the real program as a process, real sockets, real crashes, and recounts that use none of its code.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking"))]
#![cfg(unix)]

mod harness;
mod recount;
mod studio;
mod wire;

mod crash;
mod disk;
mod frames;
mod loop_;
mod masking;
mod pressure;
mod sockets;
