use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ropewalk_types::{ModelName, PredictionId};

use super::{BatchStatistics, Elapsed, FailureCounts, LatencyHistogram, ModelStatistics};
use crate::lane::Timing;
use crate::{Fault, ServingError};

/// Upper bounds of the latency buckets, in microseconds; one more bucket holds what is slower than the last.
const BOUNDS_US: [u64; 17] = [
    25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000,
];

/// Batches of up to so many rows are counted by their rows, larger ones by the next power of two.
const EXACT_ROWS: usize = 64;

/// Counted sizes of batches: the last of them is 2 to the power of 35, and all that is above.
const SIZES: usize = EXACT_ROWS + 30;

/// The counters of one version. Readers see each counter whole, but not all at the same moment.
#[derive(Debug)]
pub(crate) struct Counters {
    answered: AtomicU64,
    refused: AtomicU64,
    unavailable: AtomicU64,
    failed: AtomicU64,
    rows: AtomicU64,
    inferences: AtomicU64,
    last_ms: AtomicU64,
    success_ns: AtomicU64,
    fail_ns: AtomicU64,
    queue_ns: AtomicU64,
    input_ns: AtomicU64,
    infer_ns: AtomicU64,
    output_ns: AtomicU64,
    rejected: AtomicU64,
    canceled: AtomicU64,
    backend: AtomicU64,
    other: AtomicU64,
    unjoined: AtomicU64,
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    /// Of what is in the buckets, which is less than `success_ns`: protocols add their own time to that.
    latency_ns: AtomicU64,
    batches: Box<[Batches; SIZES]>,
}

#[derive(Debug, Default)]
struct Batches {
    count: AtomicU64,
    input_ns: AtomicU64,
    infer_ns: AtomicU64,
    output_ns: AtomicU64,
}

/// One answered request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) prediction: PredictionId,
    pub(crate) rows: usize,
    pub(crate) inferences: usize,
    pub(crate) latency: Duration,
    pub(crate) timing: Timing,
}

impl Default for Counters {
    fn default() -> Self {
        let zero = AtomicU64::default;
        Self {
            answered: zero(),
            refused: zero(),
            unavailable: zero(),
            failed: zero(),
            rows: zero(),
            inferences: zero(),
            last_ms: zero(),
            success_ns: zero(),
            fail_ns: zero(),
            queue_ns: zero(),
            input_ns: zero(),
            infer_ns: zero(),
            output_ns: zero(),
            rejected: zero(),
            canceled: zero(),
            backend: zero(),
            other: zero(),
            unjoined: zero(),
            buckets: Default::default(),
            latency_ns: zero(),
            batches: Box::new(std::array::from_fn(|_| Batches::default())),
        }
    }
}

impl Counters {
    pub(crate) fn count_answer(&self, answer: Answer) {
        let Answer { prediction, rows, inferences, latency, timing } = answer;
        add(&self.answered, 1);
        add(&self.rows, rows as u64);
        add(&self.inferences, inferences as u64);
        self.last_ms.fetch_max(u64::try_from(prediction.millis()).unwrap_or_default(), Ordering::Relaxed);
        add(&self.success_ns, nanos(latency));
        for (counter, part) in [
            (&self.queue_ns, timing.queue),
            (&self.input_ns, timing.input),
            (&self.infer_ns, timing.infer),
            (&self.output_ns, timing.output),
        ] {
            if !part.is_zero() {
                add(counter, nanos(part));
            }
        }
        let micros = micros(latency);
        if let Some(bucket) = self.buckets.get(BOUNDS_US.partition_point(|bound| *bound < micros)) {
            add(bucket, 1);
            add(&self.latency_ns, nanos(latency));
        }
    }

    pub(crate) fn count_error(&self, error: &ServingError, elapsed: Duration) {
        let counter = match error.fault() {
            Fault::Request | Fault::NotFound | Fault::TooLarge => &self.refused,
            Fault::Overloaded | Fault::Late | Fault::Unavailable => &self.unavailable,
            Fault::Server => &self.failed,
        };
        add(counter, 1);
        let reason = match error.fault() {
            Fault::Request | Fault::NotFound | Fault::TooLarge => &self.other,
            Fault::Overloaded | Fault::Late => &self.rejected,
            Fault::Unavailable | Fault::Server => &self.backend,
        };
        add(reason, 1);
        add(&self.fail_ns, nanos(elapsed));
    }

    pub(crate) fn count_canceled(&self) {
        add(&self.canceled, 1);
    }

    pub(crate) fn count_unjoined(&self) {
        add(&self.unjoined, 1);
    }

    pub(crate) fn count_execution(&self, rows: usize, timing: Timing) {
        let Some(batches) = self.batches.get(place(rows)) else { return };
        add(&batches.count, 1);
        add(&batches.infer_ns, nanos(timing.infer));
        if !timing.input.is_zero() {
            add(&batches.input_ns, nanos(timing.input));
            add(&batches.output_ns, nanos(timing.output));
        }
    }

    /// Time that a protocol took to read a request and to write its answer.
    pub(crate) fn count_codec(&self, input: Duration, output: Duration) {
        add(&self.input_ns, nanos(input));
        add(&self.output_ns, nanos(output));
        add(&self.success_ns, nanos(input + output));
    }

