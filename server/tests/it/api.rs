//! The HTTP API, accounts and the command line.

mod admin;
mod audit;
mod auth;
mod authenticator;
mod cli;
mod delivery;
mod http;
mod matrix;
mod passkeys;
mod qr;
mod results;
mod revoked;
mod rules;
mod second_factor;
mod support;
mod tokens;
