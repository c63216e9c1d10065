//! What moves from one store to another where not all of it can be had.

use std::sync::atomic::{AtomicU64, Ordering};

use ropewalk_store::{Root, Store, StoreError, TransferProgress, Transferred, Verified};

use crate::error::VersionsError;

/// How pieces get to another store.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    /// As [`Store::copy_to`] has it.
    Copied,
    /// As [`Store::link_to`] has it.
    Linked,
}

/// Moves what is needed: all of it at once. Where something cannot be had, the rest of it, and what cannot be had alone;
/// gives that with what is wrong.
pub(super) async fn transfer(
    from: &Store,
    to: &Store,
    how: How,
    needed: Vec<Root>,
    progress: &dyn TransferProgress,
) -> Result<(Transferred, Vec<(Root, VersionsError)>), VersionsError> {
    let moved = Moved { progress, pieces: AtomicU64::new(0), bytes: AtomicU64::new(0) };
    let (mut present, mut again, mut failed) = (0, 0, Vec::new());
    let mut waiting = vec![needed];
    while let Some(part) = waiting.pop() {
        let Some(first) = part.first().copied() else { continue };
        let before = moved.pieces();
        let transferred = match how {
            How::Copied => from.copy_to(to, &part, &moved).await,
            How::Linked => from.link_to(to, &part, &moved).await,
        };
        match transferred.map_err(VersionsError::from) {
            Ok(transferred) => present += transferred.present,
            Err(error) if !error.concerns_one() => return Err(error),
            Err(error) if part.len() == 1 => failed.push((first, error)),
            Err(error) => {
                again += moved.pieces() - before;
                waiting.extend(apart(from, part, &error).await?);
            }
        }
    }
    // What came before something was wrong was there when the rest was moved.
    let present = present.saturating_sub(again);
    Ok((Transferred { pieces: moved.pieces(), bytes: moved.bytes(), present }, failed))
}

/// Parts of what cannot be had as a whole, the last of them first: what nothing is wrong with, and each other root alone.
/// Where nobody can tell which those are, two halves.
async fn apart(from: &Store, mut part: Vec<Root>, error: &VersionsError) -> Result<Vec<Vec<Root>>, VersionsError> {
    let affected = match Box::pin(affected(from, &part, error)).await {
        Err(error) if !error.concerns_one() => return Err(error),
        affected => affected.unwrap_or_default(),
    };
    if !affected.contains(&true) {
        let rest = part.split_off(part.len() / 2);
        return Ok(vec![rest, part]);
    }
    let (mut parts, mut whole) = (Vec::new(), Vec::new());
    for (root, affected) in part.into_iter().zip(affected) {
        if affected {
            parts.push(vec![root]);
        } else {
            whole.push(root);
        }
    }
    parts.push(whole);
    Ok(parts)
}

/// Of each root, whether something of it is missing, or is what was found to be damaged. No file is read for it.
async fn affected(from: &Store, roots: &[Root], error: &VersionsError) -> Result<Vec<bool>, VersionsError> {
    let damaged = match error {
        VersionsError::Store(StoreError::Damaged { digest, .. }) => from.verify_only(&[*digest]).await?,
        _ => Verified::default(),
    };
    let groups: Vec<_> = roots.iter().map(|root| vec![*root]).collect();
    Ok(from.lacking(&groups, &damaged).await?.affected)
}

/// Counts what moves, also in calls that fail.
struct Moved<'a> {
    progress: &'a dyn TransferProgress,
    pieces: AtomicU64,
    bytes: AtomicU64,
}

impl Moved<'_> {
    fn pieces(&self) -> u64 {
        self.pieces.load(Ordering::Relaxed)
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl TransferProgress for Moved<'_> {
    fn planned(&self, pieces: u64, bytes: u64) {
        self.progress.planned(pieces, bytes);
    }

    fn moved(&self, pieces: u64, bytes: u64) {
        self.pieces.fetch_add(pieces, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.progress.moved(pieces, bytes);
    }

    fn laying_out(&self, files: u64, bytes: u64) {
        self.progress.laying_out(files, bytes);
    }

    fn laid_out(&self, files: u64, bytes: u64) {
        self.progress.laid_out(files, bytes);
    }
}
