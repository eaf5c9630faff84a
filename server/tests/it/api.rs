//! The HTTP API, accounts and the command line.

mod admin;
mod auth;
mod cli;
mod http;
mod support;
