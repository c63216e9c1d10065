use std::collections::BTreeMap;

use ropewalk_types::Zone;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `[data.NAME]`: where a dataset comes from, how it is read, who answers for it, and what must hold of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSource {
    /// Its zone; what comes from outside is raw unless it is said otherwise.
    #[serde(default = "raw")]
    pub zone: Zone,
    /// Paths and patterns relative to the project, or one URL: of files (`https:`, `s3:`, `gs:`, `az:`), of a database
    /// (`postgres:`, `mysql:`, `mariadb:`, `sqlite:`), or of a document store (`mongodb:`).
    pub source: OneOrMany,

    /// `tables` or `files`; found out if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The format of every file, whatever its name says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The sheet of each workbook, by name or by place from 1, several of them, or `"*"` for all; the first if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sheet: Option<Sheet>,
    /// The row that names the columns, from 1, or `"none"`; the first that holds anything if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Header>,
    /// What parts the fields of a text; found out if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// What encloses fields of a text, or `""` for nothing; the double quote if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
    /// Lines of a text that begin with this are passed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<char>,
    /// The encoding of texts by its label in the WHATWG Encoding Standard; UTF-8 or the byte order mark if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Texts that mean "no value"; the reader's own list if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_texts: Option<Vec<String>>,
    /// Share of a column's cells that may misfit its type before the column becomes text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_tolerance: Option<f64>,
    /// Share of all rows that may be set aside before the import fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_quarantined: Option<f64>,
    /// Records from which the columns are inferred: if absent, all of JSON files, and the first 1000 of document stores
    /// and JSON APIs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inferred_records: Option<u64>,
    /// What archives and texts may make of this machine, where the defaults do not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<SourceLimits>,

    /// Databases and document stores: where the password is, which is never part of a file, a key or a log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<FromEnvironment>,
    /// Databases: one SELECT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Databases: ranges of a column that are read at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
    /// Databases: the column that only rises, so that a later import reads what is new. A row that comes later with
    /// a value that was read already, or with none, is never read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Document stores: the collection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// Document stores: which documents, as extended JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Document stores: which fields, as extended JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection: Option<String>,
    /// HTTP: headers of each request; a value of `{ env = "TOKEN", prefix = "Bearer " }` is taken from the environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, HeaderValue>,
    /// HTTP: the URL answers with JSON in pages, not with files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<JsonApi>,

    /// One sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// `public`, `internal`, `confidential` or `personal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classification: Option<String>,
    /// Why the classification is lower than that of the tracked files that it is made of; kept in the audit trail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Days after which a version is due for removal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
    /// What must hold of each version; a stage of its own looks before anything reads the dataset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Map<String, Value>>,
}

fn raw() -> Zone {
    Zone::Raw
}

/// One text or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl OneOrMany {
    /// All of them, in order.
    pub fn all(&self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one.clone()],
            Self::Many(many) => many.clone(),
        }
    }
}

/// Which sheets of a workbook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Sheet {
    /// By its place, from 1.
    Number(usize),
    /// By its name; `*` is all of them.
    Name(String),
    /// Several.
    Many(Vec<Sheet>),
}

/// Which row names the columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Header {
    /// Its number, from 1.
    Row(u64),
    /// `none`: the columns have no names.
    Word(String),
}

/// The guards of archives and readers; see `docs/reference/project-file.md` for the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceLimits {
    /// Entries of an archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<usize>,
    /// Bytes of all entries of an archive together, unpacked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// Bytes that a reader must hold in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_bytes: Option<u64>,
    /// How many times larger than packed an entry may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<u64>,
    /// How deep archives may lie in archives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive_depth: Option<u32>,
    /// Files of a folder or a pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<usize>,
    /// Rows in quarantine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantined_rows: Option<u64>,
}

/// Ranges of a column that are read at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// A column of the query's result, of numbers or dates.
    pub column: String,
    /// How many ranges.
    pub count: std::num::NonZeroUsize,
    /// Where the first cut may lie at the earliest, a text or a number; asked of the database if absent.
    #[serde(default, deserialize_with = "bound", skip_serializing_if = "Option::is_none")]
    pub lower: Option<String>,
    /// Where the last cut may lie at the latest, a text or a number; asked of the database if absent.
    #[serde(default, deserialize_with = "bound", skip_serializing_if = "Option::is_none")]
    pub upper: Option<String>,
}

/// A text, or a number as its text.
fn bound<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text or a number")]
    enum Bound {
        Text(String),
        Whole(i64),
        Number(f64),
    }
    Ok(Some(match Bound::deserialize(deserializer)? {
        Bound::Text(text) => text,
        Bound::Whole(number) => number.to_string(),
        Bound::Number(number) => number.to_string(),
    }))
}

/// The value of a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HeaderValue {
    /// As it stands: for what is no secret.
    Plain(String),
    /// From an environment variable, so that the secret is in no file.
    Environment {
        /// The variable.
        env: String,
        /// What stands before its value, such as `Bearer `.
        #[serde(default)]
        prefix: String,
    },
}

/// A secret that is taken from the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromEnvironment {
    /// The variable.
    pub env: String,
}

/// A URL that answers with JSON in pages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JsonApi {
    /// JSON pointer (RFC 6901) of the array of items in an answer; the answer itself if empty.
    pub items: String,
    /// How the next page is found; one page only if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paging: Option<Paging>,
    /// Pages at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages: Option<u64>,
    /// Hosts beside that of the URL that a link to the next page may name.
    pub allowed_hosts: Vec<String>,
}

/// How the next page is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Paging {
    /// By the `Link` header with `rel="next"` (RFC 8288).
    LinkHeader {},
    /// By a URL in the answer.
    NextUrl {
        /// Its JSON pointer.
        pointer: String,
    },
    /// By a page number in the query.
    PageNumber {
        /// The parameter.
        parameter: String,
        /// The number of the first page.
        #[serde(default = "one")]
        first: u64,
    },
    /// By an offset and a limit in the query.
    Offset {
        /// The parameter of the offset.
        parameter: String,
        /// The parameter of the limit.
        limit_parameter: String,
        /// Items of a page.
        limit: u64,
    },
    /// By a token in the answer that the next request repeats.
    Cursor {
        /// The parameter.
        parameter: String,
        /// The token's JSON pointer.
        pointer: String,
    },
}

fn one() -> u64 {
    1
}

/// Whether a URL holds a password, which would then be in the project's history, keys and lineage.
///
/// A password is what stands between the first `:` and the last `@`, also when it has a `/` or a `?` that should have
/// been written as `%2F` or `%3F`; unless that reads as a port, a path and the parameters of a query.
pub fn holds_password(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    let Some((before, _)) = rest.rsplit_once('@') else { return false };
    let Some((user, secret)) = before.split_once(':') else { return false };
    !user.contains(['/', '?', '#']) && !is_port_and_query(secret)
}

/// `8080/path?name=…`
fn is_port_and_query(text: &str) -> bool {
    let Some((port, rest)) = text.split_once('/') else { return false };
    let Some((path, query)) = rest.split_once('?') else { return false };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    is_port && !path.contains('@') && query.contains('=')
}

impl DataSource {
    /// What the stage that reads the source depends on: all but what people say about the dataset, and its checks.
    #[must_use]
    pub fn reading(&self) -> Self {
        Self {
            description: None,
            owner: None,
            classification: None,
            reason: None,
            retention_days: None,
            checks: Vec::new(),
            ..self.clone()
        }
    }
}
