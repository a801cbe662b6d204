//! The value of a SQL metric: numbers of tasks and of the driver put together, and written as Spark writes them.

use crate::table::Value;

/// How a metric's numbers are put together (Spark's `metricType`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Sum,
    /// Bytes.
    Size,
    /// Milliseconds.
    Timing,
    /// Nanoseconds.
    NsTiming,
    /// Tenths.
    Average,
    /// Of a data source; only its own class could put it together.
    Custom(Box<str>),
}

impl Kind {
    pub(super) fn of(name: &str) -> Self {
        match name {
            "sum" => Kind::Sum,
            "size" => Kind::Size,
            "timing" => Kind::Timing,
            "nsTiming" => Kind::NsTiming,
            "average" => Kind::Average,
            other => Kind::Custom(other.into()),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Kind::Sum => "sum",
            Kind::Size => "size",
            Kind::Timing => "timing",
            Kind::NsTiming => "nsTiming",
            Kind::Average => "average",
            Kind::Custom(name) => name,
        }
    }

    /// Whether the task with the highest number is shown.
    pub(super) fn needs_max(&self) -> bool {
        *self != Kind::Sum
    }

    fn show(&self, value: i64) -> String {
        match self {
            Kind::Size => bytes_text(value),
            Kind::Timing => duration_text(value),
            Kind::NsTiming => duration_text(value / 1_000_000),
            Kind::Average => tenths_text(value),
            Kind::Sum | Kind::Custom(_) => grouped(value),
        }
    }

    /// The number in the unit of the kind.
    #[allow(
        clippy::cast_precision_loss,
        reason = "exact up to 2^53, 8 PiB; the text has what Spark shows"
    )]
    fn number(&self, value: i64) -> f64 {
        match self {
            Kind::Average => value as f64 / 10.0,
            _ => value as f64,
        }
    }
}

/// The task with the highest number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MaxTask {
    pub(super) value: i64,
    pub(super) task_id: i64,
    pub(super) stage_id: i32,
    pub(super) stage_attempt_id: i32,
}

/// The numbers of one metric. Most tasks of a stage may not have touched it: their zeros are only counted.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    pub(super) zeros: usize,
    pub(super) others: Vec<i64>,
    pub(super) max_task: Option<MaxTask>,
}

impl Numbers {
    pub(super) fn push(&mut self, value: i64) {
        if value == 0 {
            self.zeros += 1;
        } else {
            self.others.push(value);
        }
    }

    /// Spark's `MetricUtils.stringValue`, and the numbers behind it. A metric that was never set in a task is -1 there, and
    /// does not count; in an average, neither does 0.
    pub(super) fn aggregate(mut self, kind: &Kind) -> MetricValue {
        match kind {
            Kind::Sum => {
                let total = self.others.iter().fold(0, |sum: i64, value| sum.wrapping_add(*value));
                return MetricValue {
                    text: kind.show(total),
                    total: Some(kind.number(total)),
                    spread: None,
                };
            }
            Kind::Custom(_) => {
                return MetricValue {
                    text: "N/A".to_owned(),
                    total: None,
                    spread: None,
                };
            }
            Kind::Average => self.zeros = 0,
            Kind::Size | Kind::Timing | Kind::NsTiming => {}
        }
        self.others.retain(|value| *value > 0);
        self.others.sort_unstable();
        let total = self.others.iter().fold(0, |sum: i64, value| sum.wrapping_add(*value));
        let len = self.zeros + self.others.len();
        let nth = |at: usize| at.checked_sub(self.zeros).map_or(0, |at| self.others[at]);
        let spread = (len > 0).then(|| [nth(0), nth(len / 2), nth(len - 1)]);
        let is_average = *kind == Kind::Average;
        let text = match spread {
            Some([min, median, max]) if len > 1 => {
                let from = match self.max_task {
                    Some(MaxTask {
                        task_id,
                        stage_id,
                        stage_attempt_id,
                        ..
                    }) => format!("(stage {stage_id}.{stage_attempt_id}: task {task_id})"),
                    None => "(driver)".to_owned(),
                };
                let [min, median, max] = [min, median, max].map(|value| kind.show(value));
                if is_average {
                    format!("(min, med, max (stageId: taskId)):\n({min}, {median}, {max} {from})")
                } else {
                    let total = kind.show(total);
                    format!("total (min, med, max (stageId: taskId))\n{total} ({min}, {median}, {max} {from})")
                }
            }
            Some([only, ..]) => kind.show(only),
            None => kind.show(0),
        };
        MetricValue {
            text,
            total: (!is_average).then(|| kind.number(total)),
            spread: spread.map(|values| values.map(|value| kind.number(value))),
        }
    }
}

/// The value of one metric, as text and as numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MetricValue {
    pub(super) text: String,
    total: Option<f64>,
    /// Minimum, median, maximum.
    spread: Option<[f64; 3]>,
}

impl MetricValue {
    /// The cells of a metric in `sql_plan_nodes.metrics`.
    pub(super) fn as_value<'a>(&'a self, name: &'a str, kind: &'a Kind) -> Value<'a> {
        let float = |value: Option<f64>| value.map_or(Value::Null, Value::Float);
        // Spark's REST API takes one newline at the front away.
        let text = self.text.strip_prefix('\n').unwrap_or(&self.text);
        Value::Struct(vec![
            name.into(),
            text.into(),
            kind.as_str().into(),
            float(self.total),
            float(self.spread.map(|[min, _, _]| min)),
            float(self.spread.map(|[_, median, _]| median)),
            float(self.spread.map(|[_, _, max]| max)),
        ])
    }
}

