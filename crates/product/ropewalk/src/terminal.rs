//! Talk: what a person reads on standard error while a command works.
#![expect(clippy::print_stderr, reason = "the one place that writes to standard error")]

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

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
    moving: Mutex<BTreeMap<String, ProgressBar>>,
    live: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { lines: MultiProgress::new(), moving: Mutex::default(), live: std::io::stderr().is_terminal() }
    }

    fn start(&self, stage: &str, kind: &str) {
        if !self.live {
            return;
        }
        let line = self.lines.add(ProgressBar::new_spinner());
        let style = ProgressStyle::with_template("{spinner} {prefix:<12} {msg} ({elapsed})");
        line.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        line.set_prefix(stage.to_owned());
        line.set_message(kind.to_owned());
        line.enable_steady_tick(Duration::from_millis(100));
        self.moving.lock().unwrap_or_else(PoisonError::into_inner).insert(stage.to_owned(), line);
    }

    fn moved(&self, stage: &str, text: &str, done: u64, total: u64) {
        if let Some(line) = self.moving.lock().unwrap_or_else(PoisonError::into_inner).get(stage) {
            let share = if total > 0 { format!("{done}/{total} ") } else { String::new() };
            line.set_message(format!("{share}{text}"));
        }
    }

    fn end(&self, report: &StageReport) {
        let name = report.name.as_str();
        if let Some(line) = self.moving.lock().unwrap_or_else(PoisonError::into_inner).remove(name) {
            line.finish_and_clear();
            self.lines.remove(&line);
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
    let reused = number("pieces_reused").filter(|n| *n > 0);
    facts.extend(reused.map(|n| format!("{n} pieces were finished before")));
    let auc = summary.pointer("/metrics/auc").and_then(serde_json::Value::as_f64);
    facts.extend(auc.map(|auc| format!("AUC {auc:.4}")));
    facts.extend(summary.get("model").and_then(|model| model.as_str()).map(str::to_owned));
    facts.join(", ")
}

impl Observer for Progress {
    fn event(&self, event: &Event) {
        match event {
            Event::Started { stage, kind } => self.start(stage.as_str(), kind),
            Event::Progress { stage, text, done, total } => self.moved(stage.as_str(), text, *done, *total),
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
        let done = counted.bytes.load(Ordering::Relaxed);
        self.bar.set_prefix(counted.what);
        self.bar.set_length(done.saturating_add(bytes));
        self.bar.set_position(done);
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
