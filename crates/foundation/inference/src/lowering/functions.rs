//! Functions of a model's own (ONNX IR specification, "Functions"): each node that uses one becomes the function's
//! nodes, with names of their own.

use std::collections::{BTreeMap, HashMap, HashSet};

use prost::Message as _;

use super::generations::Imports;
use super::names::{bodies_mut, rename, unused_prefix};
use crate::InferenceError;
use crate::onnx::{AttributeProto, FunctionProto, ModelProto, NodeProto, main_domain_normalized};

/// The most nodes that all uses of functions may become together: as many as a graph may have.
const NODES_LIMIT: u64 = 1 << 17;
/// The most bytes that these may have: constants of a function are copied with each use.
const BYTES_LIMIT: u64 = 1 << 28;
/// How deep functions may use others, and nodes lie in bodies.
const DEPTH_LIMIT: usize = 64;

/// Domain, name and overload.
type Key = (String, String, String);

fn key_of(node: &NodeProto) -> Key {
    (main_domain_normalized(&node.domain).to_owned(), node.op_type.clone(), node.overload.clone())
}

fn label(node: &NodeProto) -> &str {
    let output = || node.output.first().map_or("", String::as_str);
    if node.name.is_empty() { output() } else { &node.name }
}

fn invalid(node: &NodeProto, reason: impl Into<String>) -> InferenceError {
    InferenceError::InvalidGraph { place: format!("node `{}` ({})", label(node), node.op_type), reason: reason.into() }
}

/// Puts the nodes of functions where these are used; says whether the model had functions.
pub(super) fn inline(model: &mut ModelProto) -> Result<bool, InferenceError> {
    if model.functions.is_empty() {
        return Ok(false);
    }
    let prefix = unused_prefix(model);
    let mut functions = BTreeMap::new();
    for function in std::mem::take(&mut model.functions) {
        let domain = main_domain_normalized(&function.domain).to_owned();
        let name = function.name.clone();
        if functions.insert((domain, name.clone(), function.overload.clone()), function).is_some() {
            let reason = "it is defined twice".to_owned();
            return Err(InferenceError::InvalidGraph { place: format!("function `{name}`"), reason });
        }
    }
    let imports = Imports::of(model);
    let mut inliner =
        Inliner { functions: &functions, imports, checked: HashSet::new(), prefix, uses: 0, nodes: 0, bytes: 0 };
    if let Some(graph) = model.graph.as_mut() {
        graph.node = inliner.nodes(std::mem::take(&mut graph.node), &mut Vec::new(), 0)?;
    }
    model.opset_import.extend(inliner.imports.brought());
    Ok(true)
}

struct Inliner<'a> {
    functions: &'a BTreeMap<Key, FunctionProto>,
    imports: Imports,
    /// Functions whose versions are known to fit.
    checked: HashSet<&'a Key>,
    prefix: String,
    uses: u64,
    nodes: u64,
    bytes: u64,
}

impl<'a> Inliner<'a> {
    /// The nodes, those that use functions replaced; `within` are the functions that they are part of.
    fn nodes(
        &mut self,
        nodes: Vec<NodeProto>,
        within: &mut Vec<&'a Key>,
        depth: usize,
    ) -> Result<Vec<NodeProto>, InferenceError> {
        let functions = self.functions;
        let mut out = Vec::with_capacity(nodes.len());
        for mut node in nodes {
            if depth > DEPTH_LIMIT {
                return Err(invalid(&node, "functions and bodies lie in one another too deeply"));
            }
            for body in bodies_mut(&mut node) {
                body.node = self.nodes(std::mem::take(&mut body.node), within, depth + 1)?;
            }
            let Some((key, function)) = functions.get_key_value(&key_of(&node)) else {
                out.push(node);
                continue;
            };
            if within.contains(&key) {
                return Err(invalid(&node, format!("the function `{}` uses itself", function.name)));
            }
            self.check_versions(&node, key, function)?;
            let body = self.body(&node, function)?;
            within.push(key);
            out.extend(self.nodes(body, within, depth + 1)?);
            within.pop();
        }
        Ok(out)
    }

    fn check_versions(
        &mut self,
        node: &NodeProto,
        key: &'a Key,
        function: &FunctionProto,
    ) -> Result<(), InferenceError> {
        if !self.checked.insert(key) {
            return Ok(());
        }
        self.imports.add(function).map_err(|reason| InferenceError::Unsupported {
            node: label(node).to_owned(),
            domain: node.domain.clone(),
            operator: node.op_type.clone(),
            opset: self.imports.version(&node.domain),
            reason,
        })
    }

