//! Barème: a streamer's audience rates the games tested during a live.
//!
//! In reading order: the nouns, the merge map, the wire, durable facts, the engine over them, rooms, sockets, HTTP.

pub mod domain;
pub mod protocol;
