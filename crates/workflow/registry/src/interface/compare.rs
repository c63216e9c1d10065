use std::collections::BTreeMap;

use super::{Field, Interface};

/// Why somebody who asks the incumbent could not ask the candidate the same, or would miss something in its answer.
pub(crate) fn misfit(candidate: &Interface, incumbent: &Interface) -> Option<String> {
    let Some(asked) = &incumbent.inputs else { return Some("the incumbent does not say what it takes".to_owned()) };
    let Some(taken) = &candidate.inputs else { return Some("it does not say what it takes".to_owned()) };
    inputs_misfit(taken, asked).or_else(|| parameters_misfit(candidate, incumbent)).or_else(|| {
        // Where nothing was promised, nothing can be missed.
        let read = incumbent.outputs.as_deref().filter(|read| !read.is_empty())?;
        match &candidate.outputs {
            Some(given) => outputs_misfit(given, read),
            None => Some("it does not say what it gives".to_owned()),
        }
    })
}

fn inputs_misfit(taken: &[Field], asked: &[Field]) -> Option<String> {
    let (taken, asked) = (by_name(taken), by_name(asked));
    for (name, asked) in &asked {
        match taken.get(name) {
            None => return Some(format!("it has no input {name}")),
            Some(taken) if !takes(taken, asked, Extra::Refused) => {
                return Some(format!("its input {name} is {taken}, not {asked}"));
            }
            Some(_) => {}
        }
    }
    let new = taken.iter().find(|(name, field)| field.is_needed() && !asked.contains_key(*name));
    new.map(|(name, _)| format!("it asks for {name} too"))
}

fn outputs_misfit(given: &[Field], read: &[Field]) -> Option<String> {
    let (given, read) = (by_name(given), by_name(read));
    for (name, read) in &read {
        match given.get(name) {
            None => return Some(format!("it has no output {name}")),
            Some(given) if !takes(read, given, Extra::Passed) => {
                return Some(format!("its output {name} is {given}, not {read}"));
            }
            Some(_) => {}
        }
    }
    None
}

fn parameters_misfit(candidate: &Interface, incumbent: &Interface) -> Option<String> {
    incumbent.parameters.iter().find_map(|set| {
        let name = &set.name;
        match candidate.parameters.iter().find(|one| one.name == *name) {
            None => Some(format!("it has no parameter `{name}`")),
            Some(one) if !widens(&one.kind, &set.kind) || one.shape.is_some() != set.shape.is_some() => {
                Some(format!("its parameter `{name}` is {}, not {}", one.kind, set.kind))
            }
            Some(_) => None,
        }
    })
}

/// By the name in back-ticks, or the place where there are no names.
fn by_name(fields: &[Field]) -> BTreeMap<String, &Field> {
    let name = |place: usize, field: &Field| match &field.name {
        Some(name) => format!("`{name}`"),
        None => format!("number {}", place + 1),
    };
    fields.iter().enumerate().map(|(place, field)| (name(place, field), field)).collect()
}

/// What becomes of properties of an object that are not in its schema.
#[derive(Clone, Copy)]
enum Extra {
    /// MLflow refuses a request that has some.
    Refused,
    /// Who reads an answer passes over them.
    Passed,
}

/// Whether all that `given` describes can stand where `wanted` is expected.
fn takes(wanted: &Field, given: &Field, extra: Extra) -> bool {
    if wanted.is_needed() && !given.is_needed() {
        return false;
    }
    if wanted.kind == "any" {
        return true;
    }
    let inner = |wanted: Option<&Field>, given: Option<&Field>| match (wanted, given) {
        (Some(wanted), Some(given)) => takes(wanted, given, extra),
        (wanted, given) => wanted.is_none() && given.is_none(),
    };
    let tensors = match (&wanted.tensor, &given.tensor) {
        (Some(wanted), Some(given)) => wanted.dtype == given.dtype && covers(&wanted.shape, &given.shape),
        (wanted, given) => wanted.is_none() && given.is_none(),
    };
    let properties = match (&wanted.properties, &given.properties) {
        (Some(wanted), Some(given)) => properties_take(wanted, given, extra),
        (wanted, given) => wanted.is_none() && given.is_none(),
    };
    widens(&wanted.kind, &given.kind)
        && tensors
        && properties
        && inner(wanted.items.as_deref(), given.items.as_deref())
        && inner(wanted.values.as_deref(), given.values.as_deref())
}

fn properties_take(wanted: &BTreeMap<String, Field>, given: &BTreeMap<String, Field>, extra: Extra) -> bool {
    let met = wanted.iter().all(|(name, wanted)| match given.get(name) {
        Some(given) => takes(wanted, given, extra),
        None => !wanted.is_needed(),
    });
    met && (matches!(extra, Extra::Passed) || given.keys().all(|name| wanted.contains_key(name)))
}

/// Whether values of the type `given` become `wanted` without loss, as MLflow converts them
/// (`_enforce_mlflow_datatype` of `mlflow/models/utils.py`).
fn widens(wanted: &str, given: &str) -> bool {
    wanted == given || matches!((wanted, given), ("long" | "double", "integer") | ("double", "float"))
}

