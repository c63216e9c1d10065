use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use ropewalk_types::ModelName;

use crate::{RouteChange, RouteEvent};

/// Events that are remembered.
const EVENTS: usize = 256;

/// The last events, oldest first.
#[derive(Debug, Default)]
pub(super) struct Events(Mutex<VecDeque<RouteEvent>>);

impl Events {
    pub(super) fn push(&self, at_ms: i64, model: &ModelName, what: RouteChange) {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() >= EVENTS {
            events.pop_front();
        }
        events.push_back(RouteEvent { at_ms, model: model.clone(), what });
    }

    pub(super) fn list(&self) -> Vec<RouteEvent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go() {
        let (events, model) = (Events::default(), ModelName::new("m").unwrap());
        for at_ms in 0..300 {
            events.push(at_ms, &model, RouteChange::Set);
        }
        let list = events.list();
        assert_eq!((list.len(), list[0].at_ms, list[255].at_ms), (256, 44, 299));
    }
}
