//! The order in which Scala's immutable sets and maps of integers give what is in them. Spark's answers show it.

/// `numbers` (distinct, as they were added) in the order of an immutable `Set[Int]`, or of the keys of a `Map[Int, _]`: up to
/// four as added; more in a trie of five bits a level, where the numbers of a node come before those below it.
pub(super) fn in_scala_order(numbers: &mut [i32]) {
    if numbers.len() > 4 {
        arrange(numbers, 0);
    }
}

fn arrange(numbers: &mut [i32], shift: u32) {
    if numbers.len() < 2 || shift >= 32 {
        return;
    }
    let slot = |number: i32| (spread(number) >> shift) & 31;
    let mut sizes = [0_usize; 32];
    for number in &*numbers {
        sizes[usize::try_from(slot(*number)).expect("below 32")] += 1;
    }
    let is_below = |number: i32| sizes[usize::try_from(slot(number)).expect("below 32")] > 1;
    numbers.sort_by_key(|number| (is_below(*number), slot(*number)));
    let mut rest = &mut numbers[sizes.iter().filter(|size| **size == 1).count()..];
    for size in sizes.into_iter().filter(|size| *size > 1) {
        let (child, after) = rest.split_at_mut(size);
        arrange(child, shift + 5);
        rest = after;
    }
}

/// Scala's `Hashing.improve`; distinct numbers stay distinct.
fn spread(number: i32) -> u32 {
    let number = number.cast_unsigned();
    let mut hash = number.wrapping_add(!(number << 9));
    hash ^= hash >> 14;
    hash = hash.wrapping_add(hash << 4);
    hash ^ (hash >> 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_stay_as_added_and_many_lie_as_in_scala() {
        let mut few = [3, 1, 2, 0];
        in_scala_order(&mut few);
        assert_eq!(few, [3, 1, 2, 0]);
        // `(0 until 10).toSet` of Scala 2.13.
        let mut ten: Vec<i32> = (0..10).rev().collect();
        in_scala_order(&mut ten);
        assert_eq!(ten, [0, 5, 1, 6, 9, 2, 7, 3, 8, 4]);
    }
}