    pub(crate) fn read(&self, model: ModelName, version: u64, pending: usize) -> ModelStatistics {
        let answered = load(&self.answered);
        let (refused, unavailable, failed) = (load(&self.refused), load(&self.unavailable), load(&self.failed));
        let of_answered = |ns: &AtomicU64| Elapsed { count: answered, ns: load(ns) };
        let batches: Vec<_> = self.batches.iter().enumerate().filter_map(|(at, batches)| batches.read(at)).collect();
        ModelStatistics {
            model,
            version,
            answered,
            refused,
            unavailable,
            failed,
            rows: load(&self.rows),
            latency: LatencyHistogram {
                bounds_us: BOUNDS_US.to_vec(),
                counts: self.buckets.iter().map(load).collect(),
                sum_us: load(&self.latency_ns) / 1000,
            },
            inference_count: load(&self.inferences),
            execution_count: batches.iter().map(|batch| batch.compute_infer.count).sum(),
            last_inference_ms: load(&self.last_ms),
            success: of_answered(&self.success_ns),
            fail: Elapsed { count: refused + unavailable + failed, ns: load(&self.fail_ns) },
            queue: of_answered(&self.queue_ns),
            compute_input: of_answered(&self.input_ns),
            compute_infer: of_answered(&self.infer_ns),
            compute_output: of_answered(&self.output_ns),
            failures: FailureCounts {
                rejected: load(&self.rejected),
                canceled: load(&self.canceled),
                backend: load(&self.backend),
                other: load(&self.other),
            },
            batches,
            unjoined: load(&self.unjoined),
            pending: pending as u64,
        }
    }
}

impl Batches {
    fn read(&self, place: usize) -> Option<BatchStatistics> {
        let count = load(&self.count);
        let elapsed = |ns: &AtomicU64| Elapsed { count, ns: load(ns) };
        (count > 0).then(|| BatchStatistics {
            batch_size: size(place),
            compute_input: elapsed(&self.input_ns),
            compute_infer: elapsed(&self.infer_ns),
            compute_output: elapsed(&self.output_ns),
        })
    }
}

/// Where batches of that many rows are counted: 0 to 64 at their own place, then one place for each power of two.
fn place(rows: usize) -> usize {
    if rows <= EXACT_ROWS {
        return rows;
    }
    let power = rows.checked_next_power_of_two().map_or(usize::BITS, usize::trailing_zeros) as usize;
    (EXACT_ROWS + power - EXACT_ROWS.trailing_zeros() as usize).min(SIZES - 1)
}

/// The rows that [`place`] stands for.
fn size(place: usize) -> u64 {
    if place <= EXACT_ROWS { place as u64 } else { (EXACT_ROWS as u64) << (place - EXACT_ROWS) }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Whole microseconds; what does not fit in 64 bits would be half a million years.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use ropewalk_types::ManualAmbient;

    use super::*;

    fn read(counters: &Counters) -> ModelStatistics {
        counters.read(ModelName::new("m").unwrap(), 1, 0)
    }

    #[test]
    fn a_latency_falls_into_the_bucket_that_bounds_it() {
        let counters = Counters::default();
        let prediction = PredictionId::new(&ManualAmbient::default());
        let timing = Timing { queue: Duration::from_nanos(3), infer: Duration::from_nanos(5), ..Timing::default() };
        for micros in [1, 100, 101, 10_000_000, 10_000_001] {
            let latency = Duration::from_micros(micros);
            counters.count_answer(Answer { prediction, rows: 2, inferences: 1, latency, timing });
        }
        let read = read(&counters);
        let counts = &read.latency.counts;
        assert_eq!((counts[0], counts[2], counts[3], counts[16], counts[17]), (1, 1, 1, 1, 1));
        assert_eq!((read.answered, read.rows, read.inference_count, read.latency.sum_us), (5, 10, 5, 20_000_203));
        assert_eq!((read.queue, read.compute_infer), (Elapsed { count: 5, ns: 15 }, Elapsed { count: 5, ns: 25 }));
        assert_eq!(read.last_inference_ms, 1_700_000_000_000);
    }

    #[test]
    fn batches_are_counted_by_their_rows() {
        let counters = Counters::default();
        let infer = Duration::from_nanos(7);
        for rows in [1, 1, 64, 65, 128, 129, usize::MAX] {
            counters.count_execution(rows, Timing { infer, ..Timing::default() });
        }
        let read = read(&counters);
        let counts: Vec<_> = read.batches.iter().map(|batch| (batch.batch_size, batch.compute_infer.count)).collect();
        assert_eq!(counts, [(1, 2), (64, 1), (128, 2), (256, 1), (1 << 35, 1)]);
        assert_eq!((read.execution_count, read.batches[0].compute_infer.ns), (7, 14));
    }

    #[test]
    fn each_error_has_one_reason() {
        let counters = Counters::default();
        let model = || "m".to_owned();
        let errors = [
            ServingError::Overloaded { model: model(), waiting: 1, retry_after: Duration::ZERO },
            ServingError::DeadlineExceeded { model: model(), waited: Duration::ZERO },
            ServingError::EngineFailed { model: model() },
            ServingError::TooManyRows { rows: 2, limit: 1 },
        ];
        for error in &errors {
            counters.count_error(error, Duration::from_nanos(2));
        }
        counters.count_canceled();
        let read = read(&counters);
        assert_eq!(read.failures.by_reason(), [("REJECTED", 2), ("CANCELED", 1), ("BACKEND", 1), ("OTHER", 1)]);
        assert_eq!(read.fail, Elapsed { count: 4, ns: 8 });
        assert_eq!((read.refused, read.unavailable, read.failed), (1, 2, 1));
    }
}
