use ropewalk_types::RunId;

use super::{RUNS, RunSearch};
use crate::TrackingError;
use crate::filter::token::{TokenError, decode, encode, encode_offset, malformed, query_hash};
use crate::filter::{Comparison, Entity, Order, parse, parse_orders};
use crate::limits::{RUN_PAGE, search_width_check};
use crate::run::Lifecycle;

/// A search of runs that was read and checked.
#[derive(Debug)]
pub(super) struct Question {
    /// Sorted, each once.
    pub(super) experiments: Vec<i64>,
    pub(super) conditions: Vec<Comparison>,
    /// Without what says nothing: the start, latest first, as the last one.
    pub(super) orders: Vec<Order>,
    pub(super) lifecycle: Lifecycle,
    pub(super) limit: usize,
    pub(super) begin: Begin,
    hash: u64,
}

/// Where the page begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Begin {
    /// After this many runs.
    Offset(u64),
    /// After this place: new runs shift nothing, and nothing is counted off.
    After(Place),
}

/// What a run's place in the order is made of, where the order is by one metric or by start alone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) number: i64,
    pub(super) class: i64,
    pub(super) value: f64,
    pub(super) start: i64,
    pub(super) id: String,
}

/// The classes of a metric, in the order in which they come both ways: it has a value, it is NaN, there is none.
pub(super) const NUMBER: i64 = 0;
pub(super) const NOT_A_NUMBER: i64 = 1;
pub(super) const MISSING: i64 = 2;

impl Question {
    pub(super) fn read(search: RunSearch) -> Result<Self, TrackingError> {
        search_width_check(&search.experiments)?;
        let conditions = parse(&search.filter, &RUNS)?;
        let mut orders = parse_orders(&search.order, &RUNS)?;
        let is_start = |order: &Order| order.entity == Entity::Attribute && order.key == "start_time";
        if orders.last().is_some_and(|last| is_start(last) && last.descending) {
            orders.pop();
        }
        let mut experiments: Vec<i64> = search.experiments.iter().map(|id| id.0).collect();
        experiments.sort_unstable();
        experiments.dedup();
        let hash = hash(&experiments, search.lifecycle, &conditions, &orders);
        let limit = search.limit.clamp(1, RUN_PAGE);
        let mut question =
            Self { experiments, conditions, orders, lifecycle: search.lifecycle, limit, begin: Begin::Offset(0), hash };
        if let Some(token) = search.page.filter(|token| !token.is_empty()) {
            question.begin = question.begin_of(&token)?;
        }
        Ok(question)
    }

    /// The metric that all is ordered by, if it is the first order.
    pub(super) fn metric_first(&self) -> Option<&Order> {
        self.orders.first().filter(|order| order.entity == Entity::Metric)
    }

    /// Whether a [`Place`] says all about the order.
    pub(super) fn by_place(&self) -> bool {
        self.orders.is_empty() || (self.orders.len() == 1 && self.metric_first().is_some())
    }

    /// How many runs are passed over.
    pub(super) fn offset(&self) -> u64 {
        if let Begin::Offset(offset) = self.begin { offset } else { 0 }
    }

    /// The place after which the page begins.
    pub(super) fn after(&self) -> Option<&Place> {
        if let Begin::After(place) = &self.begin { Some(place) } else { None }
    }

    /// The token of the page that comes after `last`.
    pub(super) fn token_after(&self, last: &Place) -> String {
        if self.by_place() {
            let Place { class, value, start, id, .. } = last;
            encode(self.hash, 'k', &format!("{class}.{:016x}.{start}.{id}", value.to_bits()))
        } else {
            encode_offset(self.hash, self.offset() + self.limit as u64)
        }
    }

    fn begin_of(&self, token: &str) -> Result<Begin, TokenError> {
        let found = match decode(token, self.hash)? {
            ('o', offset) if !self.by_place() => offset.parse().ok().map(Begin::Offset),
            ('k', place) if self.by_place() => place_of(place).map(Begin::After),
            _ => None,
        };
        found.ok_or_else(|| malformed(token))
    }
}

/// By what was understood, not by how it was written.
fn hash(experiments: &[i64], lifecycle: Lifecycle, conditions: &[Comparison], orders: &[Order]) -> u64 {
    let mut parts = vec![format!("runs {lifecycle:?} {experiments:?}")];
    for Comparison { entity, key, operator, value, .. } in conditions {
        parts.push(format!("{entity:?} {key:?} {operator:?} {value:?}"));
    }
    parts.extend(orders.iter().map(|order| format!("by {order:?}")));
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    query_hash(&parts)
}

fn place_of(text: &str) -> Option<Place> {
    let mut parts = text.splitn(4, '.');
    let class = parts.next()?.parse().ok().filter(|class| (NUMBER..=MISSING).contains(class))?;
    let bits = u64::from_str_radix(parts.next()?, 16).ok()?;
    let value = Some(f64::from_bits(bits)).filter(|value| !value.is_nan())?;
    let start = parts.next()?.parse().ok()?;
    let id: RunId = parts.next()?.parse().ok()?;
    Some(Place { number: 0, class, value, start, id: id.to_string() })
}

#[cfg(test)]
mod tests {
    use ropewalk_types::ExperimentId;

    use super::*;

    fn search(order: &[&str]) -> RunSearch {
        let order = order.iter().map(|clause| (*clause).to_owned()).collect();
        RunSearch {
            order,
            filter: "metrics.a > 1".to_owned(),
            ..RunSearch::new(vec![ExperimentId(3), ExperimentId(1)])
        }
    }

    #[test]
    fn a_token_says_where_the_next_page_begins() {
        let id = "0123456789abcdef0123456789abcdef".to_owned();
        let last = Place { number: 7, class: NUMBER, value: f64::NEG_INFINITY, start: -5, id };
        for (order, by_place) in [
            (&["metrics.a DESC"][..], true),
            (&[], true),
            (&["start_time DESC"], true),
            (&["metrics.a", "start_time DESC"], true),
            (&["start_time"], false),
            (&["metrics.a", "params.b"], false),
        ] {
            let question = Question::read(search(order)).expect("question");
            let page = Some(question.token_after(&last));
            let next = Question::read(RunSearch { page: page.clone(), ..search(order) }).expect("next");
            let expected =
                if by_place { Begin::After(Place { number: 0, ..last.clone() }) } else { Begin::Offset(1_000) };
            assert_eq!(next.begin, expected, "{order:?}");
            for other in [
                RunSearch { filter: "metrics.a > 2".to_owned(), ..search(order) },
                RunSearch { lifecycle: Lifecycle::Any, ..search(order) },
                RunSearch { experiments: vec![ExperimentId(1)], ..search(order) },
                search(&["run_name"]),
            ] {
                let refused = Question::read(RunSearch { page: page.clone(), ..other });
                assert!(matches!(refused, Err(TrackingError::PageToken(TokenError::OtherSearch))), "{order:?}");
            }
            let bad = Question::read(RunSearch { page: Some("x".to_owned()), ..search(order) });
            assert!(matches!(bad, Err(TrackingError::PageToken(TokenError::Malformed(_)))));
        }
    }
}
