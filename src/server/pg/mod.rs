//! The PostgreSQL wire.
mod encode;
mod types;
mod wire;
