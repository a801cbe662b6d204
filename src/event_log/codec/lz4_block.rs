//! lz4-java's `LZ4BlockOutputStream`: blocks with their own header, not the lz4 frame format.
//!
//! A block is `LZ4Block`, a token (method in the high half, level in the low one), the compressed and the original length
//! and a checksum of the original bytes (little endian, 4 bytes each), then the compressed bytes. A block of length 0 ends
//! a stream; another stream may follow, as Spark reads with `stopOnEmptyBlock = false`.

use super::{BlockFormat, CodecError, Step, bytes_at};

const MAGIC: &[u8; 8] = b"LZ4Block";
const HEADER: usize = 21;
const METHOD_RAW: u8 = 0x10;
const METHOD_LZ4: u8 = 0x20;
/// A block holds at most `1 << (LEVEL_BASE + level)` bytes: 32 MiB for the highest level, 15.
const LEVEL_BASE: u32 = 10;
/// `LZ4BlockOutputStream.DEFAULT_SEED`.
const SEED: u32 = 0x9747_b28c;
/// `StreamingXXHash32.asChecksum` drops the four highest bits.
const CHECKSUM_MASK: u32 = 0x0FFF_FFFF;

/// It keeps nothing from block to block.
#[derive(Debug, Default)]
pub(super) struct Lz4Block;

