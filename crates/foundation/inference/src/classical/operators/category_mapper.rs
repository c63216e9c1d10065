use std::collections::HashMap;

use bytes::Bytes;
use ropewalk_types::ElementType;

use super::{Built, Definition, Operator};
use crate::Tensor;
use crate::classical::fault::Fault;
use crate::classical::inputs::{Inputs, values};

#[derive(Debug)]
enum CategoryMapper {
    ToInteger { map: HashMap<Bytes, i64>, default: i64 },
    ToText { map: HashMap<i64, Bytes>, default: Bytes },
}

/// `CategoryMapper`: strings to integers or integers to strings, by two lists of equal length.
pub(super) fn category_mapper(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    let input = definition.input_of(0, &[ElementType::Bytes, ElementType::Int64])?;
    let attributes = &mut definition.attributes;
    let integers = attributes.ints("cats_int64s")?.unwrap_or_default();
    let strings = attributes.byte_strings("cats_strings")?.unwrap_or_default();
    let default_integer = attributes.int("default_int64")?.unwrap_or(-1);
    let default_string = attributes.byte_string("default_string")?.unwrap_or(Bytes::from_static(b"_Unused"));
    if integers.len() != strings.len() || integers.is_empty() {
        return Err(Fault::invalid(format!("{} integers for {} strings", integers.len(), strings.len())));
    }
    if input == ElementType::Bytes {
        let map = unique(strings.into_iter().zip(integers))?;
        return Ok(Built::new(CategoryMapper::ToInteger { map, default: default_integer }, vec![ElementType::Int64]));
    }
    let map = unique(integers.into_iter().zip(strings))?;
    Ok(Built::new(CategoryMapper::ToText { map, default: default_string }, vec![ElementType::Bytes]))
}

/// The specification gives no meaning to a key with two values.
fn unique<K: std::hash::Hash + Eq + std::fmt::Debug + Clone, V: PartialEq>(
    pairs: impl Iterator<Item = (K, V)>,
) -> Result<HashMap<K, V>, Fault> {
    let mut map = HashMap::new();
    for (key, value) in pairs {
        if map.get(&key).is_some_and(|other| *other != value) {
            return Err(Fault::unsupported(format!("category {key:?} with two values")));
        }
        map.insert(key, value);
    }
    Ok(map)
}

impl Operator for CategoryMapper {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let data = match self {
            Self::ToInteger { map, default } => {
                let mapped = values::<Bytes>(input)?.iter().map(|key| map.get(key).copied().unwrap_or(*default));
                mapped.collect::<Vec<_>>().into()
            }
            Self::ToText { map, default } => {
                let mapped = values::<i64>(input)?.iter().map(|key| map.get(key).unwrap_or(default).clone());
                mapped.collect::<Vec<_>>().into()
            }
        };
        Ok(vec![Tensor { shape: input.shape.clone(), data }])
    }
}
