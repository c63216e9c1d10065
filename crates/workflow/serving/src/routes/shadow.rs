use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use ropewalk_inference::NamedTensor;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::compare::compare;
use super::statistics::ShadowStatistics;
use crate::{RequestContext, ShadowSettings, Target};

/// Copies that wait for the shadow.
const COPIES: usize = 64;
/// Bytes of their inputs.
const BYTES: u64 = 64 << 20;

/// Asks another version the same, one copy after the other and after the answer was given, and compares.
#[derive(Debug)]
pub(super) struct Shadow {
    pub(super) settings: ShadowSettings,
    counts: Arc<Counts>,
    /// To the task that asks; begun with the first copy, and ended with the route.
    copies: OnceLock<Sender<Copied>>,
}

/// A request that was answered.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) target: Target,
    pub(super) inputs: Vec<NamedTensor>,
    /// The answer.
    pub(super) outputs: Vec<NamedTensor>,
    pub(super) rows: usize,
    pub(super) bytes: u64,
}

#[derive(Debug, Default)]
struct Counts {
    equal: AtomicU64,
    different: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    absent: AtomicU64,
    /// The bits of a number that is not negative, which are ordered as it is.
    largest: AtomicU64,
    bytes: AtomicU64,
}

impl Shadow {
    pub(super) fn new(settings: &ShadowSettings) -> Self {
        Self { settings: settings.clone(), counts: Arc::default(), copies: OnceLock::new() }
    }

    /// Takes a copy if there is room for it, and has it made only then. Never waits.
    pub(super) fn offer(&self, bytes: u64, copied: impl FnOnce() -> Copied) {
        let copies = self.copies.get_or_init(|| {
            let (sender, receiver) = channel(COPIES);
            tokio::spawn(ask_all(receiver, Arc::clone(&self.counts), self.settings.compare));
            sender
        });
        let before = self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
        match copies.try_reserve() {
            Ok(place) if before.saturating_add(bytes) <= BYTES => place.send(copied()),
            _ => {
                self.counts.bytes.fetch_sub(bytes, Ordering::Relaxed);
                one_more(&self.counts.dropped);
            }
        }
    }

    pub(super) fn absent(&self) {
        one_more(&self.counts.absent);
    }

    pub(super) fn statistics(&self) -> ShadowStatistics {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ShadowStatistics {
            equal: read(&self.counts.equal),
            different: read(&self.counts.different),
            failed: read(&self.counts.failed),
            dropped: read(&self.counts.dropped),
            absent: read(&self.counts.absent),
            largest_difference: f64::from_bits(read(&self.counts.largest)),
        }
    }
}

async fn ask_all(mut copies: Receiver<Copied>, counts: Arc<Counts>, tolerance: f64) {
    while let Some(copied) = copies.recv().await {
        let bytes = copied.bytes;
        ask(copied, &counts, tolerance).await;
        counts.bytes.fetch_sub(bytes, Ordering::Relaxed);
        // A cheap model is evaluated on this task, which is not to keep a thread from requests.
        tokio::task::yield_now().await;
    }
}

async fn ask(copied: Copied, counts: &Counts, tolerance: f64) {
    let Copied { target, inputs, outputs, rows, bytes } = copied;
    let loaded = target.loaded();
    if loaded.check_inputs(&inputs).is_err() {
        return one_more(&counts.failed);
    }
    let asked = loaded.lane.asked(inputs, rows, bytes, &RequestContext::default());
    let Ok(evaluated) = loaded.lane.evaluate(asked).await else { return one_more(&counts.failed) };
    let compared = compare(&outputs, &evaluated.outputs, tolerance);
    one_more(if compared.is_equal { &counts.equal } else { &counts.different });
    counts.largest.fetch_max(compared.largest_difference.to_bits(), Ordering::Relaxed);
}

fn one_more(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}
