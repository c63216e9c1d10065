use ropewalk_catalog::{Catalog, query};
use ropewalk_types::DatasetName;

use super::DatasetVersion;
use super::history::{RecordedVersion, version_history};
use crate::DataError;
use crate::similar::similar;

/// The fewest digits of a digest that name a version.
const PREFIX_DIGITS: usize = 4;

/// The version of a dataset that `version` names.
///
/// `latest`; `vN`, counted from 1 in the order in which the versions were first recorded; a digest, or at least its first
/// four digits; a tag. Errors: [`DataError::Removed`] for a version that was removed, and for `latest` if all were.
pub async fn version_resolve(
    catalog: &Catalog,
    name: &DatasetName,
    version: &str,
) -> Result<DatasetVersion, DataError> {
    Ok(version_resolve_recorded(catalog, name, version).await?.version)
}

/// As [`version_resolve`], with the number and the tags of the version.
pub async fn version_resolve_recorded(
    catalog: &Catalog,
    name: &DatasetName,
    version: &str,
) -> Result<RecordedVersion, DataError> {
    let history = version_history(catalog, Some(name)).await?;
    if history.is_empty() {
        return Err(unknown_dataset(catalog, name).await?);
    }
    match found(&history, version).as_slice() {
        [] => {
            if let ("latest", Some(removal)) = (version, history.first().and_then(|one| one.removed.as_ref())) {
                return Err(DataError::Removed(Box::new(removal.clone())));
            }
            let latest = history.iter().find(|one| one.removed.is_none()).map(|one| one.version.digest);
            Err(DataError::UnknownVersion { name: name.to_string(), version: version.to_owned(), latest })
        }
        [one] => match &one.removed {
            None => Ok((*one).clone()),
            Some(removal) => Err(DataError::Removed(Box::new(removal.clone()))),
        },
        many => {
            let matches = many.iter().map(|found| found.version.digest).collect();
            Err(DataError::AmbiguousVersion { name: name.to_string(), version: version.to_owned(), matches })
        }
    }
}

fn found<'a>(history: &'a [RecordedVersion], version: &str) -> Vec<&'a RecordedVersion> {
    if version == "latest" {
        return history.iter().find(|one| one.removed.is_none()).into_iter().collect();
    }
    if let Some(number) = version_number(version) {
        return history.iter().filter(|one| one.number == number).collect();
    }
    let begins = |one: &&RecordedVersion| one.version.digest.to_string().starts_with(version);
    let (there, gone): (Vec<_>, Vec<_>) = if version.len() < PREFIX_DIGITS {
        (Vec::new(), Vec::new())
    } else {
        history.iter().filter(begins).partition(|one| one.removed.is_none())
    };
    let tagged = |one: &&RecordedVersion| one.tags.iter().any(|tag| tag.tag.as_str() == version);
    let begin = if there.is_empty() { gone } else { there };
    // Of several that begin so none is meant, and the tag is.
    if begin.len() != 1
        && let Some(tagged) = history.iter().find(tagged)
    {
        return vec![tagged];
    }
    begin
}

/// `N` of `vN`, in its one spelling.
pub(crate) fn version_number(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('v')?;
    (!digits.starts_with(['0', '+'])).then(|| digits.parse().ok())?
}

async fn unknown_dataset(catalog: &Catalog, name: &DatasetName) -> Result<DataError, DataError> {
    let names: Vec<(String,)> =
        query("SELECT DISTINCT name FROM dataset_version ORDER BY name").read_all(catalog).await?;
    let similar = similar(name.as_str(), names.iter().map(|(name,)| name.as_str()));
    Ok(DataError::UnknownDataset { name: name.to_string(), similar })
}

#[cfg(test)]
mod tests {
    use super::version_number;

    #[test]
    fn numbers_have_one_spelling() {
        assert_eq!([version_number("v1"), version_number("v120")], [Some(1), Some(120)]);
        for text in ["v0", "v01", "v+1", "V1", "1", "v", "vx", "v99999999999999999999"] {
            assert_eq!(version_number(text), None, "{text}");
        }
    }
}
