//! snappy-java's `SnappyOutputStream`: a header, then chunks of a big-endian length and raw snappy.
//!
//! The header (magic, version, oldest compatible version) comes again wherever another stream was appended.

use super::{BlockFormat, CodecError, Step, bytes_at};

const MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const HEADER: usize = 16;
const LENGTH: usize = 4;
/// `SnappyCodec.MINIMUM_COMPATIBLE_VERSION`.
const OLDEST_VERSION: i32 = 1;
/// Largest chunk taken, compressed or not. Spark writes 32 KiB (`spark.io.compression.snappy.blockSize`).
const MAX_CHUNK: usize = 64 << 20;
/// Snappy's best ratio is 64 bytes from 3: a chunk that claims more lies, and gets no memory.
const MAX_RATIO: usize = 64;

#[derive(Debug, Default)]
pub(super) struct SnappyJava {
    /// The stream's first header was seen.
    started: bool,
}

impl BlockFormat for SnappyJava {
    fn step(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Step, CodecError> {
        if !self.started && !MAGIC.starts_with(&bytes[..bytes.len().min(MAGIC.len())]) {
            return Err(CodecError::new(
                "expected snappy-java's header (\"\\x82SNAPPY\"), found something else",
            ));
        }
        let Some(first) = bytes_at::<LENGTH>(bytes, 0) else {
            return Ok(Step::Need(LENGTH));
        };
        if MAGIC.starts_with(&first) {
            return self.header(bytes);
        }
        let length = usize::try_from(i32::from_be_bytes(first)).unwrap_or(usize::MAX);
        if length > MAX_CHUNK {
            return Err(CodecError::new(format!(
                "impossible snappy chunk length {}: at most {MAX_CHUNK}",
                i32::from_be_bytes(first)
            )));
        }
        let Some(body) = bytes.get(LENGTH..LENGTH + length) else {
            return Ok(Step::Need(LENGTH + length));
        };
        let unreadable = |error: snap::Error| CodecError::new(format!("unreadable snappy chunk: {error}"));
        let original = snap::raw::decompress_len(body).map_err(unreadable)?;
        if original > MAX_CHUNK || original > length.saturating_mul(MAX_RATIO) {
            return Err(CodecError::new(format!(
                "impossible snappy chunk: {original} bytes from {length}"
            )));
        }
        let start = out.len();
        out.resize(start + original, 0);
        match snap::raw::Decoder::new().decompress(body, &mut out[start..]) {
            Ok(written) => out.truncate(start + written),
            Err(error) => {
                out.truncate(start);
                return Err(unreadable(error));
            }
        }
        Ok(Step::Taken(LENGTH + length))
    }
}

impl SnappyJava {
    fn header(&mut self, bytes: &[u8]) -> Result<Step, CodecError> {
        if !MAGIC.starts_with(&bytes[..bytes.len().min(MAGIC.len())]) {
            return Err(CodecError::new("damaged snappy-java header"));
        }
        let Some(version) = bytes_at(bytes, 8).map(i32::from_be_bytes) else {
            return Ok(Step::Need(HEADER));
        };
        if bytes.len() < HEADER {
            return Ok(Step::Need(HEADER));
        }
        if version < OLDEST_VERSION {
            return Err(CodecError::new(format!(
                "snappy-java stream of version {version}; known from {OLDEST_VERSION} on"
            )));
        }
        self.started = true;
        Ok(Step::Taken(HEADER))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Codec;
    use super::super::tests::{check_damage, check_stream, decode_in_pieces, sample};
    use super::*;

    fn header() -> Vec<u8> {
        [&MAGIC[..], &1i32.to_be_bytes(), &1i32.to_be_bytes()].concat()
    }

    fn encode(text: &[u8]) -> Vec<u8> {
        let mut out = header();
        for chunk in text.chunks(1000) {
            let stored = snap::raw::Encoder::new().compress_vec(chunk).unwrap();
            out.extend_from_slice(&(stored.len() as i32).to_be_bytes());
            out.extend(stored);
        }
        out
    }

    #[test]
    fn streams_decode_in_any_pieces_and_may_be_cut_anywhere() {
        let text = sample(5000);
        check_stream(Codec::Snappy, &encode(&text), &text);
    }

    #[test]
    fn a_header_may_come_again_in_the_middle() {
        let text = sample(1500);
        check_stream(Codec::Snappy, &[encode(&text), encode(&text)].concat(), &text.repeat(2));
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let stored = encode(&sample(2500));
        check_damage(Codec::Snappy, &stored);
        for bad in [
            b"{\"Event\":".to_vec(),
            [header(), vec![0xFF; 8]].concat(),
            [header(), vec![0; 4]].concat(),
        ] {
            let (_, _, error) = decode_in_pieces(Codec::Snappy, &bad, 3, 1 << 20);
            assert!(error.is_some(), "{bad:?}");
        }
        // A chunk of five bytes that claims to hold 4 GiB.
        let greedy = [
            header(),
            5i32.to_be_bytes().to_vec(),
            vec![0xFF, 0xFF, 0xFF, 0xFF, 0x0F],
        ]
        .concat();
        let (_, _, error) = decode_in_pieces(Codec::Snappy, &greedy, 100, 1 << 20);
        assert!(error.unwrap().message.starts_with("impossible snappy chunk"));
    }
}
