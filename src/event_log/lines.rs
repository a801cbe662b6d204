//! Stored bytes → complete lines; keeps the unfinished last line of a growing log.
//!
//! [`LogReader`] reads the files of a log in order and gives blocks of whole lines. It looks for one newline per block, the
//! last, and never at the lines before it. Of an uncompressed file the bytes of a torn last line are not kept but read
//! again with the next block, so that a block is exactly what the store gave, uncopied.
//!
//! Invariant: a log read in one go, and read while it grew, give the same bytes. Between two awaits the reader's state is
//! whole: a dropped `next_block` loses nothing, and after an error of the store the next call tries again.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::ahead::ReadAhead;
use super::codec::Decoder;
use super::{Codec, EventLog, LogFile, LogStore, StoreError};

/// Stored bytes that the first read of an uncompressed file asks for at least, however little is listed of it.
const SMALLEST_READ: u64 = 128 << 10;
/// Stored bytes per read of a compressed file; they unpack to about 20 times as much.
const COMPRESSED_READ: u64 = 1 << 20;
/// Decoded bytes per block of lines of a compressed file.
const DECODED_BLOCK: usize = 4 << 20;
/// Longest line. Spark cannot write one that Java's strings, of 2^31 bytes, do not hold; no real one comes near.
const MAX_LINE: u64 = 256 << 20;

/// Some complete lines of a log, each ended by its newline.
#[derive(Debug, Clone)]
pub struct LineBlock {
    /// The lines, as they are in the log; not empty. Nothing says that they are UTF-8.
    pub bytes: Vec<u8>,
}

/// Why a log cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store failed; nothing is lost, the next call tries again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The compressed stream is damaged (not merely cut off), or a line has no end: what follows cannot be read.
    #[error("{path} is damaged at byte {offset}: {message}")]
    Corrupt { path: String, offset: u64, message: String },
}

/// Reads a log from its beginning, and goes on where it stopped when the log has grown.
#[derive(Debug)]
pub struct LogReader {
    store: Arc<dyn LogStore>,
    log: Arc<EventLog>,
    /// Stored bytes of each file that was read to its end.
    done: Vec<u64>,
    /// The next byte to read of file `done.len()`. Of an uncompressed file: where the bytes of `carry` begin.
    position: u64,
    /// Decodes file `done.len()`.
    decoder: Decoder,
    /// Stored bytes that were read, but are not decoded yet.
    input: Bytes,
    /// Decoded bytes that are not given out yet; at the end, the torn last line.
    carry: Vec<u8>,
    /// There is no newline in this many first bytes of `carry`.
    scanned: usize,
    /// The tail was taken as a line, so the newline that follows ends nothing.
    skip_newline: bool,
    /// Undecoded bytes at the ends of files that have a successor.
    lost: u64,
    damage: Option<Damage>,
    /// What was asked for of file `done.len()` and is not needed yet.
    ahead: ReadAhead,
}

#[derive(Debug, Clone)]
struct Damage {
    path: String,
    offset: u64,
    message: String,
}

impl LogReader {
    /// A reader at the first line of a log. Nothing is read yet.
    pub fn new(store: Arc<dyn LogStore>, log: Arc<EventLog>) -> Self {
        let decoder = Decoder::new(log.files.first().map_or(Codec::None, |file| file.codec));
        LogReader {
            store,
            log,
            done: Vec::new(),
            position: 0,
            decoder,
            input: Bytes::new(),
            carry: Vec::new(),
            scanned: 0,
            skip_newline: false,
            lost: 0,
            damage: None,
            ahead: ReadAhead::default(),
        }
    }

    /// The listing that is being read.
    pub fn log(&self) -> &Arc<EventLog> {
        &self.log
    }

