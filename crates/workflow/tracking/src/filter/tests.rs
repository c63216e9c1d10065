use proptest::prelude::*;

use super::*;
use crate::search::RUNS;

/// The one comparison of a filter, written down.
fn read(text: &str) -> String {
    let comparisons = parse(text, &RUNS).unwrap_or_else(|error| panic!("{text}: {error}"));
    let shown: Vec<String> = comparisons.iter().map(shown).collect();
    shown.join(" & ")
}

fn shown(comparison: &Comparison) -> String {
    let Comparison { entity, key, operator, value, .. } = comparison;
    let value = match value {
        Literal::Text(text) => format!(" {text:?}"),
        Literal::Integer(integer) => format!(" {integer}"),
        Literal::Number(number) => format!(" {number:?}"),
        Literal::List(texts) => format!(" {texts:?}"),
        Literal::Absent => String::new(),
    };
    format!("{entity:?}[{key}] {}{value}", operator.sql())
}

/// Each line was tried with `SearchUtils.parse_search_filter` of MLflow 3.17.2, which reads it the same way.
#[test]
fn what_mlflow_takes_means_the_same() {
    for (text, expected) in [
        ("", ""),
        ("metrics.a > 1", "Metric[a] > 1.0"),
        ("metric.a>1", "Metric[a] > 1.0"),
        ("`metrics`.a > 1", "Metric[a] > 1.0"),
        ("metrics.0a > -1.5E-3", "Metric[0a] > -0.0015"),
        ("metrics.a > .5", "Metric[a] > 0.5"),
        ("metrics.a > 1.", "Metric[a] > 1.0"),
        ("metrics.a > 99999999999999999999", "Metric[a] > 1e20"),
        ("metrics.\"a b\" > 0.5", "Metric[a b] > 0.5"),
        ("metrics.`val/loss-1` <= 1e5", "Metric[val/loss-1] <= 100000.0"),
        ("metrics.a\n>\n1\tAND params.x='1'", "Metric[a] > 1.0 & Param[x] = \"1\""),
        (
            "metrics.a > 1 and params.b = '1' And tags.c != \"x\"",
            "Metric[a] > 1.0 & Param[b] = \"1\" & Tag[c] != \"x\"",
        ),
        ("params.a='x'AND params.b='y'", "Param[a] = \"x\" & Param[b] = \"y\""),
        ("and metrics.a > 1 AND AND metrics.b < 2 AND", "Metric[a] > 1.0 & Metric[b] < 2.0"),
        ("metrics.a > 1 metrics.b < 2", "Metric[a] > 1.0 & Metric[b] < 2.0"),
        ("parameter.a = 'x'", "Param[a] = \"x\""),
        ("param.a = \"it's\"", "Param[a] = \"it's\""),
        ("parameters.a = 'it''s'", "Param[a] = \"it''s\""),
        ("params.a = 'it\\'s'", "Param[a] = \"it\\\\'s\""),
        ("params.a = 'C:\\'", "Param[a] = \"C:\\\\\""),
        ("params.a = ''", "Param[a] = \"\""),
        ("params.order like 'x%'", "Param[order] LIKE \"x%\""),
        ("tags.a ilike 'X_'", "Tag[a] ILIKE \"X_\""),
        ("tag.mlflow.source.name = 'x'", "Tag[mlflow.source.name] = \"x\""),
        ("tags.`mlflow.source.name` = 'x'", "Tag[mlflow.source.name] = \"x\""),
        ("tags.é is not null", "Tag[é] IS NOT NULL"),
        ("params.`x y` IS NULL", "Param[x y] IS NULL"),
        ("status = 'FINISHED'", "Attribute[status] = \"FINISHED\""),
        ("run.status != 'X'", "Attribute[status] != \"X\""),
        ("attr.run_id in ('a', \"b\",)", "Attribute[run_id] IN [\"a\", \"b\"]"),
        ("attribute.run_id not  IN ('a\\'b')", "Attribute[run_id] NOT IN [\"a'b\"]"),
        ("run_id IN ('a''b')", "Attribute[run_id] IN [\"ab\"]"),
        ("attributes.`Run name` = 'x'", "Attribute[run_name] = \"x\""),
        ("`run name` = 'x'", "Attribute[run_name] = \"x\""),
        ("attributes.Created > 5", "Attribute[start_time] > 5"),
        ("end_time<=  5.5", "Attribute[end_time] <= 5.5"),
        ("artifact_uri LIKE 'x'", "Attribute[artifact_uri] LIKE \"x\""),
        ("dataset.name = 'd'", "Dataset[name] = \"d\""),
        ("datasets.digest IN ('a','b')", "Dataset[digest] IN [\"a\", \"b\"]"),
        ("dataset.context ILIKE 'tr%'", "Dataset[context] ILIKE \"tr%\""),
    ] {
        assert_eq!(read(text), expected, "{text}");
    }
}

