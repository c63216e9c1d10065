use std::fs::File;
use std::io::{self, BufReader, Read, Write as _};

use flate2::bufread::MultiGzDecoder;
use tempfile::TempPath;

use super::archive::{Exceeded, RATIO_FREE_BYTES, unpack_error};
use super::format::Compression;
use super::limits::Limits;
use crate::IngestError;
use crate::scratch::Scratch;

/// The unpacked bytes of a packed file, which end with an error when they are more than `limits` accept.
pub(crate) fn decompressed(
    name: &str,
    file: File,
    compression: Compression,
    limits: &Limits,
) -> Result<impl Read + use<>, IngestError> {
    let packed = file.metadata().map_err(IngestError::stream(format!("look at `{name}`")))?.len();
    let by_ratio = packed.saturating_mul(limits.ratio).max(RATIO_FREE_BYTES);
    let reason = if by_ratio < limits.total_bytes {
        format!("it unpacks to more than {} times its size (`limits.ratio`)", limits.ratio)
    } else {
        format!("it unpacks to more than {} bytes (`limits.total_bytes`)", limits.total_bytes)
    };
    let decoder: Box<dyn Read> = match compression {
        Compression::Gzip => Box::new(MultiGzDecoder::new(BufReader::new(file))),
        Compression::Zstandard => {
            Box::new(zstd::stream::read::Decoder::new(file).map_err(|error| unpack_error(name, "it", error))?)
        }
    };
    Ok(Capped { inner: decoder, left: by_ratio.min(limits.total_bytes), reason })
}

/// The unpacked file as a file of its own.
pub(crate) fn decompressed_file(
    name: &str,
    file: File,
    compression: Compression,
    limits: &Limits,
    scratch: &Scratch,
) -> Result<TempPath, IngestError> {
    let mut reader = decompressed(name, file, compression, limits)?;
    let mut target = scratch.file()?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => return Ok(target.into_temp_path()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unpack_error(name, "it", error)),
        };
        target.write_all(&buffer[..read]).map_err(IngestError::stream(format!("unpack `{name}`")))?;
    }
}

struct Capped<R> {
    inner: R,
    left: u64,
    reason: String,
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(Exceeded(self.reason.clone()))),
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(bytes: &[u8], compression: Compression) -> Vec<u8> {
        match compression {
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Zstandard => zstd::encode_all(bytes, 3).unwrap(),
        }
    }

    fn unpacked(packed: &[u8], compression: Compression, limits: &Limits) -> Result<Vec<u8>, IngestError> {
        let directory = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(directory.path()).unwrap();
        let mut source = scratch.file().unwrap();
        source.write_all(packed).unwrap();
        let file = ropewalk_store::files::open(source.path()).unwrap();
        let target = decompressed_file("a.csv.gz", file, compression, limits, &scratch)?;
        Ok(ropewalk_store::files::read(&target).unwrap())
    }

    #[test]
    fn what_was_packed_comes_back() {
        for compression in [Compression::Gzip, Compression::Zstandard] {
            let bytes = packed(b"id\n1\n", compression);
            assert_eq!(unpacked(&bytes, compression, &Limits::default()).unwrap(), b"id\n1\n");
            let twice = [bytes.as_slice(), &bytes].concat();
            assert_eq!(unpacked(&twice, compression, &Limits::default()).unwrap(), b"id\n1\nid\n1\n");
        }
    }

    #[test]
    fn cut_off_files_are_refused() {
        for compression in [Compression::Gzip, Compression::Zstandard] {
            let bytes = packed(&b"id,name\n".repeat(1000), compression);
            for end in [1, 5, bytes.len() / 2, bytes.len() - 1] {
                let error = unpacked(&bytes[..end], compression, &Limits::default()).unwrap_err();
                assert!(error.to_string().contains("damaged or cut off"), "{error}");
            }
        }
    }

    #[test]
    fn bombs_are_refused_by_ratio_and_by_size() {
        for compression in [Compression::Gzip, Compression::Zstandard] {
            let bytes = packed(&vec![b'0'; 4 << 20], compression);
            let error = unpacked(&bytes, compression, &Limits::default()).unwrap_err().to_string();
            assert!(error.contains("more than 250 times its size"), "{error}");
            let limits = Limits { total_bytes: 1000, ..Limits::default() };
            let error = unpacked(&bytes, compression, &limits).unwrap_err().to_string();
            assert!(error.contains("more than 1000 bytes"), "{error}");
            let limits = Limits { ratio: u64::MAX, ..Limits::default() };
            assert_eq!(unpacked(&bytes, compression, &limits).unwrap().len(), 4 << 20);
        }
    }
}
