use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ropewalk_connectors::{FetchRequest, Fetched, FetchedFile, files_fetch, redacted};
use ropewalk_store::files;
use ropewalk_types::Digest;

use super::appending::Previous;
use super::opening::received_open;
use super::walk::LocalFile;
use super::{Ingested, SourceFile, Work};
use crate::blocking::blocking;
use crate::report::{Import, Origin};
use crate::{IngestError, Network};

/// The fact of an import that names the state of its file.
const ETAG: &str = "etag";

impl Work<'_> {
    /// Receives the files of a URL and reads them as local ones. The previous version is given again when the server
    /// says that nothing has changed since.
    pub(super) async fn remote(self, request: &FetchRequest, network: &Network) -> Result<Ingested, IngestError> {
        let directory = network.downloads.join(request.key().to_string());
        let previous = Previous::open(self.settings.previous.as_ref(), self.store).await?;
        // Without a version, none could be given again.
        let known = previous.as_ref().map(|_| request.known.clone()).unwrap_or_default();
        let fetched = match self.fetch(request, known, &directory, network).await? {
            Received::Files(fetched) => fetched,
            Received::Unchanged => {
                let Some(previous) = previous else {
                    return Err(IngestError::Settings {
                        reason: "a download is unchanged since no version".to_owned(),
                    });
                };
                // What an import that failed had received is older than this answer.
                blocking(move || files::remove_directory(&directory).map_err(IngestError::from)).await?;
                return Ok(unchanged(request, previous));
            }
        };
        // Beside them may lie what an import that failed had received, and the source has no longer.
        let received = fetched.iter().map(received).collect();
        let mut source = received_open(&redacted(&request.url), received, self.settings, self.scratch).await?;
        source.shown.path = redacted(&request.url).into();
        let mut made = self.files(source, Some(origin(&fetched))).await?;
        made.source.path = redacted(&request.url).into();
        // What was downloaded is in the version now.
        blocking(move || files::remove_directory(&directory).map_err(IngestError::from)).await?;
        made.source.size = fetched.iter().map(|file| file.size).sum();
        made.tags = fetched.into_iter().filter_map(|file| Some((file.name, file.etag?))).collect();
        Ok(made)
    }

    async fn fetch(
        self,
        request: &FetchRequest,
        known: BTreeMap<String, String>,
        directory: &Path,
        network: &Network,
    ) -> Result<Received, IngestError> {
        let folder = directory.to_owned();
        blocking(move || files::create_directories(&folder).map_err(IngestError::from)).await?;
        let mut request = FetchRequest { known, ..request.clone() };
        let fetched = fetch_once(&request, directory, network).await?;
        let changed = fetched.iter().any(|file| matches!(file, Fetched::File(_)));
        let same = fetched.iter().any(|file| matches!(file, Fetched::Unchanged { .. }));
        match (changed, same && fetched.len() == request.known.len()) {
            (false, true) => return Ok(Received::Unchanged),
            // Some files changed, were added or are gone: a version is made of all of them.
            _ if same => request.known.clear(),
            _ => return Ok(Received::Files(only_files(fetched))),
        }
        Ok(Received::Files(only_files(fetch_once(&request, directory, network).await?)))
    }
}

enum Received {
    Files(Vec<FetchedFile>),
    Unchanged,
}

async fn fetch_once(request: &FetchRequest, directory: &Path, network: &Network) -> Result<Vec<Fetched>, IngestError> {
    let progress = network.progress.as_ref();
    let fetched =
        files_fetch(request, &network.options, directory, &network.limits, network.ambient.as_ref(), progress);
    Ok(fetched.await?)
}

fn received(file: &FetchedFile) -> (LocalFile, Digest) {
    let (path, name) = (file.path.clone(), file.name.clone());
    (LocalFile { path, name, shown: file.provenance.location.clone().into() }, file.digest)
}

fn only_files(fetched: Vec<Fetched>) -> Vec<FetchedFile> {
    let file = |fetched| match fetched {
        Fetched::File(file) => Some(*file),
        Fetched::Unchanged { .. } => None,
    };
    fetched.into_iter().filter_map(file).collect()
}

fn unchanged(request: &FetchRequest, previous: Previous) -> Ingested {
    let digest = previous.report.origin.as_ref().and_then(|origin| origin.imports.first()).map(|import| import.digest);
    let (tree, bytes, report) = previous.into_version();
    let (path, digest) = (PathBuf::from(redacted(&request.url)), digest.unwrap_or(tree));
    let source = SourceFile { path, digest, size: 0, files: Vec::new() };
    let reused_pieces = report.files.len();
    Ingested { tree, report, bytes, source, reused_pieces, executed_pieces: 0, tags: BTreeMap::new() }
}

/// Where files came from; how many rows they gave is known when all are read.
fn origin(fetched: &[FetchedFile]) -> Origin {
    let import = |file: &FetchedFile| {
        let mut facts = file.provenance.facts.clone();
        if let Some(etag) = &file.etag {
            facts.insert(ETAG.to_owned(), etag.clone());
        }
        Import {
            location: file.provenance.location.clone(),
            retrieved_at: file.provenance.retrieved_at,
            query: None,
            file: Some(file.name.clone()),
            rows: None,
            digest: file.digest,
            facts,
        }
    };
    Origin { imports: fetched.iter().map(import).collect(), cursor: None }
}