    /// A newer listing of the same log: larger, renamed, with more files. `false` if it is not a continuation (shrunk,
    /// compacted, another log): then nothing changes here, and the log has to be read again from the start.
    ///
    /// The same listing again is a continuation.
    pub fn grow(&mut self, log: Arc<EventLog>) -> bool {
        if log.identity != self.log.identity
            || log.rolling != self.log.rolling
            || log.files.len() < self.log.files.len()
        {
            return false;
        }
        for (at, (old, new)) in self.log.files.iter().zip(&log.files).enumerate() {
            let same_file = old.index == new.index && old.compacted == new.compacted && old.codec == new.codec;
            // A file of a rolling log never gets another name; a single one has the identity checked above.
            let same_name = !log.rolling || old.path == new.path;
            let same_size = match self.done.get(at) {
                Some(read) => new.size_bytes == *read,
                None => new.size_bytes >= old.size_bytes,
            };
            if !same_file || !same_name || !same_size {
                return false;
            }
        }
        if self.log.files.is_empty() {
            self.decoder = Decoder::new(log.files.first().map_or(Codec::None, |file| file.codec));
        }
        // What was the end of a file may not be it any more.
        self.ahead.clear();
        self.log = log;
        true
    }

    /// The next complete lines, `None` at the end of what there is now.
    ///
    /// The last file is read as far as it was listed, the ones before it to their real ends: Spark closes a file before it
    /// begins the next one. At the end of such a file, a last line without newline counts as a line and gets one.
    pub async fn next_block(&mut self) -> Result<Option<LineBlock>, ReadError> {
        loop {
            // The end of a file that was reached before, and nothing was added since.
            let log = Arc::clone(&self.log);
            let Some(file) = log.files.get(self.done.len()) else {
                return Ok(None);
            };
            let is_last = self.done.len() + 1 == log.files.len();
            let limit = if is_last { file.size_bytes } else { u64::MAX };
            let block = match file.codec {
                Codec::None => self.next_plain(file, limit).await?,
                _ => self.next_decoded(file, limit).await?,
            };
            if let Some(bytes) = block {
                return Ok(Some(LineBlock { bytes }));
            }
            if is_last {
                return Ok(None);
            }
            if let Some(bytes) = self.next_file(file, &log) {
                return Ok(Some(LineBlock { bytes }));
            }
        }
    }

    /// After `next_block` gave `None`: the bytes of a last line without newline, empty if there is none.
    pub fn tail(&self) -> &[u8] {
        &self.carry
    }

    /// The tail was taken as a whole line: do not give it again. Should its newline be written later, that is no new line.
    pub fn consume_tail(&mut self) {
        if self.carry.is_empty() {
            return;
        }
        if self.is_plain() {
            self.position += self.carry.len() as u64;
        }
        self.carry.clear();
        self.scanned = 0;
        self.skip_newline = true;
    }

    /// After `next_block` gave `None`: compressed bytes that wait for the rest of their block or frame, 0 if there are none.
    ///
    /// An unfinished zstd frame counts for at least 1, even if all of it so far could be decoded. Bytes that waited in vain
    /// at the end of a file with a successor stay counted.
    pub fn undecoded_bytes(&self) -> u64 {
        self.lost.saturating_add(self.decoder.undecoded_bytes())
    }

    fn is_plain(&self) -> bool {
        self.log
            .files
            .get(self.done.len())
            .is_none_or(|file| file.codec == Codec::None)
    }

