//! Schemas and examples of a model's requests, by its signature.

use ropewalk_serving::ModelMetadata;
use ropewalk_types::{ElementType, TensorSpec};
use serde_json::{Map, Value, json};

use crate::columns::{holds_one, row_shape, row_width};

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

/// A value that the model can read, though it may mean nothing.
pub(crate) fn example_cell(spec: &TensorSpec) -> Value {
    if holds_one(spec) {
        return example(spec.datatype);
    }
    row_shape(spec).iter().rev().fold(example(spec.datatype), |inner, extent| {
        // An example as long as an image would be of no use to read, but a shorter one would be refused.
        Value::Array(vec![inner; usize::try_from(*extent).unwrap_or(1).min(4096)])
    })
}

fn example(datatype: ElementType) -> Value {
    match datatype {
        ElementType::Bool => json!(true),
        ElementType::Bytes => json!("text"),
        ElementType::Fp16 | ElementType::Bf16 | ElementType::Fp32 | ElementType::Fp64 => json!(0.5),
        _ => json!(1),
    }
}

pub(super) fn example_row(model: &ModelMetadata) -> Value {
    model.signature.inputs.iter().map(|spec| (spec.name.clone(), example_cell(spec))).collect::<Map<_, _>>().into()
}

pub(super) fn example_invocation(model: &ModelMetadata) -> Value {
    let names: Vec<&str> = model.signature.inputs.iter().map(|spec| spec.name.as_str()).collect();
    let cells: Vec<Value> = model.signature.inputs.iter().map(example_cell).collect();
    json!({"dataframe_split": {"columns": names, "data": [cells]}})
}

pub(super) fn example_infer(model: &ModelMetadata) -> Value {
    let tensor = |spec: &TensorSpec| {
        let shape: Vec<usize> = spec.shape.iter().map(|extent| usize::try_from(*extent).unwrap_or(1)).collect();
        let length = shape.iter().fold(1_usize, |length, extent| length.saturating_mul(*extent));
        let data = vec![example(spec.datatype); length.min(4096)];
        json!({"name": spec.name, "datatype": spec.datatype.as_str(), "shape": shape, "data": data})
    };
    json!({"inputs": model.signature.inputs.iter().map(tensor).collect::<Vec<_>>()})
}

pub(super) fn json_body(schema: &Value, example: &Value) -> Value {
    json!({"required": true, "content": {"application/json": {"schema": schema, "example": example}}})
}

pub(super) fn objects_body(row: &Value, example: &Value) -> Value {
    json_body(&json!({"oneOf": [row, {"type": "array", "minItems": 1, "items": row}]}), example)
}

pub(super) fn invocations_body(schema: &Value, example: Option<&Value>) -> Value {
    let mut json = json!({"schema": schema});
    if let (Some(example), Some(media)) = (example, json.as_object_mut()) {
        media.insert("example".to_owned(), example.clone());
    }
    json!({"required": true, "content": {
        "application/json": json,
        "text/csv": {"schema": {"type": "string"}},
        "application/vnd.apache.parquet": {"schema": {"type": "string", "contentEncoding": "binary"}},
    }})
}
