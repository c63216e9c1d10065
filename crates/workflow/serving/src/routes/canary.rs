use super::chance::{Share, levels};
use super::outputs::{Binning, Observation, drift};
use super::statistics::{CanaryState, CanaryStatistics, SideStatistics};
use super::window::{Totals, Went, Window};
use crate::CanarySettings;

/// Every so many requests of the canary it is judged, and after each that failed.
const JUDGED: u64 = 16;

/// The quantile of the latency that is compared.
const P95: f64 = 0.95;

/// A latency that is longer by less than this, in microseconds, is no complaint: so much the scheduler makes.
const JITTER_US: f64 = 100.0;

/// Which of the two answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The version on trial.
    Canary,
    /// The one that it is compared with.
    Stable,
}

/// One request of a side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) side: Side,
    pub(super) version: u64,
    /// When it was answered, in milliseconds since the Unix epoch.
    pub(super) at_ms: i64,
    pub(super) went: Went,
    pub(super) output: Option<Observation>,
}

/// What a judgement changed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// It was taken back, because of that.
    RolledBack(String),
    /// It has this share now.
    Promoted(f64),
    /// The last step passed its window.
    Passed,
}

/// A version on trial: its share, what went on with both sides, and whether it was taken back.
///
/// What is judged is what was sent to either side by share, not by a rule: only these are of the same kind.
#[derive(Debug)]
pub(super) struct Canary {
    settings: CanarySettings,
    /// All shares, in order: the weight and the greater ones of the steps.
    shares: Vec<f64>,
    step: usize,
    since_ms: Option<i64>,
    state: CanaryState,
    tried: Tried,
    stable: Tried,
    binning: Binning,
    /// The last window in which the stable version had enough requests, for when it has few, and when that was; none
    /// when it is so long ago that the world may have changed.
    baseline: Option<(i64, Totals)>,
    /// Whether there ever was one.
    compared: bool,
    requests: u64,
}

#[derive(Debug)]
struct Tried {
    version: Option<u64>,
    window: Window,
}

impl Canary {
    pub(super) fn new(settings: CanarySettings) -> Self {
        let greater = settings.steps.iter().copied().filter(|step| *step > settings.weight);
        let shares = std::iter::once(settings.weight).chain(greater).collect();
        let tried = || Tried { version: None, window: Window::new(window_ms(&settings)) };
        Self {
            shares,
            step: 0,
            since_ms: None,
            state: CanaryState::OnTrial,
            tried: tried(),
            stable: tried(),
            binning: Binning::default(),
            baseline: None,
            compared: false,
            requests: 0,
            settings,
        }
    }

    /// The share of requests that the canary takes.
    pub(super) fn share(&self) -> f64 {
        match self.state {
            CanaryState::RolledBack { .. } => 0.0,
            _ => self.shares.get(self.step).copied().unwrap_or_default(),
        }
    }

    /// A request goes to that version. A version that was not there before begins the trial anew, but for one that was
    /// taken back: that stays so.
    pub(super) fn going(&mut self, side: Side, version: u64) {
        let before = self.side(side).version.replace(version);
        if before.is_none_or(|before| before == version) {
            return;
        }
        let (canary, stable) = (self.tried.version, self.stable.version);
        let state = std::mem::replace(&mut self.state, CanaryState::OnTrial);
        *self = Self::new(self.settings.clone());
        (self.tried.version, self.stable.version) = (canary, stable);
        if matches!(state, CanaryState::RolledBack { .. }) {
            self.state = state;
        }
    }

    /// Counts a request, and judges.
    pub(super) fn record(&mut self, outcome: Outcome) -> Option<Verdict> {
        let Outcome { side, version, at_ms, went, output } = outcome;
        if self.side(side).version != Some(version) {
            // It was on its way when the version changed.
            return None;
        }
        self.since_ms.get_or_insert(at_ms);
        self.side(side).window.count(at_ms, went);
        self.observe(side, at_ms, output);
        if side == Side::Stable {
            return None;
        }
        self.requests += 1;
        let due = went == Went::Failed || self.requests.is_multiple_of(JUDGED);
        if due && self.is_judged() { self.judge(at_ms) } else { None }
    }

    fn observe(&mut self, side: Side, at_ms: i64, output: Option<Observation>) {
        let Some(value) = output else { return };
        let values = if side == Side::Stable { self.binning.learn(value) } else { vec![value] };
        for value in values {
            if let Some(bin) = self.binning.bin(value) {
                self.side(side).window.observe(at_ms, bin);
            }
        }
    }

    fn is_judged(&self) -> bool {
        let taken_back = matches!(self.state, CanaryState::RolledBack { .. });
        !taken_back && self.tried.version != self.stable.version
    }

    fn judge(&mut self, at_ms: i64) -> Option<Verdict> {
        let least = self.settings.min_requests;
        self.tried.window.total(at_ms);
        let stable = self.stable.window.total(at_ms);
        if stable.requests >= least {
            self.baseline = Some((at_ms, stable.clone()));
            self.compared = true;
        }
        let oldest = at_ms.saturating_sub(window_ms(&self.settings));
        self.baseline.take_if(|(taken_ms, _)| *taken_ms < oldest);
        let canary = self.tried.window.last();
        if canary.requests < least {
            return None;
        }
        if let Some(reason) = self.complaint(canary, self.baseline()) {
            self.state = CanaryState::RolledBack { reason: reason.clone(), at_ms };
            return Some(Verdict::RolledBack(reason));
        }
        self.go_on(at_ms)
    }

