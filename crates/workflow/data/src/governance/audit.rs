use std::fmt;
use std::str::FromStr;

use ropewalk_catalog::{Catalog, CatalogError, Connection, query};
use ropewalk_types::{Digest, Timestamp, canonical_json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::DataError;
use crate::reading::parsed;

/// Bytes that the details of an entry may have.
const DETAILS_LIMIT: usize = 256 << 10;
/// Entries that are read at once, and faults that are listed at most.
const PAGE: i64 = 1000;
const FAULTS: usize = 100;

/// What somebody did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum AuditAction {
    Read,
    Write,
    Tag,
    Delete,
    Declare,
    Query,
    /// A source was asked, and what it gives is what the version holds already.
    Import,
}

/// A text that is no action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an action: use one of `read`, `write`, `tag`, `delete`, `declare`, `query`, `import`")]
pub struct UnknownAction(pub String);

impl AuditAction {
    const ALL: [Self; 7] = [Self::Read, Self::Write, Self::Tag, Self::Delete, Self::Declare, Self::Query, Self::Import];

    /// The stored text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Tag => "tag",
            Self::Delete => "delete",
            Self::Declare => "declare",
            Self::Query => "query",
            Self::Import => "import",
        }
    }
}

impl fmt::Display for AuditAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for AuditAction {
    type Err = UnknownAction;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|one| one.as_str() == text).ok_or_else(|| UnknownAction(text.to_owned()))
    }
}

/// Something that is to be written into the trail.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEvent {
    /// When.
    pub at: Timestamp,
    /// Who: an identity, or the user of the operating system.
    pub who: String,
    /// What was done.
    pub action: AuditAction,
    /// To what: a URI.
    pub object: String,
    /// What else is to be known; never a secret.
    pub details: Value,
}

/// An entry of the trail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its place, counted from 1.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: String,
    /// What was done.
    pub action: AuditAction,
    /// To what.
    pub object: String,
    /// What else is to be known.
    pub details: Value,
    /// The digest of this entry, in which that of the one before it is contained.
    pub digest: Digest,
}

/// The last entry of a trail; kept elsewhere, it proves that nothing up to it was changed or cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// Its place.
    pub number: u64,
    /// Its digest.
    pub digest: Digest,
}

/// A text that names no entry of a trail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the NUMBER:DIGEST of an entry")]
pub struct UnknownHead(pub String);

impl fmt::Display for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, self.digest)
    }
}

impl FromStr for AuditHead {
    type Err = UnknownHead;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once(':');
        let head = parts
            .and_then(|(number, digest)| Some(Self { number: number.parse().ok()?, digest: digest.parse().ok()? }));
        head.ok_or_else(|| UnknownHead(text.to_owned()))
    }
}

/// A row as it is stored.
type Row = (i64, i64, String, String, String, String, String, String);

/// The digest of an entry: of the canonical JSON of all its columns but this one.
fn digest_of((number, at, who, action, object, details, previous, _): &Row) -> Digest {
    Digest::of_json(&json!({
        "number": number, "at": at, "who": who, "action": action, "object": object, "details": details,
        "previous": previous,
    }))
}

/// Adds an entry in the caller's transaction, so that it stands if and only if what it tells of stands.
///
/// Two transactions that add at once cannot both commit: the number is unique.
pub async fn audit_append(connection: &mut Connection, event: &AuditEvent) -> Result<AuditHead, DataError> {
    let details = canonical_json(&event.details);
    if details.len() > DETAILS_LIMIT {
        let reason = format!("its details have {} bytes, {DETAILS_LIMIT} are accepted", details.len());
        return Err(DataError::Encoding { action: "write an audit entry", reason });
    }
    let last: Option<(i64, String)> =
        query("SELECT number, digest FROM audit ORDER BY number DESC LIMIT 1").fetch_optional(&mut *connection).await?;
    let (number, previous) = last.map_or((1, String::new()), |(number, digest)| (number + 1, digest));
    let (action, object) = (event.action.as_str().to_owned(), event.object.clone());
    let row: Row = (number, event.at.millis(), event.who.clone(), action, object, details, previous, String::new());
    let digest = digest_of(&row);
    let (number, at, who, action, object, details, previous, _) = row;
    query(
        "INSERT INTO audit (number, at, who, action, object, details_json, previous, digest) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(number)
    .bind(at)
    .bind(who)
    .bind(action)
    .bind(object)
    .bind(details)
    .bind(previous)
    .bind(digest.to_string())
    .execute(connection)
    .await?;
    Ok(AuditHead { number: number.cast_unsigned(), digest })
}

/// Adds entries in a transaction of their own, all or none: what somebody is about to do.
pub async fn audit_write(catalog: &Catalog, events: Vec<AuditEvent>) -> Result<(), DataError> {
    if events.is_empty() {
        return Ok(());
    }
    let write = catalog.write(move |connection| {
        Box::pin(async move {
            for event in &events {
                audit_append(connection, event).await?;
            }
            Ok(())
        })
    });
    write.await
}

/// Which entries are wanted; what is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this one only.
    pub who: Option<String>,
    /// This action only.
    pub action: Option<AuditAction>,
    /// This object with all its versions, such as `data:flights`; not others whose names begin so.
    pub object: Option<String>,
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
}

