//! Settings and credentials of remote stores, where their vendors' own clients look for them: the environment, and the
//! profile files of AWS.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ropewalk_store::{BackendOptions, StoreError, files};

/// Variables of these families go to the stores.
const FAMILIES: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];
/// Longest profile file that is read, in bytes.
const LONGEST_FILE: u64 = 1 << 20;

/// What the environment says of remote stores.
pub(in crate::commands) fn backend_options() -> Result<BackendOptions, StoreError> {
    backend_options_of(&super::environment())
}

/// What `environment` says of remote stores, with the profile files that it names.
pub(in crate::commands) fn backend_options_of(
    environment: &BTreeMap<String, String>,
) -> Result<BackendOptions, StoreError> {
    let options = BackendOptions::new(
        environment.iter().filter(|(name, _)| FAMILIES.iter().any(|family| name.starts_with(family))),
    );
    let credentials = profile_file(environment, "AWS_SHARED_CREDENTIALS_FILE", "credentials")?;
    let config = profile_file(environment, "AWS_CONFIG_FILE", "config")?;
    match environment.get("AWS_PROFILE") {
        Some(profile) => options.with_aws_profile(&credentials, &config, profile),
        None if credentials.contains("[default]") || config.contains("[default]") => {
            options.with_aws_profile(&credentials, &config, "default")
        }
        None => Ok(options),
    }
}

/// The text of a profile file; empty where there is none.
fn profile_file(environment: &BTreeMap<String, String>, variable: &str, name: &str) -> Result<String, StoreError> {
    let path = match (environment.get(variable), environment.get("HOME")) {
        (Some(path), _) => PathBuf::from(path),
        (None, Some(home)) => Path::new(home).join(".aws").join(name),
        (None, None) => return Ok(String::new()),
    };
    Ok(if files::exists(&path)? { files::read_text(&path, LONGEST_FILE)? } else { String::new() })
}
