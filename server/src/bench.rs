//! What the program measures of itself on the machine where it runs, and what it serves to tools that look at it from
//! outside.
//!
//! Invariant: every figure comes with a baseline taken in the same run, so that it means something elsewhere. Sockets
//! are measured by the load tool, from outside.

pub mod echo_ws;
pub mod store;
