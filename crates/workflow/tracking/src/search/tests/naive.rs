use std::cmp::Ordering;

use crate::Run;
use crate::filter::{Comparison, Entity, Literal, Operator, Order, parse, parse_order};
use crate::run::Lifecycle;
use crate::search::{RUNS, RunSearch};

/// What a run has for a key.
enum Found {
    Nothing,
    Number(f64),
    Text(String),
}

fn found(run: &Run, entity: Entity, key: &str) -> Found {
    let text = |text: Option<String>| text.map_or(Found::Nothing, Found::Text);
    let info = &run.info;
    match entity {
        Entity::Metric => run.metric(key).map_or(Found::Nothing, |metric| Found::Number(metric.value)),
        Entity::Param => text(run.params.get(key).cloned()),
        Entity::Tag => text(run.tags.get(key).cloned()),
        _ => match key {
            "start_time" => Found::Number(info.start.0 as f64),
            "end_time" => info.end.map_or(Found::Nothing, |end| Found::Number(end.0 as f64)),
            "run_name" => Found::Text(info.name.clone()),
            "user_id" => Found::Text(info.user.clone()),
            "status" => Found::Text(info.status.as_str().to_owned()),
            "artifact_uri" => Found::Text(format!("mlflow-artifacts:/{}/{}/artifacts", info.experiment, info.id)),
            _ => Found::Text(info.id.to_string()),
        },
    }
}

/// SQL's LIKE, without an escape character.
fn like(text: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|skipped| like(&text[skipped..], rest)),
        [c, rest @ ..] => text.first().is_some_and(|first| *c == '_' || c == first) && like(&text[1..], rest),
    }
}

fn is_like(text: &str, pattern: &str) -> bool {
    like(&text.chars().collect::<Vec<_>>(), &pattern.chars().collect::<Vec<_>>())
}

fn text_holds(text: &str, operator: Operator, value: &Literal) -> bool {
    let other = value.text().unwrap_or_default();
    match operator {
        Operator::Equal => text == other,
        Operator::NotEqual => text != other,
        Operator::Like => is_like(text, other),
        Operator::Ilike => is_like(&text.to_ascii_lowercase(), &other.to_ascii_lowercase()),
        Operator::In => value.list().iter().any(|one| one == text),
        Operator::NotIn => value.list().iter().all(|one| one != text),
        _ => panic!("{operator:?} of a text"),
    }
}

fn number_holds(number: f64, operator: Operator, other: f64) -> bool {
    match number.partial_cmp(&other) {
        // NaN, which differs from all and is neither below nor above.
        None => operator == Operator::NotEqual,
        Some(order) => match operator {
            Operator::Equal => order == Ordering::Equal,
            Operator::NotEqual => order != Ordering::Equal,
            Operator::Less => order == Ordering::Less,
            Operator::LessEqual => order != Ordering::Greater,
            Operator::Greater => order == Ordering::Greater,
            _ => order != Ordering::Less,
        },
    }
}

fn passes(run: &Run, comparison: &Comparison) -> bool {
    let Comparison { entity, key, operator, value, .. } = comparison;
    if *entity == Entity::Dataset {
        return run.datasets.iter().any(|dataset| match key.as_str() {
            "name" => text_holds(&dataset.name, *operator, value),
            "digest" => text_holds(&dataset.digest, *operator, value),
            _ => dataset
                .tags
                .iter()
                .any(|tag| tag.key == "mlflow.data.context" && text_holds(&tag.value, *operator, value)),
        });
    }
    match (found(run, *entity, key), operator) {
        (Found::Nothing, operator) => *operator == Operator::IsNull,
        (_, Operator::IsNull) => false,
        (_, Operator::IsNotNull) => true,
        (Found::Number(number), operator) => number_holds(number, *operator, value.number().expect("a number")),
        (Found::Text(text), operator) => text_holds(&text, *operator, value),
    }
}

fn compare(a: &Run, b: &Run, order: &Order) -> Ordering {
    let class = |found: &Found| match found {
        Found::Nothing => 2,
        Found::Number(number) if number.is_nan() => 1,
        _ => 0,
    };
    let (a, b) = (found(a, order.entity, &order.key), found(b, order.entity, &order.key));
    let value = match (&a, &b) {
        (Found::Number(a), Found::Number(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
        (Found::Text(a), Found::Text(b)) => a.cmp(b),
        _ => Ordering::Equal,
    };
    class(&a).cmp(&class(&b)).then(if order.descending { value.reverse() } else { value })
}

/// The ids of all runs that a search finds, in order.
pub(super) fn ids(runs: &[Run], search: &RunSearch) -> Vec<String> {
    let conditions = parse(&search.filter, &RUNS).expect("filter");
    let orders: Vec<Order> = search.order.iter().map(|clause| parse_order(clause, &RUNS).expect("order")).collect();
    let wanted = |run: &&Run| {
        search.experiments.contains(&run.info.experiment)
            && match search.lifecycle {
                Lifecycle::Active => !run.info.deleted,
                Lifecycle::Deleted => run.info.deleted,
                Lifecycle::Any => true,
            }
            && conditions.iter().all(|comparison| passes(run, comparison))
    };
    let mut found: Vec<&Run> = runs.iter().filter(wanted).collect();
    found.sort_by(|a, b| {
        let by_orders = orders.iter().map(|order| compare(a, b, order)).find(|order| order.is_ne());
        let at_the_end = || {
            let started = b.info.start.cmp(&a.info.start);
            started.then_with(|| a.info.id.to_string().cmp(&b.info.id.to_string()))
        };
        by_orders.unwrap_or_else(at_the_end)
    });
    found.into_iter().map(|run| run.info.id.to_string()).collect()
}
