use ropewalk_types::{Ambient, Timestamp};

/// The system's time and randomness.
#[derive(Debug)]
pub(crate) struct SystemAmbient;

impl Ambient for SystemAmbient {
    fn now(&self) -> Timestamp {
        Timestamp(chrono::Utc::now().timestamp_millis())
    }

    fn random(&self) -> u128 {
        let mut bytes = [0; 16];
        // Every system that serves has some; without any, ids of predictions repeat, and nothing else does.
        let _ = getrandom::fill(&mut bytes);
        u128::from_le_bytes(bytes)
    }
}
