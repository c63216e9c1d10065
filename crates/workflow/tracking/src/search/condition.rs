use crate::filter::{Comparison, Entity, Operator, SqlBuilder};

/// The tag of a run's dataset that says what it was read for.
const DATASET_CONTEXT_TAG: &str = "mlflow.data.context";

/// Most characters of a param's or tag's value that its index holds.
const INDEXED_CHARACTERS: usize = 64;

/// Where a run keeps its artifacts, as clients are told it.
const ARTIFACT_URI: &str = "((SELECT RTRIM(COALESCE(NULLIF(e.artifact_location, ''), 'mlflow-artifacts:/' || CAST(e.id AS TEXT)), '/') \
     FROM experiment e WHERE e.id = r.experiment_id) || '/' || r.id || '/artifacts')";

/// The column of `run r` that an attribute is, and whether it may be NULL.
pub(super) fn column(attribute: &str) -> (&'static str, bool) {
    match attribute {
        "run_id" => ("r.id", false),
        "run_name" => ("r.name", false),
        "user_id" => ("r.user_name", false),
        "status" => ("r.status", false),
        "artifact_uri" => (ARTIFACT_URI, false),
        "end_time" => ("r.ended_at", true),
        _ => ("r.started_at", false),
    }
}

/// Appends that `column` is one of the experiments.
pub(super) fn within(builder: &mut SqlBuilder, column: &str, experiments: &[i64]) {
    builder.push(column);
    match experiments {
        [one] => builder.push(" = ").bind(*one),
        many => builder.push(" IN ").bind_list(many.iter().copied()),
    };
}

/// The table of a param, tag or metric.
pub(super) fn table(entity: Entity) -> &'static str {
    match entity {
        Entity::Param => "param",
        Entity::Tag => "run_tag",
        _ => "metric_series",
    }
}

/// Appends what holds of the run `r`, whose number is the expression `run`.
pub(super) fn append(builder: &mut SqlBuilder, comparison: &Comparison, run: &str) {
    match comparison.entity {
        Entity::Attribute => {
            builder.condition(column(&comparison.key).0, comparison);
        }
        Entity::Dataset => dataset(builder, comparison, run),
        entity => {
            if comparison.operator == Operator::IsNull {
                builder.push("NOT ");
            }
            builder.push("EXISTS (SELECT 1 FROM ").push(table(entity)).push(" f WHERE f.run = ").push(run);
            builder.push(" AND f.key = ").bind(&comparison.key);
            value(builder, comparison, "f");
            builder.push(")");
        }
    }
}

/// Appends ` AND …` with what holds of the value of a param, tag or metric of the alias `of`.
fn value(builder: &mut SqlBuilder, comparison: &Comparison, of: &str) {
    let column = format!("{of}.value");
    match (comparison.entity, comparison.operator) {
        (_, Operator::IsNull | Operator::IsNotNull) => {}
        // NaN lies there as 0 with a mark; it differs from every number and has no other relation to one.
        (Entity::Metric, Operator::NotEqual) => {
            builder.push(" AND (").condition(&column, comparison);
            builder.push(" OR ").push(of).push(".not_a_number = 1)");
        }
        (Entity::Metric, _) => {
            builder.push(" AND ").push(of).push(".not_a_number = 0 AND ").condition(&column, comparison);
        }
        _ => {
            builder.push(" AND ").condition(&column, comparison);
        }
    }
}

fn dataset(builder: &mut SqlBuilder, comparison: &Comparison, run: &str) {
    if comparison.key == "context" {
        builder.push("EXISTS (SELECT 1 FROM run_dataset_tag f WHERE f.run = ").push(run);
        builder.push(" AND f.key = ").bind(DATASET_CONTEXT_TAG).push(" AND ").condition("f.value", comparison);
    } else {
        let column = if comparison.key == "digest" { "s.digest" } else { "s.name" };
        builder.push("EXISTS (SELECT 1 FROM run_dataset f JOIN dataset s ON s.id = f.dataset WHERE f.run = ").push(run);
        builder.push(" AND ").condition(column, comparison);
    }
    builder.push(")");
}

/// Whether an index finds the runs that pass.
pub(super) fn has_index(comparison: &Comparison) -> bool {
    match comparison.entity {
        Entity::Metric => comparison.operator != Operator::NotEqual,
        Entity::Param | Entity::Tag => {
            matches!(comparison.operator, Operator::Equal | Operator::In | Operator::IsNotNull)
        }
        _ => false,
    }
}

/// Appends the condition on the table `d` of [`table`], written for its index; see [`has_index`].
pub(super) fn append_by_index(builder: &mut SqlBuilder, comparison: &Comparison, experiments: &[i64]) {
    if comparison.entity == Entity::Metric {
        within(builder, "d.experiment_id", experiments);
        builder.push(" AND d.key = ").bind(&comparison.key);
        return value(builder, comparison, "d");
    }
    builder.push("d.key = ").bind(&comparison.key);
    let values = comparison.value.list();
    if values.is_empty() {
        return;
    }
    let beginning = |value: &String| value.chars().take(INDEXED_CHARACTERS).collect::<String>();
    builder.push(" AND substr(d.value, 1, 64) IN ").bind_list(values.iter().map(beginning));
    if values.iter().any(|value| value.chars().nth(INDEXED_CHARACTERS - 1).is_some()) {
        // Not `d.value = …`: SQLite would put the constant into `substr(d.value, …)` and then miss the index.
        builder.push(" AND d.value || '' IN ").bind_list(values.iter());
    }
}
