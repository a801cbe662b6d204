//! compress-lzf's chunks: `ZV`, a type, big-endian lengths of 2 bytes, then the chunk as it is (type 0) or LZF (type 1).

use super::{BlockFormat, CodecError, Step, bytes_at};

const MAGIC: &[u8; 2] = b"ZV";
const TYPE_RAW: u8 = 0;
const TYPE_COMPRESSED: u8 = 1;
const RAW_HEADER: usize = 5;
const COMPRESSED_HEADER: usize = 7;

/// It keeps nothing from chunk to chunk.
#[derive(Debug, Default)]
pub(super) struct Lzf;

impl BlockFormat for Lzf {
    fn step(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Step, CodecError> {
        if !MAGIC.starts_with(&bytes[..bytes.len().min(MAGIC.len())]) {
            return Err(CodecError::new("expected an lzf chunk (\"ZV\"), found something else"));
        }
        let (Some([kind]), Some(stored)) = (bytes_at::<1>(bytes, 2), bytes_at(bytes, 3).map(u16::from_be_bytes)) else {
            return Ok(Step::Need(RAW_HEADER));
        };
        let stored = usize::from(stored);
        match kind {
            TYPE_RAW => {
                let Some(body) = bytes.get(RAW_HEADER..RAW_HEADER + stored) else {
                    return Ok(Step::Need(RAW_HEADER + stored));
                };
                out.extend_from_slice(body);
                Ok(Step::Taken(RAW_HEADER + stored))
            }
            TYPE_COMPRESSED => {
                let Some(original) = bytes_at(bytes, 5).map(u16::from_be_bytes) else {
                    return Ok(Step::Need(COMPRESSED_HEADER));
                };
                let Some(body) = bytes.get(COMPRESSED_HEADER..COMPRESSED_HEADER + stored) else {
                    return Ok(Step::Need(COMPRESSED_HEADER + stored));
                };
                let start = out.len();
                if decompress(body, out, usize::from(original)).is_none() {
                    out.truncate(start);
                    return Err(CodecError::new("unreadable lzf chunk"));
                }
                Ok(Step::Taken(COMPRESSED_HEADER + stored))
            }
            other => Err(CodecError::new(format!("unknown lzf chunk type {other}"))),
        }
    }
}

/// Appends exactly `length` bytes to `out`; `None` if the chunk does not give that.
fn decompress(mut input: &[u8], out: &mut Vec<u8>, length: usize) -> Option<()> {
    let start = out.len();
    let end = start + length;
    out.reserve(length);
    while let Some((&control, rest)) = input.split_first() {
        input = rest;
        let control = usize::from(control);
        if control < 32 {
            // A run of control + 1 literal bytes.
            let (literals, rest) = input.split_at_checked(control + 1)?;
            if out.len() + literals.len() > end {
                return None;
            }
            out.extend_from_slice(literals);
            input = rest;
            continue;
        }
        // A copy from earlier output: 3 bits of length, 13 bits of distance; the length 7 says that a byte of it follows.
        let mut count = control >> 5;
        if count == 7 {
            let (&more, rest) = input.split_first()?;
            count += usize::from(more);
            input = rest;
        }
        count += 2;
        let (&low, rest) = input.split_first()?;
        input = rest;
        let distance = ((control & 0x1F) << 8 | usize::from(low)) + 1;
        if distance > out.len() - start || out.len() + count > end {
            return None;
        }
        // A copy may overlap what it writes: it repeats the last `distance` bytes.
        let mut left = count;
        while left > 0 {
            let from = out.len() - distance;
            let piece = left.min(distance);
            out.extend_from_within(from..from + piece);
            left -= piece;
        }
    }
    (out.len() == end).then_some(())
}

#[cfg(test)]
mod tests {
    use super::super::Codec;
    use super::super::tests::{check_damage, check_stream, decode_in_pieces, sample};
    use super::*;

    fn raw(text: &[u8]) -> Vec<u8> {
        [b"ZV\0", &(text.len() as u16).to_be_bytes()[..], text].concat()
    }

    fn compressed(original: usize, body: &[u8]) -> Vec<u8> {
        [
            b"ZV\x01",
            &(body.len() as u16).to_be_bytes()[..],
            &(original as u16).to_be_bytes()[..],
            body,
        ]
        .concat()
    }

    /// A greedy encoder: the longest earlier match at any distance, else a literal.
    fn encode_chunk(text: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        let mut literals: Vec<u8> = Vec::new();
        let flush = |body: &mut Vec<u8>, literals: &mut Vec<u8>| {
            for run in literals.chunks(32) {
                body.push(run.len() as u8 - 1);
                body.extend_from_slice(run);
            }
            literals.clear();
        };
        let mut at = 0;
        while at < text.len() {
            let best = (at.saturating_sub(8192)..at)
                .map(|from| {
                    (
                        text[from..]
                            .iter()
                            .zip(&text[at..])
                            .take_while(|(a, b)| a == b)
                            .count()
                            .min(264),
                        from,
                    )
                })
                .max()
                .unwrap_or((0, 0));
            if best.0 < 3 {
                literals.push(text[at]);
                at += 1;
                continue;
            }
            flush(&mut body, &mut literals);
            let (count, distance) = (best.0 - 2, at - best.1 - 1);
            if count < 7 {
                body.push((count << 5 | distance >> 8) as u8);
            } else {
                body.push((7 << 5 | distance >> 8) as u8);
                body.push((count - 7) as u8);
            }
            body.push(distance as u8);
            at += best.0;
        }
        flush(&mut body, &mut literals);
        compressed(text.len(), &body)
    }

    #[test]
    fn raw_and_compressed_chunks_decode_in_any_pieces_and_may_be_cut_anywhere() {
        let text = sample(3000);
        let stored = [
            encode_chunk(&text[..1500]),
            raw(&text[1500..1600]),
            encode_chunk(&text[1600..]),
        ]
        .concat();
        check_stream(Codec::Lzf, &stored, &text);
        check_damage(Codec::Lzf, &stored);
    }

    #[test]
    fn a_hand_made_chunk_with_an_overlapping_copy_decodes() {
        // Two literals "ab", then 6 bytes from distance 2, then 9 + 7 bytes from distance 1.
        let stored = compressed(24, &[1, b'a', b'b', 4 << 5, 1, 7 << 5, 7, 0]);
        check_stream(Codec::Lzf, &stored, b"abababababbbbbbbbbbbbbbb".get(..24).unwrap());
    }

    #[test]
    fn chunks_that_do_not_add_up_are_errors() {
        for bad in [
            compressed(3, &[1, b'a', b'b']),
            compressed(1, &[1, b'a', b'b']),
            compressed(5, &[1, b'a', b'b', 1 << 5, 9]),
            compressed(9, &[31, b'a']),
            b"ZV\x02\0\0".to_vec(),
            b"{\"Event\"".to_vec(),
        ] {
            let (out, _, error) = decode_in_pieces(Codec::Lzf, &bad, 100, 100);
            assert!(error.is_some() && out.is_empty(), "{bad:?}");
        }
    }
}
