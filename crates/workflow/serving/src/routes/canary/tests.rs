use super::super::point::hash;
use super::*;

/// A trial of version 2 against version 1 with a window of 10 s, which time walks through a millisecond a request.
struct Trial {
    canary: Canary,
    at_ms: i64,
    verdicts: Vec<Verdict>,
    /// Requests of the canary.
    tried: u64,
}

impl Trial {
    fn new(change: impl FnOnce(&mut CanarySettings)) -> Self {
        let json = r#"{"to": 2, "weight": 0.1, "window_seconds": 10}"#;
        let mut settings = serde_json::from_str(json).unwrap();
        change(&mut settings);
        let mut canary = Canary::new(settings);
        canary.going(Side::Canary, 2);
        canary.going(Side::Stable, 1);
        Self { canary, at_ms: 0, verdicts: Vec::new(), tried: 0 }
    }

    fn ask(&mut self, side: Side, went: Went, output: f64) {
        self.at_ms += 1;
        self.tried += u64::from(side == Side::Canary);
        let version = if side == Side::Canary { 2 } else { 1 };
        let output = matches!(went, Went::Answered(_)).then_some(Observation::Number(output));
        let verdict = self.canary.record(Outcome { side, version, at_ms: self.at_ms, went, output });
        self.verdicts.extend(verdict);
    }

    /// So many requests, by the share that the canary has; `canary` says how one of the canary's goes.
    fn run(&mut self, requests: u64, canary: impl Fn(u64) -> (Went, f64)) {
        for i in 0..requests {
            let (place, value) = hash(&[&i.to_le_bytes(), &self.at_ms.to_le_bytes()]);
            let usual = (Went::Answered(800 + value % 400), fraction(value));
            if fraction(place) < self.canary.share() {
                let (went, shift) = canary(i);
                self.ask(Side::Canary, went, usual.1 + shift);
            } else {
                self.ask(Side::Stable, usual.0, usual.1);
            }
        }
    }

    fn reason(&self) -> &str {
        let [Verdict::RolledBack(reason)] = &*self.verdicts else { panic!("{:?}", self.verdicts) };
        assert!((self.canary.share() - 0.0).abs() < 1e-9);
        reason
    }
}

fn fraction(bits: u64) -> f64 {
    bits as f64 / u64::MAX as f64
}

/// An hour of two requests a second, half of them for the canary; how each goes hangs on a number from 0 to 1.
fn hour(seed: u64, canary: impl Fn(f64) -> Went, stable: impl Fn(f64) -> Went) -> Trial {
    let mut trial = Trial::new(|settings| {
        settings.weight = 0.5;
        settings.window_seconds = 300;
    });
    for i in 0..7200_u64 {
        let (place, value) = hash(&[&seed.to_le_bytes(), &i.to_le_bytes()]);
        trial.at_ms = 500 * i as i64;
        if fraction(place) < trial.canary.share() {
            trial.ask(Side::Canary, canary(fraction(value)), 0.5);
        } else {
            trial.ask(Side::Stable, stable(fraction(value)), 0.5);
        }
    }
    trial
}

fn failing(share: f64) -> impl Fn(f64) -> Went {
    move |value| if value < share { Went::Failed } else { Went::Answered(1000) }
}

fn like_the_stable(i: u64) -> (Went, f64) {
    (Went::Answered(800 + i % 400), 0.0)
}

#[test]
fn a_version_that_does_as_well_stays() {
    let mut trial = Trial::new(|_| {});
    trial.run(200_000, like_the_stable);
    assert_eq!(trial.verdicts, []);
    let statistics = trial.canary.statistics();
    assert!(statistics.canary.requests > 800 && statistics.drift < 0.1, "{statistics:?}");
}

#[test]
fn errors_take_it_back_for_good() {
    let mut trial = Trial::new(|_| {});
    trial.run(20_000, |i| if i % 20 == 0 { (Went::Failed, 0.0) } else { like_the_stable(i) });
    assert!(trial.reason().ends_with("the limit is 1 %"), "{}", trial.reason());
    trial.run(100_000, like_the_stable);
    assert_eq!(trial.verdicts.len(), 1);
    // Not even a new version of it gets requests.
    trial.canary.going(Side::Canary, 3);
    assert!((trial.canary.share() - 0.0).abs() < 1e-9);
}

#[test]
fn chance_takes_back_no_version_that_does_as_well() {
    type Going = fn(f64) -> Went;
    let kinds: [(&str, Going); 3] = [
        ("refusals", |value| if value < 0.05 { Went::Refused } else { Went::Answered(1000) }),
        ("failures", |value| if value < 0.004 { Went::Failed } else { Went::Answered(1000) }),
        ("slow answers", |value| Went::Answered(if value < 0.06 { 100_000 } else { 1000 })),
    ];
    for (kind, went) in kinds {
        let taken_back = (0..20).filter(|seed| !hour(*seed, went, went).verdicts.is_empty()).count();
        assert!(taken_back <= 1, "{kind}: {taken_back} of 20");
    }
}

#[test]
fn a_version_that_does_worse_is_taken_back_soon() {
    for seed in 0..20 {
        let trial = hour(seed, failing(0.05), failing(0.001));
        assert!(trial.reason().contains("failed") && trial.tried <= 1000, "{seed}: {}", trial.tried);
        // The first 200 are not judged.
        let trial = hour(seed, failing(0.5), failing(0.001));
        assert!(trial.reason().contains("failed") && trial.tried <= 216, "{seed}: {}", trial.tried);
        let slow = |value: f64| Went::Answered(if value < 0.3 { 5000 } else { 1000 });
        let trial = hour(seed, slow, failing(0.001));
        assert!(trial.reason().contains("95th percentile") && trial.tried <= 1000, "{seed}: {}", trial.tried);
    }
}

