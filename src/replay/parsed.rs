//! Lines of a log that were parsed before they are folded, perhaps on other threads.
//!
//! Parsing a line needs the line alone, folding its event needs all before it. So blocks of a log are parsed in any order, and
//! [`LiveApplication::apply_block`](super::LiveApplication::apply_block) takes them in the log's order. A line that cannot be
//! parsed is kept with its error: what to make of it, and its number, is the fold's to say.

use std::ops::Range;

use bytes::Bytes;
use self_cell::self_cell;

use crate::event::{self, Event, ParseError, Scratch, Shortened};

/// One line, and what it says.
#[derive(Debug)]
pub(super) struct ParsedLine<'a> {
    /// The line without its line end.
    pub(super) text: &'a [u8],
    /// `None` for a blank line.
    pub(super) event: Result<Option<Event<'a>>, ParseError>,
}

impl<'a> ParsedLine<'a> {
    /// Parses a line, already without its line end.
    pub(super) fn parse(text: &'a [u8], shortened: Option<&Shortened>, scratch: &'a Scratch) -> Self {
        let is_blank = text.iter().all(u8::is_ascii_whitespace);
        let event = if is_blank {
            Ok(None)
        } else {
            event::parse(text, shortened, scratch).map(Some)
        };
        ParsedLine { text, event }
    }
}

/// A line without its newline, or what stands for one on Windows.
pub(super) fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The bytes of a block, and beside them what is left of its shortened lines.
#[derive(Debug)]
struct Text {
    bytes: Bytes,
    scratch: Scratch,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    /// Where it stands in the block, without its line end.
    at: Range<usize>,
    shortened: Option<Shortened>,
}

type Lines<'a> = Vec<ParsedLine<'a>>;

self_cell! {
    struct Cell {
        owner: Text,
        #[covariant]
        dependent: Lines,
    }

    impl {Debug}
}

/// Some whole lines of a log, parsed but not folded yet.
#[derive(Debug)]
pub struct ParsedBlock(Cell);

impl ParsedBlock {
    /// Parses the lines of a block, each ended by a newline; the last one may lack it. `spent` is a block that was folded: its
    /// memory is used again.
    pub fn parse(bytes: Bytes, spent: Option<ParsedBlock>) -> Self {
        let (mut scratch, mut lines) = match spent {
            Some(ParsedBlock(cell)) => {
                let Text { scratch, lines, .. } = cell.into_owner();
                (scratch, lines)
            }
            None => (Scratch::default(), Vec::new()),
        };
        scratch.clear();
        lines.clear();
        let mut start = 0;
        while start < bytes.len() {
            let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |newline| start + newline + 1);
            let text = without_line_end(&bytes[start..end]);
            let shortened = event::shorten(text, &mut scratch);
            lines.push(Line {
                at: start..start + text.len(),
                shortened,
            });
            start = end;
        }
        let text = Text { bytes, scratch, lines };
        ParsedBlock(Cell::new(text, |text| {
            let parse =
                |line: &Line| ParsedLine::parse(&text.bytes[line.at.clone()], line.shortened.as_ref(), &text.scratch);
            text.lines.iter().map(parse).collect()
        }))
    }

    /// Gives each line once, in the order of the log.
    pub(super) fn drain(&mut self, mut each: impl FnMut(ParsedLine<'_>)) {
        self.0
            .with_dependent_mut(|_, lines| lines.drain(..).for_each(&mut each));
    }
}
