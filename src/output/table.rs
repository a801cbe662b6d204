//! Aligned columns for people, as psql draws them.

use std::io::{self, Write};

/// Rows that decide the widths. Later ones are written as they come, with these widths, so that no result has to fit in
/// memory.
const ROWS_MEASURED: usize = 10_000;

/// Draws rows of text cells.
#[derive(Debug)]
pub(super) struct TableWriter {
    headers: Vec<String>,
    right_aligned: Vec<bool>,
    waiting: Vec<Vec<Vec<String>>>,
    widths: Option<Vec<usize>>,
    rows: usize,
}

impl TableWriter {
    pub(super) fn new(headers: Vec<String>, right_aligned: Vec<bool>) -> Self {
        TableWriter {
            headers,
            right_aligned,
            waiting: Vec::new(),
            widths: None,
            rows: 0,
        }
    }

    pub(super) fn row(&mut self, out: &mut dyn Write, cells: Vec<String>) -> io::Result<()> {
        self.rows += 1;
        let row: Vec<Vec<String>> = cells.iter().map(|cell| visible_lines(cell)).collect();
        match &self.widths {
            Some(widths) => write_cells(out, &row, widths, &self.right_aligned),
            None => {
                self.waiting.push(row);
                if self.waiting.len() >= ROWS_MEASURED {
                    self.start(out)
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Writes what still waits, and how many rows there were.
    pub(super) fn finish(mut self, out: &mut dyn Write, with_count: bool) -> io::Result<()> {
        self.start(out)?;
        match self.rows {
            _ if !with_count => Ok(()),
            1 => writeln!(out, "(1 row)\n"),
            rows => writeln!(out, "({rows} rows)\n"),
        }
    }

    /// Fixes the widths and writes the header.
    fn start(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.widths.is_some() {
            return Ok(());
        }
        let headers: Vec<Vec<String>> = self.headers.iter().map(|header| visible_lines(header)).collect();
        let mut widths = vec![0; headers.len()];
        for row in std::iter::once(&headers).chain(&self.waiting) {
            for (width, lines) in widths.iter_mut().zip(row) {
                let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
                *width = longest.max(*width);
            }
        }
        write_cells(out, &headers, &widths, &vec![false; widths.len()])?;
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
        writeln!(out, "{}", rule.join("+"))?;
        for row in std::mem::take(&mut self.waiting) {
            write_cells(out, &row, &widths, &self.right_aligned)?;
        }
        self.widths = Some(widths);
        Ok(())
    }
}

/// One row, over as many lines as its tallest cell; `+` says that a cell goes on.
fn write_cells(out: &mut dyn Write, row: &[Vec<String>], widths: &[usize], right_aligned: &[bool]) -> io::Result<()> {
    let height = row.iter().map(Vec::len).max().unwrap_or(0).max(1);
    for line in 0..height {
        let mut text = String::new();
        for (column, cell) in row.iter().enumerate() {
            let part = cell.get(line).map_or("", String::as_str);
            let padding = " ".repeat(widths[column].saturating_sub(part.chars().count()));
            let more = if line + 1 < cell.len() { '+' } else { ' ' };
            text += if column > 0 { "| " } else { " " };
            if right_aligned[column] {
                text += &padding;
                text += part;
            } else {
                text += part;
                text += &padding;
            }
            text.push(more);
        }
        writeln!(out, "{}", text.trim_end_matches(' '))?;
    }
    Ok(())
}

/// The lines of a cell. Other control characters are spelt out: a value from a log must not steer a terminal.
fn visible_lines(cell: &str) -> Vec<String> {
    cell.split('\n')
        .map(|line| {
            let line = line.strip_suffix('\r').unwrap_or(line);
            line.chars().fold(String::with_capacity(line.len()), |mut text, c| {
                match c {
                    '\t' => text.push_str("    "),
                    c if c.is_control() => text.extend(c.escape_default()),
                    c => text.push(c),
                }
                text
            })
        })
        .collect()
}
