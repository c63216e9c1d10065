use std::fmt;
use std::str::FromStr;

use ropewalk_catalog::{Catalog, CatalogError, Connection, FromRow, Row, query};
use ropewalk_types::{DatasetName, StageName, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::DataError;
use crate::dataset::after;
use crate::reading::parsed;

/// How carefully data must be handled; the later ones need more care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Classification {
    /// For anyone.
    Public,
    /// For the organisation.
    Internal,
    /// For those who need it.
    Confidential,
    /// About people: the law says who may have it and for how long.
    Personal,
}

/// A text that is no classification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a classification: use one of `public`, `internal`, `confidential`, `personal`")]
pub struct UnknownClassification(pub String);

impl Classification {
    const ALL: [Self; 4] = [Self::Public, Self::Internal, Self::Confidential, Self::Personal];

    /// The text in the catalogue, in TOML and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Confidential => "confidential",
            Self::Personal => "personal",
        }
    }
}

impl fmt::Display for Classification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Classification {
    type Err = UnknownClassification;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|one| one.as_str() == text);
        found.ok_or_else(|| UnknownClassification(text.to_owned()))
    }
}

/// How long a version may be kept after it was first recorded: `30` days, or `"forever"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Retention {
    /// This many days.
    Days(u32),
    /// No end is set.
    Forever,
}

/// Retention as it is written.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number of days or \"forever\"")]
enum WrittenRetention {
    Days(u32),
    Word(RetentionWord),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RetentionWord {
    Forever,
}

impl Serialize for Retention {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Days(days) => WrittenRetention::Days(*days).serialize(serializer),
            Self::Forever => WrittenRetention::Word(RetentionWord::Forever).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Retention {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match WrittenRetention::deserialize(deserializer)? {
            WrittenRetention::Days(days) => Self::Days(days),
            WrittenRetention::Word(RetentionWord::Forever) => Self::Forever,
        })
    }
}

/// What stands for [`Retention::Forever`] in the catalogue.
const FOREVER: i64 = -1;

/// What can be said about a dataset; what is not said is inherited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatasetFacts {
    /// Who answers for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// One sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How carefully it must be handled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classification: Option<Classification>,
    /// How long its versions may be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

impl DatasetFacts {
    /// These facts, and those of `before` where these say nothing.
    #[must_use]
    pub fn over(self, before: &Self) -> Self {
        Self {
            owner: self.owner.or_else(|| before.owner.clone()),
            description: self.description.or_else(|| before.description.clone()),
            classification: self.classification.or(before.classification),
            retention: self.retention.or(before.retention),
        }
    }

