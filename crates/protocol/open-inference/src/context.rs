//! What comes with a request beside its tensors, in either protocol.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Extensions, HeaderMap};
use ropewalk_serving::RequestContext;

use crate::ProtocolError;

/// The name of the client that the product has authenticated: an extension of the HTTP request, also under gRPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientName(pub Arc<str>);

/// The parameters of a request that say how it is to be answered (Triton's schedule policy and sequence extensions).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scheduling {
    /// From 1, the most urgent; 0 takes the model's default.
    pub(crate) priority: u32,
    /// How long the request may wait.
    pub(crate) timeout: Option<Duration>,
}

impl Scheduling {
    /// Priorities past the 32 bits of the host are the least urgent ones that it has.
    pub(crate) fn set_priority(&mut self, priority: u64) {
        self.priority = u32::try_from(priority).unwrap_or(u32::MAX);
    }

    /// The timeout in microseconds; 0 is none.
    pub(crate) fn set_timeout(&mut self, micros: i64) -> Result<(), ProtocolError> {
        let micros = u64::try_from(micros).map_err(|_| wrong("timeout", "a number of microseconds is expected"))?;
        self.timeout = (micros > 0).then(|| Duration::from_micros(micros));
        Ok(())
    }
}

/// A parameter's value that cannot be taken.
pub(crate) fn wrong(parameter: &str, problem: impl Into<String>) -> ProtocolError {
    ProtocolError::Parameter { parameter: parameter.to_owned(), problem: problem.into() }
}

/// Models here keep nothing between requests.
pub(crate) fn no_sequences() -> ProtocolError {
    wrong("sequence_id", "the model is not stateful: it has no sequences")
}

/// The context of a request; `watched` are the names, in lower case, of the headers that routes look at.
pub(crate) fn context(headers: &HeaderMap, extensions: &Extensions, watched: &[String]) -> RequestContext {
    let label = |name: &String| {
        let value = headers.get(name.as_str())?.to_str().ok()?;
        Some((name.clone(), value.to_owned()))
    };
    RequestContext {
        client: extensions.get::<ClientName>().map(|name| Arc::clone(&name.0)),
        labels: watched.iter().filter_map(label).collect(),
        ..RequestContext::default()
    }
}

/// The deadline of a gRPC call (gRPC over HTTP/2, "Timeout"): at most eight digits and a unit. What cannot be read is
/// no deadline, as gRPC's own servers have it.
pub(crate) fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (unit_at, unit) = text.char_indices().next_back()?;
    let amount = text.get(..unit_at).filter(|digits| digits.len() <= 8)?.parse::<u64>().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(amount * 3600)),
        'M' => Some(Duration::from_secs(amount * 60)),
        'S' => Some(Duration::from_secs(amount)),
        'm' => Some(Duration::from_millis(amount)),
        'u' => Some(Duration::from_micros(amount)),
        'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// Adds what came with the call to what a request says itself: its priority and timeout stay.
pub(crate) fn came_with(said: &mut RequestContext, call: RequestContext) {
    said.client = call.client;
    said.labels = call.labels;
    said.deadline = call.deadline;
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read(text: &'static str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", HeaderValue::from_static(text));
        grpc_timeout(&headers)
    }

    #[test]
    fn deadlines_are_read_in_every_unit() {
        assert_eq!(read("2H"), Some(Duration::from_hours(2)));
        assert_eq!(read("3M"), Some(Duration::from_mins(3)));
        assert_eq!(read("99999999S"), Some(Duration::from_secs(99_999_999)));
        assert_eq!((read("5m"), read("6u")), (Some(Duration::from_millis(5)), Some(Duration::from_micros(6))));
        assert_eq!(read("7n"), Some(Duration::from_nanos(7)));
        for none in ["", "m", "5", "5x", "-5m", "123456789S", "1.5S"] {
            assert_eq!(read(none), None, "{none}");
        }
    }

    #[test]
    fn a_request_brings_its_client_and_the_headers_that_are_watched() {
        let mut headers = HeaderMap::new();
        headers.insert("x-canary", HeaderValue::from_static("yes"));
        headers.insert("x-other", HeaderValue::from_static("no"));
        let mut extensions = Extensions::new();
        extensions.insert(ClientName("ann".into()));
        let context = context(&headers, &extensions, &["x-canary".to_owned(), "x-absent".to_owned()]);
        assert_eq!(context.client.as_deref(), Some("ann"));
        assert_eq!(context.labels, [("x-canary".to_owned(), "yes".to_owned())]);
    }

    #[test]
    fn a_calls_deadline_is_no_timeout_that_was_asked_for() {
        let (one, two) = (Duration::from_secs(1), Duration::from_secs(2));
        let call = RequestContext { client: Some("ann".into()), deadline: Some(two), ..RequestContext::default() };
        let mut said = RequestContext { priority: 3, timeout: Some(one), ..RequestContext::default() };
        came_with(&mut said, call.clone());
        assert_eq!((said.priority, said.timeout, said.deadline), (3, Some(one), Some(two)));
        assert_eq!(said.client.as_deref(), Some("ann"));
        let mut silent = RequestContext::default();
        came_with(&mut silent, call);
        assert_eq!((silent.timeout, silent.deadline), (None, Some(two)));
    }

    #[test]
    fn a_timeout_is_in_microseconds_and_0_is_none() {
        let mut scheduling = Scheduling::default();
        assert!(scheduling.set_timeout(-1).is_err());
        scheduling.set_timeout(1_500).unwrap();
        assert_eq!(scheduling.timeout, Some(Duration::from_micros(1500)));
        scheduling.set_timeout(0).unwrap();
        assert_eq!(scheduling.timeout, None);
    }
}
