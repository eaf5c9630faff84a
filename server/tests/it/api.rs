//! The HTTP API, accounts and the command line.

mod admin;
mod audit;
mod auth;
mod cli;
mod delivery;
mod http;
mod matrix;
mod qr;
mod results;
mod revoked;
mod rules;
mod second_factor;
mod support;
mod tokens;
