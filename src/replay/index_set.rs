//! A set of small numbers (task indices, task ids) as bits: a bit a task is all that stays of a finished one.

#[derive(Debug, Clone, Default)]
pub(super) struct IndexSet {
    words: Vec<u64>,
    len: u32,
    /// Numbers beyond [`DENSE`]: a damaged log may name any.
    sparse: std::collections::BTreeSet<u64>,
}

/// Numbers below this are kept as bits, 2 MB at most: more tasks than applications have, and little where a damaged log lies.
const DENSE: u64 = 1 << 24;

impl IndexSet {
    /// Adds `number`; `false` if it was there.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        if number >= DENSE {
            let new = self.sparse.insert(number);
            self.len += u32::from(new);
            return new;
        }
        let (word, bit) = (usize::try_from(number / 64).expect("small"), 1 << (number % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.len += u32::from(new);
        new
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        if number >= DENSE {
            return self.sparse.contains(&number);
        }
        let word = usize::try_from(number / 64).expect("small");
        self.words
            .get(word)
            .is_some_and(|bits| bits & (1 << (number % 64)) != 0)
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_new_once() {
        let mut set = IndexSet::default();
        for number in [0, 63, 64, 1_000_000, u64::MAX, DENSE] {
            assert!(!set.contains(number));
            assert!(set.insert(number));
            assert!(!set.insert(number));
            assert!(set.contains(number));
        }
        assert_eq!(set.len(), 6);
    }
}
