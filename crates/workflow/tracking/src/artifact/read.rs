use ropewalk_catalog::{Connection, query};
use ropewalk_types::{Digest, ExperimentId, RunId, Timestamp};

use super::{Artifact, ArtifactEntry, ArtifactHome, ArtifactPath, ArtifactRoot};
use crate::TrackingError;

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found<F> {
    /// A file.
    File(F),
    /// A folder.
    Folder,
}

/// Where the artifacts of a run lie.
pub(super) struct RunPlace {
    run: RunId,
    home: ArtifactHome,
    deleted: bool,
}

impl RunPlace {
    /// Where they lie, which must be here.
    pub(super) fn root(self) -> Result<ArtifactRoot, TrackingError> {
        match self.home {
            ArtifactHome::Here(root) => Ok(root),
            ArtifactHome::Elsewhere(uri) => Err(TrackingError::ArtifactsElsewhere { run: self.run, uri }),
        }
    }

    /// [`RunPlace::root`] of a run that can be written.
    pub(super) fn live_root(self) -> Result<ArtifactRoot, TrackingError> {
        if self.deleted { Err(TrackingError::RunDeleted(self.run)) } else { self.root() }
    }

    pub(super) fn home(self) -> ArtifactHome {
        self.home
    }

    /// Whether they lie in this folder.
    pub(super) fn is_at(&self, folder: &str) -> bool {
        match &self.home {
            ArtifactHome::Here(root) => {
                root.folder().ok().flatten().is_some_and(|own: ArtifactPath| own.as_str() == folder)
            }
            ArtifactHome::Elsewhere(_) => false,
        }
    }
}

/// Where the artifacts of a run lie: its experiment may have a place of its own for them.
pub(super) async fn run_place(connection: &mut Connection, run: RunId) -> Result<RunPlace, TrackingError> {
    let select = "SELECT run.experiment_id, experiment.artifact_location, run.deleted_at \
                  FROM run JOIN experiment ON experiment.id = run.experiment_id WHERE run.id = $1";
    let row: Option<(i64, Option<String>, Option<i64>)> =
        query(select).bind(run.to_string()).fetch_optional(connection).await?;
    let (experiment, location, deleted) = row.ok_or(TrackingError::RunAbsent(run))?;
    let root = ArtifactRoot::Run { experiment: ExperimentId(experiment), run };
    let home = match location.as_deref() {
        None | Some("") => ArtifactHome::Here(root),
        location => ArtifactHome::of_uri(&root.uri(location))?,
    };
    Ok(RunPlace { run, home, deleted: deleted.is_some() })
}

/// Name, digest, size, time: a folder has no digest.
type Row = (String, Option<String>, i64, i64);

fn damaged(value: String, expected: &'static str) -> TrackingError {
    TrackingError::Damaged { table: "artifact", value, expected }
}

/// An entry of a folder that was asked for as `folder`.
fn entry(folder: Option<&ArtifactPath>, (name, digest, size, created): Row) -> Result<ArtifactEntry, TrackingError> {
    let name = ArtifactPath::of_catalog(&name).ok_or_else(|| damaged(name, "name of an artifact"))?;
    let path = folder.map_or_else(|| name.clone(), |folder| folder.join(&name));
    let Some(digest) = digest else { return Ok(ArtifactEntry::Folder(path)) };
    let digest: Digest = digest.parse().map_err(|_| damaged(digest, "digest"))?;
    let size = u64::try_from(size).map_err(|_| damaged(size.to_string(), "size"))?;
    Ok(ArtifactEntry::File(Artifact { path, digest, size, created: Timestamp(created) }))
}

/// What lies at a whole path; the artifact's path is the whole one.
pub(super) async fn find(
    connection: &mut Connection,
    whole: &ArtifactPath,
) -> Result<Option<Found<Artifact>>, TrackingError> {
    let select = "SELECT name, digest, size, created_at FROM artifact WHERE folder = $1 AND name = $2";
    let row: Option<Row> = query(select).bind(whole.folder()).bind(whole.name()).fetch_optional(connection).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(match entry(None, row)? {
        ArtifactEntry::File(artifact) => Found::File(Artifact { path: whole.clone(), ..artifact }),
        ArtifactEntry::Folder(_) => Found::Folder,
    }))
}

/// Whether a file or a folder lies at a path; the top is a folder.
pub(super) async fn kind(connection: &mut Connection, path: &str) -> Result<Option<Found<()>>, TrackingError> {
    if path.is_empty() {
        return Ok(Some(Found::Folder));
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let select = "SELECT digest FROM artifact WHERE folder = $1 AND name = $2";
    let row: Option<(Option<String>,)> = query(select).bind(folder).bind(name).fetch_optional(connection).await?;
    Ok(row.map(|(digest,)| if digest.is_some() { Found::File(()) } else { Found::Folder }))
}

/// The file at `path` under `root`.
pub(super) async fn at(
    connection: &mut Connection,
    root: &ArtifactRoot,
    path: &ArtifactPath,
) -> Result<Artifact, TrackingError> {
    let whole = root.whole(path)?;
    match find(connection, &whole).await? {
        Some(Found::File(artifact)) => Ok(Artifact { path: path.clone(), ..artifact }),
        Some(Found::Folder) => Err(TrackingError::ArtifactIsFolder { path: whole.to_string() }),
        None => Err(TrackingError::ArtifactAbsent { path: whole.to_string() }),
    }
}

/// What lies directly in a folder under `root`, by name; empty for a folder that does not exist.
pub(super) async fn entries(
    connection: &mut Connection,
    root: &ArtifactRoot,
    folder: Option<&ArtifactPath>,
) -> Result<Vec<ArtifactEntry>, TrackingError> {
    let whole = match folder {
        Some(folder) => Some(root.whole(folder)?),
        None => root.folder()?,
    };
    let select = "SELECT name, digest, size, created_at FROM artifact WHERE folder = $1 ORDER BY name";
    let rows: Vec<Row> =
        query(select).bind(whole.as_ref().map_or("", ArtifactPath::as_str)).fetch_all(connection).await?;
    rows.into_iter().map(|row| entry(folder, row)).collect()
}

/// The digest of every artifact.
pub(super) async fn digests(connection: &mut Connection) -> Result<Vec<Digest>, TrackingError> {
    let select = "SELECT DISTINCT digest FROM artifact WHERE digest IS NOT NULL ORDER BY digest";
    let texts: Vec<String> = query(select).fetch_all(connection).await?;
    texts.into_iter().map(|text| text.parse().map_err(|_| damaged(text, "digest"))).collect()
}