/// `1234567` as `1,234,567`.
fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    if value < 0 {
        text.push('-');
    }
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `15` as `1.5`, `20` as `2`.
fn tenths_text(tenths: i64) -> String {
    match tenths % 10 {
        0 => grouped(tenths / 10),
        tenth => format!("{}.{tenth}", grouped(tenths / 10)),
    }
}

#[allow(clippy::cast_precision_loss, reason = "Spark divides doubles")]
fn bytes_text(bytes: i64) -> String {
    const UNITS: [(&str, u32); 6] = [
        ("EiB", 60),
        ("PiB", 50),
        ("TiB", 40),
        ("GiB", 30),
        ("MiB", 20),
        ("KiB", 10),
    ];
    // From two of a unit on: 1.5 MiB is 1536.0 KiB.
    for (unit, bits) in UNITS {
        if i128::from(bytes) >= 2_i128 << bits {
            return format!("{} {unit}", rounded(bytes as f64 / (1_i64 << bits) as f64, 1));
        }
    }
    format!("{} B", rounded(bytes as f64, 1))
}

#[allow(clippy::cast_precision_loss, reason = "Spark divides floats")]
fn duration_text(millis: i64) -> String {
    let over = |unit: f32| f64::from(millis as f32 / unit);
    if millis < 1_000 {
        format!("{millis} ms")
    } else if millis < 60_000 {
        format!("{} s", rounded(over(1_000.0), 1))
    } else if millis < 3_600_000 {
        format!("{} m", rounded(over(60_000.0), 1))
    } else {
        format!("{} h", rounded(over(3_600_000.0), 2))
    }
}

/// As Java's `%.1f`: the shortest decimal that reads as the number, its half rounded up. Not for negative numbers.
fn rounded(value: f64, places: usize) -> String {
    let text = value.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes().take(places)).collect();
    digits.resize(whole.len() + places, b'0');
    if fraction.as_bytes().get(places).is_some_and(|next| *next >= b'5') {
        let carried = digits.iter_mut().rev().find_map(|digit| {
            if *digit == b'9' {
                *digit = b'0';
                return None;
            }
            *digit += 1;
            Some(())
        });
        if carried.is_none() {
            digits.insert(0, b'1');
        }
    }
    digits.insert(digits.len() - places, b'.');
    digits.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: &str, values: &[i64], max_task: Option<MaxTask>) -> String {
        let mut numbers = Numbers {
            max_task,
            ..Numbers::default()
        };
        values.iter().for_each(|value| numbers.push(*value));
        numbers.aggregate(&Kind::of(kind)).text
    }

    #[test]
    fn values_read_as_spark_shows_them() {
        let task = Some(MaxTask {
            value: 9,
            task_id: 7,
            stage_id: 3,
            stage_attempt_id: 1,
        });
        assert_eq!(text("sum", &[1_234_000, 567, 0], None), "1,234,567");
        assert_eq!(text("sum", &[], None), "0");
        assert_eq!(text("size", &[1_049_056], None), "1024.5 KiB");
        assert_eq!(text("size", &[], None), "0.0 B");
        assert_eq!(text("size", &[-1], None), "0.0 B");
        assert_eq!(
            text("size", &[16, -1, 4096, 0], task),
            "total (min, med, max (stageId: taskId))\n4.0 KiB (0.0 B, 16.0 B, 4.0 KiB (stage 3.1: task 7))"
        );
        assert_eq!(
            text("timing", &[68, 1_450], None),
            "total (min, med, max (stageId: taskId))\n1.5 s (68 ms, 1.5 s, 1.5 s (driver))"
        );
        assert_eq!(text("nsTiming", &[1_999_999], None), "1 ms");
        assert_eq!(text("average", &[15], task), "1.5");
        assert_eq!(text("average", &[0, 0], task), "0");
        assert_eq!(
            text("average", &[10, 0, 25, 12_345], task),
            "(min, med, max (stageId: taskId)):\n(1, 2.5, 1,234.5 (stage 3.1: task 7))"
        );
        assert_eq!(text("v2Custom_org.example.Rows", &[1], None), "N/A");
    }

    #[test]
    fn halves_round_up_and_units_begin_at_two() {
        assert_eq!(bytes_text(2047), "2047.0 B");
        assert_eq!(bytes_text(2048), "2.0 KiB");
        assert_eq!(bytes_text(2304), "2.3 KiB", "2.25, which %.1f of C shows as 2.2");
        assert_eq!(bytes_text(i64::MAX), "8.0 EiB");
        assert_eq!(duration_text(999), "999 ms");
        assert_eq!(duration_text(59_960), "60.0 s");
        assert_eq!(duration_text(90_000), "1.5 m");
        assert_eq!(duration_text(3_600_000), "1.00 h");
        assert_eq!(rounded(0.05, 1), "0.1");
        assert_eq!(rounded(9.96, 1), "10.0");
    }
}
