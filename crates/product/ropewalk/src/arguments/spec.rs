use std::str::FromStr;

use ropewalk_types::{DatasetName, NameError};

/// A dataset, a version of it, or a file of a version: `NAME`, `NAME@VERSION`, `NAME@VERSION/PATH`, also after `data:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DataSpec {
    pub(crate) name: DatasetName,
    /// A tag, `latest`, `vN`, or at least four digits of a digest.
    pub(crate) version: Option<String>,
    pub(crate) path: Option<String>,
}

impl FromStr for DataSpec {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_prefix("data:").unwrap_or(text);
        let (dataset, path) = match text.split_once('/') {
            Some((dataset, path)) => (dataset, Some(path.to_owned())),
            None => (text, None),
        };
        let (name, version) = match dataset.split_once('@') {
            Some((name, version)) => (name, Some(version.to_owned())),
            None => (dataset, None),
        };
        Ok(Self { name: DatasetName::new(name)?, version, path: path.filter(|path| !path.is_empty()) })
    }
}

impl DataSpec {
    /// The version that was named, or `latest`.
    pub(crate) fn version(&self) -> &str {
        self.version.as_deref().unwrap_or("latest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_a_version_and_a_file() {
        let spec: DataSpec = "data:flights@v2/2013/one.csv".parse().expect("spec");
        assert_eq!((spec.name.as_str(), spec.version(), spec.path.as_deref()), ("flights", "v2", Some("2013/one.csv")));
        let spec: DataSpec = "flights".parse().expect("spec");
        assert_eq!((spec.version(), spec.path.as_deref()), ("latest", None));
        assert!("@v1".parse::<DataSpec>().is_err());
    }
}
