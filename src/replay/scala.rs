//! The order of Scala's `mutable.HashMap`, where Spark shows things in it: by slot of the hash table, then by hash.

/// How many slots a table has: they double when an insertion reaches three quarters of them, and never become fewer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slots(u32);

impl Default for Slots {
    fn default() -> Self {
        Slots(16)
    }
}

impl Slots {
    /// `len`: entries with the inserted one.
    pub(super) fn inserted(&mut self, len: usize) {
        while self.0 < 1 << 30 && u32::try_from(len).unwrap_or(u32::MAX) >= self.0 / 4 * 3 {
            self.0 *= 2;
        }
    }

    /// The place of an entry among the others, by the hash of its key.
    pub(super) fn place(self, hash: i32) -> (u32, i32) {
        let bits = hash.cast_unsigned();
        let spread = bits ^ (bits >> 16);
        (spread & (self.0 - 1), spread.cast_signed())
    }
}

/// Scala's hash of a `Long`: that of the `Int` it equals, or Java's.
#[allow(
    clippy::cast_possible_truncation,
    reason = "Java's Long.hashCode folds 64 bits into 32"
)]
pub(super) fn hash_of_long(long: i64) -> i32 {
    i32::try_from(long).unwrap_or_else(|_| {
        let bits = long.cast_unsigned();
        ((bits ^ (bits >> 32)) as u32).cast_signed()
    })
}

/// Java's `String.hashCode`.
pub(super) fn hash_of_text(text: &str) -> i32 {
    text.encode_utf16()
        .fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_hash_as_in_java() {
        assert_eq!(hash_of_text(""), 0);
        assert_eq!(hash_of_text("driver"), -1_323_526_104);
        assert_eq!(hash_of_text("10"), 1567);
    }

    #[test]
    fn a_table_doubles_when_its_twelfth_entry_comes() {
        let mut slots = Slots::default();
        slots.inserted(11);
        assert_eq!(slots.0, 16);
        slots.inserted(12);
        assert_eq!(slots.0, 32);
        slots.inserted(3);
        assert_eq!(slots.0, 32);
    }
}
