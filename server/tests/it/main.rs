//! Integration tests: real servers on ports of their own, real requests and sockets, real crashes, and recounts that use
//! none of the server's code.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "seeds and figures of a run; shown when a test fails")]

mod harness;
mod recount;
mod studio;
mod wire;

/// Everything that is said over sockets, once more on the portable path.
#[cfg(target_os = "linux")]
#[expect(clippy::duplicate_mod, reason = "the same tests, on another path")]
mod portable {
    #[path = "../frames.rs"]
    mod frames;
    #[path = "../masking.rs"]
    mod masking;
    #[path = "../pressure.rs"]
    mod pressure;
    #[path = "../rehearsal.rs"]
    mod rehearsal;
    #[path = "../sockets.rs"]
    mod sockets;
    #[path = "../undo.rs"]
    mod undo;
    #[path = "../upgrade.rs"]
    mod upgrade;
}

mod api;
mod cql;
mod crash;
mod disk;
mod frames;
mod loop_;
mod masking;
mod pressure;
mod rehearsal;
mod sockets;
mod undo;
mod upgrade;
