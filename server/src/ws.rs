//! WebSockets: `session` decides; `fast`, or `handler` where that is not to be had, moves bytes.
//!
//! **Invariant**: every decision a socket needs is in [`session::Session`], which knows neither actix nor time nor bytes
//! on a wire; both paths carry out the same ones.

pub mod admission;
#[cfg(target_os = "linux")]
pub mod fast;
pub mod handler;
mod message;
pub mod route;
pub mod session;
mod sizes;

#[cfg(target_os = "linux")]
pub use fast::Loops;

/// Event loops, on a platform that has none.
#[cfg(not(target_os = "linux"))]
#[derive(Debug, Clone, Copy)]
pub enum Loops {}

#[cfg(not(target_os = "linux"))]
impl Loops {
    /// Nothing, in no time.
    pub async fn stop(&self) {
        match *self {}
    }
}