/// MLflow refuses these or, worse, reads them by halves.
#[test]
fn more_is_taken_where_it_is_clear() {
    for (text, expected) in [
        ("  ", ""),
        ("tags.a is  not\tnull", "Tag[a] IS NOT NULL"),
        ("tags.t IN ('a')", "Tag[t] IN [\"a\"]"),
        ("status NOT IN ('FAILED', 'KILLED')", "Attribute[status] NOT IN [\"FAILED\", \"KILLED\"]"),
        ("metrics.lr.0 > 2", "Metric[lr.0] > 2.0"),
        ("params.in = 'x'", "Param[in] = \"x\""),
    ] {
        assert_eq!(read(text), expected, "{text}");
    }
}

/// The place is that of the first `^` of the second text.
#[test]
fn an_error_points_at_its_place() {
    for (text, marker, problem) in [
        ("metrics.a > 1 OR metrics.b < 2", "              ^", "OR is not taken"),
        ("(metrics.a > 1)", "^", "parentheses"),
        ("metrics.my-metric > 1", "          ^", "backticks"),
        ("metrics.a > +1", "            ^", "a number for the metric `a` is expected, not `+1`"),
        ("metrics.a > inf", "            ^", "not `inf`"),
        ("metrics.a > 'x'", "            ^", "a number"),
        ("metrics.a>1AND metrics.b>2", "          ^", "not `1AND`"),
        ("metrics.a LIKE 'x'", "          ^", "use =, !=, <, <=, >, >="),
        ("metrics.a IS NULL", "          ^", "IS NULL does not stand after the metric `a`"),
        ("metrics.a == 1", "          ^", "use `=`"),
        ("metrics.a <> 1", "          ^", "use `!=`"),
        ("metrics.a > metrics.b", "            ^", "a number"),
        ("metrics.a > 1;", "             ^", "a key such as"),
        ("metrics. a > 1", "        ^", "a key is expected, not ` `"),
        ("params.a = 1", "           ^", "a quoted text for the param `a` is expected, not `1`"),
        ("params.a = `x`", "           ^", "a quoted text"),
        ("params.a = 'x", "           ^", "never closed"),
        ("params.`a = 'x'", "       ^", "never closed"),
        ("params.a > '1'", "         ^", "use =, !=, LIKE"),
        ("params.a NOT LIKE 'x'", "             ^", "IN is expected, not `LIKE`"),
        ("params.a =", "          ^", "not the end"),
        ("params.a", "        ^", "an operator such as = is expected, not the end"),
        ("= 'x'", "^", "a key"),
        ("Metrics.a > 1", "^", "`Metrics` is nothing that a run has: use metric"),
        ("attributes.duration > 5", "           ^", "no attribute `duration`"),
        ("dataset.foo = 'x'", "        ^", "use name, digest, context"),
        ("start_time > '5'", "             ^", "a number"),
        ("run_id IN ()", "          ^", "empty"),
        ("run_id IN (1)", "           ^", "a quoted text"),
        ("run_id IN ('a' 'b')", "               ^", "`,` or `)`"),
        ("run_id IN 'a'", "          ^", "a list"),
        ("tags.ü = 'é' and x", "                 ^", "no attribute `x`"),
    ] {
        let error = parse(text, &RUNS).expect_err(text);
        assert_eq!(error.position(), marker.chars().count(), "{text}: {error}");
        assert!(error.to_string().contains(problem), "{text}: {error}");
    }
}

