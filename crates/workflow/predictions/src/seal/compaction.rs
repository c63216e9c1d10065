use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::FutureExt as _;
use ropewalk_catalog::{CatalogError, query};
use ropewalk_store::Store;
use ropewalk_types::{Ambient, Digest, PredictionId, Timestamp};

use super::apart;
use super::presence::{writer_begin, writer_end};
use super::troubles::Troubles;
use crate::journal::WriterName;
use crate::reader::PredictionScan;
use crate::segment::{Segment, SegmentWriter, Wanted, segment_replace, segments};
use crate::{PredictionHome, PredictionsError};

/// Segments of about one size that are joined to one.
const FANOUT: usize = 8;
/// Records of the smallest size of segments; each next size has eight times as many.
const SMALLEST: u64 = 1024;
/// A segment of so many bytes is not joined with others.
const LARGE: u64 = 64 << 20;
/// Records that are handed to the writer at once.
const HANDED: usize = 256;

/// What was let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Segments that are no longer listed, or are made anew without their old records.
    pub segments: u64,
    /// Records that are gone.
    pub records: u64,
}

/// Lets go of all records whose [`at`](crate::PredictionRecord::at) is before a moment.
///
/// Their bytes go from the store when it is collected. What is in journals still is let go after it was sealed.
///
/// Errors: also where a segment cannot be read that holds older and younger records; all else is let go nevertheless.
pub async fn prune(
    home: &PredictionHome,
    before: Timestamp,
    ambient: &dyn Ambient,
) -> Result<Pruned, PredictionsError> {
    let (sealer, lock) = writer_begin(home, ambient).await?;
    let mut troubles = Troubles::default();
    let pruned = prune_as(home, sealer, before, ambient.now(), &mut troubles).await;
    writer_end(home, sealer, lock).await?;
    let pruned = pruned?;
    troubles.into_first().map_or(Ok(pruned), Err)
}

/// As [`prune`]; `sealer` is who makes files. A segment that cannot be read is passed over.
pub(super) async fn prune_as(
    home: &PredictionHome,
    sealer: WriterName,
    before: Timestamp,
    at: Timestamp,
    troubles: &mut Troubles,
) -> Result<Pruned, PredictionsError> {
    let low = u128::from(before.millis().clamp(0, (1 << 48) - 1).cast_unsigned()) << 80;
    let mut pruned = Pruned { segments: 0, records: old_rows_remove(home, low).await? };
    for segment in segments(&home.catalog).await? {
        if segment.first.bits() >= low {
            // They are in the order of their first ids.
            break;
        }
        let (rows, wanted) = (segment.rows, Wanted { low, ..Wanted::ALL });
        match rewrite(home, sealer, vec![segment], wanted, at).await {
            Ok(Some(left)) => {
                pruned.segments += 1;
                pruned.records += rows.saturating_sub(left);
            }
            // Another process may have joined it with others meanwhile: the next time it is found there.
            Ok(None) => {}
            Err(Unmade { problem, .. }) => troubles.pass(problem)?,
        }
    }
    Ok(pruned)
}

/// Joins segments of about one size where there are many; says how many were joined. Those in `passed` stay as they are, and
/// those that turn out to be unreadable are put among them.
pub(super) async fn compact(
    home: &PredictionHome,
    sealer: WriterName,
    at: Timestamp,
    passed: &mut HashSet<Digest>,
    troubles: &mut Troubles,
) -> Result<u64, PredictionsError> {
    let mut joined = 0;
    while let Some(many) = many(segments(&home.catalog).await?, passed) {
        let count = many.len() as u64;
        match rewrite(home, sealer, many, Wanted::ALL, at).await {
            Ok(Some(_)) => joined += count,
            // Another process does the same.
            Ok(None) => break,
            Err(Unmade { problem, segment }) => {
                troubles.pass(problem)?;
                let Some(unreadable) = segment else { break };
                passed.insert(unreadable);
            }
        }
    }
    Ok(joined)
}

