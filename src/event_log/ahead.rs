//! Reads a file ahead of the one who asks for it, so that a large log is read at the speed of its store and not of one request after the other.
//!
//! Pieces are asked for side by side on the threads of storage and given out in their order. At most [`LogStore::read_ahead`] bytes and one
//! piece are held; where that is 0 nothing is read ahead, and each read is one of the store's.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::store::threads::{self, Running};
use super::{LogStore, StoreError};

/// Bytes of one request: several are under way at a time, and the fixed cost of each does not count.
const PIECE: u64 = 4 << 20;

/// What was asked for of one file.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    path: Option<Arc<str>>,
    /// Without gaps, in order.
    pieces: VecDeque<Piece>,
    /// Where the file was seen to end.
    end: Option<u64>,
}

#[derive(Debug)]
struct Piece {
    range: Range<u64>,
    bytes: State,
}

#[derive(Debug)]
enum State {
    Coming(Running<Result<Bytes, StoreError>>),
    Here(Bytes),
}

impl ReadAhead {
    /// Forgets everything: the file may have changed.
    pub(super) fn clear(&mut self) {
        *self = ReadAhead::default();
    }

    /// Bytes `range` of a file, as [`LogStore::read`] gives them. Nothing from `limit` on will be asked for.
    ///
    /// Who stops waiting loses nothing; after an error the next call asks again.
    pub(super) async fn read(
        &mut self,
        store: &Arc<dyn LogStore>,
        path: &Arc<str>,
        range: Range<u64>,
        limit: u64,
    ) -> Result<Bytes, StoreError> {
        let ahead = store.read_ahead();
        if ahead == 0 {
            return store.read(path, range).await;
        }
        let begins_elsewhere = self.pieces.front().is_some_and(|first| range.start < first.range.start);
        if self.path.as_ref() != Some(path) || begins_elsewhere {
            self.clear();
            self.path = Some(Arc::clone(path));
        }
        while self.pieces.front().is_some_and(|first| first.range.end <= range.start) {
            self.pieces.pop_front();
        }
        let end = self.end.unwrap_or(u64::MAX);
        let wanted = range.start..range.end.min(end);
        let last = limit.max(range.end).min(end);
        let target = range.start.saturating_add(ahead).max(range.end).min(last);
        let mut next = self.pieces.back().map_or(range.start, |last| last.range.end);
        while next < target {
            let piece = next..next.saturating_add(PIECE).min(last);
            next = piece.end;
            let work = {
                let (store, path, piece) = (Arc::clone(store), Arc::clone(path), piece.clone());
                async move { store.read(&path, piece).await }
            };
            let coming = threads::spawn(work).map_err(|error| not_run(path, error))?;
            self.pieces.push_back(Piece {
                range: piece,
                bytes: State::Coming(coming),
            });
        }
        self.take(path, wanted).await
    }

    /// Waits for the pieces of a range and puts them together.
    async fn take(&mut self, path: &str, wanted: Range<u64>) -> Result<Bytes, StoreError> {
        let mut parts: Vec<Bytes> = Vec::new();
        let mut at = 0;
        while let Some(piece) = self.pieces.get_mut(at).filter(|piece| piece.range.start < wanted.end) {
            if let State::Coming(coming) = &mut piece.bytes {
                let came = coming.await.map_err(|error| not_run(path, error)).flatten();
                match came {
                    Ok(bytes) => piece.bytes = State::Here(bytes),
                    Err(error) => {
                        self.pieces.truncate(at);
                        return Err(error);
                    }
                }
            }
            let State::Here(bytes) = &piece.bytes else { break };
            let offset = |position: u64| {
                let inside = position.clamp(piece.range.start, piece.range.end) - piece.range.start;
                usize::try_from(inside).unwrap_or(usize::MAX).min(bytes.len())
            };
            parts.push(bytes.slice(offset(wanted.start)..offset(wanted.end)));
            let is_short = (bytes.len() as u64) < piece.range.end - piece.range.start;
            if is_short {
                // The file ends there; the pieces behind it have nothing.
                let end = piece.range.start + bytes.len() as u64;
                piece.range.end = end.max(piece.range.start);
                self.end = Some(end);
                self.pieces.truncate(at + 1);
                break;
            }
            at += 1;
        }
        match parts.len() {
            0 => Ok(Bytes::new()),
            1 => Ok(parts.swap_remove(0)),
            _ => Ok(Bytes::from(parts.concat())),
        }
    }
}

fn not_run(path: &str, source: io::Error) -> StoreError {
    StoreError::Io {
        path: path.to_owned(),
        source,
    }
}
