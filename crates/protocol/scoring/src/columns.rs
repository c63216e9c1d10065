//! A table's columns as the inputs of a model.

use ropewalk_inference::{NamedTensor, Tensor};
use ropewalk_serving::ServingError;
use ropewalk_types::{Signature, TensorSpec};

use crate::ScoringError;
use crate::cells::{described, elements};
use crate::json::Json;
use crate::table::{Table, listed};

/// The inputs that a table gives: each column the input of its name, or all columns the values of the one input.
/// Columns that the model does not know are left out, as MLflow leaves them.
///
/// # Errors
/// [`ScoringError::NoInputs`], [`ScoringError::MissingColumn`], [`ScoringError::Columns`] and [`ScoringError::Cell`].
pub(crate) fn tensors(table: &Table, model: &str, signature: &Signature) -> Result<Vec<NamedTensor>, ScoringError> {
    match signature.inputs.as_slice() {
        [] => Err(ScoringError::NoInputs { model: model.to_owned() }),
        [spec] => Ok(vec![NamedTensor::new(&spec.name, only_input(table, spec)?)]),
        specs => specs.iter().map(|spec| Ok(NamedTensor::new(&spec.name, named_input(table, spec, specs)?))).collect(),
    }
}

fn only_input(table: &Table, spec: &TensorSpec) -> Result<Tensor, ScoringError> {
    let named = table.column(&spec.name);
    let is_whole = |cells: &&[Json]| holds_one(spec) || matches!(cells.first(), Some(Json::List(_)));
    if let Some(cells) = named.filter(is_whole) {
        return column(cells, &spec.name, spec, table);
    }
    match table.columns.as_slice() {
        [] => Err(unfit(format!("at least one column for {spec}"), "none".to_owned())),
        [cells] => column(cells, &table.name(0), spec, table),
        _ => matrix(table, spec),
    }
}

fn named_input(table: &Table, spec: &TensorSpec, specs: &[TensorSpec]) -> Result<Tensor, ScoringError> {
    if table.names.is_none() {
        let expected = format!("columns named {}", listed(specs.iter().map(|spec| spec.name.as_str())));
        return Err(unfit(expected, table.described()));
    }
    let missing =
        || ScoringError::MissingColumn { place: String::new(), column: spec.name.clone(), found: table.described() };
    column(table.column(&spec.name).ok_or_else(missing)?, &spec.name, spec, table)
}

/// Whether a row of the input is one value.
pub(crate) fn holds_one(spec: &TensorSpec) -> bool {
    spec.shape.iter().skip(1).all(|extent| *extent == 1)
}

/// Extents of one row, as far as the model says them.
pub(crate) fn row_shape(spec: &TensorSpec) -> &[i64] {
    spec.shape.get(1..).unwrap_or_default()
}

/// How many values a row of the input has, if the model says so.
pub(crate) fn row_width(spec: &TensorSpec) -> Option<usize> {
    row_shape(spec).iter().try_fold(1_usize, |width, extent| width.checked_mul(usize::try_from(*extent).ok()?))
}

fn unfit(expected: String, found: String) -> ScoringError {
    ScoringError::Columns { expected, found }
}

/// One input from one column, whose cells are values or lists of them.
fn column(cells: &[Json], name: &str, spec: &TensorSpec, table: &Table) -> Result<Tensor, ScoringError> {
    let extents = cells.first().map_or_else(|| known_extents(spec), extents);
    // Lists that are deep and wide at once come to more than a number can say, but have no such rows.
    let width = extents.iter().fold(1_usize, |width, extent| width.saturating_mul(*extent)).max(1);
    let refused = |row: usize, expected: String, cell: Option<&Json>| ScoringError::Cell {
        column: name.to_owned(),
        row: row + 1,
        expected,
        found: cell.map_or_else(|| "nothing".to_owned(), Json::described),
    };
    let data = if extents.is_empty() {
        elements(spec.datatype, cells.iter(), table.reading)
    } else {
        // Not as many as the first row promises for all: the others need not keep it.
        let mut leaves = Vec::new();
        for (row, cell) in cells.iter().enumerate() {
            if !push_leaves(cell, &extents, &mut leaves) {
                return Err(refused(row, format!("a list of shape {extents:?}, as in row 1"), Some(cell)));
            }
        }
        elements(spec.datatype, leaves.into_iter(), table.reading)
    };
    let data = data.map_err(|position| {
        let row = position / width;
        let found = cells.get(row).and_then(|cell| leaf(cell, position % width, &extents));
        refused(row, format!("{} ({})", described(spec.datatype), spec.datatype), found)
    })?;
    let Some(row) = fitted(&extents, spec) else {
        let expected = format!("values of shape {:?} for {spec}", row_shape(spec));
        return Err(refused(0, expected, cells.first()));
    };
    shaped(spec, cells.len(), row, data)
}

