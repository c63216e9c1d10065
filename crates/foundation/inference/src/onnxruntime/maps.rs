//! `ZipMap`, with which scikit-learn's exporter ends a classifier: a sequence of maps has no place among tensors and
//! costs more than the model. It is cut off, so that the scores come out as [N, C], and its keys become the labels of
//! their columns, as our own evaluator does it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use prost::Message as _;

use super::wire::{fields, malformed, put};
use crate::onnx::{
    DataType, Dimension, DimensionValue, NodeProto, TensorShapeProto, TensorType, TypeProto, TypeValue, ValueInfoProto,
};
use crate::{InferenceError, TensorData};

/// Fields of `ModelProto` and `GraphProto`.
const GRAPH: u32 = 7;
const NODE: u32 = 1;
const OUTPUT: u32 = 12;

/// An output as the model's author named it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Output {
    pub(super) name: String,
    /// The value of the graph that it is taken from: another where a `ZipMap` was cut off.
    pub(super) taken_from: String,
    /// Labels of its columns.
    pub(super) labels: Option<TensorData>,
}

/// A model without `ZipMap`, and its outputs in order.
#[derive(Debug)]
pub(super) struct Plain<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    pub(super) outputs: Vec<Output>,
}

pub(super) fn without_maps(model: &[u8]) -> Result<Plain<'_>, InferenceError> {
    let mut graph = None;
    for field in fields(model) {
        let field = field?;
        if field.number == GRAPH {
            graph = Some(field.content);
        }
    }
    let graph = graph.ok_or_else(|| malformed("the model has no graph"))?;
    let (outputs, maps) = outputs(graph)?;
    if maps.is_empty() {
        return Ok(Plain { bytes: Cow::Borrowed(model), outputs });
    }
    let graph = rewritten(graph, &maps)?;
    let mut bytes = Vec::with_capacity(model.len());
    for field in fields(model) {
        let field = field?;
        if field.number != GRAPH {
            bytes.extend_from_slice(field.whole);
        }
    }
    put(&mut bytes, GRAPH, &graph);
    Ok(Plain { bytes: Cow::Owned(bytes), outputs })
}

type Maps = HashMap<String, (String, TensorData)>;

/// The graph's outputs, and those `ZipMap`s among its nodes that make one.
fn outputs(graph: &[u8]) -> Result<(Vec<Output>, Maps), InferenceError> {
    let mut names = Vec::new();
    let mut maps = Maps::new();
    for field in fields(graph) {
        let field = field?;
        match field.number {
            OUTPUT => names.push(ValueInfoProto::decode(field.content).map_err(|error| malformed(&error))?.name),
            NODE if is_map(field.content)? => {
                let node = NodeProto::decode(field.content).map_err(|error| malformed(&error))?;
                if let ([input], [output]) = (node.input.as_slice(), node.output.as_slice()) {
                    maps.insert(output.clone(), (input.clone(), labels(&node)));
                }
            }
            _ => {}
        }
    }
    maps.retain(|output, _| names.contains(output));
    let output = |name: String| match maps.get(&name) {
        Some((input, labels)) => Output { name, taken_from: input.clone(), labels: Some(labels.clone()) },
        None => Output { taken_from: name.clone(), name, labels: None },
    };
    Ok((names.into_iter().map(output).collect(), maps))
}

/// Whether an encoded node is a `ZipMap`: field 4 is its operator.
fn is_map(node: &[u8]) -> Result<bool, InferenceError> {
    let mut map = false;
    for field in fields(node) {
        let field = field?;
        map |= field.number == 4 && field.content == b"ZipMap";
    }
    Ok(map)
}

fn labels(node: &NodeProto) -> TensorData {
    let attribute = |name| node.attribute.iter().find(|one| one.name == name);
    if let Some(numbers) = attribute("classlabels_int64s").filter(|one| !one.ints.is_empty()) {
        return numbers.ints.clone().into();
    }
    let texts = attribute("classlabels_strings").map(|one| one.strings.clone()).unwrap_or_default();
    texts.into_iter().map(Bytes::from).collect::<Vec<_>>().into()
}

fn rewritten(graph: &[u8], maps: &Maps) -> Result<Vec<u8>, InferenceError> {
    let mut out = Vec::with_capacity(graph.len());
    let mut written = HashSet::new();
    let mut replaced = Vec::new();
    for field in fields(graph) {
        let field = field?;
        if field.number == NODE && is_map(field.content)? {
            let node = NodeProto::decode(field.content).map_err(|error| malformed(&error))?;
            if node.output.first().is_some_and(|output| maps.contains_key(output)) {
                continue;
            }
        }
        if field.number == OUTPUT {
            let output = ValueInfoProto::decode(field.content).map_err(|error| malformed(&error))?;
            if let Some((input, labels)) = maps.get(&output.name) {
                replaced.push((input, labels.len()));
                continue;
            }
            written.insert(output.name);
        }
        out.extend_from_slice(field.whole);
    }
    for (name, columns) in replaced {
        if written.insert(name.clone()) {
            put(&mut out, OUTPUT, &scores(name, columns).encode_to_vec());
        }
    }
    Ok(out)
}

/// The declaration of the scores: FP32[-1, columns].
fn scores(name: &str, columns: usize) -> ValueInfoProto {
    let columns = DimensionValue::DimValue(columns as i64);
    let dim = vec![Dimension { value: None }, Dimension { value: Some(columns) }];
    let tensor = TensorType { elem_type: DataType::Float as i32, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { value: Some(TypeValue::TensorType(tensor)) }) }
}
