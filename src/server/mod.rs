//! Protocols; each is a translation, none touches data except through [`query`]. (skeleton)
pub mod pg;
pub mod query;
