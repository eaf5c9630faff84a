//! The HTTP API, accounts and the command line.

mod admin;
mod auth;
mod cli;
mod delivery;
mod http;
mod qr;
mod results;
mod revoked;
mod rules;
mod support;
