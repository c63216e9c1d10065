use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;

use bytes::Bytes;
use ropewalk_types::ElementType;

use super::{Built, Definition, Operator};
use crate::classical::attributes::Attributes;
use crate::classical::fault::Fault;
use crate::classical::inputs::{Inputs, values};
use crate::tensor::Element;
use crate::{Tensor, TensorData};

/// A type that can be looked up: reals by their bits, with one zero and one NaN.
trait Key: Element + Debug {
    type Hashed: Hash + Eq + Send + Sync + Debug;
    fn hashed(&self) -> Self::Hashed;
    fn is_missing(&self) -> bool {
        false
    }
}

macro_rules! plain_keys {
    ($($type:ty),*) => {
        $(impl Key for $type {
            type Hashed = Self;
            fn hashed(&self) -> Self {
                self.clone()
            }
        })*
    };
}
plain_keys!(Bytes, i64, i32, i16);

macro_rules! real_keys {
    ($($type:ident => $bits:ty),*) => {
        $(impl Key for $type {
            type Hashed = $bits;
            fn hashed(&self) -> $bits {
                if self.is_nan() { $type::NAN.to_bits() } else { (*self + 0.0).to_bits() }
            }
            fn is_missing(&self) -> bool {
                self.is_nan()
            }
        })*
    };
}
real_keys!(f32 => u32, f64 => u64);

#[derive(Debug)]
struct LabelEncoder<K: Key, V> {
    map: HashMap<K::Hashed, V>,
    default: V,
    /// Before version 4 NaN is equal to nothing.
    missing_matches: bool,
}

impl<K: Key, V: Element + Debug> LabelEncoder<K, V> {
    /// The first of equal keys counts.
    fn build(keys: &[K], list: Vec<V>, default: V, missing_matches: bool) -> Result<Built, Fault> {
        if keys.len() != list.len() {
            return Err(Fault::invalid(format!("{} keys for {} values", keys.len(), list.len())));
        }
        let mut map = HashMap::with_capacity(keys.len());
        for (key, value) in keys.iter().zip(list) {
            map.entry(key.hashed()).or_insert(value);
        }
        Ok(Built::new(Self { map, default, missing_matches }, vec![V::TYPE]))
    }
}

impl<K: Key, V: Element + Debug> Operator for LabelEncoder<K, V> {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let encode = |key: &K| {
            let known = if key.is_missing() && !self.missing_matches { None } else { self.map.get(&key.hashed()) };
            known.unwrap_or(&self.default).clone()
        };
        let encoded = values::<K>(input)?.iter().map(encode).collect();
        Ok(vec![Tensor { shape: input.shape.clone(), data: V::wrap(encoded) }])
    }
}

/// `LabelEncoder`: the value of each key, or the default. Version 1 numbers a list of strings, in either direction.
pub(super) fn label_encoder(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    let input = definition.input(0)?;
    if definition.opset < 2 {
        return first_version(definition, input);
    }
    let version = definition.opset;
    let attributes = &mut definition.attributes;
    let keys = list(attributes, "keys", version)?;
    let values = list(attributes, "values", version)?;
    let default = Defaults::read(attributes, version)?;
    if keys.element_type() != input {
        return Err(Fault::invalid(format!("keys of type {} for an input of type {input}", keys.element_type())));
    }
    match keys {
        TensorData::Bytes(keys) => to_values(&keys, values, &default),
        TensorData::Int64(keys) => to_values(&keys, values, &default),
        TensorData::Int32(keys) => to_values(&keys, values, &default),
        TensorData::Int16(keys) => to_values(&keys, values, &default),
        TensorData::Fp32(keys) => to_values(&keys, values, &default),
        TensorData::Fp64(keys) => to_values(&keys, values, &default),
        other => Err(Fault::unsupported(format!("keys of type {}", other.element_type()))),
    }
}

