//! Cursors that move in both directions (`DECLARE … SCROLL CURSOR`): rows that were read are kept, so that a client can come back to them.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::io::{AsyncRead, AsyncWrite};

use super::command::{Count, Direction};
use super::encode::{Column, RowEncoder, Style};
use super::error::Stop;
use super::rows::{Cursor, Deadline, Interrupts};
use super::wire::{FLUSH_AT, Wire};
use crate::server::query::QueryError;

/// A result whose rows are kept.
#[derive(Debug)]
pub(super) struct Scroll {
    pub(super) schema: SchemaRef,
    rows: Cursor,
    style: Style,
    kept: Vec<RecordBatch>,
    /// By batch: rows up to its end.
    ends: Vec<usize>,
    bytes: usize,
    /// Bytes that may be kept.
    limit: usize,
    is_whole: bool,
    /// The row it is on, counted from 1; 0 is before the first, one more than there are is after the last.
    position: usize,
}

/// Where a direction leads.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    /// Numbers of the rows to be given, in their order.
    rows: Vec<usize>,
    position: usize,
}

impl Scroll {
    pub(super) fn new(rows: Cursor, style: Style, limit: usize) -> Self {
        Scroll {
            schema: rows.schema.clone(),
            rows,
            style,
            kept: Vec::new(),
            ends: Vec::new(),
            bytes: 0,
            limit,
            is_whole: false,
            position: 0,
        }
    }

    fn known(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Moves, and sends the rows it passes; `None` for columns only moves. Gives their number.
    pub(super) async fn fetch<S>(
        &mut self,
        wire: &mut Wire<S>,
        interrupts: &mut Interrupts,
        deadline: Deadline,
        direction: Direction,
        columns: Option<&[Column]>,
    ) -> Result<usize, Stop>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.read_for(wire, interrupts, deadline, direction).await?;
        let step = step(direction, self.position, self.known(), self.is_whole);
        if let Some(columns) = columns {
            let mut open: Option<(usize, RowEncoder)> = None;
            for row in &step.rows {
                let batch = self.ends.partition_point(|end| end < row);
                let first = if batch == 0 { 0 } else { self.ends[batch - 1] };
                let encoder = match open.take().filter(|(at, _)| *at == batch) {
                    Some((_, encoder)) => encoder,
                    None => RowEncoder::open(&self.kept[batch], &self.schema, self.style)?,
                };
                encoder.data_row(row - first - 1, columns, &mut wire.out);
                open = Some((batch, encoder));
                if wire.out.len() >= FLUSH_AT {
                    interrupts.flush(wire, deadline).await?;
                }
            }
        }
        self.position = step.position;
        Ok(step.rows.len())
    }

    /// Reads as far as a direction may lead.
    async fn read_for<S>(
        &mut self,
        wire: &mut Wire<S>,
        interrupts: &mut Interrupts,
        deadline: Deadline,
        direction: Direction,
    ) -> Result<(), Stop>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let rows = |number: i64| usize::try_from(number).unwrap_or(0);
        let needed = match direction {
            Direction::Forward(Count::Rows(count)) => self.position.saturating_add(count),
            Direction::Forward(Count::All) => usize::MAX,
            Direction::Backward(_) => 0,
            Direction::Absolute(number) if number < 0 => usize::MAX,
            Direction::Absolute(number) => rows(number),
            Direction::Relative(number) => self.position.saturating_add(rows(number)),
        };
        // One more than is needed is not read: whether a row is the last is not known before the next is asked for.
        while !self.is_whole && self.known() < needed {
            let Some(batch) = self.rows.next_kept(wire, interrupts, deadline).await? else {
                self.is_whole = true;
                break;
            };
            self.bytes += batch.get_array_memory_size();
            if self.bytes > self.limit {
                let message = format!(
                    "a cursor with SCROLL keeps its rows in memory, and these are more than {} bytes; declare it without SCROLL, or ask for less",
                    self.limit
                );
                return Err(QueryError::OutOfMemory { message }.into());
            }
            if batch.num_rows() > 0 {
                self.ends.push(self.known() + batch.num_rows());
                self.kept.push(batch);
            }
        }
        Ok(())
    }
}

