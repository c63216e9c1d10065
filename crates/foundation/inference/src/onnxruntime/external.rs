//! Tensors that a model keeps in other files (ONNX "External Data"): their files must lie in the model's own folder.

use std::path::{Component, Path};

use prost::Message as _;

use super::wire::{Field, fields, malformed};
use crate::InferenceError;
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
}

impl Kind {
    fn inside(self, number: u32) -> Option<Self> {
        match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Some(Self::Graph),
            (Self::Model, 25) => Some(Self::Function),
            (Self::Graph, 1) | (Self::Function, 7) => Some(Self::Node),
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) => Some(Self::Tensor),
            (Self::Node, 5) => Some(Self::Attribute),
            _ => None,
        }
    }
}

/// Whether the model keeps tensors in other files.
///
/// # Errors
/// [`InferenceError::InvalidGraph`] if there is no folder for them, or if one would lie outside of it.
pub(super) fn check(model: &[u8], folder: Option<&Path>) -> Result<bool, InferenceError> {
    walk(model, Kind::Model, folder, 0)
}

fn walk(bytes: &[u8], kind: Kind, folder: Option<&Path>, depth: usize) -> Result<bool, InferenceError> {
    if depth > DEPTH_LIMIT {
        return Err(malformed("its graphs lie in one another too deeply"));
    }
    let mut external = false;
    for field in fields(bytes) {
        let field = field?;
        if let Kind::Tensor = kind {
            external |= tensor_field(&field, folder)?;
        } else if let Some(inside) = kind.inside(field.number) {
            external |= walk(field.content, inside, folder, depth + 1)?;
        }
    }
    Ok(external)
}

fn tensor_field(field: &Field<'_>, folder: Option<&Path>) -> Result<bool, InferenceError> {
    let refused = |reason| Err(InferenceError::InvalidGraph { place: "external data".to_owned(), reason });
    // `data_location`, and an entry of `external_data`.
    if field.number == 14 && field.value == 1 {
        return match folder {
            Some(_) => Ok(true),
            None => refused("its tensors lie in another file, and the model came without its folder".to_owned()),
        };
    }
    if field.number == 13 {
        let entry = StringStringEntryProto::decode(field.content).map_err(|error| malformed(&error))?;
        let inside = Path::new(&entry.value).components().all(|part| matches!(part, Component::Normal(_)));
        if entry.key == "location" && !inside {
            return refused(format!("`{}` is outside of the model's folder", entry.value));
        }
    }
    Ok(false)
}
