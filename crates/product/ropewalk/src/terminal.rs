//! Talk: what a person reads on standard error while a command works.
#![expect(clippy::print_stderr, reason = "the one place that writes to standard error")]

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use ropewalk_pipeline::{Event, Observer, StageReport, StageState};
use ropewalk_store::TransferProgress;

/// Says one line.
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// Shows a pipeline at work: a moving line for each stage on a terminal, plain lines elsewhere.
pub(crate) struct Progress {
    lines: MultiProgress,
    working: Mutex<BTreeMap<String, Working>>,
    live: bool,
}

/// A stage at work.
struct Working {
    /// Hidden where nobody would see it move.
    line: ProgressBar,
    /// What its source sends at the moment.
    receiving: Option<Receiving>,
}

struct Receiving {
    since: Instant,
    /// What this run received.
    bytes: u64,
    /// What was here before it.
    before: u64,
}

const WORKING: &str = "{spinner} {prefix:<12} {msg} ({elapsed})";
const RECEIVING: &str = "{spinner} {prefix:<12} received {bytes}, {binary_bytes_per_sec}";
const RECEIVING_OF: &str = "{spinner} {prefix:<12} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta} left";

impl Working {
    fn style(&self, template: &str) {
        let style = ProgressStyle::with_template(template);
        self.line.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    }

    fn received(&mut self, bytes: u64, before: u64, total: Option<u64>) {
        let known = self.receiving.as_ref().map(|receiving| (receiving.since, receiving.before));
        let since = known.map_or_else(Instant::now, |(since, _)| since);
        self.receiving = Some(Receiving { since, bytes: bytes - before, before });
        if known.is_none() {
            self.style(if total.is_some() { RECEIVING_OF } else { RECEIVING });
        }
        if let Some(total) = total {
            self.line.set_length(total);
        }
        self.line.set_position(bytes);
        if known.is_none_or(|(_, known)| known != before) {
            // What was here already came in no time, and says nothing about the rate.
            self.line.reset_eta();
        }
    }

    /// Goes over to other work; what was received and how long that took, if anything was.
    fn receiving_end(&mut self) -> Option<String> {
        let Receiving { since, bytes, before } = self.receiving.take()?;
        self.style(WORKING);
        let (seconds, bytes) = (since.elapsed().as_secs_f64(), crate::output::bytes(bytes));
        Some(match before {
            0 => format!("received {bytes} in {seconds:.2} s"),
            _ => format!("received {bytes} in {seconds:.2} s, {} before", crate::output::bytes(before)),
        })
    }
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { lines: MultiProgress::new(), working: Mutex::default(), live: std::io::stderr().is_terminal() }
    }

    fn working(&self) -> MutexGuard<'_, BTreeMap<String, Working>> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, stage: &str, kind: &str) {
        let line = if self.live { self.lines.add(ProgressBar::new_spinner()) } else { ProgressBar::hidden() };
        let working = Working { line, receiving: None };
        if self.live {
            working.style(WORKING);
            working.line.set_prefix(stage.to_owned());
            working.line.set_message(kind.to_owned());
            working.line.enable_steady_tick(Duration::from_millis(100));
        }
        self.working().insert(stage.to_owned(), working);
    }

    fn moved(&self, stage: &str, text: &str, done: u64, total: u64) {
        let received = self.working().get_mut(stage).and_then(|working| {
            let share = if total > 0 { format!("{done}/{total} ") } else { String::new() };
            working.line.set_message(format!("{share}{text}"));
            working.receiving_end()
        });
        self.received_end(stage, received);
    }

    /// A moving line has shown it already.
    fn received_end(&self, stage: &str, received: Option<String>) {
        if let (Some(received), false) = (received, self.live) {
            self.line(&format!("{stage}: {received}"));
        }
    }

    fn end(&self, report: &StageReport) {
        let name = report.name.as_str();
        let working = self.working().remove(name);
        if let Some(mut working) = working {
            self.received_end(name, working.receiving_end());
            working.line.finish_and_clear();
            self.lines.remove(&working.line);
        }
        self.line(&ended(report));
        for text in [report.error.as_ref(), report.hint.as_ref()].into_iter().flatten() {
            self.line(&format!("  {text}"));
        }
    }

    fn line(&self, text: &str) {
        if self.live {
            self.lines.suspend(|| eprintln!("{text}"));
        } else {
            eprintln!("{text}");
        }
    }
}

fn ended(report: &StageReport) -> String {
    let word = match report.state {
        StageState::Executed => "done",
        StageState::Cached => "known",
        StageState::Failed => "FAILED",
        StageState::Skipped => "skipped",
    };
    let facts = facts(report);
    format!("{word:<8}{:<12} {:<9} {:>7.2} s  {facts}", report.name, report.kind, report.seconds)
}

