//! Integration tests: real servers on ports of their own, real requests and sockets, real crashes, and recounts that use
//! none of the server's code.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "seeds and figures of a run; shown when a test fails")]

mod harness;
mod recount;
mod studio;
mod wire;

mod api;
mod archive;
mod cql;
mod crash;
mod disk;
mod eyes;
mod frames;
mod guarded;
mod hostile;
mod hosts;
mod lives;
mod logs;
mod loop_;
mod masking;
mod newcomers;
#[cfg(target_os = "linux")]
mod ops;
mod portable;
mod pressure;
mod rehearsal;
mod repair;
mod rotation;
mod sockets;
mod undo;
mod upgrade;