fn to_values<K: Key>(keys: &[K], values: TensorData, default: &Defaults) -> Result<Built, Fault> {
    let missing_matches = default.version >= 4;
    match values {
        TensorData::Bytes(list) => LabelEncoder::build(keys, list, default.string()?, missing_matches),
        TensorData::Int64(list) => LabelEncoder::build(keys, list, default.integer()?, missing_matches),
        TensorData::Int32(list) => LabelEncoder::build(keys, list, default.of_tensor(-1_i32)?, missing_matches),
        TensorData::Int16(list) => LabelEncoder::build(keys, list, default.of_tensor(-1_i16)?, missing_matches),
        TensorData::Fp32(list) => LabelEncoder::build(keys, list, default.real()?, missing_matches),
        TensorData::Fp64(list) => LabelEncoder::build(keys, list, default.of_tensor(-0.0_f64)?, missing_matches),
        other => Err(Fault::unsupported(format!("values of type {}", other.element_type()))),
    }
}

/// The one list among `{name}_strings`, `{name}_int64s`, `{name}_floats` and, from version 4 on, `{name}_tensor`.
fn list(attributes: &mut Attributes<'_>, name: &str, version: i64) -> Result<TensorData, Fault> {
    let tensor = if version < 4 { None } else { attributes.tensor(&format!("{name}_tensor"))? };
    let given = [
        attributes.byte_strings(&format!("{name}_strings"))?.map(TensorData::from),
        attributes.ints(&format!("{name}_int64s"))?.map(TensorData::from),
        attributes.floats(&format!("{name}_floats"))?.map(TensorData::from),
        tensor.map(|tensor| tensor.data),
    ];
    let mut given = given.into_iter().flatten().filter(|list| !list.is_empty());
    match (given.next(), given.next()) {
        (Some(list), None) => Ok(list),
        (None, _) => Err(Fault::invalid(format!("no {name} are given"))),
        (Some(_), Some(_)) => Err(Fault::invalid(format!("{name} of two types are given"))),
    }
}

/// What unknown keys become, for each type of values.
struct Defaults {
    string: Bytes,
    integer: i64,
    real: f32,
    tensor: Option<TensorData>,
    version: i64,
}

impl Defaults {
    fn read(attributes: &mut Attributes<'_>, version: i64) -> Result<Self, Fault> {
        let tensor = if version < 4 { None } else { attributes.tensor("default_tensor")? };
        Ok(Self {
            string: attributes.byte_string("default_string")?.unwrap_or(Bytes::from_static(b"_Unused")),
            integer: attributes.int("default_int64")?.unwrap_or(-1),
            real: attributes.float("default_float")?.unwrap_or(-0.0),
            tensor: tensor.map(|tensor| tensor.data),
            version,
        })
    }

    fn of_tensor<V: Element>(&self, absent: V) -> Result<V, Fault> {
        match self.tensor.as_ref().map(|data| (V::slice(data), data)) {
            None => Ok(absent),
            Some((Some([value]), _)) => Ok(value.clone()),
            Some((_, data)) => {
                let reason =
                    format!("`default_tensor` is {} of {}, expected one {}", data.len(), data.element_type(), V::TYPE);
                Err(Fault::invalid(reason))
            }
        }
    }

    fn string(&self) -> Result<Bytes, Fault> {
        self.of_tensor(self.string.clone())
    }

    fn integer(&self) -> Result<i64, Fault> {
        self.of_tensor(self.integer)
    }

    fn real(&self) -> Result<f32, Fault> {
        self.of_tensor(self.real)
    }
}

fn first_version(definition: &mut Definition<'_>, input: ElementType) -> Result<Built, Fault> {
    let classes = definition.attributes.byte_strings("classes_strings")?.unwrap_or_default();
    let default = Defaults::read(&mut definition.attributes, 1)?;
    let numbers: Vec<i64> = (0..classes.len() as i64).collect();
    match input {
        ElementType::Bytes => LabelEncoder::build(&classes, numbers, default.integer, false),
        ElementType::Int64 => LabelEncoder::build(&numbers, classes, default.string, false),
        other => Err(Fault::invalid(format!("an input of type {other}, expected BYTES or INT64"))),
    }
}
