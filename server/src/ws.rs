//! WebSockets: `session` decides, `handler` moves bytes.
//!
//! A second, faster socket path replaces `handler` alone: every decision a socket needs is in [`session::Session`],
//! which knows neither actix nor time nor bytes on a wire.

pub mod handler;
pub mod route;
pub mod session;
mod sizes;
