//! Everything that is said over sockets, once more on the portable path: the harness takes the path from the name of the
//! module (`Server::demo_of`).

#![expect(clippy::duplicate_mod, reason = "the same tests, on another path")]

#[path = "frames.rs"]
mod frames;
#[path = "hostile.rs"]
mod hostile;
#[path = "hosts.rs"]
mod hosts;
#[path = "masking.rs"]
mod masking;
#[path = "newcomers.rs"]
mod newcomers;
#[path = "pressure.rs"]
mod pressure;
#[path = "rehearsal.rs"]
mod rehearsal;
#[path = "sockets.rs"]
mod sockets;
#[path = "undo.rs"]
mod undo;
#[path = "upgrade.rs"]
mod upgrade;