/// Whether all that has the shape `given` has the shape `wanted`.
fn covers(wanted: &[i64], given: &[i64]) -> bool {
    wanted.len() == given.len() && wanted.iter().zip(given).all(|(wanted, given)| *wanted == -1 || wanted == given)
}

#[cfg(test)]
mod tests {
    use ropewalk_types::{ElementType, Signature, TensorSpec};

    use super::*;

    fn spec(name: &str, datatype: ElementType, shape: &[i64]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), datatype, shape: shape.to_vec() }
    }

    #[test]
    fn a_signature_fits_where_no_caller_notices() {
        use ElementType::{Fp32, Int64};
        let old = Signature { inputs: vec![spec("x", Fp32, &[-1, 3])], outputs: vec![spec("y", Fp32, &[-1, 1])] };
        let fits = |inputs: &[TensorSpec], outputs: &[TensorSpec]| {
            let new = Signature { inputs: inputs.to_vec(), outputs: outputs.to_vec() };
            misfit(&Interface::from(&new), &Interface::from(&old))
        };
        let (x, y) = (spec("x", Fp32, &[-1, 3]), spec("y", Fp32, &[-1, 1]));
        assert_eq!(fits(&[spec("x", Fp32, &[-1, -1])], &[y.clone(), spec("more", Fp32, &[-1])]), None);
        let told = |inputs: &[TensorSpec], outputs: &[TensorSpec]| fits(inputs, outputs).expect("a misfit");
        assert!(told(&[], std::slice::from_ref(&y)).contains("no input `x`"));
        assert!(told(&[spec("x", Int64, &[-1, 3])], std::slice::from_ref(&y)).contains("is int64[-1, 3], not float32"));
        assert!(told(&[spec("x", Fp32, &[-1, 4])], std::slice::from_ref(&y)).contains("[-1, 4]"));
        assert!(told(&[x.clone(), spec("z", Fp32, &[-1])], &[y]).contains("asks for `z`"));
        assert!(told(std::slice::from_ref(&x), &[]).contains("no output `y`"));
        assert!(told(&[x], &[spec("y", Fp32, &[-1, -1])]).contains("its output"));
    }

    fn interface(inputs: &str, outputs: Option<&str>) -> Interface {
        let fields = |text: &str| -> Vec<Field> { serde_json::from_str(text).expect(text) };
        Interface { inputs: Some(fields(inputs)), outputs: outputs.map(fields), parameters: Vec::new() }
    }

    #[test]
    fn columns_may_grow_wider_and_optional() {
        let old = interface(r#"[{"name":"a","type":"integer"},{"name":"b","type":"float","required":false}]"#, None);
        let fits = |inputs: &str| misfit(&interface(inputs, None), &old);
        let b = r#"{"name":"b","type":"double","required":false}"#;
        for good in [
            format!(r#"[{{"name":"a","type":"integer"}},{b}]"#),
            format!(r#"[{{"name":"a","type":"long","required":false}},{b}]"#),
            format!(r#"[{b},{{"name":"a","type":"double"}},{{"name":"c","type":"string","required":false}}]"#),
            format!(r#"[{{"name":"a","type":"any"}},{b}]"#),
        ] {
            assert_eq!(fits(&good), None, "{good}");
        }
        for (bad, why) in [
            (format!(r#"[{{"name":"a","type":"string"}},{b}]"#), "its input `a` is string, not integer"),
            (r#"[{"name":"a","type":"integer"}]"#.to_owned(), "it has no input `b`"),
            (
                r#"[{"name":"a","type":"integer"},{"name":"b","type":"double"}]"#.to_owned(),
                "its input `b` is double, not float, optional",
            ),
            (format!(r#"[{{"name":"a","type":"integer"}},{b},{{"name":"c","type":"string"}}]"#), "it asks for `c` too"),
            (r#"[{"type":"tensor","tensor-spec":{"dtype":"int32","shape":[-1,2]}}]"#.to_owned(), "it has no input `a`"),
        ] {
            assert_eq!(fits(&bad).as_deref(), Some(why), "{bad}");
        }
        assert!(misfit(&Interface::default(), &old).expect("silent").contains("it does not say"));
        assert!(misfit(&old, &Interface::default()).expect("silent").contains("the incumbent does not"));
    }

    #[test]
    fn answers_may_grow_narrower_and_longer() {
        let inputs = r#"[{"type":"tensor","tensor-spec":{"dtype":"float64","shape":[-1,2]}}]"#;
        let old = interface(inputs, Some(r#"[{"type":"object","properties":{"p":{"type":"double"}}}]"#));
        let fits = |outputs: &str| misfit(&interface(inputs, Some(outputs)), &old);
        let more = r#"[{"type":"object","properties":{"p":{"type":"float"},"q":{"type":"string"}}}]"#;
        assert_eq!(fits(more), None);
        assert!(fits(r#"[{"type":"object","properties":{"q":{"type":"double"}}}]"#).is_some());
        assert!(fits(r#"[{"type":"array","items":{"type":"double"}}]"#).expect("array").contains("array of double"));
        assert!(misfit(&interface(inputs, None), &old).expect("silent").contains("what it gives"));
        // The other way round the new property would be refused by who takes it.
        let narrow = r#"[{"type":"object","properties":{"p":{"type":"double"}}}]"#;
        assert!(misfit(&interface(narrow, None), &interface(more, None)).is_some());
    }
}
