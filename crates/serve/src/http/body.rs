//! Bodies as they come in: unpacked if they are compressed, never longer than the limit, and never larger than their
//! share of the memory for all bodies.

use crate::http::budget::{Share, Shortage};
use crate::http::error::ApiError;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use std::io::{self, Write};

/// Of a compressed body so much is unpacked at a time: at most a thousand times as many bytes come out of it.
const PIECE: usize = 512;

/// A body on its way in. What counts against the limit is what is kept: a body that unpacks to more is refused at the
/// byte that is too many, and nothing beyond it is unpacked. Its share of memory grows before it does.
pub(super) struct Unpacking {
    kind: Kind,
    limit: usize,
}

enum Kind {
    Plain(Bounded),
    Gzip(MultiGzDecoder<Bounded>),
    /// Deflated, but whether in zlib's wrapping (as the word means in HTTP) or without one, the first byte will tell.
    /// Empty only while it does.
    Deflated(Option<Bounded>),
    Zlib(ZlibDecoder<Bounded>),
    Raw(DeflateDecoder<Bounded>),
}

/// Bytes up to a limit.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
    share: Share,
}

/// The limit is reached.
#[derive(Debug, thiserror::Error)]
#[error("too large")]
struct TooLarge;

impl Write for Bounded {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        let (length, room) = (self.bytes.len(), self.bytes.capacity());
        if more.len() > self.limit - length {
            return Err(io::Error::other(TooLarge));
        }
        let needed = length + more.len();
        if needed > room {
            let grown = needed.max(room.saturating_mul(2)).min(self.limit);
            // While the bytes move, they are there twice.
            self.share.hold(room.saturating_add(grown)).map_err(io::Error::other)?;
            self.bytes.reserve_exact(grown - length);
            self.share.hold(self.bytes.capacity()).map_err(io::Error::other)?;
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Unpacking {
    /// A body with these headers, of which up to `limit` bytes are kept, as far as `share` can grow.
    pub(super) fn begin(headers: &HeaderMap, limit: usize, share: Share) -> Result<Self, ApiError> {
        let mut codings = Vec::new();
        for value in headers.get_all(CONTENT_ENCODING) {
            let words = value.to_str().map_err(|_| ApiError::unknown_encoding("of unreadable name"))?;
            let words = words.split(',').map(|word| word.trim().to_ascii_lowercase());
            codings.extend(words.filter(|word| !word.is_empty() && word != "identity"));
        }
        let bounded = Bounded { bytes: Vec::new(), limit, share };
        let kind = match &codings[..] {
            [] => Kind::Plain(bounded),
            [only] if only == "gzip" || only == "x-gzip" => Kind::Gzip(MultiGzDecoder::new(bounded)),
            [only] if only == "deflate" => Kind::Deflated(Some(bounded)),
            other => return Err(ApiError::unknown_encoding(&format!("`{}`", other.join(", ")))),
        };
        Ok(Self { kind, limit })
    }

    /// How much is to be taken in at a time, for others to have their turn in between.
    pub(super) fn piece(&self) -> usize {
        if matches!(self.kind, Kind::Plain(_)) { usize::MAX } else { PIECE }
    }

    /// Takes in the next piece.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), ApiError> {
        let Some(&first) = piece.first() else { return Ok(()) };
        if let Kind::Deflated(bounded) = &mut self.kind
            && let Some(bounded) = bounded.take()
        {
            // The first byte of zlib's wrapping names its method, 8, and a window of up to 7.
            let wrapped = first & 0x0f == 8 && first >> 4 <= 7;
            self.kind = match wrapped {
                true => Kind::Zlib(ZlibDecoder::new(bounded)),
                false => Kind::Raw(DeflateDecoder::new(bounded)),
            };
        }
        let written = match &mut self.kind {
            Kind::Plain(bounded) => bounded.write_all(piece),
            Kind::Gzip(decoder) => decoder.write_all(piece),
            Kind::Zlib(decoder) => decoder.write_all(piece),
            Kind::Raw(decoder) => decoder.write_all(piece),
            Kind::Deflated(_) => Ok(()),
        };
        written.map_err(|error| wrong(&error, matches!(self.kind, Kind::Gzip(_)), self.limit))
    }

    /// The whole body, and its share.
    pub(super) fn finish(self) -> Result<(Vec<u8>, Share), ApiError> {
        let gzip = matches!(self.kind, Kind::Gzip(_));
        let finished = match self.kind {
            Kind::Plain(bounded) => Ok(bounded),
            Kind::Deflated(bounded) => Ok(bounded.expect("its first byte did not come")),
            Kind::Gzip(decoder) => decoder.finish(),
            Kind::Zlib(decoder) => decoder.finish(),
            Kind::Raw(decoder) => decoder.finish(),
        };
        let Bounded { bytes, share, .. } = finished.map_err(|error| wrong(&error, gzip, self.limit))?;
        Ok((bytes, share))
    }
}

fn wrong(error: &io::Error, gzip: bool, limit: usize) -> ApiError {
    let cause = error.get_ref();
    if cause.is_some_and(|cause| cause.is::<TooLarge>()) {
        return ApiError::body_too_large(limit);
    }
    match cause.and_then(|cause| cause.downcast_ref::<Shortage>()) {
        Some(&shortage) => no_room(shortage),
        None => {
            let name = if gzip { "gzip" } else { "deflate" };
            ApiError::malformed(format!("the body cannot be unpacked: it is no whole {name} stream"))
        }
    }
}

/// A body for which there is no memory.
pub(super) fn no_room(shortage: Shortage) -> ApiError {
    match shortage {
        Shortage::ForNow => ApiError::overloaded("the bodies of other requests take all the memory there is for them"),
        Shortage::ForEver { room } => ApiError::body_too_large(room),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::budget::Budget;
    use axum::http::HeaderValue;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use std::sync::Arc;

    const TEXT: &[u8] = b"all that a body says, and all that a body says, and all that a body says";

    fn packed(coding: &str, text: &[u8]) -> Vec<u8> {
        let packed = match coding {
            "gzip" => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(text).and_then(|()| encoder.finish())
            }
            "zlib" => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(text).and_then(|()| encoder.finish())
            }
            _ => {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(text).and_then(|()| encoder.finish())
            }
        };
        packed.expect("writing to memory succeeds")
    }

