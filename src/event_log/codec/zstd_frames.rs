//! zstd as Spark writes it: a frame per flush, one behind the other, the last one perhaps still open.

use std::fmt;

use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::CodecError;

/// Output space offered at a time: a zstd block holds at most 128 KiB.
const ROOM: usize = 256 << 10;

/// The library bounds a frame's window to 128 MiB (`ZSTD_d_windowLogMax`), so a header cannot ask for more memory.
#[derive(Default)]
pub(super) struct ZstdFrames {
    /// Made with the first bytes; a context takes 100 KiB.
    context: Option<Decoder<'static>>,
    /// Inside a frame.
    open: bool,
    /// The last step filled all the space it had, so there may be more.
    more: bool,
    /// Bytes taken since output last came, or since the frame began.
    waiting: u64,
}

impl fmt::Debug for ZstdFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZstdFrames")
            .field("open", &self.open)
            .field("more", &self.more)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

impl ZstdFrames {
    pub(super) fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, max_out: usize) -> Result<usize, CodecError> {
        let context = match &mut self.context {
            Some(context) => context,
            None => self.context.insert(
                Decoder::new().map_err(|error| CodecError::new(format!("no zstd decoder could be made: {error}")))?,
            ),
        };
        let mut taken = 0;
        while (taken < input.len() || self.more) && out.len() < max_out {
            let start = out.len();
            if out.capacity() - start < ROOM {
                out.reserve(ROOM.min(max_out - start));
            }
            let room = out.capacity() - start;
            let mut source = InBuffer::around(&input[taken..]);
            let mut sink = OutBuffer::around_pos(out, start);
            let result = context.run(&mut source, &mut sink);
            let (read, written) = (source.pos(), sink.pos() - start);
            taken += read;
            let hint = result.map_err(|error| CodecError::new(format!("unreadable zstd frame: {error}")))?;
            self.open = hint != 0;
            self.more = written == room && self.open;
            if written > 0 || !self.open {
                self.waiting = 0;
            } else {
                self.waiting += read as u64;
            }
            if read == 0 && written == 0 && !self.more {
                // Cannot happen with input and space; a loop without progress would be worse than this answer.
                if taken < input.len() {
                    return Err(CodecError::new("zstd makes no progress"));
                }
                break;
            }
        }
        Ok(taken)
    }

    pub(super) fn has_output(&self) -> bool {
        self.more
    }

    pub(super) fn undecoded_bytes(&self) -> u64 {
        if self.open { self.waiting.max(1) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Codec;
    use super::super::tests::{check_damage, check_stream, decode_in_pieces, sample};

    fn frames(text: &[u8], size: usize) -> Vec<u8> {
        text.chunks(size)
            .flat_map(|chunk| zstd::bulk::compress(chunk, 1).unwrap())
            .collect()
    }

    #[test]
    fn many_frames_decode_in_any_pieces_and_may_be_cut_anywhere() {
        let text = sample(5000);
        check_stream(Codec::Zstd, &frames(&text, 700), &text);
        check_stream(Codec::Zstd, &zstd::stream::encode_all(&text[..], 1).unwrap(), &text);
    }

    #[test]
    fn a_small_stream_that_unpacks_to_much_comes_in_bounded_pieces() {
        let text = vec![b'a'; 20 << 20];
        let stored = zstd::bulk::compress(&text, 1).unwrap();
        assert!(stored.len() < 4096);
        let mut decoder = super::super::Decoder::new(Codec::Zstd);
        let (mut input, mut total) = (&stored[..], 0);
        loop {
            let mut out = Vec::new();
            let taken = decoder.decode(input, &mut out, 1 << 20).unwrap();
            input = &input[taken..];
            assert!(out.len() <= 2 << 20, "{}", out.len());
            total += out.len();
            if input.is_empty() && !decoder.has_output() {
                break;
            }
        }
        assert_eq!(total, text.len());
        assert_eq!(decoder.undecoded_bytes(), 0);
    }

    #[test]
    fn an_open_frame_waits_and_garbage_is_an_error() {
        let text = sample(3000);
        let stored = frames(&text, 1000);
        let (out, undecoded, error) = decode_in_pieces(Codec::Zstd, &stored[..stored.len() - 1], 10, 1 << 20);
        assert!(text.starts_with(&out) && out.len() >= 2000);
        assert!(undecoded > 0);
        assert_eq!(error, None);
        let (out, _, error) = decode_in_pieces(Codec::Zstd, &[&stored[..], b"garbage!"].concat(), 4096, 1 << 20);
        assert_eq!(out, text);
        assert!(error.is_some());
        check_damage(Codec::Zstd, &stored);
    }
}
