//! Schemas and examples of a model's requests, by its signature.

use ropewalk_serving::ModelMetadata;
use ropewalk_types::{ElementType, TensorSpec};
use serde_json::{Map, Value, json};

use crate::columns::{holds_one, row_shape, row_width};

/// Values that all lists of an example have together: one as long as an image would be of no use to read.
const EXAMPLE: usize = 4096;
/// Lists in each other.
const DEPTH: usize = 32;
/// About how many bytes describe a model, beside its inputs and outputs, and each of those.
const MODEL_BYTES: usize = 8 << 10;
const SPEC_BYTES: usize = 512;
/// About how many bytes all examples have for a value.
const VALUE_BYTES: usize = 24;

/// About how many bytes describe a model.
pub(crate) fn size(model: &ModelMetadata) -> usize {
    let specs = model.signature.inputs.iter().chain(&model.signature.outputs);
    let named = specs.fold(0_usize, |size, spec| size.saturating_add(SPEC_BYTES + 4 * spec.name.len()));
    let values = beyond_one(model.signature.inputs.iter().map(row_shape)).min(EXAMPLE);
    named.saturating_add(MODEL_BYTES + VALUE_BYTES * values)
}

/// How many values tensors of these shapes have beside the first of each; what a shape leaves open is one.
fn beyond_one<'a>(mut shapes: impl Iterator<Item = &'a [i64]>) -> usize {
    shapes
        .try_fold(0_usize, |sum, shape| {
            let shape = Some(shape).filter(|shape| shape.len() <= DEPTH)?;
            let values = shape
                .iter()
                .try_fold(1_usize, |values, extent| values.checked_mul(usize::try_from(*extent).unwrap_or(1).max(1)));
            sum.checked_add(values? - 1)
        })
        .unwrap_or(usize::MAX)
}

/// Whether an example of a row is short enough to be given. A shorter one than the model takes would be refused.
pub(crate) fn has_example(model: &ModelMetadata) -> bool {
    beyond_one(model.signature.inputs.iter().map(row_shape)) <= EXAMPLE
}

/// Schemas that all models share.
pub(super) fn shared() -> Map<String, Value> {
    let list = json!({"type": "array"});
    let shared = json!({
        "Error": {
            "type": "object",
            "required": ["error_code", "message"],
            "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
        },
        "InferError": {
            "type": "object", "required": ["error"], "properties": {"error": {"type": "string"}},
        },
        "Invocations": {
            "type": "object",
            "description": "Exactly one of the four forms of a table",
            "oneOf": [
                {"required": ["dataframe_split"]}, {"required": ["dataframe_records"]},
                {"required": ["instances"]}, {"required": ["inputs"]},
            ],
            "properties": {
                "dataframe_split": {
                    "type": "object",
                    "required": ["data"],
                    "additionalProperties": false,
                    "properties": {
                        "columns": {"type": "array", "items": {"type": "string"}}, "index": list, "data": list,
                    },
                },
                "dataframe_records": {"type": "array", "items": {"type": "object"}},
                "instances": {"description": "Tensors by row"},
                "inputs": {"description": "Tensors by name"},
                "params": {"description": "Ignored: the models take no parameters"},
            },
        },
        "Predictions": {
            "type": "object",
            "required": ["predictions"],
            "properties": {"predictions": {
                "description": "A list of objects to a DataFrame, an object of lists to tensors; the values alone of a \
                                Python model with one output",
            }},
        },
        "Tensor": {
            "type": "object",
            "required": ["name", "datatype", "shape", "data"],
            "properties": {
                "name": {"type": "string"}, "datatype": {"type": "string"},
                "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}}, "data": list,
            },
        },
        "InferResponse": {
            "type": "object",
            "required": ["model_name", "outputs"],
            "properties": {
                "id": {"type": "string"}, "model_name": {"type": "string"}, "model_version": {"type": "string"},
                "parameters": {"type": "object"},
                "outputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}},
            },
        },
    });
    if let Value::Object(shared) = shared { shared } else { Map::new() }
}

/// `KEY.Row`, `KEY.Answer` and `KEY.InferRequest`; `labelled` are the outputs that are objects by class.
pub(super) fn of_model(key: &str, model: &ModelMetadata, labelled: &[String]) -> [(String, Value); 3] {
    let output = |spec: &TensorSpec| {
        let plain = value(spec);
        if !labelled.contains(&spec.name) {
            return plain;
        }
        let by_class = json!({"type": "object", "additionalProperties": element(spec.datatype)});
        json!({"oneOf": [by_class, plain]})
    };
    let inputs = model.signature.inputs.iter();
    let answer = object(&model.signature.outputs, output, model.name.as_str());
    let infer = json!({
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "inputs": {"type": "array", "minItems": inputs.len(), "maxItems": inputs.len(), "items": {
                "allOf": [{"$ref": "#/components/schemas/Tensor"}],
                "properties": {"name": {"enum": inputs.map(|spec| &spec.name).collect::<Vec<_>>()}},
            }},
            "outputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
        },
    });
    let infer = if model.signature.inputs.is_empty() { json!({"type": "object"}) } else { infer };
    [(format!("{key}.Row"), row(model)), (format!("{key}.Answer"), answer), (format!("{key}.InferRequest"), infer)]
}