    /// Those of these facts of which `now` says nothing.
    #[must_use]
    pub fn withdrawn(&self, now: &Self) -> Self {
        Self {
            owner: self.owner.clone().filter(|_| now.owner.is_none()),
            description: self.description.clone().filter(|_| now.description.is_none()),
            classification: self.classification.filter(|_| now.classification.is_none()),
            retention: self.retention.filter(|_| now.retention.is_none()),
        }
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Facts about a dataset, and who said them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declaration {
    /// The dataset; or the stage, where it is said of what its runs leave behind.
    pub name: DatasetName,
    /// What is said: all that holds from now on.
    pub facts: DatasetFacts,
    /// The stage that says it of what it makes, if a stage does.
    pub stage: Option<StageName>,
    /// Who says it.
    pub who: String,
    /// Why.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// Records a declaration in the caller's transaction and gives the facts that held before; none when the same facts hold
/// already for the same reason, and when nothing is said where nothing was.
///
/// Earlier declarations stay on record; one without facts withdraws them. It comes after them, whatever the clock says.
/// Errors: [`DataError::Statement`] without a name or a reason.
pub async fn declaration_record(
    connection: &mut Connection,
    declaration: &Declaration,
) -> Result<Option<DatasetFacts>, DataError> {
    if declaration.who.trim().is_empty() || declaration.why.trim().is_empty() {
        return Err(DataError::Statement { what: "a declaration" });
    }
    let last: Option<DeclarationRow> =
        query(LAST).bind(declaration.name.as_str()).fetch_optional(&mut *connection).await?;
    let facts = &declaration.facts;
    let at = after(declaration.at, last.as_ref().map(|DeclarationRow(last, _)| last.at.millis()));
    let (number, before) = match last {
        Some(DeclarationRow(last, number)) => {
            let same_reason = last.stage == declaration.stage && last.why == declaration.why;
            if last.facts == *facts && (same_reason || facts.is_empty()) {
                return Ok(None);
            }
            (number + 1, last.facts)
        }
        None if facts.is_empty() => return Ok(None),
        None => (1, DatasetFacts::default()),
    };
    let retention = facts.retention.map(|retention| match retention {
        Retention::Days(days) => i64::from(days),
        Retention::Forever => FOREVER,
    });
    query(
        "INSERT INTO dataset_declaration \
         (name, number, owner, description, classification, retention_days, stage, who, why, at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(declaration.name.as_str())
    .bind(number)
    .bind(facts.owner.clone())
    .bind(facts.description.clone())
    .bind(facts.classification.map(Classification::as_str))
    .bind(retention)
    .bind(declaration.stage.as_ref().map(|stage| stage.as_str().to_owned()))
    .bind(declaration.who.as_str())
    .bind(declaration.why.as_str())
    .bind(at)
    .execute(connection)
    .await?;
    Ok(Some(before))
}

/// As [`declaration_record`], of a declaration from elsewhere: none also when something was declared here as late or later.
pub async fn declaration_adopt(
    connection: &mut Connection,
    declaration: &Declaration,
) -> Result<Option<DatasetFacts>, DataError> {
    let last: Option<DeclarationRow> =
        query(LAST).bind(declaration.name.as_str()).fetch_optional(&mut *connection).await?;
    if last.is_some_and(|DeclarationRow(last, _)| last.at >= declaration.at) {
        return Ok(None);
    }
    declaration_record(connection, declaration).await
}

const LAST: &str = "SELECT name, number, owner, description, classification, retention_days, stage, who, why, at \
     FROM dataset_declaration WHERE name = $1 ORDER BY number DESC LIMIT 1";

const HISTORY: &str = "SELECT name, number, owner, description, classification, retention_days, stage, who, why, at \
     FROM dataset_declaration WHERE name = $1 OR $2 = '' ORDER BY name, number DESC";

/// The declaration of a dataset that holds, if there is one that was not withdrawn.
pub async fn declaration_get(catalog: &Catalog, name: &DatasetName) -> Result<Option<Declaration>, DataError> {
    let row: Option<DeclarationRow> = query(LAST).bind(name.as_str()).read_optional(catalog).await?;
    Ok(row.map(|row| row.0).filter(|declaration| !declaration.facts.is_empty()))
}

/// Every declaration of one dataset or of all, by name, the one that holds first.
pub async fn declaration_history(catalog: &Catalog, name: Option<&DatasetName>) -> Result<Vec<Declaration>, DataError> {
    let name = name.map_or("", DatasetName::as_str);
    let rows: Vec<DeclarationRow> = query(HISTORY).bind(name).bind(name).read_all(catalog).await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

struct DeclarationRow(Declaration, i64);

impl FromRow for DeclarationRow {
    fn from_row(row: &Row<'_>) -> Result<Self, CatalogError> {
        let text = |column: &str| row.named::<String>(column);
        let maybe = |column: &str| row.named::<Option<String>>(column);
        let retention: Option<i64> = row.named("retention_days")?;
        let retention = retention.map(|days| match u32::try_from(days) {
            Ok(days) => Ok(Retention::Days(days)),
            Err(_) if days == FOREVER => Ok(Retention::Forever),
            Err(error) => Err(CatalogError::decode(error)),
        });
        let declaration = Declaration {
            name: parsed(&text("name")?)?,
            facts: DatasetFacts {
                owner: maybe("owner")?,
                description: maybe("description")?,
                classification: maybe("classification")?.as_deref().map(parsed).transpose()?,
                retention: retention.transpose()?,
            },
            stage: maybe("stage")?.as_deref().map(parsed).transpose()?,
            who: text("who")?,
            why: text("why")?,
            at: Timestamp(row.named("at")?),
        };
        Ok(Self(declaration, row.named("number")?))
    }
}
