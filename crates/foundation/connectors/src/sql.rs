//! Tables from SQL databases, read only, streamed.

mod bound;
mod dialect;
mod mysql;
mod open;
mod plan;
mod postgres;
mod rounded;
mod server;
mod source;
mod sqlite;
mod statement;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType};
use futures::future::BoxFuture;
use ropewalk_types::{Ambient, Digest};
use serde_json::json;

use crate::{ConnectionOptions, ConnectorError, MisfitPolicy, Table};

use dialect::Dialect;

/// The option that holds a database's password when its URL has none.
const PASSWORD: &str = "DATABASE_PASSWORD";

/// What to read from which database.
#[derive(Clone, PartialEq)]
pub struct SqlRequest {
    /// `postgres://`, `postgresql://`, `mysql://`, `mariadb://` (`USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`) or
    /// `sqlite:PATH`.
    ///
    /// Parameters: `sslmode`, `sslrootcert`, `sslcert`, `sslkey`; PostgreSQL also `application_name`; MySQL also
    /// `charset`, `collation` and `socket`. Any other one is an error.
    ///
    /// Without `sslmode` the connection is encrypted where the server can. `require` encrypts and asks for no
    /// certificate; `verify-ca` wants one that an authority of this machine or of `sslrootcert` signed, `verify-full`
    /// wants one for this host. Where `sslrootcert` is given, all modes but `disable` and `allow` are at least
    /// `verify-ca`.
    pub url: String,
    /// The URL as it is written, where values of the environment are part of `url`: a value that changes from hour to
    /// hour must not make another source of it. What an import that was cut off has received is found by it; by `url`
    /// where it is not given.
    pub known_as: Option<String>,
    /// One statement that gives rows.
    pub query: String,
    /// To read in several parts at once.
    pub partition: Option<Partition>,
    /// To read only what is new.
    pub cursor: Option<Cursor>,
    /// Rows of a batch, at most.
    pub batch_rows: usize,
    /// What to do about values that no column can hold: infinite dates, zero dates, SQLite's misfits.
    pub misfits: MisfitPolicy,
    /// Precision and scale of decimal columns for which the database tells none; without them these are text.
    pub decimals: BTreeMap<String, (u8, i8)>,
    /// SQLite: share of a column's values that may misfit its declared type before the values decide.
    pub type_tolerance: f64,
    /// SQLite: columns whose type all rows decide, not the first alone.
    pub inferred_whole: BTreeSet<String>,
    /// SQLite: columns that stay text where all rows decide: so they are in what rows are added to.
    pub text: BTreeSet<String>,
    /// What relative paths in the URL are relative to: SQLite's file, certificates, a socket. The folder of the process
    /// when it is empty.
    pub directory: PathBuf,
    /// How long a connection may take.
    pub connect_timeout: Duration,
}

impl SqlRequest {
    /// All rows of `query` in one part.
    pub fn new(url: impl Into<String>, query: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            known_as: None,
            query: query.into(),
            partition: None,
            cursor: None,
            batch_rows: 65_536,
            misfits: MisfitPolicy::default(),
            decimals: BTreeMap::new(),
            type_tolerance: 0.01,
            inferred_whole: BTreeSet::new(),
            text: BTreeSet::new(),
            directory: PathBuf::new(),
            connect_timeout: Duration::from_secs(30),
        }
    }

    /// Digest of all that decides which rows come and how; of the URL too, which cannot be had back from it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let partition = self.partition.as_ref().map(|one| json!([one.column, one.count, one.lower, one.upper]));
        let cursor = self.cursor.as_ref().map(|one| json!([one.column, one.after]));
        Digest::of_json(&json!({
            "url": self.known_as.as_ref().unwrap_or(&self.url),
            "query": self.query,
            "partition": partition,
            "cursor": cursor,
            "misfits": format!("{:?}", self.misfits),
            "decimals": self.decimals,
            "directory": self.directory.to_string_lossy(),
        }))
    }
}

/// Whether two URLs, redacted or not, name one database, whoever asks it and with whichever parameters.
pub fn is_same_database(one: &str, other: &str) -> bool {
    fn place(url: &str) -> (Option<Dialect>, &str) {
        let rest = url.split_once(':').map_or(url, |(_, rest)| rest);
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place).trim_start_matches("//");
        (Dialect::of(url).ok(), place.split('?').next().unwrap_or(place))
    }
    place(one) == place(other)
}

/// How to cut a query's rows into parts: by half-open ranges of a column of whole or other numbers, dates or timestamps.
///
/// Every row is in exactly one part whatever the bounds are: they only place the cuts. Rows without a value are in the
/// first part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The column, one that the query gives.
    pub column: String,
    /// Into how many parts; fewer when there are fewer values.
    pub count: NonZeroUsize,
    /// The least value; asked of the database when it is not given.
    pub lower: Option<String>,
    /// The greatest value; asked of the database when it is not given.
    pub upper: Option<String>,
}

/// An incremental read: only rows whose column is greater than the greatest value of the last read.
///
/// Rows without a value are never read this way; a note says how many there are. Nor are rows that become visible
/// later with a value that was read already: every row must get a greater value than all that were committed before
/// it. A note says so of dates and timestamps, where that is easily missed. SQLite compares these as text.
///
/// A greatest value that the database does not find again by its text is an error, and so is one of another type than
/// its column: no row is lost in silence by a comparison that means something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The column, one that the query gives: numbers, dates, timestamps or text.
    pub column: String,
    /// [`Table::cursor`] of the last read; none for the first.
    pub after: Option<String>,
}

