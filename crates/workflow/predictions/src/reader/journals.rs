use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use ropewalk_store::files;
use ropewalk_types::PredictionId;

use crate::PredictionsError;
use crate::journal::frame::{LONGEST, PREFIX, parse, prefix};
use crate::journal::{Frames, is_other_version, list_journals};
use crate::record::StoredRecord;
use crate::segment::Wanted;

/// The wanted records of a journal, in the order of ids: where they lie, not what they are.
pub(super) struct JournalCursor {
    file: File,
    places: std::vec::IntoIter<(PredictionId, u64)>,
}

/// The journals in `folder` that hold what is wanted. What is behind their last whole frame is being written, or was when its
/// writer was stopped: it is no record yet, or never became one.
pub(super) fn open_journals(folder: &Path, wanted: &Wanted) -> Result<Vec<JournalCursor>, PredictionsError> {
    let mut cursors = Vec::new();
    for name in list_journals(folder)? {
        let path = name.path(folder);
        let file = match files::open(&path) {
            // Sealed meanwhile: the catalogue is read later than this, and lists its segment.
            Err(error) if error.is_not_found() => continue,
            opened => opened?,
        };
        let failed = |source| PredictionsError::Broken(format!("cannot read `{}`: {source}", path.display()));
        let places =
            places(&file, wanted).map_err(failed)?.ok_or_else(|| PredictionsError::OtherVersion(path.clone()))?;
        if !places.is_empty() {
            cursors.push(JournalCursor { file, places: places.into_iter() });
        }
    }
    Ok(cursors)
}

fn places(file: &File, wanted: &Wanted) -> std::io::Result<Option<Vec<(PredictionId, u64)>>> {
    let mut places = Vec::new();
    let mut frames = match Frames::begin(BufReader::with_capacity(256 << 10, file))? {
        Ok(frames) => frames,
        // What is no journal is put aside, and counted, when journals are sealed.
        Err(mark) => return Ok((!is_other_version(&mark)).then_some(places)),
    };
    while let Some(found) = frames.next()? {
        let record = found.record;
        if wanted.takes(record.prediction, &record.model, record.version) {
            places.push((record.prediction, found.offset));
        }
    }
    places.sort_unstable();
    Ok(Some(places))
}

impl JournalCursor {
    /// The next record; none after the last one.
    pub(super) fn next(&mut self) -> Result<Option<StoredRecord>, PredictionsError> {
        let Some((prediction, offset)) = self.places.next() else { return Ok(None) };
        let damaged = |problem: String| PredictionsError::DamagedRecord { prediction: prediction.to_string(), problem };
        let read = || {
            let mut file = &self.file;
            file.seek(SeekFrom::Start(offset))?;
            let mut head = [0; PREFIX];
            file.read_exact(&mut head)?;
            let (length, checksum) = prefix(head);
            let mut body = vec![0; length.min(LONGEST)];
            file.read_exact(&mut body)?;
            Ok::<_, std::io::Error>(parse(&body, checksum))
        };
        let record = read().map_err(|problem| damaged(problem.to_string()))?;
        record.map(Some).ok_or_else(|| damaged("its journal changed while it was read".to_owned()))
    }
}