/// The first segments of one size of which there are enough.
fn many(listed: Vec<Segment>, passed: &HashSet<Digest>) -> Option<Vec<Segment>> {
    let mut sizes: BTreeMap<u32, Vec<Segment>> = BTreeMap::new();
    let fit = |segment: &Segment| segment.bytes < LARGE && !passed.contains(&segment.digest);
    for segment in listed.into_iter().filter(fit) {
        sizes
            .entry((segment.rows / SMALLEST).checked_ilog(FANOUT as u64).map_or(0, |size| size + 1))
            .or_default()
            .push(segment);
    }
    let mut enough = sizes.into_values().find(|segments| segments.len() >= FANOUT)?;
    enough.truncate(FANOUT);
    Some(enough)
}

/// Why no segment was made.
struct Unmade {
    problem: PredictionsError,
    /// The one that could not be read, if that is why.
    segment: Option<Digest>,
}

impl<E: Into<PredictionsError>> From<E> for Unmade {
    fn from(problem: E) -> Self {
        Self { problem: problem.into(), segment: None }
    }
}

/// Puts one segment in the place of `gone`, with those of their records that are `wanted`; says how many those are. None where
/// one of `gone` is not listed any more.
async fn rewrite(
    home: &PredictionHome,
    sealer: WriterName,
    gone: Vec<Segment>,
    wanted: Wanted,
    at: Timestamp,
) -> Result<Option<u64>, Unmade> {
    let digests = gone.iter().map(|segment| segment.digest).collect();
    let nothing = gone.iter().all(|segment| segment.last.bits() < wanted.low);
    let made = if nothing { None } else { join(home, sealer, gone, wanted).await? };
    let rows = made.as_ref().map_or(0, |made| made.rows);
    let replaced = segment_replace(&home.catalog, digests, made.map(Arc::new), at).await?;
    Ok(replaced.then_some(rows))
}

async fn join(
    home: &PredictionHome,
    sealer: WriterName,
    gone: Vec<Segment>,
    wanted: Wanted,
) -> Result<Option<Segment>, Unmade> {
    let path = sealer.scratch(&home.folder).join("joined");
    let mut writer = apart(move || SegmentWriter::create(&path)).await?;
    let mut scan = PredictionScan::of_segments(home, gone, wanted);
    loop {
        let (mut records, mut text) = (Vec::with_capacity(HANDED), 0);
        while records.len() < HANDED && text < 4 << 20 {
            let next = scan.next_stored().await;
            let next = next.map_err(|problem| Unmade { problem, segment: scan.unreadable() })?;
            let Some(record) = next else { break };
            text += record.text();
            records.push(record);
        }
        if records.is_empty() {
            break;
        }
        let push = move || {
            records.iter().try_for_each(|record| writer.push(record))?;
            Ok::<_, PredictionsError>(writer)
        };
        writer = apart(push).await?;
    }
    Ok(stored(writer, &home.store).await?)
}

async fn stored(writer: SegmentWriter, store: &Store) -> Result<Option<Segment>, PredictionsError> {
    match apart(move || writer.finish()).await? {
        Some(draft) => Ok(Some(draft.store(store).await?)),
        None => Ok(None),
    }
}

/// What lies in the table of earlier versions still.
async fn old_rows_remove(home: &PredictionHome, low: u128) -> Result<u64, CatalogError> {
    let low = PredictionId::from_bits(low).to_string();
    let write = home.catalog.write(move |connection| {
        async move { query("DELETE FROM prediction WHERE id < $1").bind(low).execute(connection).await }.boxed()
    });
    write.await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: u8, rows: u64, bytes: u64) -> Segment {
        let id = PredictionId::from_bits(u128::from(number));
        Segment { digest: Digest::of(&[number]), first: id, last: id, rows, bytes, models: None }
    }

    #[test]
    fn eight_of_one_size_are_joined_the_oldest_first() {
        let small: Vec<_> = (0..10).map(|number| segment(number, 60, 1)).collect();
        let none = HashSet::new();
        assert_eq!(many(small[..7].to_vec(), &none), None);
        assert_eq!(many(small.clone(), &none).unwrap(), small[..8]);
        let passed = HashSet::from([small[0].digest, small[2].digest]);
        let others = [&small[1..2], &small[3..]].concat();
        assert_eq!(many(small.clone(), &passed).unwrap(), others);
        let mut mixed = small[..7].to_vec();
        mixed.extend((10..17).map(|number| segment(number, 100_000, 1)));
        assert_eq!(many(mixed.clone(), &none), None);
        mixed.extend((20..40).map(|number| segment(number, 100, LARGE)));
        assert_eq!(many(mixed, &none), None, "large ones stay");
    }
}