#[test]
fn orders_have_a_key_and_a_direction() {
    for (text, entity, key, descending) in [
        ("metrics.a", Entity::Metric, "a", false),
        (" metrics.\"a b\"  Desc ", Entity::Metric, "a b", true),
        ("params.`a/b` asc", Entity::Param, "a/b", false),
        ("tags.mlflow.x desc", Entity::Tag, "mlflow.x", true),
        ("attribute.created", Entity::Attribute, "start_time", false),
        ("start_time DESC", Entity::Attribute, "start_time", true),
        ("run_id", Entity::Attribute, "run_id", false),
    ] {
        let order = parse_order(text, &RUNS).expect(text);
        assert_eq!(order, Order { entity, key: key.to_owned(), descending }, "{text}");
    }
    for (text, position) in [
        ("", 1),
        ("metrics.a DESC NULLS", 16),
        ("metrics.a down", 11),
        ("metrics.a, metrics.b", 10),
        ("dataset.name", 1),
        ("duration", 1),
    ] {
        assert_eq!(parse_order(text, &RUNS).expect_err(text).position(), position, "{text}");
    }
    assert!(parse_orders(&["start_time", "metrics.start_time"], &RUNS).is_ok());
    assert!(parse_orders(&["start_time", "attr.created DESC"], &RUNS).is_err());
    let many: Vec<String> = (0..21).map(|n| format!("metrics.m{n}")).collect();
    assert!(parse_orders(&many[..20], &RUNS).is_ok());
    assert!(parse_orders(&many, &RUNS).is_err());
}

#[test]
fn what_no_database_would_plan_is_refused_at_its_place() {
    let filter = |count: usize| vec!["metrics.a > 1"; count].join(" and ");
    assert!(parse(&filter(64), &RUNS).is_ok());
    assert_eq!(parse(&filter(65), &RUNS).expect_err("many").position(), filter(64).len() + " and ".len() + 1);
    let list = |count: usize| format!("attributes.run_id IN ({})", vec!["'a'"; count].join(","));
    assert!(parse(&list(5_000), &RUNS).is_ok());
    assert!(parse(&format!("{} and {}", list(2_500), list(2_501)), &RUNS).is_err());
    let orders: Vec<String> = (0..21).map(|number| format!("metrics.m{number}")).collect();
    assert!(parse_orders(&orders[..20], &RUNS).is_ok() && parse_orders(&orders, &RUNS).is_err());
}

/// A key or text between the first quote that it does not hold.
fn quote(text: &str, quotes: &[char]) -> String {
    let quote = quotes.iter().find(|quote| !text.contains(**quote)).expect("a quote that is free");
    format!("{quote}{text}{quote}")
}

fn text_comparison() -> impl Strategy<Value = (String, Comparison)> {
    let operators = prop::sample::select(operators::TEXT.to_vec());
    let entities = prop::sample::select(vec![(Entity::Param, "params"), (Entity::Tag, "tag")]);
    (entities, "[a-zA-Z é./:'-]{1,12}", operators, "[a-z\"%_ é=,()]{0,12}").prop_map(
        |((entity, name), key, operator, text)| {
            let written = format!("{name}.{} {} {}", quote(&key, &['`']), operator.sql(), quote(&text, &['\'']));
            let span = 0..written.len();
            (written, Comparison { entity, key, operator, value: Literal::Text(text), span })
        },
    )
}

fn number_comparison() -> impl Strategy<Value = (String, Comparison)> {
    let operators = prop::sample::select(operators::NUMERIC.to_vec());
    let number = any::<f64>().prop_filter("a number", |number| number.is_finite());
    ("[a-z0-9_]{1,6}(\\.[a-z0-9_]{1,6}){0,2}", operators, number).prop_map(|(key, operator, number)| {
        let written = format!("metrics.{key}{}{number:?}", operator.sql());
        let span = 0..written.len();
        (written, Comparison { entity: Entity::Metric, key, operator, value: Literal::Number(number), span })
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(parts in prop::collection::vec(prop_oneof![text_comparison(), number_comparison()], 0..5)) {
        let (mut text, mut expected) = (String::new(), Vec::new());
        for (written, mut comparison) in parts {
            if !text.is_empty() {
                text.push_str(" AND ");
            }
            comparison.span = text.len()..text.len() + written.len();
            text.push_str(&written);
            expected.push(comparison);
        }
        prop_assert_eq!(parse(&text, &RUNS).expect("filter"), expected);
    }

    #[test]
    fn no_text_panics(text in ".{0,60}") {
        let _ = parse(&text, &RUNS);
        let _ = parse_order(&text, &RUNS);
    }

    #[test]
    fn no_soup_of_tokens_panics(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "metrics", ".", "a", "`", "'", "\"", "é", " ", ">", "=", "!", "(", ")", ",", "IN", "NOT", "IS", "NULL",
            "LIKE", "AND", "run_id", "-", "1", "1e", "\\", "params.x = 'y'",
        ]), 0..20)
    ) {
        let text = tokens.concat();
        if let Err(error) = parse(&text, &RUNS) {
            prop_assert!(error.position() <= text.chars().count() + 1, "{}", error);
        }
    }
}