const LIST: &str = "SELECT number, at, who, action, object, details_json, previous, digest FROM audit \
     WHERE number < $1 AND at >= $2 AND at < $3 AND ($4 = '' OR who = $5) AND ($6 = '' OR action = $7) \
     AND ($8 = '' OR object = $9 OR SUBSTR(object, 1, $10) = $11) ORDER BY number DESC LIMIT $12";

/// The entries that fit, the newest first: at most `limit` of those before the entry `before`.
///
/// For the next page pass the number of the last entry of this one.
pub async fn audit_list(
    catalog: &Catalog,
    filter: &AuditFilter,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<AuditEntry>, DataError> {
    let who = filter.who.as_deref().unwrap_or_default();
    let action = filter.action.map_or("", AuditAction::as_str);
    let object = filter.object.as_deref().unwrap_or_default();
    let version = format!("{object}@");
    let rows: Vec<Row> = query(LIST)
        .bind(before.map_or(i64::MAX, |number| i64::try_from(number).unwrap_or(i64::MAX)))
        .bind(filter.since.map_or(i64::MIN, Timestamp::millis))
        .bind(filter.until.map_or(i64::MAX, Timestamp::millis))
        .bind(who)
        .bind(who)
        .bind(action)
        .bind(action)
        .bind(object)
        .bind(object)
        .bind(version.chars().count() as i64)
        .bind(version)
        .bind(i64::from(limit))
        .read_all(catalog)
        .await?;
    rows.into_iter().map(entry).collect()
}

fn entry((number, at, who, action, object, details, _, digest): Row) -> Result<AuditEntry, DataError> {
    let details = serde_json::from_str(&details).map_err(CatalogError::decode)?;
    Ok(AuditEntry {
        number: number.cast_unsigned(),
        at: Timestamp(at),
        who,
        action: parsed(&action)?,
        object,
        details,
        digest: parsed(&digest)?,
    })
}

/// A place at which the trail is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditFault {
    /// The entry.
    pub number: u64,
    /// What is wrong there.
    pub reason: String,
}

/// What a check of the whole trail found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// Entries that were read.
    pub entries: u64,
    /// The last of them: keep it where the database's owner cannot write.
    pub head: Option<AuditHead>,
    /// What is wrong, in the order of the entries: the first hundred places.
    pub faults: Vec<AuditFault>,
}

/// Reads the whole trail and checks that no entry was changed, taken out or put in.
///
/// Entries cut off at the end, and a trail written anew as a whole, are seen only against a `known` entry that was kept
/// elsewhere. Memory does not grow with the trail.
pub async fn audit_verify(catalog: &Catalog, known: Option<AuditHead>) -> Result<AuditReport, DataError> {
    let mut report = AuditReport { entries: 0, head: None, faults: Vec::new() };
    let (mut expected, mut previous, mut met) = (1_i64, String::new(), false);
    loop {
        let rows: Vec<Row> = query(
            "SELECT number, at, who, action, object, details_json, previous, digest FROM audit \
             WHERE number >= $1 ORDER BY number LIMIT $2",
        )
        .bind(expected)
        .bind(PAGE)
        .read_all(catalog)
        .await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            for reason in faults(&row, expected, &previous) {
                report.fault(row.0, reason);
            }
            let digest = digest_of(&row);
            let number = row.0.cast_unsigned();
            met |= known.is_some_and(|known| known == AuditHead { number, digest });
            report.entries += 1;
            report.head = Some(AuditHead { number, digest });
            (expected, previous) = (row.0 + 1, row.7);
        }
    }
    if let Some(known) = known
        && !met
    {
        report.fault(known.number.cast_signed(), format!("the entry with digest {} is not there", known.digest));
    }
    Ok(report)
}

impl AuditReport {
    fn fault(&mut self, number: i64, reason: String) {
        if self.faults.len() < FAULTS {
            self.faults.push(AuditFault { number: number.cast_unsigned(), reason });
        }
    }
}

fn faults(row: &Row, expected: i64, previous: &str) -> Vec<String> {
    let mut found = Vec::new();
    if row.0 != expected {
        found.push(format!("entry {expected} is missing before it"));
    }
    if row.6 != previous {
        found.push("it does not follow the entry before it".to_owned());
    }
    if digest_of(row).to_string() != row.7 {
        found.push("it was changed after it was written".to_owned());
    }
    found
}
