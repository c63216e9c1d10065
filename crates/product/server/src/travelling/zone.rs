use ropewalk_data::{DataError, RecordedVersion};
use ropewalk_types::{DatasetName, Digest};

use super::ends::Ends;
use super::layout::TableRefs;
use super::reading::record_read;
use crate::ServerError;

impl Ends<'_> {
    /// All versions of a table are in one zone, there too; else nobody could fetch them any more.
    pub(super) async fn check_zone(
        &self,
        name: &DatasetName,
        versions: &[RecordedVersion],
        refs: &TableRefs,
    ) -> Result<(), ServerError> {
        let Some(zone) = versions.first().map(|one| one.version.zone) else { return Ok(()) };
        // Where all that is there is known here, it was compared when it came.
        let foreign = |digest: &&Digest| versions.iter().all(|one| one.version.digest != **digest);
        let Some(digest) = refs.versions.iter().find(foreign) else { return Ok(()) };
        match record_read(self.remote, name, digest, self.now()).await? {
            Some((record, _)) if record.zone != zone => {
                let (present, wanted) = (record.zone.to_string(), zone.to_string());
                Err(DataError::ZoneChange { name: name.to_string(), present, wanted }.into())
            }
            _ => Ok(()),
        }
    }
}