    /// What comes of a body in pieces of `size`, and how many pieces were taken.
    fn unpack(coding: &str, body: &[u8], size: usize, limit: usize) -> (Result<Vec<u8>, u16>, usize) {
        unpack_within(&Budget::new(1 << 30, 0), coding, body, size, limit)
    }

    /// The same with memory from a budget.
    fn unpack_within(
        budget: &Arc<Budget>,
        coding: &str,
        body: &[u8],
        size: usize,
        limit: usize,
    ) -> (Result<Vec<u8>, u16>, usize) {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_str(coding).expect("a word"));
        let status = |error: ApiError| error.status().as_u16();
        let mut unpacking = match Unpacking::begin(&headers, limit, budget.share()) {
            Ok(unpacking) => unpacking,
            Err(error) => return (Err(status(error)), 0),
        };
        for (taken, piece) in body.chunks(size).enumerate() {
            if let Err(error) = unpacking.push(piece) {
                return (Err(status(error)), taken);
            }
        }
        let whole = unpacking.finish().map(|(bytes, share)| {
            assert_eq!(share.held(), bytes.capacity(), "all that it takes is counted");
            bytes
        });
        (whole.map_err(status), body.len().div_ceil(size))
    }

    #[test]
    fn bodies_come_out_as_they_went_in_however_they_are_cut() {
        let zlib = packed("zlib", TEXT);
        let raw = packed("raw", TEXT);
        let gzip = packed("gzip", TEXT);
        let two = [packed("gzip", &TEXT[..9]), packed("gzip", &TEXT[9..])].concat();
        let cases = [
            ("", TEXT),
            ("identity", TEXT),
            ("gzip", &gzip[..]),
            ("GZip", &gzip),
            ("x-gzip", &gzip),
            ("identity, gzip", &gzip),
            ("gzip", &two),
            ("deflate", &zlib),
            ("deflate", &raw),
        ];
        for (coding, body) in cases {
            for size in [1, 7, 1000] {
                assert_eq!(unpack(coding, body, size, TEXT.len()).0, Ok(TEXT.to_vec()), "{coding} by {size}");
                assert_eq!(unpack(coding, body, size, TEXT.len() - 1).0, Err(413), "{coding} by {size}");
            }
        }
        assert_eq!(unpack("deflate", b"", 1, 10).0, Ok(Vec::new()));
    }

    #[test]
    fn bombs_stop_early_and_broken_streams_are_told() {
        for (coding, name) in [("gzip", "gzip"), ("deflate", "zlib"), ("deflate", "raw")] {
            let bomb = packed(name, &vec![b' '; 64 << 20]);
            let (result, taken) = unpack(coding, &bomb, 1 << 10, 1 << 20);
            assert_eq!(result, Err(413), "{name}");
            assert!(taken < 3, "{name}: {taken} of {} pieces", bomb.len() >> 10);
        }
        let gzip = packed("gzip", TEXT);
        assert_eq!(unpack("gzip", TEXT, 9, 1000).0, Err(400));
        assert_eq!(unpack("gzip", &gzip[..gzip.len() - 3], 9, 1000).0, Err(400));
        assert_eq!(unpack("deflate", b"\x78\x9cnonsense", 9, 1000).0, Err(400));
        for coding in ["br", "zstd", "gzip, gzip", "compress", "nonsense"] {
            assert_eq!(unpack(coding, TEXT, 9, 1000).0, Err(415), "{coding}");
        }
    }

    #[test]
    fn bodies_grow_no_further_than_their_share_and_give_it_back() {
        let text = vec![b' '; 1 << 20];
        let plain = text.clone();
        let (gzip, zlib, raw) = (packed("gzip", &text), packed("zlib", &text), packed("raw", &text));
        for (coding, body) in [("", &plain), ("gzip", &gzip), ("deflate", &zlib), ("deflate", &raw)] {
            for size in [100, 1 << 10, 1 << 20] {
                // For large shares there are three quarters.
                let budget = Budget::new(4 << 20, 0);
                let within = |limit| unpack_within(&budget, coding, body, size, limit).0;
                assert_eq!(within(1 << 20), Ok(text.clone()), "{coding} by {size}");
                let mut other = budget.share();
                other.hold((2 << 20) + 1).expect("there is room");
                assert_eq!(within(2 << 20), Err(503), "{coding} by {size}: the other has it");
                drop(other);
                assert_eq!(within(1 << 20), Ok(text.clone()), "{coding} by {size}: it came back");
                let small = Budget::new(1 << 20, 0);
                assert_eq!(unpack_within(&small, coding, body, size, 1 << 20).0, Err(413), "{coding} by {size}");
            }
        }
    }
}
