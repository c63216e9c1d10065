//! What the fuzz targets call, and what short tests call in CI: the readers of foreign bytes.

use bytes::Bytes;
use ropewalk_inference::NamedTensor;
use ropewalk_types::{ElementType, Signature, TensorSpec};

use crate::cells::Reading;
use crate::columns::tensors;
use crate::forms::Kind;
use crate::table::Table;
use crate::{ScoringError, ScoringLimits, records};

/// Models as they come: columns of several types, one input of some or any values, and single values.
fn signatures() -> [Signature; 4] {
    use ElementType::{Bool, Bytes, Fp16, Fp32, Fp64, Int8, Int64, Uint64};
    let spec =
        |name: &str, datatype, shape: &[i64]| TensorSpec { name: name.to_owned(), datatype, shape: shape.into() };
    let of = |inputs| Signature { inputs, outputs: Vec::new() };
    let columns = [("a", Fp32), ("b", Int64), ("c", Bytes), ("d", Bool), ("e", Uint64), ("f", Fp16), ("g", Int8)];
    [
        of(columns.iter().map(|(name, datatype)| spec(name, *datatype, &[-1, 1])).collect()),
        of(vec![spec("x", Fp32, &[-1, 3])]),
        of(vec![spec("x", Fp64, &[-1, -1, 2])]),
        of(vec![spec("a", Bytes, &[-1]), spec("b", Fp32, &[])]),
    ]
}

/// Small, so that an input of some kilobytes reaches them.
fn limits() -> ScoringLimits {
    ScoringLimits { rows: 1 << 12, columns: 1 << 8, cells: 1 << 16, parquet_bytes: 1 << 20, ..ScoringLimits::default() }
}

/// Each input is the model's, and has as many elements as its shape says.
fn check(inputs: &[NamedTensor], signature: &Signature) {
    assert_eq!(inputs.len(), signature.inputs.len(), "an input is missing");
    for (input, spec) in inputs.iter().zip(&signature.inputs) {
        assert_eq!(
            (&input.name, input.tensor.element_type()),
            (&spec.name, spec.datatype),
            "an input of another model"
        );
        assert_eq!(input.tensor.shape.iter().product::<usize>(), input.tensor.data.len(), "elements without a place");
    }
}

fn read_records(body: &[u8], signature: &Signature) -> Result<Vec<NamedTensor>, ScoringError> {
    let (records, _) = records::read(body)?;
    records::check(&records, signature)?;
    tensors(&Table::of_records(records, Reading::Typed, &limits())?, "m", signature)
}

/// Reads the objects of `/predict` for several models.
///
/// # Panics
/// What was read is not what a model takes.
pub fn records(body: &[u8]) {
    for signature in signatures() {
        if let Ok(inputs) = read_records(body, &signature) {
            check(&inputs, &signature);
        }
    }
}

/// Reads the body of `/invocations` for several models; the first byte says as what.
///
/// # Panics
/// What was read is not what a model takes.
pub fn invocations(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    let kind = match kind {
        b'c' => Kind::Csv,
        b'p' => Kind::Parquet,
        _ => Kind::Json,
    };
    let Ok(asking) = kind.read(Bytes::copy_from_slice(body), &limits()) else { return };
    for signature in signatures() {
        if let Ok(inputs) = tensors(&asking.table, "m", &signature) {
            check(&inputs, &signature);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A body that is nearly right, and what cuts and changes make of it.
    fn body() -> impl Strategy<Value = String> {
        let cell =
            prop::sample::select(vec!["1", "-2.5", "\"a\"", "true", "null", "NaN", "[1,2]", "[[1,2],[3,4]]", "{}"]);
        let row =
            prop::collection::vec((prop::sample::select(vec!["a", "b", "c", "d", "e", "f", "g", "x"]), cell), 0..8);
        prop::collection::vec(row, 0..4).prop_map(|rows| {
            let entry = |(name, cell): &(&str, &str)| format!("\"{name}\":{cell}");
            let object = |row: &Vec<_>| format!("{{{}}}", row.iter().map(entry).collect::<Vec<_>>().join(","));
            format!("[{}]", rows.iter().map(object).collect::<Vec<_>>().join(","))
        })
    }

    proptest! {
        #[test]
        fn no_objects_break_the_reader(text in body(), cut in any::<prop::sample::Index>()) {
            records(text.as_bytes());
            records(text.as_bytes().get(..cut.index(text.len())).unwrap_or_default());
            for key in ["dataframe_records", "instances", "inputs", "dataframe_split"] {
                invocations(format!("j{{\"{key}\":{text}}}").as_bytes());
            }
        }

        #[test]
        fn no_bytes_break_a_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            records(&bytes);
            for kind in [b'j', b'c', b'p'] {
                invocations(&[&[kind][..], &bytes].concat());
            }
        }
    }

    #[test]
    fn every_seed_is_read() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../fuzz/inference/seeds");
        for (target, read) in [("records", records as fn(&[u8])), ("invocations", invocations)] {
            let mut seeds = 0;
            for seed in std::fs::read_dir(format!("{folder}/{target}")).unwrap() {
                read(&std::fs::read(seed.unwrap().path()).unwrap());
                seeds += 1;
            }
            assert!(seeds > 0, "{target} has no seeds");
        }
    }
}
