//! (skeleton) File name <-> parts.
