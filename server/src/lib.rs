//! Barème: a streamer's audience rates the games tested during a live.
//!
//! In reading order: the nouns, the merge map, the wire, durable facts, the engine over them, rooms, sockets, HTTP.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking"))]

pub mod domain;
pub mod notebook;
pub mod protocol;
pub mod store;
mod table;
pub mod records;
pub mod cluster;
pub mod conductor;
pub mod hub;
pub mod catalogue;
pub mod archive;
pub mod settings;
pub mod logs;
pub mod supervise;
pub mod metrics;
pub mod traces;
pub mod auth;
pub mod audit;
pub mod ws;
pub mod i18n;
pub mod http;
pub mod app;
pub mod demo;
pub mod cli;
pub mod bench;
