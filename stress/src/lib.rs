//! The load tool: simulates an audience against a running server and recounts every acknowledgement.
//!
//! Generating ([`plan`], [`scores`], [`audience`]), measuring ([`stats`]), judging ([`oracle`]) and reporting are apart.
//! Of the server it shares the wire types of `bareme::protocol`, and nothing else.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking"))]

pub mod admin;
pub mod audience;
pub mod bench;
pub mod cli;
pub mod clock;
pub mod compare;
pub mod config;
pub mod connect;
pub mod http_worker;
pub mod limits;
pub mod monitor;
pub mod null;
pub mod oracle;
pub mod plan;
pub mod press;
pub mod report;
pub mod result;
pub mod run;
pub mod sampler;
pub mod scores;
pub mod shape;
pub mod stats;
pub mod terminal;
pub mod token;
pub mod wire;
pub mod witness;
pub mod worker;
