//! The profile files of AWS.

use std::collections::BTreeMap;

use crate::error::StoreError;

const DEFAULT: &str = "default";
/// What a profile calls a key, and the environment variable of the same meaning.
const KEYS: [(&str, &str); 3] = [
    ("aws_access_key_id", "AWS_ACCESS_KEY_ID"),
    ("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY"),
    ("aws_session_token", "AWS_SESSION_TOKEN"),
];
const SETTINGS: [(&str, &str); 2] = [("region", "AWS_REGION"), ("endpoint_url", "AWS_ENDPOINT_URL")];
/// Ways to keys that are not taken here.
const DETOURS: [&str; 4] = ["role_arn", "sso_session", "sso_start_url", "credential_process"];

/// What both files say about one profile.
pub(super) struct Profile {
    name: String,
    values: BTreeMap<String, String>,
}

impl Profile {
    pub(super) fn read(credentials: &str, config: &str, name: &str) -> Result<Self, StoreError> {
        let mut values = BTreeMap::new();
        let of_config = |section: &str| match section.strip_prefix("profile ") {
            Some(profile) => profile.trim() == name,
            None => section == DEFAULT && name == DEFAULT,
        };
        let in_config = read_section(config, of_config, &mut values);
        // Where both say something, the credentials file goes first, so it is read last.
        let in_credentials = read_section(credentials, |section| section == name, &mut values);
        if in_config || in_credentials || name == DEFAULT {
            return Ok(Self { name: name.to_owned(), values });
        }
        let reason = "neither the credentials nor the config file has it".to_owned();
        Err(StoreError::Profile { name: name.to_owned(), reason })
    }

    /// Refuses a profile whose keys would have to be fetched from elsewhere.
    pub(super) fn check_keys(&self) -> Result<(), StoreError> {
        let detour = DETOURS.iter().find(|detour| self.values.contains_key(**detour));
        match detour {
            Some(detour) if self.keys().next().is_none() => {
                let reason = format!("it gets its keys by `{detour}`, which is not supported");
                Err(StoreError::Profile { name: self.name.clone(), reason })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.pick(&KEYS)
    }

    pub(super) fn settings(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.pick(&SETTINGS)
    }

    fn pick<'a>(&'a self, names: &'a [(&str, &'static str)]) -> impl Iterator<Item = (&'static str, &'a str)> {
        names.iter().filter_map(|(name, variable)| Some((*variable, self.values.get(*name)?.as_str())))
    }
}

/// Takes the settings of the sections that `wanted` names; says whether there was one.
fn read_section(text: &str, wanted: impl Fn(&str) -> bool, values: &mut BTreeMap<String, String>) -> bool {
    let (mut found, mut inside) = (false, false);
    for line in text.lines() {
        let trimmed = line.trim();
        // Lines that are indented belong to a setting of several parts, none of which is of use here.
        let skipped = trimmed.is_empty() || trimmed.starts_with(['#', ';']) || line.starts_with([' ', '\t']);
        if let Some(section) = trimmed.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            inside = wanted(section.trim());
            found |= inside;
        } else if inside
            && !skipped
            && let Some((name, value)) = trimmed.split_once('=')
        {
            values.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use ropewalk_types::Diagnose as _;

    use crate::BackendOptions;

    const CREDENTIALS: &str = "\
[default]
aws_access_key_id = AKDEFAULT
aws_secret_access_key = hush1

# of the other place
[lab]
aws_access_key_id=AKLAB
aws_secret_access_key = hush2 = with = signs
aws_session_token = token
";
    const CONFIG: &str = "\
[default]
region = eu-north-1
s3 =
  addressing_style = path
[profile lab]
region = eu-west-3
endpoint_url = http://127.0.0.1:9000
aws_access_key_id = AKOLD
[profile sso]
sso_session = corporate
";

    fn options(profile: &str) -> BackendOptions {
        BackendOptions::default().with_aws_profile(CREDENTIALS, CONFIG, profile).unwrap()
    }

    #[test]
    fn profiles_are_read_from_both_files() {
        let lab = options("lab");
        assert_eq!(lab.get("AWS_ACCESS_KEY_ID"), Some("AKLAB"));
        assert_eq!(lab.get("AWS_SECRET_ACCESS_KEY"), Some("hush2 = with = signs"));
        assert_eq!(lab.get("AWS_SESSION_TOKEN"), Some("token"));
        assert_eq!(lab.get("AWS_REGION"), Some("eu-west-3"));
        assert_eq!(lab.get("AWS_ENDPOINT_URL"), Some("http://127.0.0.1:9000"));
        let default = options("default");
        assert_eq!(default.get("AWS_ACCESS_KEY_ID"), Some("AKDEFAULT"));
        assert_eq!(default.get("AWS_SESSION_TOKEN"), None);
        assert_eq!(default.get("AWS_REGION"), Some("eu-north-1"));
    }

    #[test]
    fn the_environment_goes_first_and_is_not_mixed() {
        let environment = [("AWS_ACCESS_KEY_ID", "AKENV"), ("AWS_SECRET_ACCESS_KEY", "hush0"), ("AWS_REGION", "")];
        let mixed = BackendOptions::new(environment).with_aws_profile(CREDENTIALS, CONFIG, "lab").unwrap();
        assert_eq!(mixed.get("AWS_ACCESS_KEY_ID"), Some("AKENV"));
        assert_eq!(mixed.get("AWS_SECRET_ACCESS_KEY"), Some("hush0"));
        assert_eq!(mixed.get("AWS_SESSION_TOKEN"), None);
        assert_eq!(mixed.get("AWS_REGION"), Some("eu-west-3"));
        // A profile whose keys cannot be had is of use for its other settings.
        assert!(BackendOptions::new(environment).with_aws_profile(CREDENTIALS, CONFIG, "sso").is_ok());
    }

    #[test]
    fn profiles_that_cannot_be_used_are_errors() {
        for profile in ["none", "sso"] {
            let error = BackendOptions::default().with_aws_profile(CREDENTIALS, CONFIG, profile).unwrap_err();
            assert_eq!(error.code(), "store.profile");
            assert!(!error.to_string().contains("hush"), "{error}");
        }
        assert!(BackendOptions::default().with_aws_profile("", "", "default").is_ok());
        assert!(BackendOptions::default().with_aws_profile("[[[\n=\n[x", "=x", "default").is_ok());
    }
}
