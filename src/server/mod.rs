//! Protocols; each is a translation, none touches data except through [`query`].

pub mod auth;
mod error;
mod execution;
mod explain;
pub mod flight;
mod health;
pub mod http;
#[cfg(test)]
mod long_running;
mod memory;
mod parameters;
pub mod pg;
mod places;
mod program;
pub mod query;
mod rest;
mod rewrite;
pub mod security;
mod series;
mod spill;
mod sql_text;
mod stall;
mod statement;
pub mod status;
pub mod tls;
mod watched;
mod yielding;
