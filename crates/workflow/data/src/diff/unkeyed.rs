use std::collections::BTreeSet;

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use datafusion::common::ScalarValue;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::logical_expr::{Expr, in_list, lit};

use super::{Pair, TableDiff};
use crate::DataError;
use crate::check::{column, joined, numbered};
use crate::sql::{Order, Room, Running, row_digest};

/// Counts every row's digest, up in one version and down in the other; what is left over is different.
pub(super) async fn compare(pair: &Pair<'_>, diff: &mut TableDiff) -> Result<(), DataError> {
    let compared = pair.compared();
    if compared.is_empty() {
        return Err(DataError::Diff { reason: "they have no column in common".to_owned() });
    }
    let says = |error| pair.says(&error);
    let session = pair.session(pair.room).await?;
    let counted = |table: &str, sign: i64| {
        vec![row_digest(pair.values(table, &compared)).alias("digest"), lit(sign).alias("sign")]
    };
    let before = pair.table(&session, "before").await?.select(counted("before", 1)).map_err(says)?;
    let after = pair.table(&session, "after").await?.select(counted("after", -1)).map_err(says)?;
    let both = before.union(after).map_err(says)?;
    let left = both.aggregate(vec![column("digest")], vec![sum(column("sign")).alias("left over")]).map_err(says)?;
    let left = left.filter(column("left over").not_eq(lit(0_i64))).map_err(says)?;
    let mut running = Running::start(&left.into_unoptimized_plan(), pair.room).await?;
    let (mut added, mut removed) = (Smallest::new(pair.sample_rows), Smallest::new(pair.sample_rows));
    while let Some(batch) = running.next().await? {
        let (digests, counts) = (batch.column(0).as_binary::<i32>(), batch.column(1).as_primitive::<Int64Type>());
        for (digest, count) in digests.iter().zip(counts.iter()) {
            let (Some(digest), Some(count)) = (digest, count) else { continue };
            if count > 0 {
                diff.rows_removed += count.unsigned_abs();
                removed.add(digest);
            } else {
                diff.rows_added += count.unsigned_abs();
                added.add(digest);
            }
        }
    }
    drop(running);
    diff.removed = sample(pair, "before", &removed, &compared).await?;
    diff.added = sample(pair, "after", &added, &compared).await?;
    Ok(())
}

/// The smallest digests that were met: a choice that depends on the rows only.
struct Smallest {
    kept: BTreeSet<Vec<u8>>,
    limit: usize,
}

impl Smallest {
    fn new(limit: usize) -> Self {
        Self { kept: BTreeSet::new(), limit }
    }

    fn add(&mut self, digest: &[u8]) {
        if self.kept.len() < self.limit || self.kept.last().is_some_and(|last| digest < last.as_slice()) {
            self.kept.insert(digest.to_owned());
            if self.kept.len() > self.limit {
                self.kept.pop_last();
            }
        }
    }
}

/// The rows of a version that have one of the digests, in its order, with their numbers.
async fn sample(
    pair: &Pair<'_>,
    table: &str,
    digests: &Smallest,
    compared: &[&str],
) -> Result<Option<arrow::array::RecordBatch>, DataError> {
    if digests.kept.is_empty() {
        return Ok(None);
    }
    let says = |error| pair.says(&error);
    let room = Room { order: Order::Fixed, ..pair.room };
    let session = pair.session(room).await?;
    let schema = if table == "before" { &pair.schemas.0 } else { &pair.schemas.1 };
    let literal = |digest: &Vec<u8>| Expr::Literal(ScalarValue::Binary(Some(digest.clone())), None);
    let digest = row_digest(pair.values(table, compared));
    let chosen = in_list(digest, digests.kept.iter().map(literal).collect(), false);
    let rows = pair.table(&session, table).await?.select(numbered(schema)).map_err(says)?;
    let rows = rows.filter(chosen).and_then(|rows| rows.limit(0, Some(pair.sample_rows))).map_err(says)?;
    let mut running = Running::start(&rows.into_unoptimized_plan(), room).await?;
    let mut kept = Vec::new();
    while let Some(batch) = running.next().await? {
        kept.push(batch);
    }
    joined(running.schema(), &kept)
}