/// Opens the rows of a query, in a transaction that cannot write.
///
/// PostgreSQL: `REPEATABLE READ READ ONLY`; all partitions see one exported snapshot. MySQL and MariaDB: `START
/// TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY`; every partition has a snapshot of its own, so that rows which
/// change while it is read can be missed or seen twice when the partition column changes with them. SQLite: the file
/// is opened read-only, each partition reads the state at its start.
///
/// Columns get the Arrow type of their declared type, never one guessed from values; PostgreSQL types without an Arrow
/// type (intervals, ranges, addresses, composites) are cast to text by the server. A `BOOLEAN` of MySQL is a whole
/// number, for the server calls every `tinyint(1)` so. SQLite lets every value be of any type: its columns have the type
/// of their declaration while the first rows fit it, but for [`SqlRequest::type_tolerance`]; else, and without one, that
/// of the values. Columns must have different names.
///
/// Nothing is taken from `PGHOST`, `PGUSER`, `PGPASSWORD`, `PGDATABASE` or `.pgpass`; sqlx itself reads
/// `PGSSLROOTCERT`, `PGSSLCERT`, `PGSSLKEY` and `PGOPTIONS` where the URL does not say otherwise.
///
/// # Errors
/// When the database cannot be reached, refuses the query, or the partition or cursor column does not fit.
pub fn sql_open<'a>(
    request: &'a SqlRequest,
    options: &'a ConnectionOptions,
    ambient: &'a dyn Ambient,
) -> BoxFuture<'a, Result<Table, ConnectorError>> {
    Box::pin(async move {
        let dialect = Dialect::of(&request.url)?;
        let query = statement::single(&request.query, dialect)?;
        match dialect {
            Dialect::Postgres => open::open(postgres::Postgres::new(request, options)?, query, request, ambient).await,
            Dialect::Mysql => open::open(mysql::Mysql::new(request, options)?, query, request, ambient).await,
            Dialect::Sqlite => open::open(sqlite::Sqlite::new(request)?, query, request, ambient).await,
        }
    })
}

/// The Arrow type of decimals with `precision` digits, `scale` of them after the point; none when it has no such type.
///
/// PostgreSQL allows a scale below zero or above the precision; a wider type without these holds the same values.
fn decimal_type(precision: u8, scale: i8) -> Option<DataType> {
    let (precision, scale) = if scale < 0 {
        (precision.checked_add(scale.unsigned_abs())?, 0)
    } else {
        (precision.max(scale.unsigned_abs()), scale)
    };
    match precision {
        1..=DECIMAL128_MAX_PRECISION => Some(DataType::Decimal128(precision, scale)),
        0 => None,
        _ if precision <= DECIMAL256_MAX_PRECISION => Some(DataType::Decimal256(precision, scale)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_the_same_for_everybody() {
        for (one, other, same) in [
            ("postgres://ada@db/x", "postgresql://bob:***@db/x?sslmode=require", true),
            ("mysql://ada@db:3307/x", "mariadb://ada@db:3307/x", true),
            ("postgres://ada@db/x", "postgres://ada@db/y", false),
            ("postgres://ada@db/x", "postgres://ada@db2/x", false),
            ("postgres://ada@db/x", "mysql://ada@db/x", false),
            ("sqlite:shop.db", "sqlite:shop.db", true),
            ("sqlite:shop.db", "sqlite:shop2.db", false),
        ] {
            assert_eq!(is_same_database(one, other), same, "{one} {other}");
        }
    }

    #[test]
    fn requests_for_other_rows_have_other_digests() {
        let one = SqlRequest::new("sqlite:x.db", "SELECT 1 AS a");
        let cursor = |after: Option<&str>| SqlRequest {
            cursor: Some(Cursor { column: "a".to_owned(), after: after.map(str::to_owned) }),
            ..one.clone()
        };
        let others = [
            SqlRequest { query: "SELECT 2 AS a".to_owned(), ..one.clone() },
            SqlRequest { url: "sqlite:y.db".to_owned(), ..one.clone() },
            cursor(None),
            cursor(Some("1")),
        ];
        let mut digests: Vec<_> = others.iter().chain([&one]).map(SqlRequest::digest).collect();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), 5);
        assert_eq!(SqlRequest { batch_rows: 7, ..one.clone() }.digest(), one.digest());
    }

    #[test]
    fn a_value_of_the_environment_makes_no_other_request() {
        let written = "postgres://ada@db/x?sslpassword=${PASSWORD}";
        let digest = |value: &str| {
            let url = written.replace("${PASSWORD}", value);
            SqlRequest { known_as: Some(written.to_owned()), ..SqlRequest::new(url, "SELECT 1 AS a") }.digest()
        };
        assert_eq!(digest("one"), digest("other"));
        assert_eq!(digest("one"), SqlRequest::new(written, "SELECT 1 AS a").digest());
    }

    #[test]
    fn decimals_that_arrow_has() {
        assert_eq!(decimal_type(10, 2), Some(DataType::Decimal128(10, 2)));
        assert_eq!(decimal_type(3, 5), Some(DataType::Decimal128(5, 5)));
        assert_eq!(decimal_type(5, -3), Some(DataType::Decimal128(8, 0)));
        assert_eq!(decimal_type(65, 30), Some(DataType::Decimal256(65, 30)));
        assert_eq!(decimal_type(77, 0), None);
        assert_eq!(decimal_type(0, 0), None);
    }
}
