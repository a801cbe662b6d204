//! Protocols; each is a translation, none touches data except through [`query`].

pub mod auth;
mod error;
pub mod flight;
mod health;
pub mod http;
mod parameters;
pub mod pg;
mod program;
pub mod query;
mod rest;
mod rewrite;
pub mod security;
mod sql_text;
mod stall;
pub mod status;
pub mod tls;
mod watched;
mod yielding;
