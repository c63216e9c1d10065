//! Objects of raw columns, checked against what the model takes.

use std::collections::HashSet;

use ropewalk_types::Signature;

use crate::ScoringError;
use crate::columns::holds_one;
use crate::json::Json;
use crate::table::listed;

/// The objects of a body, and whether it was one alone.
pub(crate) fn read(body: &[u8]) -> Result<(Vec<Json>, bool), ScoringError> {
    match Json::read(body)? {
        Json::List(records) if records.is_empty() => {
            Err(ScoringError::malformed("objects", &"the list is empty: at least one object is expected"))
        }
        Json::List(records) => Ok((records, false)),
        record @ Json::Object(_) => Ok((vec![record], true)),
        other => {
            let problem = format!("one object or a list of objects is expected, found {}", other.described());
            Err(ScoringError::malformed("objects", &problem))
        }
    }
}

/// Whether each object has each column once, and no other.
///
/// The columns are the model's inputs. Where it has one input of several values, an object gives it as a list under
/// the input's name, or as one key for each value: then all objects must have the keys of the first, whose order is
/// the order of the values.
pub(crate) fn check(records: &[Json], signature: &Signature) -> Result<(), ScoringError> {
    let names: Vec<&str> = signature.inputs.iter().map(|spec| spec.name.as_str()).collect();
    let known = match (signature.inputs.as_slice(), records.first()) {
        ([spec], Some(Json::Object(entries)))
            if !holds_one(spec) && entries.len() > 1 && !entries.iter().any(|(key, _)| *key == spec.name) =>
        {
            entries.iter().map(|(key, _)| key.as_str()).collect()
        }
        _ => names,
    };
    let set: HashSet<&str> = known.iter().copied().collect();
    for (row, record) in records.iter().enumerate() {
        let Json::Object(entries) = record else {
            let (expected, found) = ("an object of columns".to_owned(), record.described());
            return Err(ScoringError::Row { row: row + 1, expected, found });
        };
        check_keys(row + 1, entries, &known, &set)?;
    }
    Ok(())
}

fn check_keys(row: usize, entries: &[(String, Json)], known: &[&str], set: &HashSet<&str>) -> Result<(), ScoringError> {
    let mut found: HashSet<&str> = HashSet::with_capacity(entries.len());
    for (key, _) in entries {
        if !set.contains(key.as_str()) {
            let (column, known_list) = (key.clone(), listed(known.iter().copied()));
            return Err(ScoringError::UnknownColumn {
                row,
                column,
                suggestion: suggestion(key, known),
                known: known_list,
            });
        }
        if !found.insert(key) {
            let (expected, found) = ("each column once".to_owned(), format!("`{key}` twice"));
            return Err(ScoringError::Row { row, expected, found });
        }
    }
    match known.iter().find(|name| !found.contains(*name)) {
        Some(name) => Err(ScoringError::MissingColumn {
            place: format!("row {row}: "),
            column: (*name).to_owned(),
            found: listed(entries.iter().map(|(key, _)| key.as_str())),
        }),
        None => Ok(()),
    }
}

/// The known name that is nearest, if it is near.
fn suggestion(name: &str, known: &[&str]) -> String {
    // Longer names are no slips of the pen, and would cost their product; so would thousands of names.
    const NAMES: usize = 256;
    let short = |text: &str| text.len() <= 128;
    let lower = name.to_lowercase();
    let nearest = known
        .iter()
        .take(NAMES)
        .filter(|_| short(name))
        .filter(|one| short(one))
        .map(|one| (strsim::damerau_levenshtein(&lower, &one.to_lowercase()), one))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((distance, one)) if distance <= name.len().div_ceil(3) => format!(", did you mean `{one}`?"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_types::{ElementType, TensorSpec};

    use super::*;

    fn checked(records: &str, inputs: &[(&str, &[i64])]) -> Result<(), String> {
        let spec = |(name, shape): &(&str, &[i64])| TensorSpec {
            name: (*name).to_owned(),
            datatype: ElementType::Fp32,
            shape: shape.to_vec(),
        };
        let signature = Signature { inputs: inputs.iter().map(spec).collect(), outputs: Vec::new() };
        let (records, _) = read(records.as_bytes()).map_err(|error| error.to_string())?;
        check(&records, &signature).map_err(|error| error.to_string())
    }

    #[test]
    fn each_mistake_names_row_and_column() {
        let inputs: [(&str, &[i64]); 2] = [("distance", &[-1, 1]), ("hour", &[-1, 1])];
        assert_eq!(checked(r#"[{"distance": 1, "hour": 2}, {"hour": 1, "distance": 2}]"#, &inputs), Ok(()));
        let unknown = checked(r#"[{"distance": 1, "hour": 2}, {"distence": 1, "hour": 2}]"#, &inputs).unwrap_err();
        assert_eq!(
            unknown,
            "row 2: the model has no column `distence`, did you mean `distance`?; it takes `distance`, `hour`"
        );
        let strange = checked(r#"{"zzz": 1}"#, &inputs).unwrap_err();
        assert_eq!(strange, "row 1: the model has no column `zzz`; it takes `distance`, `hour`");
        let missing = checked(r#"{"hour": 1}"#, &inputs).unwrap_err();
        assert_eq!(missing, "row 1: column `distance` is missing; found `hour`");
        let twice = checked(r#"{"hour": 1, "hour": 2}"#, &inputs).unwrap_err();
        assert_eq!(twice, "row 1: expected each column once, found `hour` twice");
        assert!(checked("[]", &inputs).unwrap_err().contains("the list is empty"));
        assert!(checked("[1]", &inputs).unwrap_err().contains("row 1: expected an object of columns, found 1"));
        assert!(checked("3", &inputs).unwrap_err().contains("one object or a list of objects"));
    }

    #[test]
    fn the_values_of_one_input_may_have_names_of_their_own() {
        let input: [(&str, &[i64]); 1] = [("x", &[-1, 2])];
        assert_eq!(checked(r#"[{"a": 1, "b": 2}, {"b": 1, "a": 2}]"#, &input), Ok(()));
        assert_eq!(checked(r#"[{"x": [1, 2]}]"#, &input), Ok(()));
        assert!(checked(r#"[{"a": 1, "b": 2}, {"c": 1, "a": 2}]"#, &input).unwrap_err().starts_with("row 2"));
        assert!(checked(r#"{"y": [1, 2]}"#, &input).unwrap_err().contains("no column `y`, did you mean `x`?"));
    }
}