    /// Lines of an uncompressed file; `None` at its end, with the torn last line in `carry`.
    async fn next_plain(&mut self, file: &LogFile, limit: u64) -> Result<Option<Vec<u8>>, ReadError> {
        if let Some(damage) = &self.damage {
            return Err(damage.clone().into());
        }
        // Not much more than is there, so that a small file takes a small buffer; but a byte more, to see the end.
        let listed = file.size_bytes.saturating_sub(self.position).saturating_add(1);
        let mut want = listed.clamp(SMALLEST_READ, self.store.read_bytes().max(SMALLEST_READ));
        loop {
            let known = self.position.saturating_add(self.carry.len() as u64);
            if known >= limit {
                return Ok(None);
            }
            want = want.max(self.carry.len() as u64 + 1);
            let end = self.position.saturating_add(want).min(limit);
            let asked = end - self.position;
            // No copy where nothing is read ahead: the store handed over its only reference.
            let mut bytes = Vec::from(self.stored(file, self.position..end, limit).await?);
            let at_end = (bytes.len() as u64) < asked || end == limit;
            if self.skip_newline && !bytes.is_empty() {
                let newline = newline_in_front(&bytes);
                bytes.drain(..newline);
                self.position += newline as u64;
                self.skip_newline = false;
            }
            if let Some(last) = memchr::memrchr(b'\n', &bytes) {
                self.position += last as u64 + 1;
                self.carry.clear();
                self.scanned = 0;
                if at_end {
                    self.carry.extend_from_slice(&bytes[last + 1..]);
                }
                bytes.truncate(last + 1);
                return Ok(Some(bytes));
            }
            if bytes.len() as u64 >= MAX_LINE {
                return Err(self.line_too_long(file));
            }
            if at_end {
                self.carry = bytes;
                return Ok(None);
            }
            want = want.saturating_mul(2);
        }
    }

    /// Lines of a compressed file; `None` at its end, with the torn last line in `carry`.
    async fn next_decoded(&mut self, file: &LogFile, limit: u64) -> Result<Option<Vec<u8>>, ReadError> {
        loop {
            while (!self.input.is_empty() || self.decoder.has_output()) && self.damage.is_none() {
                let room = self.carry.len() + DECODED_BLOCK;
                self.decode(file, room);
                if self.carry.len() >= DECODED_BLOCK
                    && let Some(lines) = self.take_lines()
                {
                    return Ok(Some(lines));
                }
                if self.carry.len() as u64 >= MAX_LINE {
                    return Err(self.line_too_long(file));
                }
            }
            let end = self.position.saturating_add(COMPRESSED_READ).min(limit);
            let read = if self.damage.is_none() && self.position < end {
                self.stored(file, self.position..end, limit).await?
            } else {
                Bytes::new()
            };
            if read.is_empty() {
                if let Some(lines) = self.take_lines() {
                    return Ok(Some(lines));
                }
                return match &self.damage {
                    Some(damage) => Err(damage.clone().into()),
                    None => Ok(None),
                };
            }
            self.position += read.len() as u64;
            self.input = read;
        }
    }

    fn decode(&mut self, file: &LogFile, room: usize) {
        // One allocation for most blocks; logs unpack to 5 to 20 times their size.
        self.carry
            .reserve(self.input.len().saturating_mul(16).min(DECODED_BLOCK));
        match self.decoder.decode(&self.input, &mut self.carry, room) {
            Ok(taken) => self.input.advance(taken.min(self.input.len())),
            Err(error) => {
                self.damage = Some(Damage {
                    path: file.path.to_string(),
                    // Where the piece of input began that holds the damage.
                    offset: self.position - self.input.len() as u64,
                    message: error.message,
                });
                self.input.clear();
            }
        }
        if self.skip_newline && !self.carry.is_empty() {
            let newline = newline_in_front(&self.carry);
            self.carry.drain(..newline);
            self.skip_newline = false;
        }
    }

    /// What `carry` has up to its last newline.
    fn take_lines(&mut self) -> Option<Vec<u8>> {
        let Some(last) = memchr::memrchr(b'\n', &self.carry[self.scanned..]) else {
            self.scanned = self.carry.len();
            return None;
        };
        let rest = self.carry.split_off(self.scanned + last + 1);
        self.scanned = rest.len();
        Some(std::mem::replace(&mut self.carry, rest))
    }