/// The few figures of a stage's summary that fit on its line.
fn facts(report: &StageReport) -> String {
    let summary = &report.summary;
    let number = |key: &str| summary.get(key).and_then(serde_json::Value::as_u64);
    let mut facts = Vec::new();
    for (key, unit) in
        [("rows", "rows"), ("columns", "columns"), ("quarantined", "quarantined"), ("iterations", "trees")]
    {
        facts.extend(number(key).filter(|n| *n > 0).map(|n| format!("{n} {unit}")));
    }
    facts.extend((summary.get("nothing_new") == Some(&true.into())).then(|| "nothing new".to_owned()));
    let reused = number("pieces_reused").filter(|n| *n > 0);
    facts.extend(reused.map(|n| format!("{n} pieces were finished before")));
    let auc = summary.pointer("/metrics/auc").and_then(serde_json::Value::as_f64);
    facts.extend(auc.map(|auc| format!("AUC {auc:.4}")));
    facts.extend((!report.latest_again.is_empty()).then(|| "the latest again".to_owned()));
    facts.extend(summary.get("model").and_then(|model| model.as_str()).map(str::to_owned));
    facts.join(", ")
}

impl Observer for Progress {
    fn event(&self, event: &Event) {
        match event {
            Event::Started { stage, kind } => self.start(stage.as_str(), kind),
            Event::Progress { stage, text, done, total } => self.moved(stage.as_str(), text, *done, *total),
            Event::Received { stage, bytes, before, total } => {
                if let Some(working) = self.working().get_mut(stage.as_str()) {
                    working.received(*bytes, *before, *total);
                }
            }
            Event::Said { stage, text } => self.line(&format!("{stage}: {text}")),
            Event::Ended(report) => self.end(report),
            _ => {}
        }
    }
}

/// Shows bytes on their way and files being laid out, one after the other: a bar with rate and time left on a terminal,
/// one line at the end elsewhere.
pub(crate) struct Transfer {
    bar: ProgressBar,
    travel: Counted,
    laying_out: Counted,
    live: bool,
}

/// What is done of one of the two.
struct Counted {
    what: &'static str,
    bytes: AtomicU64,
}

impl Transfer {
    /// `what` says why bytes travel.
    pub(crate) fn new(what: &'static str) -> Self {
        let live = std::io::stderr().is_terminal();
        let bar = if live { ProgressBar::new(0) } else { ProgressBar::hidden() };
        let template = "{prefix} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta} left";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        let counted = |what| Counted { what, bytes: AtomicU64::new(0) };
        Self { bar, travel: counted(what), laying_out: counted("laying out"), live }
    }

    /// Takes the bar away; says what was done where there was none.
    pub(crate) fn end(self) {
        self.bar.finish_and_clear();
        let done: Vec<_> = [&self.travel, &self.laying_out].into_iter().filter_map(Counted::told).collect();
        if !self.live && !done.is_empty() {
            eprintln!("{} in {:.2} s", done.join(", "), self.bar.elapsed().as_secs_f64());
        }
    }

    fn begin(&self, counted: &Counted, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let done = counted.bytes.load(Ordering::Relaxed);
        // The length first: a bar of no length is full.
        self.bar.set_length(done.saturating_add(bytes));
        self.bar.set_position(done);
        self.bar.set_prefix(counted.what);
        self.bar.reset_eta();
    }

    fn go_on(&self, counted: &Counted, bytes: u64) {
        self.bar.set_position(counted.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes);
    }
}

impl Counted {
    fn told(&self) -> Option<String> {
        let done = self.bytes.load(Ordering::Relaxed);
        (done > 0).then(|| format!("{}: {}", self.what, crate::output::bytes(done)))
    }
}

impl TransferProgress for Transfer {
    fn planned(&self, _: u64, bytes: u64) {
        self.begin(&self.travel, bytes);
    }

    fn moved(&self, _: u64, bytes: u64) {
        self.go_on(&self.travel, bytes);
    }

    fn laying_out(&self, _: u64, bytes: u64) {
        self.begin(&self.laying_out, bytes);
    }

    fn laid_out(&self, _: u64, bytes: u64) {
        self.go_on(&self.laying_out, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_travels_and_what_is_laid_out_are_counted_apart() {
        let transfer = Transfer::new("pulling");
        transfer.planned(2, 100);
        transfer.moved(1, 60);
        // It has to begin anew with the rest.
        transfer.planned(1, 40);
        assert_eq!((transfer.bar.position(), transfer.bar.length()), (60, Some(100)));
        transfer.moved(1, 40);
        transfer.laying_out(1, 300);
        assert_eq!((transfer.bar.position(), transfer.bar.length()), (0, Some(300)));
        transfer.laid_out(1, 300);
        let told = |counted: &Counted| counted.told().expect("something was done");
        assert_eq!(told(&transfer.travel), format!("pulling: {}", crate::output::bytes(100)));
        assert_eq!(told(&transfer.laying_out), format!("laying out: {}", crate::output::bytes(300)));
    }
}
