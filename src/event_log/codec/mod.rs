//! Suffix → decoder: turns the stored bytes of a log file into the bytes Spark wrote.
//!
//! A [`Decoder`] is pushed: it takes whatever bytes have arrived, keeps what is cut in the middle of a block, and goes on
//! when more comes. So a stream that still grows, and one that was cut off, are the same thing here: bytes that wait.
//! Only bytes that no continuation could make right are an error ([`CodecError`]).
//!
//! Invariant: however the input is cut into pieces, the output is the same.

mod lz4_block;
mod lzf;
mod snappy_java;
mod zstd_frames;

use std::fmt;

use lz4_block::Lz4Block;
use lzf::Lzf;
use snappy_java::SnappyJava;
use zstd_frames::ZstdFrames;

/// How a log file is compressed, from the suffix of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Not compressed.
    None,
    /// Many concatenated zstd frames, one per flush (`closeFrameOnFlush`); the default of Spark 4.
    Zstd,
    /// lz4-java's `LZ4BlockOutputStream`; not the lz4 frame format.
    Lz4,
    /// snappy-java's `SnappyOutputStream`; not the snappy framing format.
    Snappy,
    /// compress-lzf's chunks.
    Lzf,
}

impl Codec {
    /// Spark's short name of the codec; `none` for an uncompressed file.
    pub fn as_str(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Zstd => "zstd",
            Codec::Lz4 => "lz4",
            Codec::Snappy => "snappy",
            Codec::Lzf => "lzf",
        }
    }

    /// The codec of a file name's suffix, in any case, as `CompressionCodec.createCodec` finds it. `None` for any other
    /// text, `none` included: Spark writes no suffix for an uncompressed log.
    pub fn from_suffix(suffix: &str) -> Option<Self> {
        [Codec::Zstd, Codec::Lz4, Codec::Snappy, Codec::Lzf]
            .into_iter()
            .find(|codec| codec.as_str().eq_ignore_ascii_case(suffix))
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The bytes are no stream of this codec, or damaged: no further bytes could make them right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CodecError {
    /// What was expected and what is there.
    pub message: String,
}

impl CodecError {
    fn new(message: impl Into<String>) -> Self {
        CodecError {
            message: message.into(),
        }
    }
}

/// The state of one compressed stream.
#[derive(Debug)]
pub struct Decoder {
    stream: Stream,
}

#[derive(Debug)]
enum Stream {
    Plain,
    Zstd(ZstdFrames),
    Lz4(Blocks<Lz4Block>),
    Snappy(Blocks<SnappyJava>),
    Lzf(Blocks<Lzf>),
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new(codec: Codec) -> Self {
        let stream = match codec {
            Codec::None => Stream::Plain,
            Codec::Zstd => Stream::Zstd(ZstdFrames::default()),
            Codec::Lz4 => Stream::Lz4(Blocks::default()),
            Codec::Snappy => Stream::Snappy(Blocks::default()),
            Codec::Lzf => Stream::Lzf(Blocks::default()),
        };
        Decoder { stream }
    }

    /// Decodes from `input`, appending to `out` until that holds `max_out` bytes (one block more at most) or the input is
    /// used up, and says how much of the input was taken. Input of an unfinished block is taken and kept.
    ///
    /// Call it again with the rest, and while [`has_output`](Self::has_output), even with no input left.
    /// What was appended before an error is good.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, max_out: usize) -> Result<usize, CodecError> {
        match &mut self.stream {
            Stream::Plain => {
                let taken = input.len().min(max_out.saturating_sub(out.len()));
                out.extend_from_slice(&input[..taken]);
                Ok(taken)
            }
            Stream::Zstd(frames) => frames.decode(input, out, max_out),
            Stream::Lz4(blocks) => blocks.decode(input, out, max_out),
            Stream::Snappy(blocks) => blocks.decode(input, out, max_out),
            Stream::Lzf(blocks) => blocks.decode(input, out, max_out),
        }
    }

    /// Whether there may be more output although all input was taken, because `out` was full.
    pub fn has_output(&self) -> bool {
        match &self.stream {
            Stream::Zstd(frames) => frames.has_output(),
            Stream::Plain | Stream::Lz4(_) | Stream::Snappy(_) | Stream::Lzf(_) => false,
        }
    }

    /// Compressed bytes taken that wait for the rest of their block; at least 1 inside an unfinished zstd frame, even if
    /// all its blocks so far are decoded; 0 where a stream may end.
    pub fn undecoded_bytes(&self) -> u64 {
        match &self.stream {
            Stream::Plain => 0,
            Stream::Zstd(frames) => frames.undecoded_bytes(),
            Stream::Lz4(blocks) => blocks.undecoded_bytes(),
            Stream::Snappy(blocks) => blocks.undecoded_bytes(),
            Stream::Lzf(blocks) => blocks.undecoded_bytes(),
        }
    }
}

