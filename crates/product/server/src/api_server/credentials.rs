use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ropewalk_listening::private_text;
use ropewalk_mlflow::Secret;

use crate::ServerError;

/// Shorter tokens are guessed.
const SHORTEST_TOKEN: usize = 16;

/// What a client must know to be let in; nothing if both are empty.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    pub(super) token: Option<Secret>,
    pub(super) users: BTreeMap<String, Secret>,
}

/// Where the credentials stand. It is not shown: it may hold a token.
#[derive(Clone, Default)]
pub struct CredentialSources {
    /// The token itself, as the environment gives it.
    pub token: Option<String>,
    /// A file with the token.
    pub token_file: Option<PathBuf>,
    /// A file with a line `NAME:PASSWORD` for each user; empty lines and those that begin with `#` are passed over.
    pub users_file: Option<PathBuf>,
}

impl Credentials {
    /// Reads what `sources` name.
    ///
    /// # Errors
    /// A file cannot be read or may be read by others than its owner, a token is shorter than 16 characters, a line of users
    /// is none, or a file holds nothing: an empty file must not open the door.
    pub fn read(sources: &CredentialSources) -> Result<Self, ServerError> {
        let mut credentials = Self::default();
        if let Some(token) = &sources.token {
            credentials.token = Some(token_checked(token, "ROPEWALK_SERVER_TOKEN")?);
        }
        if let Some(path) = &sources.token_file {
            let place = path.display().to_string();
            credentials.token = Some(token_checked(&private_text(path)?, &place)?);
        }
        if let Some(path) = &sources.users_file {
            credentials.users = users(&private_text(path)?, path)?;
        }
        Ok(credentials)
    }

    /// Whether everybody is let in.
    pub fn is_empty(&self) -> bool {
        self.token.is_none() && self.users.is_empty()
    }
}

fn wrong(what: String, hint: &str) -> ServerError {
    ServerError::Unknown { what, hint: hint.to_owned() }
}

fn token_checked(text: &str, place: &str) -> Result<Secret, ServerError> {
    let token = text.trim();
    if token.len() < SHORTEST_TOKEN {
        let what = format!("the token in {place} has {} characters, fewer than {SHORTEST_TOKEN}", token.len());
        return Err(wrong(what, "make one by `openssl rand -hex 32`"));
    }
    Ok(Secret::new(token))
}

fn users(text: &str, path: &Path) -> Result<BTreeMap<String, Secret>, ServerError> {
    let mut users = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once(':') {
            Some((name, password)) if !name.is_empty() && !password.is_empty() => {
                users.insert(name.to_owned(), Secret::new(password));
            }
            // Not the line: it may hold a password.
            _ => {
                let what = format!("line {} of {} does not name a user", number + 1, path.display());
                return Err(wrong(what, "write NAME:PASSWORD"));
            }
        }
    }
    if users.is_empty() {
        return Err(wrong(format!("{} names no user", path.display()), "write a line NAME:PASSWORD for each"));
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use ropewalk_store::files;

    use super::*;

    #[test]
    fn what_would_open_the_door_by_accident_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let file = |text: &str, mode: u32| {
            let path = folder.path().join("secret");
            files::write_atomic(&path, text.as_bytes()).expect("write");
            let opened = files::open(&path).expect("open");
            opened.set_permissions(std::fs::Permissions::from_mode(mode)).expect("mode");
            path
        };
        let token = |text: &str, mode: u32| {
            let sources = CredentialSources { token_file: Some(file(text, mode)), ..CredentialSources::default() };
            Credentials::read(&sources)
        };
        let users = |text: &str| {
            let sources = CredentialSources { users_file: Some(file(text, 0o600)), ..CredentialSources::default() };
            Credentials::read(&sources)
        };
        assert!(!token("0123456789abcdef\n", 0o600).expect("a token").is_empty());
        assert!(token("0123456789abcdef\n", 0o640).is_err(), "others can read it");
        assert!(token("\n", 0o600).is_err(), "an empty file");
        let read = users("# of the team\n\nada:jute:1\nbob:hemp\n").expect("users");
        assert_eq!(read.users.keys().collect::<Vec<_>>(), ["ada", "bob"]);
        for none in ["", "# nobody\n", "ada\n", "ada:\n", ":jute\n"] {
            let error = users(none).expect_err(none).to_string();
            assert!(!error.contains("jute"), "{error}");
        }
        assert!(Credentials::read(&CredentialSources::default()).expect("none").is_empty());
    }
}
