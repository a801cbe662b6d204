//! Quantiles by Spark's rule (`AppStatusStore.taskSummary`): exact, the value at a place, never between two.

/// The place of a quantile among `count` sorted values, as Scala's `math.min((q * count).toLong, count - 1)`. `count` is above 0.
#[expect(
    clippy::cast_possible_truncation,
    reason = "Rust's `as` saturates and takes NaN as 0, as Scala's toLong does"
)]
#[expect(
    clippy::cast_precision_loss,
    reason = "Scala's product of a double and a long is the same"
)]
pub(crate) fn place(quantile: f64, count: i64) -> i64 {
    ((quantile * count as f64) as i64).clamp(0, count - 1)
}

/// Fewer values than these are sorted: that is less work than to divide them.
const FEW: usize = 64;

/// What would stand at `places` (ascending, each once, each below the number of values) if the values were sorted; `found` has as many.
pub(crate) fn select(values: &mut [i64], places: &[usize], found: &mut [i64]) {
    select_from(values, 0, places, found);
}

/// `values` are those that stand from place `first` on.
fn select_from(values: &mut [i64], first: usize, places: &[usize], found: &mut [i64]) {
    if places.is_empty() {
        return;
    }
    if values.len() < FEW {
        values.sort_unstable();
        for (found, place) in found.iter_mut().zip(places) {
            *found = values[place - first];
        }
        return;
    }
    let middle = places.len() / 2;
    let place = places[middle];
    let (below, value, above) = values.select_nth_unstable(place - first);
    found[middle] = *value;
    select_from(below, first, &places[..middle], &mut found[..middle]);
    select_from(above, place + 1, &places[middle + 1..], &mut found[middle + 1..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_selected_stands_there_when_all_are_sorted() {
        for count in [1, 2, 7, 63, 64, 65, 1000] {
            let values: Vec<i64> = (0..count).map(|at| (at * 7919) % 611).collect();
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let mut places: Vec<usize> = [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]
                .map(|quantile| usize::try_from(place(quantile, count)).unwrap())
                .to_vec();
            places.dedup();
            let mut found = vec![0; places.len()];
            select(&mut values.clone(), &places, &mut found);
            let expected: Vec<i64> = places.iter().map(|place| sorted[*place]).collect();
            assert_eq!(found, expected, "{count}");
        }
    }

    #[test]
    fn a_place_is_never_outside() {
        assert_eq!(
            [-1.0, 0.0, 0.49, 0.5, 1.0, 7.0, f64::NAN].map(|q| place(q, 2)),
            [0, 0, 0, 1, 1, 1, 0]
        );
    }
}