/// One object of raw columns.
fn row(model: &ModelMetadata) -> Value {
    let inputs = &model.signature.inputs;
    let named = object(inputs, value, model.name.as_str());
    match inputs.as_slice() {
        [spec] if !holds_one(spec) => {
            let mut values = json!({
                "type": "object",
                "description": format!("The values of `{}` under names of their own, in order", spec.name),
                "additionalProperties": element(spec.datatype),
                "minProperties": 2,
            });
            if let (Some(width), Some(schema)) = (row_width(spec), values.as_object_mut()) {
                schema.insert("minProperties".to_owned(), json!(width));
                schema.insert("maxProperties".to_owned(), json!(width));
            }
            json!({"anyOf": [named, values]})
        }
        _ => named,
    }
}

fn object(specs: &[TensorSpec], property: impl Fn(&TensorSpec) -> Value, title: &str) -> Value {
    let properties: Map<String, Value> = specs.iter().map(|spec| (spec.name.clone(), property(spec))).collect();
    json!({
        "title": title,
        "type": "object",
        "required": specs.iter().map(|spec| &spec.name).collect::<Vec<_>>(),
        "properties": properties,
        "additionalProperties": false,
    })
}

/// What a tensor says of one row.
fn value(spec: &TensorSpec) -> Value {
    if holds_one(spec) {
        return element(spec.datatype);
    }
    if row_shape(spec).len() > DEPTH {
        return json!({"type": "array"});
    }
    row_shape(spec).iter().rev().fold(element(spec.datatype), |items, extent| match u64::try_from(*extent) {
        Ok(extent) => json!({"type": "array", "items": items, "minItems": extent, "maxItems": extent}),
        Err(_) => json!({"type": "array", "items": items}),
    })
}

fn element(datatype: ElementType) -> Value {
    match datatype {
        ElementType::Bool => json!({"type": "boolean"}),
        ElementType::Uint8 => json!({"type": "integer", "minimum": 0, "maximum": u8::MAX}),
        ElementType::Uint16 => json!({"type": "integer", "minimum": 0, "maximum": u16::MAX}),
        ElementType::Uint32 => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
        ElementType::Uint64 => json!({"type": "integer", "minimum": 0}),
        ElementType::Int8 => json!({"type": "integer", "minimum": i8::MIN, "maximum": i8::MAX}),
        ElementType::Int16 => json!({"type": "integer", "minimum": i16::MIN, "maximum": i16::MAX}),
        ElementType::Int32 => json!({"type": "integer", "format": "int32"}),
        ElementType::Int64 => json!({"type": "integer", "format": "int64"}),
        ElementType::Fp16 | ElementType::Bf16 | ElementType::Fp32 | ElementType::Fp64 => {
            json!({"type": ["number", "null"], "description": "null is a missing value"})
        }
        ElementType::Bytes => json!({"type": "string"}),
    }
}

/// A value that the model can read, though it may mean nothing. It has as many values as the model says: see
/// [`has_example`].
pub(crate) fn example_cell(spec: &TensorSpec) -> Value {
    if holds_one(spec) {
        return example(spec.datatype);
    }
    row_shape(spec)
        .iter()
        .rev()
        .fold(example(spec.datatype), |inner, extent| Value::Array(vec![inner; usize::try_from(*extent).unwrap_or(1)]))
}

fn example(datatype: ElementType) -> Value {
    match datatype {
        ElementType::Bool => json!(true),
        ElementType::Bytes => json!("text"),
        ElementType::Fp16 | ElementType::Bf16 | ElementType::Fp32 | ElementType::Fp64 => json!(0.5),
        _ => json!(1),
    }
}

pub(super) fn example_row(model: &ModelMetadata) -> Option<Value> {
    let cells = model.signature.inputs.iter().map(|spec| (spec.name.clone(), example_cell(spec)));
    has_example(model).then(|| cells.collect::<Map<_, _>>().into())
}

pub(super) fn example_invocation(model: &ModelMetadata) -> Option<Value> {
    let names: Vec<&str> = model.signature.inputs.iter().map(|spec| spec.name.as_str()).collect();
    let cells = model.signature.inputs.iter().map(example_cell);
    has_example(model).then(|| json!({"dataframe_split": {"columns": names, "data": [cells.collect::<Vec<Value>>()]}}))
}

pub(super) fn example_infer(model: &ModelMetadata) -> Option<Value> {
    let inputs = &model.signature.inputs;
    if beyond_one(inputs.iter().map(|spec| spec.shape.as_slice())) > EXAMPLE {
        return None;
    }
    let tensor = |spec: &TensorSpec| {
        let shape: Vec<usize> = spec.shape.iter().map(|extent| usize::try_from(*extent).unwrap_or(1)).collect();
        let data = vec![example(spec.datatype); shape.iter().product()];
        json!({"name": spec.name, "datatype": spec.datatype.as_str(), "shape": shape, "data": data})
    };
    Some(json!({"inputs": inputs.iter().map(tensor).collect::<Vec<_>>()}))
}

pub(super) fn json_body(schema: &Value, example: Option<Value>) -> Value {
    json!({"required": true, "content": {"application/json": json_media(schema, example)}})
}

fn json_media(schema: &Value, example: Option<Value>) -> Value {
    match example {
        Some(example) => json!({"schema": schema, "example": example}),
        None => json!({"schema": schema}),
    }
}

pub(super) fn objects_body(row: &Value, example: Option<Value>) -> Value {
    json_body(&json!({"oneOf": [row, {"type": "array", "minItems": 1, "items": row}]}), example)
}

pub(super) fn invocations_body(schema: &Value, example: Option<Value>) -> Value {
    json!({"required": true, "content": {
        "application/json": json_media(schema, example),
        "text/csv": {"schema": {"type": "string"}},
        "application/vnd.apache.parquet": {"schema": {"type": "string", "contentEncoding": "binary"}},
    }})
}
