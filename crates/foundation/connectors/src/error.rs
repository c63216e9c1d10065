use arrow::error::ArrowError;
use ropewalk_store::StoreError;
use ropewalk_store::files::FileError;
use ropewalk_types::Diagnose;

use crate::redacted;
use crate::table::Misfit;

/// Why a foreign source could not be read. No message holds a secret: URLs are redacted.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// The local disk failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The object store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A URL cannot be understood.
    #[error("cannot read the URL `{url}`: {reason}")]
    Url {
        /// The URL, redacted.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The URL names a kind of source that this build does not know.
    #[error("cannot open `{url}`: {known} are known here")]
    UnknownScheme {
        /// The URL, redacted.
        url: String,
        /// The schemes that are known.
        known: &'static str,
    },
    /// A secret that the request names was not given.
    #[error("the option `{name}` is not set, and {purpose} needs it")]
    MissingOption {
        /// The option.
        name: String,
        /// What it is for.
        purpose: String,
    },
    /// The request asks for something that makes no sense.
    #[error("{what} cannot be used: {reason}")]
    Request {
        /// Which part of the request.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The source did not let us in, or did not answer.
    #[error("cannot connect to `{location}`: {reason}")]
    Connect {
        /// The source, redacted.
        location: String,
        /// What happened.
        reason: String,
    },
    /// A web server refused a request.
    #[error("`{url}` answered {status}{}", .reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Status {
        /// The URL, redacted.
        url: String,
        /// The HTTP status code.
        status: u16,
        /// What the server said, cut short.
        reason: Option<String>,
    },
    /// A transfer failed as often as it may.
    #[error("gave up on `{url}` after {attempts} attempts without progress: {reason}")]
    Transfer {
        /// The URL, redacted.
        url: String,
        /// How often it was tried.
        attempts: u32,
        /// What happened the last time.
        reason: String,
    },
    /// A server asks for a longer pause than is made.
    #[error("`{url}` asks to wait until {until} (Retry-After: {seconds} s), longer than is waited: {reason}")]
    RetryLater {
        /// The URL, redacted.
        url: String,
        /// When it may be asked again.
        until: String,
        /// The pause in seconds.
        seconds: u64,
        /// What it answered.
        reason: String,
    },
    /// A redirect that is not followed.
    #[error("did not follow the redirect of `{url}`: {reason}")]
    Redirect {
        /// The URL that redirects, redacted.
        url: String,
        /// Why.
        reason: String,
    },
    /// Something is larger than the request allows.
    #[error("{what} has more than the {limit} {unit} that are allowed")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit.
        limit: u64,
        /// What is counted.
        unit: &'static str,
    },
    /// An object store failed.
    #[error("cannot {action} `{url}`: {reason}")]
    Object {
        /// What was being done.
        action: &'static str,
        /// The object or the prefix, redacted.
        url: String,
        /// What the store said.
        reason: String,
    },
    /// No object has a name that the request asks for.
    #[error("no object matches `{url}`")]
    NothingFound {
        /// The URL, redacted.
        url: String,
    },
    /// A database refused a query, or failed while it ran.
    #[error("`{location}` failed while {doing}: {reason}")]
    Query {
        /// The database, redacted.
        location: String,
        /// What was being done.
        doing: &'static str,
        /// What the database said.
        reason: String,
    },
    /// SQL that would do more than give one table.
    #[error("the query was refused: {reason}")]
    Refused {
        /// What is wrong with it.
        reason: String,
    },
    /// A column is missing, doubled or of a type that its use does not allow.
    #[error("column `{column}`: {reason}")]
    Column {
        /// The column.
        column: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A value does not fit the type of its column, and the request allows none of these.
    #[error("row {} of {place}, column `{}`: `{}` does not fit: {}", .misfit.row, .misfit.column, .misfit.value, .misfit.reason)]
    Misfit {
        /// The source and its partition.
        place: String,
        /// The value.
        misfit: Misfit,
    },
    /// More rows have values that do not fit than the request allows.
    #[error(
        "more than {limit} rows have values that do not fit their columns; the last, in row {} of {place}, column `{}`: `{}`, {}",
        .example.row, .example.column, .example.value, .example.reason
    )]
    TooManyMisfits {
        /// How many were allowed.
        limit: u64,
        /// The source and its partition.
        place: String,
        /// The value that was one too many.
        example: Misfit,
    },
    /// An answer is not the document that it should be.
    #[error("the answer of `{url}` cannot be read: {reason}")]
    Document {
        /// The URL, redacted.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The pages of an API lead nowhere, in a circle or to a stranger.
    #[error("stopped at page {page} of `{url}`: {reason}")]
    Paging {
        /// The page, counted from 1.
        page: u64,
        /// Its URL, redacted.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Arrow could not make a batch.
    #[error("cannot make a batch of rows: {reason}")]
    Encoding {
        /// What Arrow said.
        reason: String,
    },
    /// A background task was stopped before it had finished.
    #[error("a task that read a source was stopped before it had finished")]
    Interrupted,
}

impl ConnectorError {
    /// [`ConnectorError::Url`] of a URL as it was given, or of one that is redacted already.
    pub(crate) fn url(url: &str, reason: impl Into<String>) -> Self {
        Self::Url { url: redacted(url), reason: reason.into() }
    }
}

impl From<ArrowError> for ConnectorError {
    fn from(error: ArrowError) -> Self {
        Self::Encoding { reason: error.to_string() }
    }
}

impl From<tokio::task::JoinError> for ConnectorError {
    fn from(_: tokio::task::JoinError) -> Self {
        Self::Interrupted
    }
}

impl Diagnose for ConnectorError {
    fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Url { .. } => "connector.url",
            Self::UnknownScheme { .. } => "connector.unknown_scheme",
            Self::MissingOption { .. } => "connector.missing_option",
            Self::Request { .. } => "connector.request",
            Self::Connect { .. } => "connector.connect",
            Self::Status { .. } => "connector.status",
            Self::Transfer { .. } => "connector.transfer",
            Self::RetryLater { .. } => "connector.retry_later",
            Self::Redirect { .. } => "connector.redirect",
            Self::TooLarge { .. } => "connector.too_large",
            Self::Object { .. } => "connector.object",
            Self::NothingFound { .. } => "connector.nothing_found",
            Self::Query { .. } => "connector.query",
            Self::Refused { .. } => "connector.refused",
            Self::Column { .. } => "connector.column",
            Self::Misfit { .. } => "connector.misfit",
            Self::TooManyMisfits { .. } => "connector.too_many_misfits",
            Self::Document { .. } => "connector.document",
            Self::Paging { .. } => "connector.paging",
            Self::Encoding { .. } => "connector.encoding",
            Self::Interrupted => "connector.interrupted",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::File(error) => return error.hint(),
            Self::Store(error) => return error.hint(),
            Self::MissingOption { name, .. } => {
                return Some(format!("set `{name}` where the project keeps its secrets"));
            }
            Self::Url { .. } => "check how it is written, as SCHEME://HOST/PATH, and that what it names is there",
            Self::Request { .. } => "correct it in the project file",
            Self::Connect { .. } => {
                "check the host, the port, the database, the user and the password, and that it can be reached"
            }
            Self::Status { status: 429 | 500..=599, .. } => "the server is too busy or broken: try again later",
            Self::RetryLater { .. } => "run the same command again after that moment; at most five minutes are waited",
            Self::Redirect { .. } => "write the URL that it leads to, if you trust it",
            Self::Object { .. } => "check the bucket, the path, the credentials and the endpoint",
            Self::Query { .. } => "try the query in a client of that database",
            Self::Column { .. } => "look at the columns that the query gives",
            Self::Document { .. } => "look at what the URL answers, and whether it is what the project file says of it",
            Self::Status { status: 401 | 403, .. } => "check the credentials and what they are allowed to read",
            Self::Status { status: 404 | 410, .. } => "check the URL",
            Self::Transfer { .. } => {
                "run the same command again, which goes on with what was received; if nothing ever comes, check the URL"
            }
            Self::TooLarge { .. } => {
                "if the source is what you meant, raise the limit: that of pages is `pages` of the dataset's `api`"
            }
            Self::NothingFound { .. } => "check the bucket, the prefix and the pattern",
            Self::Refused { .. } => "write one SELECT",
            Self::Misfit { .. } | Self::TooManyMisfits { .. } => {
                "cast the column in the query to a type that holds all of its values; for documents, infer the columns \
                 from more of them (`inferred_records`); or let more rows be set aside (`limits.quarantined_rows`)"
            }
            Self::Paging { .. } => "check how the API pages, and the hosts that it may lead to",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
