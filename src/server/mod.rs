//! Protocols; each is a translation, none touches data except through [`query`].

mod error;
mod parameters;
pub mod pg;
pub mod query;
mod rewrite;
mod sql_text;
pub mod status;
mod yielding;
