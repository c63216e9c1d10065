//! What a pointer says, held against what it names.

use std::path::Path;

use ropewalk_store::{Store, TreeFile};
use ropewalk_types::DatasetName;

use super::{Content, Opened, Workspace};
use crate::error::{Unfit, UnfitFact, VersionsError};
use crate::history::History;
use crate::pointer::{Kind, Pointer};

impl Workspace {
    /// Refuses content whose kind, size or number of files is not that of the version which it is said to be; of content
    /// that is no version, that of its files. `pointer` is named as the place where that was said.
    ///
    /// The version is looked for here, and then in `from` or the project's remote. If the content is here as a whole, the
    /// version need not be: of a pointer that came by git alone, `from` is asked if it can be, and else the files tell.
    pub(super) async fn check_facts(
        &self,
        pointer: &Path,
        name: &DatasetName,
        content: &Content,
        files: &[TreeFile],
        from: Option<&Store>,
    ) -> Result<(), VersionsError> {
        let Content { root, kind, bytes, files: count, version } = content;
        let store = self.store().await?;
        let Some(digest) = version else {
            return match kind {
                Kind::Folder => self.check_files(pointer, name, content, files).await,
                Kind::File | Kind::Executable => Ok(()),
            };
        };
        let about = |error: VersionsError| error.about(name, *version);
        let mut found = History { stores: &[store] }.find(digest).await.map_err(about)?;
        if found.is_none() {
            found = match (store.contains(root).await?, from) {
                (false, from) => match self.other(from).await? {
                    Some(other) => History { stores: &[other] }.find(digest).await.map_err(about)?,
                    None => None,
                },
                (true, None) => return self.check_files(pointer, name, content, files).await,
                (true, Some(from)) => match (History { stores: &[from] }).find(digest).await {
                    Err(_) => return self.check_files(pointer, name, content, files).await,
                    found => found?,
                },
            };
        }
        let Some(found) = found else {
            let expected = format!("a version of `{name}`, and no store that was asked has such a one");
            return fitting(pointer, name, [UnfitFact::of("version", digest, &expected)]);
        };
        let as_version = |fact: Option<UnfitFact>| {
            fact.map(|fact| UnfitFact { expected: format!("{} in version {}", fact.expected, digest.short()), ..fact })
        };
        let facts = [
            UnfitFact::of("bytes", bytes, &found.bytes),
            UnfitFact::of("digest", root, &found.root),
            UnfitFact::of("files", count, &found.files),
            UnfitFact::of("kind", &kind.as_str(), &found.kind.as_str()),
            UnfitFact::of("name", name, &found.name),
        ];
        fitting(pointer, name, facts.map(as_version))
    }

    /// Refuses content of another size or number of files than its files have.
    async fn check_files(
        &self,
        pointer: &Path,
        name: &DatasetName,
        content: &Content,
        files: &[TreeFile],
    ) -> Result<(), VersionsError> {
        let size: u64 = match content.kind {
            Kind::Folder => files.iter().map(|file| file.size).sum(),
            // What the pointer says of a single file may have gone into the size that is listed.
            Kind::File | Kind::Executable => self.store().await?.size(&content.root).await?,
        };
        let facts =
            [UnfitFact::of("bytes", &content.bytes, &size), UnfitFact::of("files", &content.files, &files.len())];
        fitting(pointer, name, facts)
    }
}

/// Refuses a pointer that gives content which was added or laid out here another size than that has. What else it says cannot
/// be told by metadata.
pub(super) fn check_against_index(opened: &Opened) -> Result<(), VersionsError> {
    let Opened { place, pointer: Pointer { name, digest, bytes, files, .. }, index } = opened;
    let Some(index) = index.as_ref().filter(|index| index.head.root == *digest) else { return Ok(()) };
    let size: u64 = index.iter().map(|entry| entry.stat.size).sum();
    let facts = [UnfitFact::of("bytes", bytes, &size), UnfitFact::of("files", files, &index.len())];
    fitting(&place.pointer, name, facts)
}

fn fitting(
    pointer: &Path,
    name: &DatasetName,
    facts: impl IntoIterator<Item = Option<UnfitFact>>,
) -> Result<(), VersionsError> {
    let facts: Vec<_> = facts.into_iter().flatten().collect();
    if facts.is_empty() {
        return Ok(());
    }
    Err(VersionsError::Unfit(Box::new(Unfit { path: pointer.to_owned(), name: name.clone(), facts })))
}
