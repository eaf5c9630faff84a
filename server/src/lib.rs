//! Barème: a streamer's audience rates the games tested during a live.
//!
//! In reading order: the nouns, the merge map, the wire, durable facts, the engine over them, rooms, sockets, HTTP.

pub mod conductor;
pub mod domain;
pub mod http;
pub mod hub;
pub mod i18n;
pub mod protocol;
pub mod records;
pub mod settings;
pub mod store;
