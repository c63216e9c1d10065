use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ropewalk_inference::NamedTensor;

use super::canary::{Canary, Outcome, Side, Verdict};
use super::events::Events;
use super::outputs::Observation;
use super::point::Point;
use super::shadow::{Copied, Shadow};
use super::statistics::{RouteChange, RouteStatistics, TargetStatistics};
use super::window::Went;
use crate::{Fault, Route, RouteTarget, ServingError, Target};

/// A route at work: where it sends a request, and what it counts.
#[derive(Debug)]
pub(crate) struct LiveRoute {
    route: Route,
    /// The rules: header in lower case, value, place among the targets.
    rules: Vec<(String, String, usize)>,
    /// Ends of the parts of the split in order, the last of which is 1, and their places among the targets.
    split: Vec<(f64, usize)>,
    /// Each target once; the first is the default version.
    targets: Vec<TargetCounts>,
    /// The trial, and the places of the version on trial and of the stable one.
    canary: Option<(Mutex<Canary>, usize, usize)>,
    shadow: Option<Shadow>,
    roll_backs: AtomicU64,
    events: Arc<Events>,
}

#[derive(Debug, Default)]
struct TargetCounts {
    to: Option<RouteTarget>,
    requests: AtomicU64,
    failed: AtomicU64,
    absent: AtomicU64,
}

/// Where one request goes by its route.
#[derive(Debug)]
pub(crate) struct Way {
    live: Arc<LiveRoute>,
    place: usize,
    side: Option<Side>,
    /// Whether its share of copies takes it.
    copied: bool,
}

impl LiveRoute {
    pub(super) fn new(route: Route, events: Arc<Events>) -> Self {
        let mut targets = vec![TargetCounts::default()];
        let mut place = |to: Option<&RouteTarget>| {
            targets.iter().position(|one| one.to.as_ref() == to).unwrap_or_else(|| {
                targets.push(TargetCounts { to: to.cloned(), ..TargetCounts::default() });
                targets.len() - 1
            })
        };
        let settings = &route.settings;
        let rule = |rule: &crate::HeaderRule| (rule.header.to_ascii_lowercase(), rule.value.clone());
        let rules = settings.rules.iter().map(|one| (rule(one), place(Some(&one.to))));
        let rules = rules.map(|((header, value), place)| (header, value, place)).collect();
        let sum: f64 = settings.split.iter().map(|part| part.weight).sum();
        let mut end = 0.0;
        let split = settings.split.iter().map(|part| {
            end += part.weight / sum;
            (end, place(Some(&part.to)))
        });
        let split = split.collect();
        let canary = settings.canary.as_ref().map(|canary| {
            let (on_trial, stable) = (place(Some(&canary.to)), place(canary.stable.as_ref()));
            (Mutex::new(Canary::new(canary.clone())), on_trial, stable)
        });
        let shadow = settings.shadow.as_ref().map(Shadow::new);
        Self { rules, split, targets, canary, shadow, roll_backs: AtomicU64::new(0), events, route }
    }

    pub(crate) fn route(&self) -> &Route {
        &self.route
    }

    pub(super) fn headers(&self) -> impl Iterator<Item = &String> {
        self.rules.iter().map(|(header, ..)| header)
    }

    /// Where the request with that id and those headers goes: the same for the same id as long as the shares stay.
    pub(crate) fn way(self: Arc<Self>, labels: &[(String, String)], id: &[u8]) -> Way {
        let point = Point::of(self.route.model.as_str(), id);
        let (place, side) = self.place(labels, point);
        let copied = self.shadow.as_ref().is_some_and(|shadow| point.sample < shadow.settings.sample);
        Way { live: self, place, side, copied }
    }