impl BlockFormat for Lz4Block {
    fn step(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Step, CodecError> {
        let magic = &bytes[..bytes.len().min(MAGIC.len())];
        if !MAGIC.starts_with(magic) {
            return Err(CodecError::new(
                "expected an lz4 block (\"LZ4Block\"), found something else",
            ));
        }
        let (Some([token]), Some(compressed), Some(original), Some(checksum)) = (
            bytes_at::<1>(bytes, 8),
            bytes_at(bytes, 9).map(u32::from_le_bytes),
            bytes_at(bytes, 13).map(u32::from_le_bytes),
            bytes_at(bytes, 17).map(u32::from_le_bytes),
        ) else {
            return Ok(Step::Need(HEADER));
        };
        let method = token & 0xF0;
        let largest = 1u32 << (LEVEL_BASE + u32::from(token & 0x0F));
        if method != METHOD_RAW && method != METHOD_LZ4 {
            return Err(CodecError::new(format!("unknown lz4 block method {method:#x}")));
        }
        // A compressed block is smaller than its content, or it would have been stored raw.
        let impossible = original > largest
            || compressed > original
            || (original == 0) != (compressed == 0)
            || (method == METHOD_RAW && original != compressed);
        if impossible {
            return Err(CodecError::new(format!(
                "impossible lz4 block: {compressed} bytes for {original}, at most {largest}"
            )));
        }
        if original == 0 {
            if checksum != 0 {
                return Err(CodecError::new("the empty lz4 block that ends a stream has a checksum"));
            }
            return Ok(Step::Taken(HEADER));
        }
        // Both are at most 32 MiB by now.
        let length = HEADER + compressed as usize;
        let original = original as usize;
        let Some(body) = bytes.get(HEADER..length) else {
            return Ok(Step::Need(length));
        };
        let start = out.len();
        if method == METHOD_RAW {
            out.extend_from_slice(body);
        } else {
            out.resize(start + original, 0);
            match lz4_flex::block::decompress_into(body, &mut out[start..]) {
                Ok(written) if written == original => {}
                Ok(written) => {
                    out.truncate(start);
                    return Err(CodecError::new(format!(
                        "lz4 block gives {written} bytes instead of {original}"
                    )));
                }
                Err(error) => {
                    out.truncate(start);
                    return Err(CodecError::new(format!("unreadable lz4 block: {error}")));
                }
            }
        }
        if xxhash32(&out[start..], SEED) & CHECKSUM_MASK != checksum {
            out.truncate(start);
            return Err(CodecError::new("lz4 block with a wrong checksum"));
        }
        Ok(Step::Taken(length))
    }
}

const PRIME_1: u32 = 0x9E37_79B1;
const PRIME_2: u32 = 0x85EB_CA77;
const PRIME_3: u32 = 0xC2B2_AE3D;
const PRIME_4: u32 = 0x27D4_EB2F;
const PRIME_5: u32 = 0x1656_67B1;

/// XXH32 of `bytes` (xxHash's `xxhash_spec.md`).
fn xxhash32(bytes: &[u8], seed: u32) -> u32 {
    let round = |lane: u32, word: [u8; 4]| {
        lane.wrapping_add(u32::from_le_bytes(word).wrapping_mul(PRIME_2))
            .rotate_left(13)
            .wrapping_mul(PRIME_1)
    };
    let (stripes, rest) = bytes.as_chunks::<16>();
    let mut hash = if stripes.is_empty() {
        seed.wrapping_add(PRIME_5)
    } else {
        let mut a = seed.wrapping_add(PRIME_1).wrapping_add(PRIME_2);
        let mut b = seed.wrapping_add(PRIME_2);
        let mut c = seed;
        let mut d = seed.wrapping_sub(PRIME_1);
        for s in stripes {
            a = round(a, [s[0], s[1], s[2], s[3]]);
            b = round(b, [s[4], s[5], s[6], s[7]]);
            c = round(c, [s[8], s[9], s[10], s[11]]);
            d = round(d, [s[12], s[13], s[14], s[15]]);
        }
        a.rotate_left(1)
            .wrapping_add(b.rotate_left(7))
            .wrapping_add(c.rotate_left(12))
            .wrapping_add(d.rotate_left(18))
    };
    // The length counts modulo 2^32.
    hash = hash.wrapping_add(bytes.len() as u32);
    let (words, rest) = rest.as_chunks::<4>();
    for word in words {
        hash = hash
            .wrapping_add(u32::from_le_bytes(*word).wrapping_mul(PRIME_3))
            .rotate_left(17)
            .wrapping_mul(PRIME_4);
    }
    for byte in rest {
        hash = hash
            .wrapping_add(u32::from(*byte).wrapping_mul(PRIME_5))
            .rotate_left(11)
            .wrapping_mul(PRIME_1);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(PRIME_2);
    hash = (hash ^ (hash >> 13)).wrapping_mul(PRIME_3);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::super::Codec;
    use super::super::tests::{check_damage, check_stream, decode_in_pieces, sample};
    use super::*;

    fn block(method: u8, original: &[u8], stored: &[u8]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(method | 5);
        out.extend_from_slice(&(stored.len() as u32).to_le_bytes());
        out.extend_from_slice(&(original.len() as u32).to_le_bytes());
        let checksum = if original.is_empty() {
            0
        } else {
            xxhash32(original, SEED) & CHECKSUM_MASK
        };
        out.extend_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(stored);
        out
    }

    fn encode(text: &[u8], end_mark: bool) -> Vec<u8> {
        let mut out = Vec::new();
        for (number, chunk) in text.chunks(1000).enumerate() {
            if number % 3 == 2 {
                out.extend(block(METHOD_RAW, chunk, chunk));
            } else {
                out.extend(block(METHOD_LZ4, chunk, &lz4_flex::block::compress(chunk)));
            }
        }
        if end_mark {
            out.extend(block(METHOD_RAW, &[], &[]));
        }
        out
    }

    #[test]
    fn xxhash32_gives_the_published_values() {
        assert_eq!(xxhash32(b"", 0), 0x02CC_5D05);
        assert_eq!(xxhash32(b"a", 0), 0x550D_7456);
        assert_eq!(xxhash32(b"abc", 0), 0x32D1_53FF);
        assert_eq!(xxhash32(b"Nobody inspects the spammish repetition", 0), 0xE229_3B2F);
    }

    #[test]
    fn streams_decode_in_any_pieces_and_may_be_cut_anywhere() {
        let text = sample(5000);
        check_stream(Codec::Lz4, &encode(&text, true), &text);
        check_stream(Codec::Lz4, &encode(&text, false), &text);
    }

    #[test]
    fn another_stream_may_follow_the_end_of_one() {
        let text = sample(2000);
        let stored = [encode(&text, true), encode(&text, true)].concat();
        check_stream(Codec::Lz4, &stored, &text.repeat(2));
    }

    #[test]
    fn damage_is_an_error_and_what_came_before_it_stays() {
        let text = sample(2500);
        let stored = encode(&text, true);
        check_damage(Codec::Lz4, &stored);
        let mut damaged = stored.clone();
        let last = stored.len() - HEADER - 1;
        damaged[last] ^= 1;
        let (out, _, error) = decode_in_pieces(Codec::Lz4, &damaged, 50, 1 << 20);
        assert_eq!(out, text[..2000]);
        assert_eq!(error.unwrap().message, "lz4 block with a wrong checksum");
    }

    #[test]
    fn a_header_that_claims_too_much_is_refused_before_its_bytes_come() {
        let mut stored = block(METHOD_LZ4, b"aaaaaaaaaaaaaaaa", b"x");
        stored[13..17].copy_from_slice(&u32::MAX.to_le_bytes());
        let (_, _, error) = decode_in_pieces(Codec::Lz4, &stored[..HEADER], 50, 1 << 20);
        assert!(error.unwrap().message.starts_with("impossible lz4 block"));
        let (_, _, error) = decode_in_pieces(Codec::Lz4, b"{\"Event\"", 50, 1 << 20);
        assert!(error.is_some());
    }
}
