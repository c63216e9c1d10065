use ropewalk_types::DatasetName;
use serde::{Deserialize, Serialize};

/// One check of a dataset, as the project file declares it.
///
/// ```toml
/// [[data.flights.checks]]
/// unique = ["carrier", "flight", "day"]
///
/// [[data.flights.checks]]
/// name = "delays are plausible"
/// between = { column = "delay", min = -120, max = 2000 }
/// severity = "warning"
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "CheckTable", into = "CheckTable")]
pub struct Check {
    /// Its name in reports; told from the rule if absent.
    pub name: Option<String>,
    /// What a broken check means.
    pub severity: Severity,
    /// What must hold.
    pub rule: CheckRule,
}

/// What a broken check means for the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The run fails.
    #[default]
    Error,
    /// The run goes on, and says so.
    Warning,
}

/// What must hold for a table. A null breaks only `not_null`, as in SQL's CHECK constraints.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckRule {
    /// No two rows have the same values in these columns; rows with a null among them are not compared.
    Unique(Columns),
    /// No row has a null in one of these columns.
    NotNull(Columns),
    /// Every value lies in a range.
    Between(Between),
    /// Every value is one of a list.
    In(OneOf),
    /// Every text fits a regular expression.
    Matches(Matches),
    /// Every value is in a column of another dataset.
    ForeignKey(ForeignKey),
    /// The newest value of a time column is not too old.
    Freshness(Freshness),
    /// The table has neither too few rows nor too many.
    RowCount(RowCount),
    /// A SELECT finds no row: its rows are the offenders. It names the dataset itself and others by their names.
    Sql(String),
}

/// One column, or several together: `"id"` or `["carrier", "flight"]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a column's name or a list of them")]
pub enum Columns {
    /// One.
    One(String),
    /// Several together.
    Many(Vec<String>),
}

impl Columns {
    /// The names, in their order.
    pub fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }
}

/// A value as TOML writes it. For a column of times or dates it is a text such as `"2013-01-31"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number, a text or a truth value")]
pub enum CheckValue {
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Any number.
    Float(f64),
    /// A text.
    Text(String),
}

/// `between = { column = …, min = …, max = … }`: both ends are allowed values; one may be left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Between {
    /// The column.
    pub column: String,
    /// The smallest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<CheckValue>,
    /// The largest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<CheckValue>,
}

/// `in = { column = …, values = […] }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneOf {
    /// The column.
    pub column: String,
    /// The values that it may have.
    pub values: Vec<CheckValue>,
}

/// `matches = { column = …, pattern = … }`: a regular expression, found anywhere in the text unless `^` and `$` say else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matches {
    /// The column, of texts.
    pub column: String,
    /// The expression, in the syntax of the `regex` crate.
    pub pattern: String,
}

/// `foreign_key = { columns = …, dataset = …, references = … }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForeignKey {
    /// The columns of this dataset.
    #[serde(alias = "column")]
    pub columns: Columns,
    /// The other dataset.
    pub dataset: DatasetName,
    /// Its columns, as many; of the same names if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<Columns>,
}

/// `freshness = { column = …, within_hours = … }`, counted back from the time of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freshness {
    /// The column, of times (UTC where they have no zone) or dates.
    pub column: String,
    /// The greatest age of its newest value.
    pub within_hours: f64,
}

/// `row_count = { min = …, max = … }`: both are allowed counts; one may be left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowCount {
    /// The fewest rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u64>,
    /// The most rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
}

/// A check as it is written: exactly one of the rules.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CheckTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    severity: Severity,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique: Option<Columns>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_null: Option<Columns>,
    #[serde(skip_serializing_if = "Option::is_none")]
    between: Option<Between>,
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    one_of: Option<OneOf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    matches: Option<Matches>,
    #[serde(skip_serializing_if = "Option::is_none")]
    foreign_key: Option<ForeignKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    freshness: Option<Freshness>,
    #[serde(skip_serializing_if = "Option::is_none")]
    row_count: Option<RowCount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sql: Option<String>,
}

const RULES: &str =
    "`unique`, `not_null`, `between`, `in`, `matches`, `foreign_key`, `freshness`, `row_count` or `sql`";

impl TryFrom<CheckTable> for Check {
    type Error = String;

