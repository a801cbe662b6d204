//! The PostgreSQL wire. (skeleton)