#[test]
fn few_errors_or_few_requests_are_no_reason() {
    let mut trial = Trial::new(|_| {});
    trial.run(50_000, |i| if i % 500 == 0 { (Went::Failed, 0.0) } else { like_the_stable(i) });
    assert_eq!(trial.verdicts, []);
    let mut trial = Trial::new(|settings| settings.min_requests = 10_000);
    trial.run(50_000, |_| (Went::Failed, 0.0));
    assert_eq!(trial.verdicts, []);
}

#[test]
fn callers_mistakes_count_beyond_those_of_the_stable_version() {
    let mut trial = Trial::new(|_| {});
    for i in 0..4000 {
        let went = if i % 2 == 0 { Went::Refused } else { Went::Answered(100) };
        trial.ask(Side::Stable, went, 0.5);
        trial.ask(Side::Canary, went, 0.5);
    }
    assert_eq!(trial.verdicts, []);
    let mut trial = Trial::new(|_| {});
    trial.run(20_000, |_| (Went::Refused, 0.0));
    assert!(trial.reason().starts_with("100.00 %"), "{}", trial.reason());
}

#[test]
fn clients_that_go_away_count_beyond_those_of_the_stable_version() {
    let mut trial = Trial::new(|_| {});
    for i in 0..4000 {
        let went = if i % 2 == 0 { Went::Abandoned } else { Went::Answered(100) };
        trial.ask(Side::Stable, went, 0.5);
        trial.ask(Side::Canary, went, 0.5);
    }
    assert_eq!(trial.verdicts, []);
    assert_eq!(trial.canary.statistics().canary.abandoned, 2000);
    let mut trial = Trial::new(|_| {});
    trial.run(20_000, |i| if i % 4 == 0 { (Went::Abandoned, 0.0) } else { like_the_stable(i) });
    assert!(trial.reason().contains("abandoned") && trial.tried <= 216, "{}", trial.reason());
}

#[test]
fn latency_takes_it_back() {
    let mut trial = Trial::new(|_| {});
    trial.run(20_000, |i| (Went::Answered(3000 + i % 100), 0.0));
    assert!(trial.reason().contains("95th percentile"), "{}", trial.reason());
    // Twice as long, but only by what the scheduler makes.
    let mut trial = Trial::new(|_| {});
    for _ in 0..4000 {
        trial.ask(Side::Stable, Went::Answered(10), 0.5);
        trial.ask(Side::Canary, Went::Answered(90), 0.5);
    }
    assert_eq!(trial.verdicts, []);
}

#[test]
fn drift_of_outputs_takes_it_back() {
    let mut trial = Trial::new(|_| {});
    trial.run(50_000, |i| (Went::Answered(800 + i % 400), 0.4));
    assert!(trial.reason().contains("drift"), "{}", trial.reason());
    let mut trial = Trial::new(|settings| settings.max_drift = f64::INFINITY);
    trial.run(50_000, |i| (Went::Answered(800 + i % 400), 0.4));
    assert_eq!(trial.verdicts, []);
}

#[test]
fn it_goes_up_in_steps_and_is_judged_at_the_last_too() {
    let mut trial = Trial::new(|settings| {
        settings.weight = 0.05;
        settings.steps = vec![0.05, 0.25, 0.5, 1.0];
    });
    trial.run(60_000, like_the_stable);
    let passed = [Verdict::Promoted(0.25), Verdict::Promoted(0.5), Verdict::Promoted(1.0), Verdict::Passed];
    assert_eq!(trial.verdicts, passed);
    assert!(trial.at_ms >= 40_000);
    trial.run(1000, |_| (Went::Failed, 0.0));
    assert!(matches!(trial.verdicts.last(), Some(Verdict::RolledBack(_))));
}

#[test]
fn at_the_last_step_it_is_not_compared_with_times_gone_by() {
    let mut trial = Trial::new(|settings| settings.steps = vec![1.0]);
    trial.run(60_000, like_the_stable);
    let passed = [Verdict::Promoted(1.0), Verdict::Passed];
    assert_eq!(trial.verdicts, passed);
    // Load and inputs are others by now: slower, refused more often, of other outputs.
    trial.run(30_000, |i| if i % 10 == 0 { (Went::Refused, 0.0) } else { (Went::Answered(5000), 0.4) });
    assert_eq!(trial.verdicts, passed);
    trial.run(1000, |_| (Went::Failed, 0.0));
    assert!(matches!(trial.verdicts.last(), Some(Verdict::RolledBack(_))));
}

#[test]
fn just_after_the_last_step_it_is_compared_with_the_window_before() {
    let mut trial = Trial::new(|settings| settings.steps = vec![1.0]);
    trial.run(15_000, like_the_stable);
    assert_eq!(trial.verdicts, [Verdict::Promoted(1.0)]);
    trial.run(5000, |i| (Went::Answered(5000 + i % 100), 0.0));
    assert!(matches!(trial.verdicts.last(), Some(Verdict::RolledBack(_))), "{:?}", trial.verdicts);
}

#[test]
fn a_new_version_begins_anew_and_late_answers_of_the_old_do_not_count() {
    let mut trial = Trial::new(|settings| settings.steps = vec![1.0]);
    trial.run(15_000, like_the_stable);
    assert!((trial.canary.share() - 1.0).abs() < 1e-9);
    trial.canary.going(Side::Canary, 3);
    assert!((trial.canary.share() - 0.1).abs() < 1e-9);
    trial.ask(Side::Canary, Went::Failed, 0.0);
    assert_eq!(trial.canary.statistics().canary.requests, 0);
}
