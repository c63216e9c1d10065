use ropewalk_store::Store;
use ropewalk_types::{DatasetName, Digest, TagName};
use serde::Serialize;

use crate::error::VersionsError;
use crate::history::{self, Refs, Removal};
use crate::trail::{Act, Adopting};

/// A tombstone that was not put on a version, because that has a tag there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedRemoval {
    /// The dataset.
    pub name: DatasetName,
    /// The version.
    pub version: Digest,
    /// Who removed it, when and why.
    pub removal: Removal,
    /// The tags that it has where it was not removed.
    pub tags: Vec<String>,
}

/// Puts the tombstones that `from` has on the versions of `to`; gives those that it put there.
///
/// A version that has a tag in `to` is not removed there, and is noted as refused. The trail, if there is one to tell, hears
/// of each before it is there.
pub(super) async fn removals_carry(
    from: &Refs,
    to: &Store,
    name: &DatasetName,
    refused: &mut Vec<RefusedRemoval>,
    told: Option<Adopting<'_>>,
) -> Result<Vec<Digest>, VersionsError> {
    let mut carried = Vec::new();
    if from.removed.is_empty() {
        return Ok(carried);
    }
    // Read again: tags have come and gone since.
    let there = history::refs(to, name).await?;
    for (version, removal) in from.removed.iter().filter(|(version, _)| !there.removed.contains_key(*version)) {
        let tags = there.tags_of(version);
        if tags.is_empty() {
            if let Some(told) = told {
                let act = Act::Remove { why: removal.why.clone() };
                told.announce(name, *version, act, Some(&removal.who)).await?;
            }
            if history::removal_put(to, name, version, removal).await? {
                carried.push(*version);
            }
        } else {
            refused.push(RefusedRemoval { name: name.clone(), version: *version, removal: removal.clone(), tags });
        }
    }
    Ok(carried)
}

/// The tags of `from` that may be set in a store with the refs `to`: not those of versions that were removed there.
pub(super) fn tags_of_there(from: &Refs, to: &Refs) -> (Refs, Vec<(TagName, Digest)>) {
    let mut kept = from.clone();
    let mut gone = Vec::new();
    kept.tags.retain(|tag, at| {
        let there = !to.removed.contains_key(&at.version);
        if !there {
            gone.push((tag.clone(), at.version));
        }
        there
    });
    (kept, gone)
}
