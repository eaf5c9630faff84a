//! The engine: one exact tally for each item, on one machine or on many pods.
//!
//! Journal, merge, checkpoint, lease, close and recovery, written once over the primitives of [`crate::store`]. It
//! carries opaque payloads; what they mean is a [`crate::domain::ballot::Ballot`]. Clock, randomness and store are
//! parameters ([`env::Env`], [`crate::store::Store`]), so that the same code runs in a deterministic simulation.
//!
//! **Invariants**
//! - A vote is answered `ok` only after its chunk's append returned `Ok` and, where pods share the store, while the
//!   lease still holds. It is merged only then, too.
//! - `materialised = s` means that every entry of the lane below `s` is in `notes`, or beaten there.
//! - `notes` holds nothing that could miss in the result: rows are written under a lease, or from the result itself.
//! - The tally is the fold of `notes` joined with the journals; nothing is ever counted up.
//! - What is acknowledged is in the result of its epoch.
//! - No lane is used by two tasks.
//! - A vote that is answered is in the numbers that were published before.

pub mod chunk;
pub mod close;
pub(crate) mod damage;
pub mod engine;
pub mod env;
mod inbox;
pub mod item;
pub(crate) mod load;
pub(crate) mod mutant;
mod pulse;
mod ranks;
mod registry;
#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(crate) mod tests;

pub use engine::{Engine, ItemHandle};
pub use item::{ItemView, Outcome, Submission};