    /// The file is read to its end and has a successor. Gives its last line if that has no newline.
    fn next_file(&mut self, file: &LogFile, log: &EventLog) -> Option<Vec<u8>> {
        let read = if file.codec == Codec::None {
            self.position + self.carry.len() as u64
        } else {
            self.position
        };
        self.lost = self.undecoded_bytes();
        self.done.push(read);
        self.ahead.clear();
        self.position = 0;
        self.input = Bytes::new();
        self.decoder = Decoder::new(log.files.get(self.done.len()).map_or(Codec::None, |file| file.codec));
        self.scanned = 0;
        self.skip_newline = false;
        if self.carry.is_empty() {
            return None;
        }
        let mut line = std::mem::take(&mut self.carry);
        line.push(b'\n');
        Some(line)
    }

    /// Bytes of the file that is being read, which ends at `limit` or not at all.
    async fn stored(&mut self, file: &LogFile, range: Range<u64>, limit: u64) -> Result<Bytes, ReadError> {
        // One byte more than is listed, to see the end of a file that has a successor.
        let limit = limit.min(file.size_bytes.saturating_add(1));
        Ok(self.ahead.read(&self.store, &file.path, range, limit).await?)
    }

    /// Gives up the log for good, and the memory of the line.
    fn line_too_long(&mut self, file: &LogFile) -> ReadError {
        let damage = Damage {
            path: file.path.to_string(),
            offset: self.position,
            message: format!("a line is longer than {MAX_LINE} bytes"),
        };
        self.carry = Vec::new();
        self.scanned = 0;
        self.input = Bytes::new();
        self.damage = Some(damage.clone());
        damage.into()
    }
}

impl From<Damage> for ReadError {
    fn from(damage: Damage) -> Self {
        ReadError::Corrupt {
            path: damage.path,
            offset: damage.offset,
            message: damage.message,
        }
    }
}

