mod path;

use ropewalk_types::{Digest, RunId, Timestamp};
use serde::Serialize;
use sqlx::{Any, AnyConnection};

pub use path::{ArtifactPath, ArtifactPathError};

use crate::TrackingError;
use crate::run::{read, write as run};

/// A file of a run. Its bytes lie in the store, under its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Artifact {
    /// Where it lies in the run.
    pub path: ArtifactPath,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// When it was logged.
    pub created: Timestamp,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum ArtifactEntry {
    /// A file.
    File(Artifact),
    /// A folder, by its path in the run.
    Folder(ArtifactPath),
}

impl ArtifactEntry {
    /// Its path in the run.
    pub fn path(&self) -> &ArtifactPath {
        match self {
            Self::File(artifact) => &artifact.path,
            Self::Folder(path) => path,
        }
    }
}

/// Records an artifact in the caller's transaction, in place of one that has its path.
///
/// The caller has put the bytes into the store before.
pub async fn artifact_put(
    connection: &mut AnyConnection,
    run: RunId,
    artifact: &Artifact,
) -> Result<(), TrackingError> {
    run::lock(connection, run).await?;
    let path = &artifact.path;
    way_check(connection, run, path).await?;
    let id = run.to_string();
    for folder in path.folders() {
        let above = folder.rsplit_once('/').map_or("", |(above, _)| above);
        let insert = "INSERT INTO run_artifact_folder (run_id, path, folder) VALUES ($1, $2, $3) \
                      ON CONFLICT (run_id, path) DO NOTHING";
        sqlx::query(insert).bind(id.as_str()).bind(folder).bind(above).execute(&mut *connection).await?;
    }
    let upsert = "INSERT INTO run_artifact (run_id, path, folder, digest, size, created_at) \
                  VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (run_id, path) DO UPDATE \
                  SET digest = excluded.digest, size = excluded.size, created_at = excluded.created_at";
    sqlx::query(upsert)
        .bind(id.as_str())
        .bind(path.as_str())
        .bind(path.folder())
        .bind(artifact.digest.to_string())
        .bind(artifact.size as i64)
        .bind(artifact.created.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// A file must not become a folder by the way, nor a folder a file: a download could not lay both out.
async fn way_check(connection: &mut AnyConnection, run: RunId, path: &ArtifactPath) -> Result<(), TrackingError> {
    let in_the_way = |existing: &str, kind| TrackingError::ArtifactInTheWay {
        run,
        path: path.to_string(),
        existing: existing.to_owned(),
        kind,
    };
    for folder in path.folders() {
        let select = "SELECT COUNT(*) FROM run_artifact WHERE run_id = $1 AND path = $2";
        if count(connection, select, run, folder).await? > 0 {
            return Err(in_the_way(folder, "file"));
        }
    }
    let select = "SELECT COUNT(*) FROM run_artifact_folder WHERE run_id = $1 AND path = $2";
    if count(connection, select, run, path.as_str()).await? > 0 {
        return Err(in_the_way(path.as_str(), "folder"));
    }
    Ok(())
}

async fn count(
    connection: &mut AnyConnection,
    select: &'static str,
    run: RunId,
    path: &str,
) -> Result<i64, TrackingError> {
    Ok(sqlx::query_scalar(select).bind(run.to_string()).bind(path).fetch_one(connection).await?)
}

type Row = (String, String, i64, i64);

fn path_of(path: String) -> Result<ArtifactPath, TrackingError> {
    match ArtifactPath::new(path.as_str()) {
        Ok(path) => Ok(path),
        Err(_) => Err(TrackingError::Damaged { table: "run_artifact", value: path, expected: "artifact path" }),
    }
}

fn artifact((path, digest, size, created): Row) -> Result<Artifact, TrackingError> {
    let damaged = |value, expected| TrackingError::Damaged { table: "run_artifact", value, expected };
    Ok(Artifact {
        path: path_of(path)?,
        digest: digest.parse().map_err(|_| damaged(digest, "digest"))?,
        size: u64::try_from(size).map_err(|_| damaged(size.to_string(), "size"))?,
        created: Timestamp(created),
    })
}

pub(crate) async fn get(
    connection: &mut AnyConnection,
    run: RunId,
    path: &ArtifactPath,
) -> Result<Artifact, TrackingError> {
    let select = "SELECT path, digest, size, created_at FROM run_artifact WHERE run_id = $1 AND path = $2";
    let row: Option<Row> = sqlx::query_as::<Any, _>(select)
        .bind(run.to_string())
        .bind(path.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(row) = row {
        return artifact(row);
    }
    read::info(connection, run).await?;
    Err(TrackingError::ArtifactAbsent { run, path: path.to_string() })
}

/// What lies directly in a folder, or at the top; empty for a folder that does not exist.
pub(crate) async fn list(
    connection: &mut AnyConnection,
    run: RunId,
    folder: Option<&ArtifactPath>,
) -> Result<Vec<ArtifactEntry>, TrackingError> {
    read::info(connection, run).await?;
    let (id, folder) = (run.to_string(), folder.map_or("", ArtifactPath::as_str));
    let select = "SELECT path, digest, size, created_at FROM run_artifact WHERE run_id = $1 AND folder = $2";
    let files: Vec<Row> =
        sqlx::query_as::<Any, _>(select).bind(id.as_str()).bind(folder).fetch_all(&mut *connection).await?;
    let select = "SELECT path FROM run_artifact_folder WHERE run_id = $1 AND folder = $2";
    let folders: Vec<String> = sqlx::query_scalar(select).bind(id.as_str()).bind(folder).fetch_all(connection).await?;
    let files = files.into_iter().map(|row| artifact(row).map(ArtifactEntry::File));
    let folders = folders.into_iter().map(|path| path_of(path).map(ArtifactEntry::Folder));
    let mut entries = files.chain(folders).collect::<Result<Vec<_>, _>>()?;
    entries.sort_by(|a, b| a.path().cmp(b.path()));
    Ok(entries)
}

/// The digest of every artifact of every run.
pub(crate) async fn digests(connection: &mut AnyConnection) -> Result<Vec<Digest>, TrackingError> {
    let select = "SELECT DISTINCT digest FROM run_artifact ORDER BY digest";
    let texts: Vec<String> = sqlx::query_scalar(select).fetch_all(connection).await?;
    let damaged = |value| TrackingError::Damaged { table: "run_artifact", value, expected: "digest" };
    texts.into_iter().map(|text| text.parse().map_err(|_| damaged(text))).collect()
}

/// Deletes a file, or a folder with all that lies in it; without a path all artifacts of the run.
pub(crate) async fn delete(
    connection: &mut AnyConnection,
    run: RunId,
    path: Option<&ArtifactPath>,
) -> Result<(), TrackingError> {
    run::lock(connection, run).await?;
    let id = run.to_string();
    let Some(path) = path else {
        sqlx::query("DELETE FROM run_artifact WHERE run_id = $1").bind(id.as_str()).execute(&mut *connection).await?;
        sqlx::query("DELETE FROM run_artifact_folder WHERE run_id = $1").bind(id.as_str()).execute(connection).await?;
        return Ok(());
    };
    let inside = format!("{path}/");
    let statements = [
        "DELETE FROM run_artifact WHERE run_id = $1 AND (path = $2 OR substr(path, 1, length($3)) = $3)",
        "DELETE FROM run_artifact_folder WHERE run_id = $1 AND (path = $2 OR substr(path, 1, length($3)) = $3)",
    ];
    let mut deleted = 0;
    for statement in statements {
        let query = sqlx::query(statement).bind(id.as_str()).bind(path.as_str()).bind(inside.as_str());
        deleted += query.execute(&mut *connection).await?.rows_affected();
    }
    if deleted == 0 {
        return Err(TrackingError::ArtifactAbsent { run, path: path.to_string() });
    }
    // Innermost first: a folder is gone when nothing lies in it any more.
    let above: Vec<&str> = path.folders().collect();
    for folder in above.into_iter().rev() {
        let empty = "DELETE FROM run_artifact_folder WHERE run_id = $1 AND path = $2 \
                     AND NOT EXISTS (SELECT 1 FROM run_artifact WHERE run_id = $1 AND folder = $2) \
                     AND NOT EXISTS (SELECT 1 FROM run_artifact_folder AS inner_folder \
                                     WHERE inner_folder.run_id = $1 AND inner_folder.folder = $2)";
        sqlx::query(empty).bind(id.as_str()).bind(folder).execute(&mut *connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Tracking;
    use crate::testing::tracking_with_run;

    fn path(text: &str) -> ArtifactPath {
        ArtifactPath::new(text).expect("path")
    }

    async fn write(tracking: &Tracking, run: RunId, paths: &[&str]) {
        for text in paths {
            tracking.artifact_write(run, path(text), Bytes::from((*text).to_owned())).await.expect("written");
        }
    }

    async fn listed(tracking: &Tracking, run: RunId, folder: Option<&str>) -> Vec<String> {
        let folder = folder.map(path);
        let entries = tracking.artifact_list(run, folder.as_ref()).await.expect("listed");
        let show = |entry: &ArtifactEntry| match entry {
            ArtifactEntry::File(file) => file.path.to_string(),
            ArtifactEntry::Folder(path) => format!("{path}/"),
        };
        entries.iter().map(show).collect()
    }

    #[tokio::test]
    async fn bytes_come_back_and_listings_are_one_level() {
        let (tracking, run) = tracking_with_run().await;
        write(&tracking, run, &["a.txt", "model/model.onnx", "model/data/x", "model/data/y"]).await;
        assert_eq!(listed(&tracking, run, None).await, ["a.txt", "model/"]);
        assert_eq!(listed(&tracking, run, Some("model")).await, ["model/data/", "model/model.onnx"]);
        assert!(listed(&tracking, run, Some("absent")).await.is_empty());
        assert_eq!(tracking.artifact_read(run, &path("model/data/x")).await.expect("bytes"), "model/data/x");
        let absent = tracking.artifact_get(run, &path("model")).await;
        assert!(matches!(absent, Err(TrackingError::ArtifactAbsent { .. })));
    }

    #[tokio::test]
    async fn a_second_write_replaces() {
        let (tracking, run) = tracking_with_run().await;
        write(&tracking, run, &["a"]).await;
        let artifact = tracking.artifact_write(run, path("a"), Bytes::from_static(b"new")).await.expect("written");
        assert_eq!(artifact.size, 3);
        assert_eq!(tracking.artifact_read(run, &path("a")).await.expect("bytes"), "new");
        assert_eq!(listed(&tracking, run, None).await, ["a"]);
    }

    #[tokio::test]
    async fn a_file_and_a_folder_never_share_a_path() {
        let (tracking, run) = tracking_with_run().await;
        write(&tracking, run, &["file", "folder/x"]).await;
        for text in ["file/x", "file/y/z", "folder"] {
            let result = tracking.artifact_write(run, path(text), Bytes::new()).await;
            assert!(matches!(result, Err(TrackingError::ArtifactInTheWay { .. })), "{text}");
        }
    }

    #[tokio::test]
    async fn what_is_deleted_takes_its_empty_folders_along() {
        let (tracking, run) = tracking_with_run().await;
        write(&tracking, run, &["a/b/c/1", "a/b/2", "a/bc", "z"]).await;
        tracking.artifact_delete(run, Some(path("a/b/c/1"))).await.expect("file");
        assert_eq!(listed(&tracking, run, Some("a/b")).await, ["a/b/2"]);
        tracking.artifact_delete(run, Some(path("a/b"))).await.expect("folder");
        assert_eq!(listed(&tracking, run, Some("a")).await, ["a/bc"]);
        assert!(tracking.artifact_delete(run, Some(path("a/b"))).await.is_err());
        tracking.artifact_delete(run, None).await.expect("all");
        assert!(listed(&tracking, run, None).await.is_empty());
    }

    #[tokio::test]
    async fn bytes_that_the_store_lacks_are_not_recorded() {
        let (tracking, run) = tracking_with_run().await;
        let result = tracking.artifact_put(run, path("a"), Digest::of(b"nowhere"), 7).await;
        assert!(matches!(result, Err(TrackingError::ArtifactBytesAbsent { .. })));
    }
}
