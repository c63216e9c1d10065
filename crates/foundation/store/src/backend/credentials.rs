//! What becomes of a back-end for which nobody gave credentials: on a machine of the vendor its role is asked for, briefly;
//! elsewhere an error says what was looked at, instead of a request to an address that no user knows.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::{CredentialProvider, Error, Result, RetryConfig};

/// The metadata service of a machine answers within milliseconds, or is not there.
const PATIENCE: Duration = Duration::from_secs(4);

/// Whose credentials are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vendor {
    Amazon,
    Google,
    Azure,
}

impl Vendor {
    fn service(self) -> &'static str {
        match self {
            Self::Amazon => "S3",
            Self::Google => "Google Cloud Storage",
            Self::Azure => "Azure Blob Storage",
        }
    }

    /// What was looked at and is not there.
    fn sought(self) -> &'static str {
        match self {
            Self::Amazon => "neither AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY nor a profile with keys is set",
            Self::Google => {
                "neither GOOGLE_APPLICATION_CREDENTIALS nor GOOGLE_SERVICE_ACCOUNT is set, nor is there a \
                 ~/.config/gcloud/application_default_credentials.json that can be used"
            }
            Self::Azure => {
                "none of AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN and \
                 AZURE_CLIENT_ID with AZURE_CLIENT_SECRET and AZURE_TENANT_ID is set"
            }
        }
    }

    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::Amazon => {
                "set both, or let AWS_PROFILE name a profile of ~/.aws/credentials or ~/.aws/config (without it, \
                 `default`; AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE name other files); a public bucket is read \
                 with AWS_SKIP_SIGNATURE=true"
            }
            Self::Google => {
                "let GOOGLE_APPLICATION_CREDENTIALS name the key file of a service account, or run `gcloud auth \
                 application-default login`; a public bucket is read with GOOGLE_SKIP_SIGNATURE=true"
            }
            Self::Azure => {
                "set AZURE_STORAGE_CONNECTION_STRING, as the portal shows it, or AZURE_STORAGE_ACCOUNT_NAME and \
                 AZURE_STORAGE_ACCOUNT_KEY; a public container is read with AZURE_SKIP_SIGNATURE=true"
            }
        }
    }
}

/// What came of asking the machine.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// It was not asked, because it is not known whose store it is.
    Unasked,
    /// Nothing.
    Silence,
    /// A status of HTTP.
    Refusal(String),
}

/// Nobody gave credentials, neither the user nor the machine.
#[derive(Debug)]
pub(crate) struct NoCredentials {
    pub(crate) vendor: Vendor,
    answer: Answer,
}

impl fmt::Display for NoCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sought = match &self.answer {
            Answer::Unasked => "neither AZURE_STORAGE_CONNECTION_STRING nor AZURE_STORAGE_ACCOUNT_NAME is set",
            _ => self.vendor.sought(),
        };
        write!(f, "there are no credentials for {}: {sought}", self.vendor.service())?;
        match &self.answer {
            Answer::Unasked => Ok(()),
            Answer::Silence => f.write_str(", and this machine has no role that gives any"),
            Answer::Refusal(status) => {
                write!(f, ", and the metadata service of this machine gives none: {status}")
            }
        }
    }
}

impl std::error::Error for NoCredentials {}

impl NoCredentials {
    /// That not even the account is known.
    pub(super) fn of_no_account() -> Error {
        Self { vendor: Vendor::Azure, answer: Answer::Unasked }.into()
    }

    /// Whether that is what is behind an error of a back-end.
    pub(crate) fn behind(error: &Error) -> Option<&Self> {
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }
}

impl From<NoCredentials> for Error {
    fn from(error: NoCredentials) -> Self {
        Self::Generic { store: error.vendor.service(), source: Box::new(error) }
    }
}

/// The credentials that the machine gives, or a word about what is missing.
pub(super) struct OfMachine<C> {
    vendor: Vendor,
    patience: Duration,
    inner: Arc<dyn CredentialProvider<Credential = C>>,
}

impl<C> OfMachine<C> {
    pub(super) fn new(vendor: Vendor, inner: &Arc<dyn CredentialProvider<Credential = C>>) -> Arc<Self> {
        Arc::new(Self { vendor, patience: PATIENCE, inner: Arc::clone(inner) })
    }
}

impl<C> fmt::Debug for OfMachine<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfMachine").field("vendor", &self.vendor).finish_non_exhaustive()
    }
}

#[async_trait]
impl<C: Send + Sync + 'static> CredentialProvider for OfMachine<C> {
    type Credential = C;

    async fn get_credential(&self) -> Result<Arc<C>> {
        let answer = match tokio::time::timeout(self.patience, self.inner.get_credential()).await {
            Ok(Ok(credential)) => return Ok(credential),
            Ok(Err(error)) => status(&error.to_string()).map_or(Answer::Silence, Answer::Refusal),
            Err(_) => Answer::Silence,
        };
        Err(NoCredentials { vendor: self.vendor, answer }.into())
    }
}

/// How to ask a machine for its role.
pub(super) fn briefly() -> RetryConfig {
    RetryConfig { max_retries: 1, retry_timeout: PATIENCE, ..RetryConfig::default() }
}

/// The status of HTTP that an error of `object_store` tells of; of one that only says that nobody is there, nothing.
fn status(error: &str) -> Option<String> {
    let (_, rest) = error.split_once("status code: ")?;
    Some(rest.split(':').next().unwrap_or(rest).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Machine(Option<&'static str>);

    #[async_trait]
    impl CredentialProvider for Machine {
        type Credential = &'static str;

        async fn get_credential(&self) -> Result<Arc<&'static str>> {
            match self.0 {
                Some("hush") => Ok(Arc::new("hush")),
                Some(answer) => Err(Error::Generic { store: "test", source: answer.into() }),
                None => std::future::pending().await,
            }
        }
    }

    fn machine(answer: Option<&'static str>) -> OfMachine<&'static str> {
        OfMachine { vendor: Vendor::Google, patience: Duration::from_millis(50), inner: Arc::new(Machine(answer)) }
    }

    #[tokio::test]
    async fn a_machine_that_does_not_answer_is_not_waited_for() {
        assert_eq!(*machine(Some("hush")).get_credential().await.unwrap(), "hush");
        let error = machine(None).get_credential().await.unwrap_err();
        let found = NoCredentials::behind(&error).unwrap();
        assert_eq!(found.vendor, Vendor::Google);
        assert!(found.to_string().ends_with("this machine has no role that gives any"), "{found}");
    }

    #[tokio::test]
    async fn what_the_machine_answered_is_told_without_its_address() {
        let answer =
            "Error performing GET http://169.254.169.254/x - Server returned non-2xx status code: 404 Not Found: y";
        let error = machine(Some(answer)).get_credential().await.unwrap_err();
        let told = NoCredentials::behind(&error).unwrap().to_string();
        assert!(told.ends_with("gives none: 404 Not Found"), "{told}");
        assert!(!told.contains("169.254"), "{told}");
        let unreachable = machine(Some("Error performing PUT http://169.254.169.254/latest/api/token"));
        let error = unreachable.get_credential().await.unwrap_err();
        assert!(!error.to_string().contains("169.254"), "{error}");
    }
}
