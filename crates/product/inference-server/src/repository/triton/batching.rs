//! `dynamic_batching`: which requests are joined, and how they wait.

use std::time::Duration;

use ropewalk_serving::{Batching, ModelSettings, QueuePolicy};

use super::fields::{number, numbers, sub, word};
use super::{Field, Message, TritonConfig, Wrong};

/// How long a batch waits, in microseconds, and the line that begins what says so.
pub(super) type Delay = (u64, usize);

/// What a queue policy says; what it does not say is none.
#[derive(Default)]
struct Policy {
    queue: Option<usize>,
    timeout: Option<Duration>,
}

impl TritonConfig {
    /// Requests are joined where the model takes more than one row and says so.
    pub(super) fn batch(&mut self, rows: usize, delay: Option<Delay>) -> Result<(), Wrong> {
        let Some((max_delay_us, line)) = delay else { return Ok(()) };
        if rows == 0 {
            self.no_effect("dynamic_batching (max_batch_size is 0)");
            return Ok(());
        }
        if let Some(size) = self.settings.preferred_rows.iter().find(|size| !(1..=rows).contains(*size)) {
            let reason = format!("`preferred_batch_size`: {size} is no size from 1 to max_batch_size, which is {rows}");
            return Err(Wrong { line, reason });
        }
        self.settings.batching = Some(Batching { max_rows: rows, max_delay_us });
        Ok(())
    }

    pub(super) fn dynamic_batching(&mut self, whole: &Field) -> Result<Delay, Wrong> {
        let message = sub(whole)?;
        let mut delay = 0;
        for field in &message.fields {
            match field.name.as_str() {
                "max_queue_delay_microseconds" => delay = number(field)?,
                "priority_levels" => self.settings.priority_levels = number(field)?,
                "default_priority_level" => self.settings.default_priority = number(field)?,
                "default_queue_policy" => {
                    let policy = self.queue_policy(&field.name, sub(field)?)?;
                    self.settings.queue = policy.queue.unwrap_or(self.settings.queue);
                    self.settings.timeout = policy.timeout;
                }
                "priority_queue_policy" => self.priority_queue_policy(field)?,
                "preferred_batch_size" => {}
                name => self.no_effect(&format!("dynamic_batching.{name}")),
            }
        }
        self.settings.preferred_rows = numbers(message, "preferred_batch_size")?;
        self.settings.preferred_rows.sort_unstable();
        self.check_levels(whole)?;
        Ok((delay, whole.line))
    }

    /// One entry of the map from priorities to policies.
    fn priority_queue_policy(&mut self, entry: &Field) -> Result<(), Wrong> {
        let message = sub(entry)?;
        let of = |name: &str| message.fields.iter().find(|field| field.name == name);
        let level = of("key").map(number).transpose()?.unwrap_or(0);
        let policy = match of("value") {
            Some(value) => self.queue_policy(&entry.name, sub(value)?)?,
            None => Policy::default(),
        };
        let queue = policy.queue.unwrap_or(ModelSettings::default().queue);
        self.settings.queues.insert(level, QueuePolicy { queue, timeout: policy.timeout });
        Ok(())
    }

    /// Every priority that is named must be one of the levels.
    fn check_levels(&self, whole: &Field) -> Result<(), Wrong> {
        let settings = &self.settings;
        let levels = 1..=settings.priority_levels;
        let default = (settings.default_priority > 0).then_some(settings.default_priority);
        match default.iter().chain(settings.queues.keys()).find(|level| !levels.contains(*level)) {
            Some(level) => {
                let reason = format!("priority {level} is none of 1 to priority_levels, which is {}", levels.end());
                Err(Wrong { line: whole.line, reason })
            }
            None => Ok(()),
        }
    }

    fn queue_policy(&mut self, of: &str, message: &Message) -> Result<Policy, Wrong> {
        let mut policy = Policy::default();
        for field in &message.fields {
            match field.name.as_str() {
                "max_queue_size" => {
                    // 0 means no bound, which nothing has here.
                    policy.queue = Some(number(field)?).filter(|size| *size > 0);
                }
                "default_timeout_microseconds" => {
                    let micros: u64 = number(field)?;
                    policy.timeout = (micros > 0).then(|| Duration::from_micros(micros));
                }
                // So it is here for all.
                "timeout_action" if word(field)? == "REJECT" => {}
                "allow_timeout_override" if word(field)? == "true" => {}
                "timeout_action" | "allow_timeout_override" => {
                    self.no_effect(&format!("{of}.{}: {}", field.name, word(field)?));
                }
                name => self.no_effect(&format!("{of}.{name}")),
            }
        }
        Ok(policy)
    }
}
