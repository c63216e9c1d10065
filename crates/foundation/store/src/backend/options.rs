use std::collections::BTreeMap;
use std::fmt;

use super::profile::Profile;
use crate::error::StoreError;

/// Settings and credentials of remote back-ends by the names of their usual environment variables, such as
/// `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_APPLICATION_CREDENTIALS` or `AZURE_STORAGE_ACCOUNT_NAME`.
///
/// What no back-end knows is passed over, so that a whole environment may be given. `Debug` shows names only.
#[derive(Clone, Default)]
pub struct BackendOptions {
    values: BTreeMap<String, String>,
}

impl BackendOptions {
    /// These settings; empty values count as not given, as the clients of the vendors have it.
    pub fn new<N: Into<String>, V: Into<String>>(values: impl IntoIterator<Item = (N, V)>) -> Self {
        let values = values.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self { values: values.filter(|(_, value)| !value.is_empty()).collect() }
    }

    /// Adds what the profile called `profile` says in the texts of the files `credentials` and `config` of AWS (AWS SDKs
    /// and Tools Reference Guide, "Shared config and credentials files"); what is set already goes first.
    ///
    /// Keys, region and endpoint are taken. A profile that gets its keys in another way (`role_arn`, `sso_session`,
    /// `credential_process`) is an error unless keys are set already, and so is a profile other than `default` that is
    /// in neither text.
    pub fn with_aws_profile(
        mut self,
        credentials_text: &str,
        config_text: &str,
        profile: &str,
    ) -> Result<Self, StoreError> {
        let found = Profile::read(credentials_text, config_text, profile)?;
        // The parts of a credential belong together and must not be mixed from two places.
        if self.get("AWS_ACCESS_KEY_ID").is_none() {
            found.check_keys()?;
            for (name, value) in found.keys() {
                self.values.insert(name.to_owned(), value.to_owned());
            }
        }
        for (name, value) in found.settings() {
            self.values.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        Ok(self)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The settings whose names begin with `prefix`.
    pub(super) fn beginning_with(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        pairs.filter(move |(name, _)| name.starts_with(prefix))
    }
}

impl fmt::Debug for BackendOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackendOptions ")?;
        f.debug_set().entries(self.values.keys()).finish()
    }
}