/// A stream made of blocks that say their length in front.
trait BlockFormat {
    /// Decodes the one block that `bytes` starts with, or says how many bytes it takes to know more.
    fn step(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Step, CodecError>;
}

enum Step {
    /// One block was decoded; it had this many bytes, at least 1.
    Taken(usize),
    /// The block, or its header, has this many bytes: more than there are.
    Need(usize),
}

/// Memory kept for the next block that is cut in the middle; more than that is given back.
const KEEP_PENDING: usize = 1 << 20;

/// Puts blocks together that come in pieces. Whole blocks are decoded where they lie.
#[derive(Debug, Default)]
struct Blocks<F> {
    format: F,
    /// The bytes of an unfinished block; it grows with what arrives, never with what a header claims.
    pending: Vec<u8>,
    /// What `pending` has to reach before the next step; 0 if it is empty.
    need: usize,
}

impl<F: BlockFormat> Blocks<F> {
    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, max_out: usize) -> Result<usize, CodecError> {
        let mut rest = input;
        while !rest.is_empty() && out.len() < max_out {
            if self.pending.is_empty() {
                match self.format.step(rest, out)? {
                    Step::Taken(length) => rest = &rest[length..],
                    Step::Need(length) => {
                        self.pending.extend_from_slice(rest);
                        self.need = length;
                        rest = &[];
                    }
                }
                continue;
            }
            let missing = self.need.saturating_sub(self.pending.len());
            let (piece, after) = rest.split_at(missing.min(rest.len()));
            self.pending.extend_from_slice(piece);
            rest = after;
            if self.pending.len() < self.need {
                continue;
            }
            match self.format.step(&self.pending, out)? {
                Step::Taken(_) => {
                    self.pending.clear();
                    self.pending.shrink_to(KEEP_PENDING);
                    self.need = 0;
                }
                Step::Need(length) => self.need = length,
            }
        }
        Ok(input.len() - rest.len())
    }

    fn undecoded_bytes(&self) -> u64 {
        self.pending.len() as u64
    }
}

/// The `N` bytes at `at`, if they are there.
fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Decodes `stored` in pieces of `piece` bytes with room for `room` bytes at a time.
    pub(in crate::event_log) fn decode_in_pieces(
        codec: Codec,
        stored: &[u8],
        piece: usize,
        room: usize,
    ) -> (Vec<u8>, u64, Option<CodecError>) {
        let mut decoder = Decoder::new(codec);
        let mut all = Vec::new();
        for mut input in stored.chunks(piece.max(1)) {
            loop {
                let mut out = Vec::new();
                let result = decoder.decode(input, &mut out, room);
                all.extend_from_slice(&out);
                match result {
                    Ok(taken) => input = &input[taken..],
                    Err(error) => return (all, decoder.undecoded_bytes(), Some(error)),
                }
                if input.is_empty() && !decoder.has_output() {
                    break;
                }
            }
        }
        (all, decoder.undecoded_bytes(), None)
    }

    /// Checks a good stream: whole, in pieces, and cut at every byte.
    pub(super) fn check_stream(codec: Codec, stored: &[u8], truth: &[u8]) {
        for (piece, room) in [
            (usize::MAX, usize::MAX),
            (1, 1 << 20),
            (7, 100),
            (usize::MAX, 1),
            (4096, 4096),
        ] {
            let (out, undecoded, error) = decode_in_pieces(codec, stored, piece.min(stored.len()), room);
            assert_eq!(error, None, "{codec} in pieces of {piece}");
            assert!(
                out == truth,
                "{codec} in pieces of {piece}: {} of {} bytes",
                out.len(),
                truth.len()
            );
            assert_eq!(undecoded, 0, "{codec} in pieces of {piece}");
        }
        for cut in 0..stored.len() {
            let (out, _, error) = decode_in_pieces(codec, &stored[..cut], usize::MAX >> 1, 1 << 20);
            assert_eq!(error, None, "{codec} cut at {cut}");
            assert!(truth.starts_with(&out), "{codec} cut at {cut}");
        }
    }

    /// Flips every byte of a good stream in turn: any answer is fine, but not a panic.
    pub(super) fn check_damage(codec: Codec, stored: &[u8]) {
        for at in 0..stored.len() {
            for flip in [0x01, 0x80, 0xFF] {
                let mut damaged = stored.to_vec();
                damaged[at] ^= flip;
                let (out, _, _) = decode_in_pieces(codec, &damaged, 64, 1 << 20);
                assert!(out.len() < 1 << 28);
            }
        }
    }

    /// Text that compresses, with some that does not.
    pub(in crate::event_log) fn sample(length: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(length + 100);
        let mut state = 12345u32;
        while out.len() < length {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let line = format!(
                "{{\"Event\":\"SparkListenerTaskEnd\",\"Stage ID\":{},\"x\":{state}}}\n",
                state >> 24
            );
            out.extend_from_slice(line.as_bytes());
        }
        out
    }

    #[test]
    fn suffixes_are_sparks_short_names_in_any_case() {
        assert_eq!(Codec::from_suffix("zstd"), Some(Codec::Zstd));
        assert_eq!(Codec::from_suffix("LZ4"), Some(Codec::Lz4));
        assert_eq!(Codec::from_suffix("none"), None);
        assert_eq!(Codec::from_suffix("zst"), None);
        assert_eq!(Codec::from_suffix(""), None);
    }

    #[test]
    fn a_plain_stream_is_its_own_output() {
        let text = sample(500);
        check_stream(Codec::None, &text, &text);
    }
}