    fn baseline(&self) -> Option<&Totals> {
        self.baseline.as_ref().map(|(_, totals)| totals)
    }

    /// The next step, after a whole window at this one.
    fn go_on(&mut self, at_ms: i64) -> Option<Verdict> {
        let since = self.since_ms.unwrap_or(at_ms);
        let whole = at_ms.saturating_sub(since) >= window_ms(&self.settings);
        if self.settings.steps.is_empty() || !self.compared || !whole {
            return None;
        }
        if self.step + 1 < self.shares.len() {
            self.step += 1;
            self.since_ms = Some(at_ms);
            return Some(Verdict::Promoted(self.share()));
        }
        let before = std::mem::replace(&mut self.state, CanaryState::Passed);
        (before == CanaryState::OnTrial).then_some(Verdict::Passed)
    }

    /// Why the canary is to be taken back: only what chance does not explain. Without enough of the stable version only
    /// what failed is judged.
    fn complaint(&self, canary: &Totals, stable: Option<&Totals>) -> Option<String> {
        self.of_errors(canary, stable).or_else(|| {
            let stable = stable?;
            self.of_latency(canary, stable).or_else(|| self.of_drift(canary, stable))
        })
    }

    fn of_errors(&self, canary: &Totals, stable: Option<&Totals>) -> Option<String> {
        let least = least_error_rate(canary, stable);
        (least > self.settings.max_error_rate).then(|| {
            let (rate, least) = (error_rate(canary, stable) * 100.0, least * 100.0);
            let (requests, limit) = (canary.requests, self.settings.max_error_rate * 100.0);
            format!(
                "{rate:.2} % of its {requests} requests failed, or were refused or abandoned beyond those of the stable \
                 version, with chance allowed for at least {least:.2} %; the limit is {limit} %"
            )
        })
    }

    fn of_latency(&self, canary: &Totals, stable: &Totals) -> Option<String> {
        let (low, high) = levels(P95, canary.answered(), stable.answered());
        let (slow, usual) = (canary.latency_us(low)?, stable.latency_us(high)?);
        let limit = self.settings.max_latency_ratio;
        (slow > usual * limit && slow - usual > JITTER_US).then(|| {
            let ratio = slow / usual;
            format!(
                "its 95th percentile of latency is, chance allowed for, at least {slow:.0} us, {ratio:.2} times that of \
                 the stable version, the limit is {limit} times"
            )
        })
    }

    fn of_drift(&self, canary: &Totals, stable: &Totals) -> Option<String> {
        let limit = self.settings.max_drift;
        let enough = canary.observed().min(stable.observed()) >= self.settings.min_requests;
        let drift = drift(&canary.outputs, &stable.outputs);
        (enough && drift > limit)
            .then(|| format!("its outputs drift from those of the stable version by {drift:.3}, the limit is {limit}"))
    }

    fn side(&mut self, side: Side) -> &mut Tried {
        match side {
            Side::Canary => &mut self.tried,
            Side::Stable => &mut self.stable,
        }
    }

    pub(super) fn statistics(&self) -> CanaryStatistics {
        let (canary, stable) = (self.tried.window.last(), self.stable.window.last());
        let known = Some(stable).filter(|totals| totals.requests > 0).or(self.baseline());
        CanaryStatistics {
            share: self.share(),
            state: self.state.clone(),
            canary: side_statistics(canary),
            stable: side_statistics(stable),
            error_rate: error_rate(canary, known),
            drift: known.map_or(0.0, |stable| drift(&canary.outputs, &stable.outputs)),
        }
    }
}

fn window_ms(settings: &CanarySettings) -> i64 {
    i64::try_from(settings.window_seconds.saturating_mul(1000)).unwrap_or(i64::MAX)
}

/// The share of requests that failed, and those by which callers were wrong, and clients gave up, more often than with
/// the stable version: so a version is found that refuses what the other takes, or that nobody waits for.
fn error_rate(canary: &Totals, stable: Option<&Totals>) -> f64 {
    let above = |(canary, stable): (Share, Share)| canary.above(stable);
    canary.share(canary.failed).value() + compared(canary, stable).map(above).sum::<f64>()
}

/// The same, less what chance explains: by this the canary is judged.
fn least_error_rate(canary: &Totals, stable: Option<&Totals>) -> f64 {
    let above = |(canary, stable): (Share, Share)| canary.at_least_above(stable);
    canary.share(canary.failed).at_least() + compared(canary, stable).map(above).sum::<f64>()
}

/// The shares that are no fault by themselves.
fn compared(canary: &Totals, stable: Option<&Totals>) -> impl Iterator<Item = (Share, Share)> {
    let pairs = stable.map(|stable| {
        let pair = |count: fn(&Totals) -> u64| (canary.share(count(canary)), stable.share(count(stable)));
        [pair(|totals| totals.refused), pair(|totals| totals.abandoned)]
    });
    pairs.into_iter().flatten()
}

fn side_statistics(totals: &Totals) -> SideStatistics {
    SideStatistics {
        requests: totals.requests,
        failed: totals.failed,
        refused: totals.refused,
        abandoned: totals.abandoned,
        p95_us: totals.latency_us(P95).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