    fn place(&self, labels: &[(String, String)], point: Point) -> (usize, Option<Side>) {
        let fits = |header: &str, value: &str| labels.iter().any(|(name, text)| name == header && text == value);
        if let Some((.., place)) = self.rules.iter().find(|(header, value, _)| fits(header, value)) {
            return (*place, None);
        }
        if let Some((canary, on_trial, stable)) = &self.canary {
            let is_tried = point.place < lock(canary).share();
            return if is_tried { (*on_trial, Some(Side::Canary)) } else { (*stable, Some(Side::Stable)) };
        }
        // Rounding may leave the last end a little below 1.
        let part = self.split.iter().find(|(end, _)| point.place < *end).or(self.split.last());
        (part.map_or(0, |(_, place)| *place), None)
    }

    pub(crate) fn statistics(&self, version: impl Fn(Option<&RouteTarget>) -> Option<u64>) -> RouteStatistics {
        let targets = self.targets.iter().map(|counts| TargetStatistics {
            to: counts.to.clone(),
            version: version(counts.to.as_ref()),
            requests: counts.requests.load(Ordering::Relaxed),
            failed: counts.failed.load(Ordering::Relaxed),
            absent: counts.absent.load(Ordering::Relaxed),
        });
        RouteStatistics {
            route: self.route.clone(),
            targets: targets.collect(),
            shadow: self.shadow.as_ref().map(Shadow::statistics),
            canary: self.canary.as_ref().map(|(canary, ..)| lock(canary).statistics()),
            roll_backs: self.roll_backs.load(Ordering::Relaxed),
        }
    }
}

impl Way {
    /// The version that it goes to; none is the default one.
    pub(crate) fn to(&self) -> Option<&RouteTarget> {
        self.counts().and_then(|counts| counts.to.as_ref())
    }

    /// It goes there as meant.
    pub(crate) fn entered(&self, target: &Target) {
        if let (Some((canary, ..)), Some(side)) = (&self.live.canary, self.side) {
            lock(canary).going(side, target.version());
        }
    }