/// One input of which all columns are the values of a row.
fn matrix(table: &Table, spec: &TensorSpec) -> Result<Tensor, ScoringError> {
    let width = table.columns.len();
    if table.columns.iter().any(|cells| cells.len() != table.rows) {
        return Err(unfit("columns of equal length".to_owned(), table.described()));
    }
    let Some(row) = fitted(&[width], spec) else {
        let wanted = row_width(spec).map_or_else(|| spec.to_string(), |wanted| format!("{wanted} columns for {spec}"));
        return Err(unfit(wanted, format!("{width}: {}", table.described())));
    };
    let cells = (0..table.rows).flat_map(|row| table.columns.iter().filter_map(move |cells| cells.get(row)));
    let data = elements(spec.datatype, cells, table.reading).map_err(|position| {
        let (row, place) = (position / width, position % width);
        let found = table.columns.get(place).and_then(|cells| cells.get(row));
        ScoringError::Cell {
            column: table.name(place),
            row: row + 1,
            expected: format!("{} ({})", described(spec.datatype), spec.datatype),
            found: found.map_or_else(String::new, Json::described),
        }
    })?;
    shaped(spec, table.rows, row, data)
}

fn shaped(
    spec: &TensorSpec,
    rows: usize,
    row: Vec<usize>,
    data: ropewalk_inference::TensorData,
) -> Result<Tensor, ScoringError> {
    let mut shape = row;
    // An input of rank 0 has one value, and no rows.
    if !spec.shape.is_empty() || rows != 1 {
        shape.insert(0, rows);
    }
    Tensor::new(shape, data).map_err(|problem| ScoringError::Serving(ServingError::Inference(problem)))
}

/// The extents of a row in the model's rank: values of extent 1 are added, and a flat list takes the shape of a row
/// that has as many values.
fn fitted(extents: &[usize], spec: &TensorSpec) -> Option<Vec<usize>> {
    let row = row_shape(spec);
    let fits = |extents: &[usize]| {
        let same = |(want, have): (&i64, &usize)| *want == -1 || usize::try_from(*want) == Ok(*have);
        extents.len() == row.len() && row.iter().zip(extents).all(same)
    };
    if fits(extents) {
        return Some(extents.to_vec());
    }
    let mut padded = extents.to_vec();
    padded.resize(row.len().max(extents.len()), 1);
    if fits(&padded) {
        return Some(padded);
    }
    let flat = matches!(extents, [_]) && row_width(spec) == extents.first().copied();
    flat.then(|| row.iter().filter_map(|extent| usize::try_from(*extent).ok()).collect())
}

/// Extents of a row where there is no row: what is not said is 0.
fn known_extents(spec: &TensorSpec) -> Vec<usize> {
    row_shape(spec).iter().map(|extent| usize::try_from(*extent).unwrap_or(0)).collect()
}

/// Extents of the nested lists of a cell, by the first of each; none of a single value.
fn extents(cell: &Json) -> Vec<usize> {
    let (mut extents, mut inner) = (Vec::new(), cell);
    while let Json::List(values) = inner {
        extents.push(values.len());
        match values.first() {
            Some(first) => inner = first,
            None => break,
        }
    }
    extents
}

/// Appends the values of nested lists; tells whether they have the extents.
fn push_leaves<'a>(cell: &'a Json, extents: &[usize], leaves: &mut Vec<&'a Json>) -> bool {
    match (cell, extents.split_first()) {
        (Json::List(_), None) => false,
        (value, None) => {
            leaves.push(value);
            true
        }
        (Json::List(values), Some((extent, rest))) => {
            values.len() == *extent && values.iter().all(|value| push_leaves(value, rest, leaves))
        }
        _ => false,
    }
}

fn leaf<'a>(cell: &'a Json, position: usize, extents: &[usize]) -> Option<&'a Json> {
    let mut leaves = Vec::new();
    push_leaves(cell, extents, &mut leaves);
    leaves.get(position).copied()
}

#[cfg(test)]
mod tests {
    use ropewalk_inference::TensorData;
    use ropewalk_types::ElementType;

    use super::*;
    use crate::ScoringLimits;
    use crate::cells::Reading;