    /// The nodes of a function for one use of it.
    fn body(&mut self, node: &NodeProto, function: &FunctionProto) -> Result<Vec<NodeProto>, InferenceError> {
        for (what, given, most) in
            [("inputs", node.input.len(), function.input.len()), ("outputs", node.output.len(), function.output.len())]
        {
            if given > most {
                return Err(invalid(node, format!("{given} {what}, but the function has {most}")));
            }
        }
        let attributes = attributes(node, function)?;
        self.uses += 1;
        self.count(0, 1)?;
        let names = Names::new(node, function, format!("{}{}/", self.prefix, self.uses));
        let mut nodes = Vec::with_capacity(function.node.len() + names.copies.len());
        for inner in &function.node {
            self.count(inner.encoded_len() as u64, 1)?;
            let mut inner = inner.clone();
            rename(&mut inner, &|name| names.new_name(name));
            let given: u64 = resolve(&mut inner, &attributes, 0)?;
            self.count(given, 0)?;
            inner.name = format!("{}/{}", label(node), label(&inner));
            nodes.push(inner);
        }
        nodes.extend(names.copies.into_iter().map(|(from, to)| NodeProto {
            input: vec![from],
            output: vec![to],
            op_type: "Identity".to_owned(),
            ..NodeProto::default()
        }));
        Ok(nodes)
    }

    fn count(&mut self, bytes: u64, nodes: u64) -> Result<(), InferenceError> {
        self.nodes += nodes;
        self.bytes = self.bytes.saturating_add(bytes);
        let limits = [("nodes", self.nodes, NODES_LIMIT), ("bytes", self.bytes, BYTES_LIMIT)];
        match limits.into_iter().find(|(_, size, limit)| size > limit) {
            None => Ok(()),
            Some((unit, size, limit)) => {
                let what = format!("graph with its functions written out, in {unit}");
                Err(InferenceError::TooLarge { what, size, limit })
            }
        }
    }
}

/// What a function's names become for one use.
struct Names {
    known: HashMap<String, String>,
    prefix: String,
    /// Outputs of the use that are an input of it, or the same as another output.
    copies: Vec<(String, String)>,
}

impl Names {
    fn new(node: &NodeProto, function: &FunctionProto, prefix: String) -> Self {
        let given = node.input.iter().map(String::as_str).chain(std::iter::repeat(""));
        let mut known: HashMap<String, String> =
            function.input.iter().zip(given).map(|(formal, actual)| (formal.clone(), actual.to_owned())).collect();
        let mut copies = Vec::new();
        for (formal, actual) in function.output.iter().zip(&node.output).filter(|(_, actual)| !actual.is_empty()) {
            match known.get(formal) {
                Some(value) => copies.push((value.clone(), actual.clone())),
                None => {
                    known.insert(formal.clone(), actual.clone());
                }
            }
        }
        Self { known, prefix, copies }
    }

    fn new_name(&self, name: &str) -> String {
        self.known.get(name).cloned().unwrap_or_else(|| format!("{}{name}", self.prefix))
    }
}

type Attributes<'a> = HashMap<&'a str, &'a AttributeProto>;

/// The attributes of one use: those given, and the defaults of the others.
fn attributes<'a>(node: &'a NodeProto, function: &'a FunctionProto) -> Result<Attributes<'a>, InferenceError> {
    let mut attributes: Attributes<'a> =
        function.attribute_proto.iter().map(|default| (default.name.as_str(), default)).collect();
    for attribute in &node.attribute {
        let known = function.attribute.contains(&attribute.name) || attributes.contains_key(attribute.name.as_str());
        if !known {
            return Err(invalid(node, format!("the function has no attribute `{}`", attribute.name)));
        }
        attributes.insert(&attribute.name, attribute);
    }
    Ok(attributes)
}

/// Puts the values of a function's attributes where nodes refer to them; one without a value is left out. Says how many
/// bytes came in.
fn resolve(node: &mut NodeProto, values: &Attributes<'_>, depth: usize) -> Result<u64, InferenceError> {
    if depth > DEPTH_LIMIT {
        return Err(invalid(node, "its bodies are nested too deeply"));
    }
    let mut bytes = 0;
    node.attribute.retain_mut(|attribute| {
        if attribute.ref_attr_name.is_empty() {
            return true;
        }
        let value = values.get(attribute.ref_attr_name.as_str());
        if let Some(value) = value {
            bytes += value.encoded_len() as u64;
            *attribute = AttributeProto { name: std::mem::take(&mut attribute.name), ..(*value).clone() };
        }
        value.is_some()
    });
    for body in bodies_mut(node) {
        for inner in &mut body.node {
            bytes += resolve(inner, values, depth + 1)?;
        }
    }
    Ok(bytes)
}
