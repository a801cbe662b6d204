//! Names that are never used twice, in the order of time, shaped as UUIDs of version 7.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the epoch.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A new name. Each [`RandomState`] has keys of its own, seeded by the system's randomness.
pub(super) fn unique() -> String {
    let time = now_ms() & 0xffff_ffff_ffff;
    let high = RandomState::new().hash_one(time) & 0xfff;
    let low = RandomState::new().hash_one(("low", time));
    format!(
        "{:08x}-{:04x}-7{high:03x}-{:04x}-{:012x}",
        time >> 16,
        time & 0xffff,
        0x8000 | ((low >> 48) & 0x3fff),
        low & 0xffff_ffff_ffff,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_shaped_as_uuids_differ_and_begin_with_the_time() {
        let before = now_ms();
        let names: BTreeSet<String> = (0..1000).map(|_| unique()).collect();
        assert_eq!(names.len(), 1000);
        for name in &names {
            let lengths: Vec<usize> = name.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12], "{name}");
            let time = i64::from_str_radix(&name.replace('-', "")[..12], 16).unwrap();
            assert!((before..=now_ms()).contains(&time));
        }
    }
}
