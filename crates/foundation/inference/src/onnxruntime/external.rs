//! Tensors that a model keeps in other files (ONNX "External Data"): their files must lie in the model's own folder.

use std::collections::BTreeSet;
use std::path::Path;

use prost::Message as _;
use ropewalk_store::files;

use super::wire::{Field, fields, malformed};
use crate::InferenceError;
use crate::external::{BYTES_LIMIT, located, real, too_large};
use crate::onnx::StringStringEntryProto;

/// How deep graphs may lie in one another.
const DEPTH_LIMIT: usize = 64;

#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Function,
    Tensor,
    SparseTensor,
}

impl Kind {
    fn inside(self, number: u32) -> Option<Self> {
        match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Some(Self::Graph),
            (Self::Model, 25) => Some(Self::Function),
            (Self::Graph, 1) | (Self::Function, 7) => Some(Self::Node),
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::SparseTensor, 1 | 2) => Some(Self::Tensor),
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Some(Self::SparseTensor),
            (Self::Node, 5) | (Self::Function, 11) => Some(Self::Attribute),
            _ => None,
        }
    }
}

/// What a model says of other files. A message may stand in parts, so that the place of a tensor and what marks it as
/// lying elsewhere need not stand together.
#[derive(Default)]
struct Found {
    external: bool,
    locations: BTreeSet<String>,
}

/// Whether the model keeps tensors in other files.
///
/// # Errors
/// [`InferenceError::InvalidGraph`] if there is no folder for them, or if one lies outside of it, also by a link;
/// [`InferenceError::TooLarge`] if together they are.
pub(super) fn check(model: &[u8], folder: Option<&Path>) -> Result<bool, InferenceError> {
    let mut found = Found::default();
    walk(model, Kind::Model, &mut found, 0)?;
    if found.external {
        check_files(&found.locations, folder)?;
    }
    Ok(found.external)
}

fn walk(bytes: &[u8], kind: Kind, found: &mut Found, depth: usize) -> Result<(), InferenceError> {
    if depth > DEPTH_LIMIT {
        return Err(malformed("its graphs lie in one another too deeply"));
    }
    for field in fields(bytes) {
        let field = field?;
        if let Kind::Tensor = kind {
            tensor_field(&field, found)?;
        } else if let Some(inside) = kind.inside(field.number) {
            walk(field.content, inside, found, depth + 1)?;
        }
    }
    Ok(())
}

fn tensor_field(field: &Field<'_>, found: &mut Found) -> Result<(), InferenceError> {
    // `data_location`, an enumeration: who reads it cuts it to 32 bits.
    found.external |= field.number == 14 && field.value != 0;
    // An entry of `external_data`.
    if field.number == 13 {
        let entry = StringStringEntryProto::decode(field.content).map_err(|error| malformed(&error))?;
        if entry.key == "location" {
            found.locations.insert(entry.value);
        }
    }
    Ok(())
}

fn check_files(locations: &BTreeSet<String>, folder: Option<&Path>) -> Result<(), InferenceError> {
    let refused = |reason| InferenceError::InvalidGraph { place: "external data".to_owned(), reason };
    let folder = folder
        .ok_or_else(|| refused("its tensors lie in another file, and the model came without its folder".to_owned()))?;
    let root = real(folder).map_err(refused)?;
    let mut paths = BTreeSet::new();
    for location in locations {
        // By such names the library means addresses in its own memory.
        if location.starts_with("*/") {
            return Err(refused(format!("`{location}` is no file")));
        }
        paths.insert(located(&root, location).map_err(refused)?);
    }
    let mut size = 0_u64;
    for path in paths {
        size = size.saturating_add(files::size(&path).map_err(|error| refused(error.to_string()))?);
    }
    if size > BYTES_LIMIT { Err(too_large(size)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use prost::encoding::{WireType, encode_key, encode_varint};

    use super::super::wire::put;
    use super::*;
    use crate::onnx::TensorProto;

    /// A tensor whose data lies at `location`, marked so by any number.
    fn tensor(location: &str, mark: u64) -> Vec<u8> {
        let entry = StringStringEntryProto { key: "location".to_owned(), value: location.to_owned() };
        let mut bytes = TensorProto { external_data: vec![entry], ..TensorProto::default() }.encode_to_vec();
        encode_key(14, WireType::Varint, &mut bytes);
        encode_varint(mark, &mut bytes);
        bytes
    }

    /// A message inside of others: the field numbers from the outside in.
    fn within(numbers: &[u32], inner: Vec<u8>) -> Vec<u8> {
        numbers.iter().rev().fold(inner, |inner, number| {
            let mut outer = Vec::new();
            put(&mut outer, *number, &inner);
            outer
        })
    }

    #[test]
    fn tensors_are_found_wherever_a_model_may_have_them() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("weights.bin"), [0; 4]).unwrap();
        let places: [&[u32]; 9] = [
            &[7, 5],
            &[7, 15, 1],
            &[7, 15, 2],
            &[7, 1, 5, 5],
            &[7, 1, 5, 10],
            &[7, 1, 5, 22, 1],
            &[7, 1, 5, 23, 2],
            &[25, 11, 5],
            &[25, 7, 5, 6, 5],
        ];
        for place in places {
            let model = |location: &str, mark| within(place, tensor(location, mark));
            let check = |model: Vec<u8>, folder| super::check(&model, folder);
            assert!(check(model("weights.bin", 1), Some(folder.path())).unwrap(), "{place:?}");
            assert!(check(model("./weights.bin", (1 << 32) | 1), Some(folder.path())).unwrap(), "{place:?}");
            assert!(!check(model("weights.bin", 0), None).unwrap(), "{place:?}");
            for outside in ["../secret.bin", "/etc/passwd", "", "absent.bin", "."] {
                let error = check(model(outside, 1), Some(folder.path())).unwrap_err();
                assert!(matches!(error, InferenceError::InvalidGraph { .. }), "{place:?} {outside}: {error}");
            }
            assert!(check(model("weights.bin", 1), None).unwrap_err().to_string().contains("without its folder"));
        }
    }

    #[test]
    fn the_place_of_a_tensor_may_stand_in_another_part_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut attribute = within(&[5], tensor("", 1));
        attribute.extend(within(&[5], tensor("../secret.bin", 0)));
        let error = check(&within(&[7, 1, 5], attribute), Some(folder.path())).unwrap_err();
        assert!(error.to_string().contains("not inside the model's folder"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn files_lie_in_the_folder_also_where_links_lead_and_are_bounded() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("model");
        fs::create_dir_all(folder.join("*/_ORT_MEM_ADDR_")).unwrap();
        for file in ["model/weights.bin", "model/*/_ORT_MEM_ADDR_/*", "secret.bin"] {
            fs::write(place.path().join(file), [0; 4]).unwrap();
        }
        let check = |location: &str| super::check(&within(&[7, 5], tensor(location, 1)), Some(&folder));
        std::os::unix::fs::symlink("../secret.bin", folder.join("out.bin")).unwrap();
        assert!(check("out.bin").unwrap_err().to_string().contains("a link that leads out"));
        std::os::unix::fs::symlink("weights.bin", folder.join("in.bin")).unwrap();
        assert!(check("in.bin").unwrap());
        assert!(check("*/_ORT_MEM_ADDR_/*").unwrap_err().to_string().contains("is no file"));
        // A hole: it takes no room.
        fs::File::create(folder.join("large.bin")).unwrap().set_len(BYTES_LIMIT + 1).unwrap();
        assert!(matches!(check("large.bin"), Err(InferenceError::TooLarge { .. })));
    }
}