    fn try_from(table: CheckTable) -> Result<Self, Self::Error> {
        let rules = [
            table.unique.map(CheckRule::Unique),
            table.not_null.map(CheckRule::NotNull),
            table.between.map(CheckRule::Between),
            table.one_of.map(CheckRule::In),
            table.matches.map(CheckRule::Matches),
            table.foreign_key.map(CheckRule::ForeignKey),
            table.freshness.map(CheckRule::Freshness),
            table.row_count.map(CheckRule::RowCount),
            table.sql.map(CheckRule::Sql),
        ];
        let mut rules = rules.into_iter().flatten();
        match (rules.next(), rules.next()) {
            (Some(rule), None) => {
                meaningful(&rule)?;
                Ok(Self { name: table.name, severity: table.severity, rule })
            }
            (None, _) => Err(format!("a check needs one of {RULES}")),
            _ => Err(format!("a check has one rule: split it so that each has one of {RULES}")),
        }
    }
}

impl From<Check> for CheckTable {
    fn from(check: Check) -> Self {
        let mut table = Self { name: check.name, severity: check.severity, ..Self::default() };
        match check.rule {
            CheckRule::Unique(columns) => table.unique = Some(columns),
            CheckRule::NotNull(columns) => table.not_null = Some(columns),
            CheckRule::Between(between) => table.between = Some(between),
            CheckRule::In(one_of) => table.one_of = Some(one_of),
            CheckRule::Matches(matches) => table.matches = Some(matches),
            CheckRule::ForeignKey(key) => table.foreign_key = Some(key),
            CheckRule::Freshness(freshness) => table.freshness = Some(freshness),
            CheckRule::RowCount(count) => table.row_count = Some(count),
            CheckRule::Sql(sql) => table.sql = Some(sql),
        }
        table
    }
}

/// Refuses what would hold for every table or for none, whatever its rows.
fn meaningful(rule: &CheckRule) -> Result<(), String> {
    let named = |columns: &Columns, rule: &str| match columns.names() {
        [] => Err(format!("`{rule}` names no column")),
        _ => Ok(()),
    };
    match rule {
        CheckRule::Unique(columns) => named(columns, "unique"),
        CheckRule::NotNull(columns) => named(columns, "not_null"),
        CheckRule::ForeignKey(key) => {
            named(&key.columns, "foreign_key")?;
            match &key.references {
                Some(other) if other.names().len() != key.columns.names().len() => {
                    Err("`references` of `foreign_key` must be as many columns as `columns`".to_owned())
                }
                _ => Ok(()),
            }
        }
        CheckRule::Between(Between { min: None, max: None, .. }) => Err("`between` needs `min` or `max`".to_owned()),
        CheckRule::RowCount(RowCount { min: None, max: None }) => Err("`row_count` needs `min` or `max`".to_owned()),
        CheckRule::RowCount(RowCount { min: Some(min), max: Some(max) }) if min > max => {
            Err("`min` of `row_count` is greater than `max`".to_owned())
        }
        CheckRule::In(one_of) if one_of.values.is_empty() => Err("`in` names no value".to_owned()),
        CheckRule::Freshness(freshness) if !(freshness.within_hours >= 0.0 && freshness.within_hours < 1e9) => {
            Err("`within_hours` of `freshness` must be a number of hours".to_owned())
        }
        _ => Ok(()),
    }
}

impl Check {
    /// The name that it has in reports.
    pub fn title(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let list = |columns: &Columns| columns.names().join(", ");
        match &self.rule {
            CheckRule::Unique(columns) => format!("unique({})", list(columns)),
            CheckRule::NotNull(columns) => format!("not_null({})", list(columns)),
            CheckRule::Between(between) => format!("between({})", between.column),
            CheckRule::In(one_of) => format!("in({})", one_of.column),
            CheckRule::Matches(matches) => format!("matches({}, {})", matches.column, matches.pattern),
            CheckRule::ForeignKey(key) => format!("foreign_key({} in {})", list(&key.columns), key.dataset),
            CheckRule::Freshness(freshness) => format!("freshness({})", freshness.column),
            CheckRule::RowCount(_) => "row_count".to_owned(),
            CheckRule::Sql(sql) => {
                let words: Vec<_> = sql.split_whitespace().collect();
                let text: String = words.join(" ").chars().take(40).collect();
                format!("sql({text})")
            }
        }
    }
}
