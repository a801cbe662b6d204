//! Protocols; each is a translation, none touches data except through [`query`].

mod error;
mod health;
pub mod http;
mod parameters;
pub mod pg;
mod program;
pub mod query;
mod rest;
mod rewrite;
mod sql_text;
pub mod status;
mod yielding;
