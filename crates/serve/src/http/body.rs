//! Bodies as they come in: unpacked if they are compressed, and never longer than the limit.

use crate::http::error::ApiError;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use std::io::{self, Write};

/// A body on its way in. What counts against the limit is what is kept: a body that unpacks to more is refused at the
/// byte that is too many, and nothing beyond it is unpacked.
pub(super) struct Unpacking {
    kind: Kind,
    limit: usize,
}

enum Kind {
    Plain(Bounded),
    Gzip(MultiGzDecoder<Bounded>),
    /// Deflated, but whether in zlib's wrapping (as the word means in HTTP) or without one, the first byte will tell.
    Deflated,
    Zlib(ZlibDecoder<Bounded>),
    Raw(DeflateDecoder<Bounded>),
}

/// Bytes up to a limit.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

/// The limit is reached.
#[derive(Debug, thiserror::Error)]
#[error("too large")]
struct TooLarge;

impl Write for Bounded {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if more.len() > self.limit - self.bytes.len() {
            return Err(io::Error::other(TooLarge));
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Unpacking {
    /// A body with these headers, of which up to `limit` bytes are kept.
    pub(super) fn begin(headers: &HeaderMap, limit: usize) -> Result<Self, ApiError> {
        let mut codings = Vec::new();
        for value in headers.get_all(CONTENT_ENCODING) {
            let words = value.to_str().map_err(|_| ApiError::unknown_encoding("of unreadable name"))?;
            let words = words.split(',').map(|word| word.trim().to_ascii_lowercase());
            codings.extend(words.filter(|word| !word.is_empty() && word != "identity"));
        }
        let bounded = || Bounded { bytes: Vec::new(), limit };
        let kind = match &codings[..] {
            [] => Kind::Plain(bounded()),
            [only] if only == "gzip" || only == "x-gzip" => Kind::Gzip(MultiGzDecoder::new(bounded())),
            [only] if only == "deflate" => Kind::Deflated,
            other => return Err(ApiError::unknown_encoding(&format!("`{}`", other.join(", ")))),
        };
        Ok(Self { kind, limit })
    }

    /// Takes in the next piece.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), ApiError> {
        let Some(&first) = piece.first() else { return Ok(()) };
        if matches!(self.kind, Kind::Deflated) {
            let bounded = Bounded { bytes: Vec::new(), limit: self.limit };
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
            Kind::Deflated => Ok(()),
        };
        written.map_err(|error| self.wrong(&error))
    }

    /// Bytes of memory that the body takes so far.
    pub(super) fn kept(&self) -> usize {
        match &self.kind {
            Kind::Plain(bounded) => bounded.bytes.capacity(),
            Kind::Gzip(decoder) => decoder.get_ref().bytes.capacity(),
            Kind::Zlib(decoder) => decoder.get_ref().bytes.capacity(),
            Kind::Raw(decoder) => decoder.get_ref().bytes.capacity(),
            Kind::Deflated => 0,
        }
    }

    /// The whole body.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, ApiError> {
        let finished = match &mut self.kind {
            Kind::Plain(_) | Kind::Deflated => Ok(()),
            Kind::Gzip(decoder) => decoder.try_finish(),
            Kind::Zlib(decoder) => decoder.try_finish(),
            Kind::Raw(decoder) => decoder.try_finish(),
        };
        finished.map_err(|error| self.wrong(&error))?;
        let bytes = match &mut self.kind {
            Kind::Plain(bounded) => std::mem::take(&mut bounded.bytes),
            Kind::Gzip(decoder) => std::mem::take(&mut decoder.get_mut().bytes),
            Kind::Zlib(decoder) => std::mem::take(&mut decoder.get_mut().bytes),
            Kind::Raw(decoder) => std::mem::take(&mut decoder.get_mut().bytes),
            Kind::Deflated => Vec::new(),
        };
        Ok(bytes)
    }

    fn wrong(&self, error: &io::Error) -> ApiError {
        if error.get_ref().is_some_and(|cause| cause.is::<TooLarge>()) {
            return ApiError::body_too_large(self.limit);
        }
        let name = if matches!(self.kind, Kind::Gzip(_)) { "gzip" } else { "deflate" };
        ApiError::malformed(format!("the body cannot be unpacked: it is no whole {name} stream"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

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
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_str(coding).expect("a word"));
        let status = |error: ApiError| error.status().as_u16();
        let mut unpacking = match Unpacking::begin(&headers, limit) {
            Ok(unpacking) => unpacking,
            Err(error) => return (Err(status(error)), 0),
        };
        for (taken, piece) in body.chunks(size).enumerate() {
            if let Err(error) = unpacking.push(piece) {
                return (Err(status(error)), taken);
            }
        }
        (unpacking.finish().map_err(status), body.len().div_ceil(size))
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
}