/// What a direction gives of `known` rows from where a cursor stands; `is_whole` where there are no more.
fn step(direction: Direction, position: usize, known: usize, is_whole: bool) -> Step {
    let after = if is_whole { known + 1 } else { known };
    let single = |row: i128| {
        let end = known as i128;
        match usize::try_from(row) {
            Ok(row) if (1..=known).contains(&row) => Step {
                rows: vec![row],
                position: row,
            },
            _ => Step {
                rows: Vec::new(),
                position: if row > end { after } else { 0 },
            },
        }
    };
    match direction {
        // The row it is on, once more.
        Direction::Forward(Count::Rows(0)) | Direction::Backward(Count::Rows(0)) | Direction::Relative(0) => Step {
            rows: Some(position)
                .filter(|row| (1..=known).contains(row))
                .into_iter()
                .collect(),
            position,
        },
        Direction::Forward(count) => {
            let end = match count {
                Count::Rows(count) => position.saturating_add(count),
                Count::All => usize::MAX,
            };
            Step {
                rows: (position + 1..=end.min(known)).collect(),
                position: if end > known { after } else { end },
            }
        }
        Direction::Backward(count) => {
            let first = match count {
                Count::Rows(count) => position as i128 - count as i128,
                Count::All => 0,
            };
            let lowest = usize::try_from(first.max(1)).unwrap_or(1);
            Step {
                rows: (lowest..position.min(known + 1)).rev().collect(),
                position: usize::try_from(first).unwrap_or(0),
            }
        }
        Direction::Absolute(number) if number < 0 => match known as i128 + 1 + i128::from(number) {
            row if row >= 1 => single(row),
            _ => single(0),
        },
        Direction::Absolute(number) => single(number.into()),
        Direction::Relative(number) => single(position as i128 + i128::from(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_three(direction: Direction, position: usize) -> (Vec<usize>, usize) {
        let step = step(direction, position, 3, true);
        (step.rows, step.position)
    }

    #[test]
    fn directions_lead_where_postgresql_says() {
        use Direction::{Absolute, Backward, Forward, Relative};
        let rows = Count::Rows;
        assert_eq!(of_three(Forward(rows(2)), 0), (vec![1, 2], 2));
        assert_eq!(of_three(Forward(rows(3)), 0), (vec![1, 2, 3], 3));
        assert_eq!(of_three(Forward(rows(1)), 3), (vec![], 4));
        assert_eq!(of_three(Forward(Count::All), 1), (vec![2, 3], 4));
        assert_eq!(of_three(Forward(rows(0)), 2), (vec![2], 2));
        assert_eq!(of_three(Forward(rows(0)), 4), (vec![], 4));
        assert_eq!(of_three(Backward(rows(1)), 4), (vec![3], 3));
        assert_eq!(of_three(Backward(rows(2)), 3), (vec![2, 1], 1));
        assert_eq!(of_three(Backward(rows(9)), 3), (vec![2, 1], 0));
        assert_eq!(of_three(Backward(Count::All), 4), (vec![3, 2, 1], 0));
        assert_eq!(of_three(Absolute(2), 0), (vec![2], 2));
        assert_eq!(of_three(Absolute(-1), 0), (vec![3], 3));
        assert_eq!(of_three(Absolute(-4), 2), (vec![], 0));
        assert_eq!(of_three(Absolute(9), 2), (vec![], 4));
        assert_eq!(of_three(Absolute(0), 2), (vec![], 0));
        assert_eq!(of_three(Relative(-1), 2), (vec![1], 1));
        assert_eq!(of_three(Relative(5), 2), (vec![], 4));
        assert_eq!(of_three(Relative(0), 0), (vec![], 0));
    }
}