/// Length of the line end that the bytes start with, 0 if they start with something else.
fn newline_in_front(bytes: &[u8]) -> usize {
    match bytes {
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] => 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Range;
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::super::codec::tests::sample;
    use super::super::store::Entry;
    use super::*;

    /// Files in memory; counts the bytes read.
    #[derive(Debug, Default)]
    struct Memory {
        files: Mutex<BTreeMap<String, Vec<u8>>>,
        read: Mutex<u64>,
        read_ahead: u64,
    }

    impl Memory {
        fn put(&self, path: &str, bytes: &[u8]) {
            self.files.lock().unwrap().insert(path.to_owned(), bytes.to_vec());
        }
        fn remove(&self, path: &str) {
            self.files.lock().unwrap().remove(path);
        }
        /// The listing of the files at these paths.
        fn log(&self, rolling: bool, files: &[(&str, Codec)]) -> Arc<EventLog> {
            let stored = self.files.lock().unwrap();
            let files: Vec<LogFile> = files
                .iter()
                .enumerate()
                .map(|(number, (path, codec))| LogFile {
                    path: (*path).into(),
                    size_bytes: stored[*path].len() as u64,
                    modified_ms: 0,
                    codec: *codec,
                    index: rolling.then_some(number as u64 + 1),
                    compacted: false,
                })
                .collect();
            Arc::new(EventLog {
                path: "log".into(),
                identity: "log".into(),
                rolling,
                in_progress: false,
                open: None,
                size_bytes: files.iter().map(|file| file.size_bytes).sum(),
                modified_ms: 0,
                files,
            })
        }
    }

    #[async_trait]
    impl LogStore for Memory {
        async fn list(&self, dir: &str) -> Result<Vec<Entry>, StoreError> {
            Err(StoreError::NotFound { path: dir.to_owned() })
        }
        async fn head(&self, path: &str) -> Result<Entry, StoreError> {
            Err(StoreError::NotFound { path: path.to_owned() })
        }
        async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
            let files = self.files.lock().unwrap();
            let bytes = files
                .get(path)
                .ok_or_else(|| StoreError::NotFound { path: path.to_owned() })?;
            let end = range.end.min(bytes.len() as u64) as usize;
            let part = bytes.get(range.start as usize..end).unwrap_or_default();
            *self.read.lock().unwrap() += part.len() as u64;
            Ok(Bytes::copy_from_slice(part))
        }
        fn read_ahead(&self) -> u64 {
            self.read_ahead
        }
    }

    async fn drain(reader: &mut LogReader) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(block) = reader.next_block().await.unwrap() {
            assert!(block.bytes.ends_with(b"\n"));
            all.extend(block.bytes);
        }
        assert!(reader.next_block().await.unwrap().is_none());
        all
    }

    fn frames(text: &[u8], size: usize) -> Vec<u8> {
        text.chunks(size)
            .flat_map(|chunk| zstd::bulk::compress(chunk, 1).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn a_large_file_is_read_in_blocks_of_lines_and_read_hardly_twice() {
        let store = Arc::new(Memory::default());
        let text = sample(11 << 20);
        store.put("f", &text);
        let mut reader = LogReader::new(store.clone(), store.log(false, &[("f", Codec::None)]));
        assert!(drain(&mut reader).await == text);
        assert!(reader.tail().is_empty());
        assert!(*store.read.lock().unwrap() < text.len() as u64 + 1000);

        store.put("z", &frames(&text, 3 << 20));
        let mut reader = LogReader::new(store.clone(), store.log(false, &[("z", Codec::Zstd)]));
        assert!(drain(&mut reader).await == text);
        assert_eq!(reader.undecoded_bytes(), 0);
    }

    #[tokio::test]
    async fn reading_ahead_gives_the_same_lines_and_reads_nothing_twice() {
        let text = sample(21 << 20);
        for (path, codec, stored) in [
            ("f", Codec::None, text.clone()),
            ("z", Codec::Zstd, frames(&text, 3 << 20)),
        ] {
            let store = Arc::new(Memory {
                read_ahead: 10 << 20,
                ..Memory::default()
            });
            store.put(path, &stored);
            store.put("next", b"next\n");
            let log = store.log(true, &[(path, codec), ("next", Codec::None)]);
            let mut reader = LogReader::new(store.clone(), Arc::clone(&log));
            let expected = [&text[..], b"next\n"].concat();
            assert!(drain(&mut reader).await == expected);
            assert_eq!(*store.read.lock().unwrap(), stored.len() as u64 + 5);

            // Longer than it was listed, and cut while it was read ahead.
            store.put(path, &[&stored[..], b"more\n"].concat());
            if codec == Codec::None {
                let mut reader = LogReader::new(store.clone(), Arc::clone(&log));
                assert!(drain(&mut reader).await == [&text[..], b"more\nnext\n"].concat());
            }
        }
    }

    #[tokio::test]
    async fn a_line_may_be_longer_than_a_block() {
        let store = Arc::new(Memory::default());
        let mut text = sample(1000);
        text.extend(vec![b'x'; 9 << 20]);
        text.push(b'\n');
        text.extend(sample(1000));
        store.put("f", &text);
        store.put("z", &frames(&text, 1 << 20));
        for (path, codec) in [("f", Codec::None), ("z", Codec::Zstd)] {
            let mut reader = LogReader::new(store.clone(), store.log(false, &[(path, codec)]));
            assert!(drain(&mut reader).await == text);
        }
    }

    #[tokio::test]
    async fn a_log_that_grows_byte_by_byte_gives_the_same_lines_as_the_whole() {
        let store = Arc::new(Memory::default());
        let text = b"{\"a\":1}\n\n{\"b\":22}\r\nlast".to_vec();
        for (codec, stored) in [(Codec::None, text.clone()), (Codec::Zstd, frames(&text, 5))] {
            store.put("f", b"");
            let mut reader = LogReader::new(store.clone(), store.log(false, &[("f", codec)]));
            let mut all = Vec::new();
            for length in 0..=stored.len() {
                store.put("f", &stored[..length]);
                assert!(reader.grow(store.log(false, &[("f", codec)])));
                all.extend(drain(&mut reader).await);
                let seen = [&all[..], reader.tail()].concat();
                assert!(text.starts_with(&seen));
                if codec == Codec::None {
                    assert_eq!(seen, text[..length]);
                }
            }
            assert_eq!([&all[..], reader.tail()].concat(), text);
            assert_eq!(reader.tail(), b"last");
            reader.consume_tail();
            assert!(reader.tail().is_empty());
            assert!(drain(&mut reader).await.is_empty());
        }
    }

    #[tokio::test]
    async fn the_newline_of_a_tail_that_was_taken_is_no_line() {
        let store = Arc::new(Memory::default());
        for (codec, encode) in [
            (Codec::None, (|text: &[u8]| text.to_vec()) as fn(&[u8]) -> Vec<u8>),
            (Codec::Zstd, |text: &[u8]| {
                text.chunks(3)
                    .flat_map(|c| zstd::bulk::compress(c, 1).unwrap())
                    .collect()
            }),
        ] {
            for end in ["\n", "\r\n"] {
                store.put("f", &encode(b"a\nbbb3"));
                let mut reader = LogReader::new(store.clone(), store.log(false, &[("f", codec)]));
                assert_eq!(drain(&mut reader).await, b"a\n");
                assert_eq!(reader.tail(), b"bbb3");
                reader.consume_tail();
                store.put("f", &encode(format!("a\nbbb3{end}c\nd").as_bytes()));
                assert!(reader.grow(store.log(false, &[("f", codec)])));
                assert_eq!(drain(&mut reader).await, b"c\n");
                assert_eq!(reader.tail(), b"d");
            }
        }
    }

    #[tokio::test]
    async fn a_rolling_log_is_one_text_and_a_file_ends_its_last_line() {
        let store = Arc::new(Memory::default());
        let files = [
            ("1", Codec::None),
            ("2", Codec::Zstd),
            ("3", Codec::None),
            ("4", Codec::None),
        ];
        store.put("1", b"a\nb");
        store.put("2", &frames(b"c\nd", 2));
        store.put("3", b"");
        store.put("4", b"e\nf");
        let mut reader = LogReader::new(store.clone(), store.log(true, &files));
        assert_eq!(drain(&mut reader).await, b"a\nb\nc\nd\ne\n");
        assert_eq!(reader.tail(), b"f");

        // The same, growing file by file; the first file was listed before it was complete.
        let mut reader = LogReader::new(store.clone(), {
            store.put("1", b"a");
            store.log(true, &files[..1])
        });
        let mut all = drain(&mut reader).await;
        store.put("1", b"a\nb");
        for count in 1..=4 {
            assert!(reader.grow(store.log(true, &files[..count])));
            all.extend(drain(&mut reader).await);
        }
        assert_eq!(all, b"a\nb\nc\nd\ne\n");
        assert_eq!(reader.tail(), b"f");
    }

    #[tokio::test]
    async fn an_earlier_file_is_read_to_its_real_end_and_the_last_one_as_listed() {
        let store = Arc::new(Memory::default());
        store.put("1", b"a\n");
        store.put("2", b"c\n");
        let log = store.log(true, &[("1", Codec::None), ("2", Codec::None)]);
        store.put("1", b"a\nb\n");
        store.put("2", b"c\nd\n");
        let mut reader = LogReader::new(store.clone(), Arc::clone(&log));
        assert_eq!(drain(&mut reader).await, b"a\nb\nc\n");
        assert!(reader.grow(store.log(true, &[("1", Codec::None), ("2", Codec::None)])));
        assert_eq!(drain(&mut reader).await, b"d\n");
        assert!(!reader.grow(log), "an older listing");
    }

    #[tokio::test]
    async fn what_is_no_continuation_is_refused() {
        let store = Arc::new(Memory::default());
        for (path, text) in [("1", "a\n"), ("2", "b\n"), ("3", "c\n")] {
            store.put(path, text.as_bytes());
        }
        let plain = |paths: &[&'static str]| paths.iter().map(|path| (*path, Codec::None)).collect::<Vec<_>>();
        let log = store.log(true, &plain(&["1", "2"]));
        let mut reader = LogReader::new(store.clone(), Arc::clone(&log));
        drain(&mut reader).await;
        let changed = |change: fn(&mut EventLog)| {
            let mut changed = EventLog::clone(&store.log(true, &plain(&["1", "2", "3"])));
            change(&mut changed);
            Arc::new(changed)
        };
        assert!(!reader.grow(store.log(true, &plain(&["1"]))));
        assert!(!reader.grow(changed(|log| log.identity = "other".into())));
        assert!(!reader.grow(changed(|log| log.files[0].size_bytes = 3)));
        assert!(!reader.grow(changed(|log| log.files[1].size_bytes = 1)));
        assert!(!reader.grow(changed(|log| log.files[0].compacted = true)));
        assert!(!reader.grow(changed(|log| drop(log.files.remove(0)))));
        assert!(reader.grow(log));
        assert!(reader.grow(changed(|log| log.in_progress = true)));
        assert_eq!(drain(&mut reader).await, b"c\n");
    }

    #[tokio::test]
    async fn a_rename_goes_on_and_a_vanished_file_is_an_error_that_can_be_tried_again() {
        let store = Arc::new(Memory::default());
        store.put("x.inprogress", b"a\nb");
        let mut reader = LogReader::new(store.clone(), store.log(false, &[("x.inprogress", Codec::None)]));
        assert_eq!(drain(&mut reader).await, b"a\n");
        store.remove("x.inprogress");
        store.put("x", b"a\nb\nc\n");
        let renamed = store.log(false, &[("x", Codec::None)]);
        store.remove("x");
        assert!(reader.grow(renamed));
        let error = reader.next_block().await.unwrap_err();
        assert!(matches!(error, ReadError::Store(StoreError::NotFound { path }) if path == "x"));
        store.put("x", b"a\nb\nc\n");
        assert_eq!(drain(&mut reader).await, b"b\nc\n");
    }

    #[tokio::test]
    async fn damage_comes_after_the_lines_before_it_and_stays() {
        let store = Arc::new(Memory::default());
        let text = sample(3000);
        store.put("z", &[&frames(&text, 500)[..], b"garbage!"].concat());
        let mut reader = LogReader::new(store.clone(), store.log(false, &[("z", Codec::Zstd)]));
        assert_eq!(reader.next_block().await.unwrap().unwrap().bytes, text);
        for _ in 0..2 {
            let error = reader.next_block().await.unwrap_err();
            assert!(matches!(error, ReadError::Corrupt { path, .. } if path == "z"));
        }
    }

    #[tokio::test]
    async fn a_cut_stream_has_undecoded_bytes_also_when_a_file_follows() {
        let store = Arc::new(Memory::default());
        let stored = frames(b"a\nb\n", 2);
        store.put("1", &stored[..stored.len() - 1]);
        store.put("2", b"c\n");
        let mut reader = LogReader::new(store.clone(), store.log(true, &[("1", Codec::Zstd)]));
        drain(&mut reader).await;
        assert!(reader.undecoded_bytes() > 0);
        assert!(reader.grow(store.log(true, &[("1", Codec::Zstd), ("2", Codec::None)])));
        assert!(drain(&mut reader).await.ends_with(b"c\n"));
        assert!(reader.undecoded_bytes() > 0);
    }

    #[tokio::test]
    async fn a_log_without_files_has_no_lines() {
        let store = Arc::new(Memory::default());
        let mut reader = LogReader::new(store.clone(), store.log(false, &[]));
        assert!(drain(&mut reader).await.is_empty());
        assert!(reader.tail().is_empty());
    }
}
