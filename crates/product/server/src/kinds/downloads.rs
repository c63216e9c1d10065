use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ropewalk_connectors::FetchProgress;
use ropewalk_pipeline::Reporter;

/// Bytes between two words about them: a chunk of the network is far less than anybody wants to hear of.
const STEP: u64 = 256 << 10;

/// Tells how much of a stage's source is here.
pub(super) struct Downloads {
    reporter: Reporter,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is here of each file that is not finished.
    files: BTreeMap<String, File>,
    bytes: u64,
    before: u64,
    told: u64,
    total: Option<u64>,
}

#[derive(Default)]
struct File {
    bytes: u64,
    before: u64,
}

impl Downloads {
    pub(super) fn new(reporter: Reporter) -> Self {
        Self { reporter, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, state: &mut State) {
        state.told = state.bytes;
        self.reporter.received(state.bytes, state.before, state.total);
    }
}

impl FetchProgress for Downloads {
    fn planned(&self, _: usize, bytes: Option<u64>) {
        *self.state() = State { total: bytes, ..State::default() };
    }

    fn resumed(&self, name: &str, bytes: u64) {
        let mut state = self.state();
        state.files.insert(name.to_owned(), File { bytes, before: bytes });
        state.bytes += bytes;
        state.before += bytes;
    }

    fn received(&self, name: &str, bytes: u64) {
        let mut state = self.state();
        if let Some(file) = state.files.get_mut(name) {
            file.bytes += bytes;
        }
        state.bytes += bytes;
        if state.bytes >= state.told + STEP {
            self.tell(&mut state);
        }
    }

    fn restarted(&self, name: &str) {
        let mut state = self.state();
        let void = state.files.insert(name.to_owned(), File::default()).unwrap_or_default();
        state.bytes -= void.bytes;
        state.before -= void.before;
        self.tell(&mut state);
    }

    fn finished(&self, name: &str) {
        let mut state = self.state();
        state.files.remove(name);
        self.tell(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ropewalk_pipeline::{Event, Observer};

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<(u64, u64, Option<u64>)>>);

    impl Observer for Heard {
        fn event(&self, event: &Event) {
            let Event::Received { bytes, before, total, .. } = event else { panic!("{event:?}") };
            self.0.lock().expect("heard").push((*bytes, *before, *total));
        }
    }

    #[test]
    fn what_is_here_is_told_by_the_step_and_at_the_end_of_each_file() {
        let heard = Arc::new(Heard::default());
        let downloads = Downloads::new(Reporter::new("numbers".parse().expect("a name"), heard.clone()));
        downloads.planned(2, Some(3 * STEP));
        downloads.resumed("a", STEP);
        downloads.resumed("b", 0);
        downloads.received("b", STEP / 2);
        downloads.received("b", STEP / 2);
        downloads.restarted("a");
        downloads.received("a", 10);
        downloads.finished("b");
        downloads.finished("a");
        let told = heard.0.lock().expect("heard").clone();
        let total = Some(3 * STEP);
        let wanted = [(STEP + STEP / 2, STEP, total), (STEP, 0, total), (STEP + 10, 0, total), (STEP + 10, 0, total)];
        assert_eq!(told, wanted);
        // Everything is asked for once more.
        downloads.planned(1, None);
        downloads.resumed("a", 10);
        downloads.finished("a");
        assert_eq!(heard.0.lock().expect("heard").last(), Some(&(10, 10, None)));
    }
}