    /// The default version takes it, because the one it was meant for is not loaded.
    pub(crate) fn absent(&mut self) {
        self.side = None;
        if let Some(counts) = self.counts() {
            counts.absent.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether [`count`](Self::count) wants to know an output.
    pub(crate) fn observes(&self) -> bool {
        self.side.is_some()
    }

    /// Counts how it went, and lets the canary be judged.
    pub(crate) fn count(
        &self,
        version: u64,
        at_ms: i64,
        went: Result<u64, &ServingError>,
        output: Option<Observation>,
    ) {
        let went = match went {
            Ok(latency_us) => Went::Answered(latency_us),
            Err(error) => match error.fault() {
                Fault::Request | Fault::NotFound | Fault::TooLarge => Went::Refused,
                Fault::Overloaded | Fault::Late | Fault::Unavailable | Fault::Server => Went::Failed,
            },
        };
        self.record(version, at_ms, went, output);
    }

    /// Counts a request that could not be read for the version, as [`count`](Self::count) does a wrong one.
    pub(crate) fn unread(&self, version: u64, at_ms: i64) {
        self.record(version, at_ms, Went::Refused, None);
    }

    /// Counts a request whose client went away, as [`count`](Self::count) does one that is over.
    pub(crate) fn abandoned(&self, version: u64, at_ms: i64) {
        self.record(version, at_ms, Went::Abandoned, None);
    }

    fn record(&self, version: u64, at_ms: i64, went: Went, output: Option<Observation>) {
        if let Some(counts) = self.counts() {
            counts.requests.fetch_add(1, Ordering::Relaxed);
            counts.failed.fetch_add(u64::from(!matches!(went, Went::Answered(_))), Ordering::Relaxed);
        }
        let (Some((canary, ..)), Some(side)) = (&self.live.canary, self.side) else { return };
        let verdict = lock(canary).record(Outcome { side, version, at_ms, went, output });
        let what = match verdict {
            None => return,
            Some(Verdict::RolledBack(reason)) => {
                self.live.roll_backs.fetch_add(1, Ordering::Relaxed);
                RouteChange::RolledBack { reason }
            }
            Some(Verdict::Promoted(share)) => RouteChange::Promoted { share },
            Some(Verdict::Passed) => RouteChange::Passed,
        };
        self.live.events.push(at_ms, &self.live.route.model, what);
    }

    /// Hands a copy to the shadow, if this request is to have one. `find` gives the shadow's version.
    pub(crate) fn copy(
        &self,
        answered: u64,
        size: (usize, u64),
        find: impl FnOnce(&RouteTarget) -> Option<Target>,
        tensors: impl FnOnce() -> (Vec<NamedTensor>, Vec<NamedTensor>),
    ) {
        let Some(shadow) = self.live.shadow.as_ref().filter(|_| self.copied) else { return };
        let Some(target) = find(&shadow.settings.to) else { return shadow.absent() };
        if target.version() == answered {
            // It would be compared with itself.
            return;
        }
        let (rows, bytes) = size;
        shadow.offer(bytes, || {
            let (inputs, outputs) = tensors();
            Copied { target, inputs, outputs, rows, bytes }
        });
    }

    fn counts(&self) -> Option<&TargetCounts> {
        self.live.targets.get(self.place)
    }
}

fn lock(canary: &Mutex<Canary>) -> MutexGuard<'_, Canary> {
    canary.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use ropewalk_types::ModelName;

    use super::*;

    fn live(json: &str) -> Arc<LiveRoute> {
        let settings = serde_json::from_str(json).unwrap();
        let model = ModelName::new("m").unwrap();
        Arc::new(LiveRoute::new(Route { model, settings }, Arc::default()))
    }

    fn goes(live: &Arc<LiveRoute>, labels: &[(String, String)], id: &str) -> String {
        let way = Arc::clone(live).way(labels, id.as_bytes());
        way.to().map_or_else(|| "default".to_owned(), ToString::to_string)
    }

    #[test]
    fn a_split_keeps_its_proportion_and_an_id_its_way() {
        let live = live(r#"{"split": [{"to": 1, "weight": 7}, {"to": 2, "weight": 2}, {"to": "new", "weight": 1}]}"#);
        let ids: Vec<String> = (0..20_000).map(|i| format!("request-{i}")).collect();
        let ways: Vec<String> = ids.iter().map(|id| goes(&live, &[], id)).collect();
        for (to, share) in [("version 1", 0.7), ("version 2", 0.2), ("alias `new`", 0.1)] {
            let found = ways.iter().filter(|way| *way == to).count() as f64 / 20_000.0;
            // Five standard deviations of a share of 20,000.
            assert!((found - share).abs() < 0.0163, "{to}: {found}");
        }
        assert!(ids.iter().zip(&ways).all(|(id, way)| goes(&live, &[], id) == *way));
    }

    #[test]
    fn rules_go_before_shares_and_the_first_that_fits_takes_it() {
        let live = live(
            r#"{"rules": [{"header": "X-Group", "value": "beta", "to": 2}, {"header": "x-who", "value": "me", "to": 3}],
                "split": [{"to": 1, "weight": 1}]}"#,
        );
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(live.headers().collect::<Vec<_>>(), ["x-group", "x-who"]);
        assert_eq!(goes(&live, &[label("x-who", "me"), label("x-group", "beta")], "a"), "version 2");
        assert_eq!(goes(&live, &[label("x-who", "me"), label("x-group", "alpha")], "a"), "version 3");
        assert_eq!(goes(&live, &[label("x-group", "")], "a"), "version 1");
    }

    #[test]
    fn who_is_on_trial_stays_so_when_the_share_grows() {
        let canary = |weight: f64| live(&format!(r#"{{"canary": {{"to": 2, "weight": {weight}}}}}"#));
        let (few, many) = (canary(0.05), canary(0.5));
        let ids: Vec<String> = (0..2000).map(|i| i.to_string()).collect();
        let tried: Vec<_> = ids.iter().filter(|id| goes(&few, &[], id) == "version 2").collect();
        assert!((50..150).contains(&tried.len()), "{}", tried.len());
        assert!(tried.iter().all(|id| goes(&many, &[], id) == "version 2"));
        assert!(ids.iter().any(|id| goes(&many, &[], id) == "default"));
    }
}
