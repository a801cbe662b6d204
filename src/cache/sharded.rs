//! A map that is cheap to clone: clones share all shards, and a change copies the one shard that it is in.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::Arc;

/// Entries in a shard, about: a change copies one shard and one pointer for each.
const SHARD: usize = 256;

#[derive(Debug, Clone)]
pub(crate) struct ShardedMap<K, V> {
    /// As many as a power of two.
    shards: Arc<Vec<Arc<BTreeMap<K, V>>>>,
    len: usize,
}

impl<K, V> Default for ShardedMap<K, V> {
    fn default() -> Self {
        ShardedMap {
            shards: Arc::new(vec![Arc::new(BTreeMap::new())]),
            len: 0,
        }
    }
}

impl<K: Ord + Hash + Clone, V: Clone> ShardedMap<K, V> {
    /// Empty; so many entries do not make it grow.
    pub(crate) fn with_capacity(entries: usize) -> Self {
        let shards = entries.div_ceil(SHARD).next_power_of_two();
        ShardedMap {
            shards: Arc::new(vec![Arc::default(); shards]),
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get<Q: Ord + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.shards[shard_of(key, self.shards.len())].get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if self.len >= self.shards.len() * SHARD {
            self.grow();
        }
        let shard = shard_of(&key, self.shards.len());
        let old = Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[shard]).insert(key, value);
        self.len += usize::from(old.is_none());
        old
    }

    pub(crate) fn remove<Q: Ord + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let shard = shard_of(key, self.shards.len());
        if !self.shards[shard].contains_key(key) {
            return None;
        }
        self.len -= 1;
        Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[shard]).remove(key)
    }

    /// In no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    fn grow(&mut self) {
        let count = self.shards.len() * 2;
        let mut shards = vec![BTreeMap::new(); count];
        for (key, value) in self.iter() {
            shards[shard_of(key, count)].insert(key.clone(), value.clone());
        }
        self.shards = Arc::new(shards.into_iter().map(Arc::new).collect());
    }
}

fn shard_of<Q: Hash + ?Sized>(key: &Q, count: usize) -> usize {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
    // `count` is a power of two, so the remainder fits it.
    usize::try_from(hash % count as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_stays_as_it_was_while_the_other_changes() {
        let mut map = ShardedMap::default();
        for key in 0..5_000_u64 {
            assert_eq!(map.insert(key, key * 2), None);
        }
        let before = map.clone();
        for key in 0..2_500 {
            assert_eq!(map.remove(&key), Some(key * 2));
        }
        assert_eq!(map.remove(&1), None);
        assert_eq!(map.insert(4_999, 1), Some(9_998));
        assert_eq!((map.len(), before.len()), (2_500, 5_000));
        assert_eq!((map.get(&1), before.get(&1)), (None, Some(&2)));
        assert_eq!((map.get(&4_999), before.get(&4_999)), (Some(&1), Some(&9_998)));
        assert_eq!(map.iter().count(), 2_500);
    }
}
