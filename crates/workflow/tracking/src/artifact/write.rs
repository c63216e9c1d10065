//! Changes of the namespace.

use ropewalk_catalog::{Connection, query};
use ropewalk_types::{RunId, Timestamp};

use super::read::{self, Found, run_place};
use super::{Artifact, ArtifactPath, ArtifactRoot};
use crate::TrackingError;

/// Records an artifact of a run in the caller's transaction, in place of one that has its path.
///
/// The caller has put the bytes into the store before. A deleted run takes none.
pub async fn artifact_put(connection: &mut Connection, run: RunId, artifact: &Artifact) -> Result<(), TrackingError> {
    let place = run_place(connection, run).await?;
    let root = place.live_root()?;
    put(connection, &root.whole(&artifact.path)?, artifact).await
}

/// Records an artifact under `root` in the caller's transaction, in place of one that has its path.
///
/// The caller has put the bytes into the store before. What lies in the folder of a deleted run is refused.
pub async fn artifact_record(
    connection: &mut Connection,
    root: &ArtifactRoot,
    artifact: &Artifact,
) -> Result<(), TrackingError> {
    let whole = root.whole(&artifact.path)?;
    run_check(connection, &whole).await?;
    put(connection, &whole, artifact).await
}

/// As [`artifact_record`], also in the folder of a deleted run: what another server kept there is taken over.
pub(super) async fn artifact_take_over(
    connection: &mut Connection,
    root: &ArtifactRoot,
    artifact: &Artifact,
) -> Result<(), TrackingError> {
    put(connection, &root.whole(&artifact.path)?, artifact).await
}

/// Forgets, in the caller's transaction, a file or a folder with all in it; without a path all under `root`.
///
/// Folders above that hold nothing any more go too. Errors: [`TrackingError::ArtifactAbsent`] for a path that is not
/// there.
pub async fn artifact_remove(
    connection: &mut Connection,
    root: &ArtifactRoot,
    path: Option<&ArtifactPath>,
) -> Result<(), TrackingError> {
    let whole = match path {
        Some(path) => root.whole(path)?,
        // The namespace as a whole is nobody's to empty: the path of nothing is no path.
        None => root.folder()?.map_or_else(|| ArtifactPath::new(""), Ok)?,
    };
    match read::find(connection, &whole).await? {
        None if path.is_none() => return Ok(()),
        None => return Err(TrackingError::ArtifactAbsent { path: whole.to_string() }),
        Some(Found::File(_)) => {}
        Some(Found::Folder) => inside_remove(connection, &whole).await?,
    }
    let delete = "DELETE FROM artifact WHERE folder = $1 AND name = $2";
    query(delete).bind(whole.folder()).bind(whole.name()).execute(connection).await?;
    emptied_remove(connection, &whole).await
}

async fn inside_remove(connection: &mut Connection, folder: &ArtifactPath) -> Result<(), TrackingError> {
    query("DELETE FROM artifact WHERE folder = $1").bind(folder.as_str()).execute(connection).await?;
    // Everything that begins with `FOLDER/` lies between that and `FOLDER0`, because `0` follows `/` in ASCII.
    query("DELETE FROM artifact WHERE folder >= $1 AND folder < $2")
        .bind(format!("{folder}/"))
        .bind(format!("{folder}0"))
        .execute(connection)
        .await?;
    Ok(())
}

/// Innermost first: a folder is gone when nothing lies in it any more.
async fn emptied_remove(connection: &mut Connection, path: &ArtifactPath) -> Result<(), TrackingError> {
    let delete = "DELETE FROM artifact WHERE folder = $1 AND name = $2 AND digest IS NULL \
                  AND NOT EXISTS (SELECT 1 FROM artifact AS inner_entry WHERE inner_entry.folder = $3)";
    let above: Vec<&str> = path.folders().collect();
    for folder in above.into_iter().rev() {
        let (outer, name) = split(folder);
        if query(delete).bind(outer).bind(name).bind(folder).execute(connection).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// A file must not become a folder by the way, nor a folder a file: a download could not lay both out.
async fn put(connection: &mut Connection, whole: &ArtifactPath, artifact: &Artifact) -> Result<(), TrackingError> {
    folders_put(connection, whole, artifact.created).await?;
    let upsert = "INSERT INTO artifact (folder, name, digest, size, created_at) VALUES ($1, $2, $3, $4, $5) \
                  ON CONFLICT (folder, name) DO UPDATE SET digest = excluded.digest, size = excluded.size, \
                  created_at = excluded.created_at WHERE artifact.digest IS NOT NULL";
    let written = query(upsert)
        .bind(whole.folder())
        .bind(whole.name())
        .bind(artifact.digest.to_string())
        .bind(artifact.size as i64)
        .bind(artifact.created.0)
        .execute(connection)
        .await?;
    if written == 0 { Err(in_the_way(whole, whole.as_str(), "folder")) } else { Ok(()) }
}

/// Makes the folders above a path that are not there yet.
async fn folders_put(connection: &mut Connection, whole: &ArtifactPath, at: Timestamp) -> Result<(), TrackingError> {
    // As a rule the innermost is there, and then all are.
    match read::kind(connection, whole.folder()).await? {
        Some(Found::Folder) => return Ok(()),
        Some(Found::File(())) => return Err(in_the_way(whole, whole.folder(), "file")),
        None => {}
    }
    let insert = "INSERT INTO artifact (folder, name, size, created_at) VALUES ($1, $2, 0, $3) \
                  ON CONFLICT (folder, name) DO NOTHING";
    for folder in whole.folders() {
        let (outer, name) = split(folder);
        let made = query(insert).bind(outer).bind(name).bind(at.0).execute(connection).await?;
        if made == 0 && read::kind(connection, folder).await? == Some(Found::File(())) {
            return Err(in_the_way(whole, folder, "file"));
        }
    }
    Ok(())
}

/// Refuses a path that lies in the folder of a deleted run. A folder that only looks like that of a run is a folder.
async fn run_check(connection: &mut Connection, whole: &ArtifactPath) -> Result<(), TrackingError> {
    for folder in whole.folders() {
        let Some(outer) = folder.strip_suffix("/artifacts") else { continue };
        let (_, name) = split(outer);
        let Ok(run) = name.parse::<RunId>() else { continue };
        match run_place(connection, run).await {
            Ok(place) if place.is_at(folder) => drop(place.live_root()?),
            Ok(_) | Err(TrackingError::RunAbsent(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn in_the_way(path: &ArtifactPath, existing: &str, kind: &'static str) -> TrackingError {
    TrackingError::ArtifactInTheWay { path: path.to_string(), existing: existing.to_owned(), kind }
}
