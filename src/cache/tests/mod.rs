//! The cache as a whole, on a store in memory and on the local disk.

mod files;
mod model;
mod requests;
mod rows;
mod shared_texts;
mod support;