    fn spec(name: &str, datatype: ElementType, shape: &[i64]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), datatype, shape: shape.to_vec() }
    }

    fn table(rows: &str) -> Table {
        let Json::List(records) = Json::read(rows.as_bytes()).unwrap() else { panic!("a list is given") };
        Table::of_records(records, Reading::Cast, &ScoringLimits::default()).unwrap()
    }

    fn bound(rows: &str, inputs: &[TensorSpec]) -> Result<Vec<NamedTensor>, String> {
        let signature = Signature { inputs: inputs.to_vec(), outputs: Vec::new() };
        tensors(&table(rows), "m", &signature).map_err(|error| error.to_string())
    }

    #[test]
    fn each_column_is_the_input_of_its_name() {
        let inputs = [spec("b", ElementType::Int64, &[-1, 1]), spec("a", ElementType::Bytes, &[-1])];
        let tensors = bound(r#"[{"a": "x", "b": 1, "c": null}, {"b": 2.0, "a": "y"}]"#, &inputs).unwrap();
        assert_eq!(tensors[0].tensor, Tensor::new(vec![2, 1], vec![1_i64, 2]).unwrap());
        assert_eq!(tensors[1].tensor.shape, [2]);
        let missing = bound(r#"[{"a": "x"}]"#, &inputs).unwrap_err();
        assert_eq!(missing, "column `b` is missing; found `a`");
        let wrong = bound(r#"[{"a": "x", "b": 1}, {"a": "y", "b": "two"}]"#, &inputs).unwrap_err();
        assert_eq!(wrong, "column `b`, row 2: expected a whole number (INT64), found the text \"two\"");
    }

    #[test]
    fn all_columns_are_the_values_of_one_input_in_their_order() {
        let input = [spec("x", ElementType::Fp32, &[-1, 3])];
        let tensors = bound(r#"[{"c": 1, "a": 2, "b": 3}, {"a": 5, "b": 6, "c": 4}]"#, &input).unwrap();
        assert_eq!(tensors[0].tensor, Tensor::new(vec![2, 3], vec![1_f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap());
        let missing = bound(r#"[{"c": 1, "a": 2, "b": 3}, {"a": 5, "b": 6}]"#, &input).unwrap();
        assert!(matches!(&missing[0].tensor.data, TensorData::Fp32(values) if values[3].is_nan()));
        let narrow = bound(r#"[{"c": 1, "a": 2}]"#, &input).unwrap_err();
        assert_eq!(
            narrow,
            "the columns do not fit the model: expected 3 columns for x: FP32[-1, 3], found 2: `c`, `a`"
        );
        let wrong = bound(r#"[{"c": 1, "a": 2, "b": 3}, {"c": 1, "a": [], "b": 3}]"#, &input).unwrap_err();
        assert_eq!(wrong, "column `a`, row 2: expected a number (FP32), found a list of 0");
    }

    #[test]
    fn lists_in_a_cell_are_the_values_of_a_row() {
        let input = [spec("x", ElementType::Fp32, &[-1, 2, 2])];
        let wanted = Tensor::new(vec![1, 2, 2], vec![1_f32, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!(bound(r#"[{"x": [[1, 2], [3, 4]]}]"#, &input).unwrap()[0].tensor, wanted);
        assert_eq!(bound(r#"[{"x": [1, 2, 3, 4]}]"#, &input).unwrap()[0].tensor, wanted);
        let ragged = bound(r#"[{"x": [[1, 2], [3, 4]]}, {"x": [[1, 2], [3]]}]"#, &input).unwrap_err();
        assert_eq!(ragged, "column `x`, row 2: expected a list of shape [2, 2], as in row 1, found a list of 2");
        let wrong = bound(r#"[{"x": [[1, 2], [3, 4]]}, {"x": [[1, 2], [3, "4x"]]}]"#, &input).unwrap_err();
        assert_eq!(wrong, "column `x`, row 2: expected a number (FP32), found the text \"4x\"");
        let flat = bound(r#"[{"x": [1, 2, 3]}]"#, &input).unwrap_err();
        assert!(flat.contains("values of shape [2, 2]"), "{flat}");
    }

    #[test]
    fn what_the_first_row_promises_takes_no_memory() {
        let input = [spec("x", ElementType::Fp32, &[-1, -1])];
        let wide = format!(r#"[{{"x": [{}0]}}{}]"#, "0,".repeat(20_000), r#",{"x": 1}"#.repeat(20_000));
        assert!(bound(&wide, &input).unwrap_err().starts_with("column `x`, row 2: expected a list of shape [20001]"));
        // Five levels of 8192 come to more than 2^64.
        let deep = (0..5).fold("0".to_owned(), |inner, _| format!("[{inner}{}]", ",0".repeat(8191)));
        let deep = bound(&format!(r#"[{{"x": {deep}}}]"#), &input).unwrap_err();
        assert!(deep.contains("as in row 1"), "{deep}");
    }

    #[test]
    fn a_model_without_inputs_and_a_table_without_columns_are_refused() {
        assert!(bound(r#"[{"a": 1}]"#, &[]).unwrap_err().contains("has no inputs"));
        assert!(bound("[]", &[spec("x", ElementType::Fp32, &[-1, 3])]).unwrap_err().contains("at least one column"));
    }
}
