use std::fs::File;
use std::io::{BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

use ropewalk_store::files;
use ropewalk_types::PredictionId;

use super::frame::{LONGEST, PREFIX, parse, prefix};
use super::{MARK, is_other_version};
use crate::PredictionsError;
use crate::record::StoredRecord;

/// What is behind the last whole frame of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing.
    Whole,
    /// The beginning of a frame: its writer was stopped while it wrote.
    Torn {
        /// How much there is.
        bytes: u64,
    },
    /// Something that is no frame and more: it was whole once.
    Damaged {
        /// How much there is.
        bytes: u64,
    },
}

/// The frames of a journal from its beginning, one after another.
pub(crate) struct Frames<R> {
    input: R,
    offset: u64,
    body: Vec<u8>,
    tail: Tail,
}

/// A record, and where it lies.
pub(crate) struct Found {
    pub(crate) record: StoredRecord,
    /// Where its frame begins, with the prefix.
    pub(crate) offset: u64,
}

impl<R: Read> Frames<R> {
    /// Reads the mark of a journal; none where not even that is whole.
    pub(crate) fn begin(mut input: R) -> std::io::Result<Result<Self, Vec<u8>>> {
        let mut mark = Vec::with_capacity(MARK.len());
        (&mut input).take(MARK.len() as u64).read_to_end(&mut mark)?;
        if mark == MARK {
            return Ok(Ok(Self { input, offset: MARK.len() as u64, body: Vec::new(), tail: Tail::Whole }));
        }
        Ok(Err(mark))
    }

    /// The next record; none at the end, of which [`Frames::tail`] tells more.
    pub(crate) fn next(&mut self) -> std::io::Result<Option<Found>> {
        if self.tail != Tail::Whole {
            return Ok(None);
        }
        self.body.clear();
        let got = (&mut self.input).take(PREFIX as u64).read_to_end(&mut self.body)?;
        let Some(head) = self.body.first_chunk::<PREFIX>().copied() else {
            if got > 0 {
                self.tail = Tail::Torn { bytes: got as u64 };
            }
            return Ok(None);
        };
        let (length, checksum) = prefix(head);
        let wanted = length.min(LONGEST);
        self.body.clear();
        let got = (&mut self.input).take(wanted as u64).read_to_end(&mut self.body)?;
        if let Some(record) = parse(&self.body, checksum).filter(|_| got == length) {
            let offset = self.offset;
            self.offset += (PREFIX + length) as u64;
            return Ok(Some(Found { record, offset }));
        }
        let rest = std::io::copy(&mut self.input, &mut std::io::sink())?;
        let bytes = (PREFIX + got) as u64 + rest;
        // What ends before its length says was cut off; so is what a loss of power left as zeros.
        let torn = (length <= LONGEST && got < length) || (length == 0 && self.body.is_empty());
        self.tail = if torn { Tail::Torn { bytes } } else { Tail::Damaged { bytes } };
        Ok(None)
    }

    pub(crate) fn tail(&self) -> Tail {
        self.tail
    }
}

/// The records of one journal in the order of their ids, each once: in memory is where they lie, not what they are.
pub(crate) struct Sorted {
    file: File,
    places: std::vec::IntoIter<(PredictionId, u64)>,
}

impl Sorted {
    /// Finds the records of the journal at `path`, to which nobody appends any more, and what is behind them. Of several with one
    /// id the first that was written counts.
    ///
    /// None where there is no such file.
    pub(crate) fn open(path: &Path) -> Result<Option<(Self, Tail)>, PredictionsError> {
        let file = match files::open(path) {
            Err(error) if error.is_not_found() => return Ok(None),
            opened => opened?,
        };
        let failed = |source| PredictionsError::Broken(format!("cannot read `{}`: {source}", path.display()));
        let mut places = Vec::new();
        let tail = match Frames::begin(BufReader::new(&file)).map_err(failed)? {
            Ok(mut frames) => {
                while let Some(found) = frames.next().map_err(failed)? {
                    places.push((found.record.prediction, found.offset));
                }
                frames.tail()
            }
            Err(mark) if MARK.starts_with(&mark) => {
                let bytes = mark.len() as u64;
                if bytes == 0 { Tail::Whole } else { Tail::Torn { bytes } }
            }
            Err(mark) if is_other_version(&mark) => return Err(PredictionsError::OtherVersion(path.to_owned())),
            Err(_) => Tail::Damaged { bytes: files::size(path)? },
        };
        places.sort_unstable();
        places.dedup_by_key(|(prediction, _)| *prediction);
        Ok(Some((Self { file, places: places.into_iter() }, tail)))
    }
}

impl Iterator for Sorted {
    type Item = Result<StoredRecord, PredictionsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (prediction, offset) = self.places.next()?;
        Some(record_at(&self.file, prediction, offset))
    }
}

/// The record `prediction`, whose frame begins at `offset`.
pub(crate) fn record_at(
    mut file: &File,
    prediction: PredictionId,
    offset: u64,
) -> Result<StoredRecord, PredictionsError> {
    let damaged = |problem: String| PredictionsError::DamagedRecord { prediction: prediction.to_string(), problem };
    let mut read = || {
        file.seek(SeekFrom::Start(offset))?;
        let mut head = [0; PREFIX];
        file.read_exact(&mut head)?;
        let (length, checksum) = prefix(head);
        let mut body = vec![0; length.min(LONGEST)];
        file.read_exact(&mut body)?;
        Ok::<_, std::io::Error>(parse(&body, checksum))
    };
    let record = read().map_err(|problem| damaged(problem.to_string()))?;
    record.ok_or_else(|| damaged("its journal changed while it was read".to_owned()))
}
