use std::borrow::Cow;

use ropewalk_catalog::{Catalog, Dialect, query};
use ropewalk_types::{Timestamp, Uri};
use serde::{Deserialize, Serialize};

use crate::{LineageError, Link};

/// The most steps that a walk takes; a longer thread is an error, never a shorter answer.
pub const DEPTH: u32 = 64;

/// One link of a thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Links from the beginning to this one on the shortest way, counted from 1.
    pub depth: u32,
    /// The link.
    pub link: Link,
    /// When it was first written.
    pub at: Timestamp,
}

// A row of `reached` is a thing and a depth, so UNION keeps the rows of a graph with many ways, or with a ring,
// under (things x depth): the walk ends without a list of what it has seen.
const UPSTREAM: &str = "WITH RECURSIVE reached (uri, depth) AS (
    SELECT CAST($1 AS TEXT), CAST(1 AS BIGINT)
    UNION
    SELECT link.parent, reached.depth + 1
    FROM reached JOIN lineage_link AS link ON link.child = reached.uri
    WHERE reached.depth <= $2
)
SELECT MIN(reached.depth) AS depth, link.child, link.parent, link.relation, link.at
FROM reached JOIN lineage_link AS link ON link.child = reached.uri
GROUP BY link.child, link.parent, link.relation, link.at
ORDER BY 1, link.child, link.parent, link.relation";

const DOWNSTREAM: &str = "WITH RECURSIVE reached (uri, depth) AS (
    SELECT CAST($1 AS TEXT), CAST(1 AS BIGINT)
    UNION
    SELECT link.child, reached.depth + 1
    FROM reached JOIN lineage_link AS link ON link.parent = reached.uri
    WHERE reached.depth <= $2
)
SELECT MIN(reached.depth) AS depth, link.child, link.parent, link.relation, link.at
FROM reached JOIN lineage_link AS link ON link.parent = reached.uri
GROUP BY link.child, link.parent, link.relation, link.at
ORDER BY 1, link.child, link.parent, link.relation";

/// All that `uri` came from: nearest first, each link once, in the order of depth, child, parent.
///
/// Errors: [`LineageError::TooDeep`] when the thread is longer than [`DEPTH`].
pub async fn upstream(catalog: &Catalog, uri: &Uri) -> Result<Vec<Step>, LineageError> {
    walk(catalog, uri, UPSTREAM).await
}

/// All that came from `uri`; else as [`upstream`].
pub async fn downstream(catalog: &Catalog, uri: &Uri) -> Result<Vec<Step>, LineageError> {
    walk(catalog, uri, DOWNSTREAM).await
}

type Row = (i64, String, String, String, i64);

async fn walk(catalog: &Catalog, uri: &Uri, sql: &'static str) -> Result<Vec<Step>, LineageError> {
    // PostgreSQL asks that both terms of a recursion compare text alike; SQLite has no other way than by bytes.
    let sql = match catalog.dialect() {
        Dialect::Sqlite => Cow::Borrowed(sql),
        Dialect::Postgres => Cow::Owned(sql.replace("CAST($1 AS TEXT)", "CAST($1 AS TEXT) COLLATE \"C\"")),
    };
    let rows: Vec<Row> = query(sql).bind(uri.to_string()).bind(i64::from(DEPTH)).read_all(catalog).await?;
    if rows.last().is_some_and(|row| row.0 > i64::from(DEPTH)) {
        return Err(LineageError::TooDeep { uri: uri.clone(), depth: DEPTH });
    }
    rows.into_iter().map(step).collect()
}

fn step((depth, child, parent, relation, at): Row) -> Result<Step, LineageError> {
    let read = || -> Result<Link, String> {
        Ok(Link {
            child: child.parse().map_err(|error: ropewalk_types::UriError| error.to_string())?,
            parent: parent.parse().map_err(|error: ropewalk_types::UriError| error.to_string())?,
            relation: relation.parse().map_err(|error: crate::UnknownRelation| error.to_string())?,
        })
    };
    match read() {
        Ok(link) => Ok(Step { depth: depth as u32, link, at: Timestamp(at) }),
        Err(reason) => Err(LineageError::Damaged { child, parent, reason }),
    }
}

#[cfg(test)]
mod tests;
