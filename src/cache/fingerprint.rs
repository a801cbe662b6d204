//! What the rows of an attempt depend on besides its log: the columns of all stored tables.

use std::fmt::Write;
use std::sync::LazyLock;

use crate::table;

/// A number that changes with the name, type, order or nullability of any column of any stored table. The same on every machine.
pub fn schema_hash() -> u64 {
    static HASH: LazyLock<u64> = LazyLock::new(|| {
        let mut text = String::new();
        for table in table::stored() {
            let _ = write!(text, "{}\n{:?}\n", table.name, table.sort_order);
            for column in table.columns {
                let _ = writeln!(text, "{} {:?} {}", column.name, column.ty, column.nullable);
            }
        }
        fingerprint(&text)
    });
    *HASH
}

/// A number of a text that is the same on every machine and in every release. (FNV-1a: Rust's own hasher may change.)
pub fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
