use ropewalk_types::ElementType;

use super::rules::operator_rule;
use super::scope::{DEPTH_LIMIT, Scope, beyond};
use super::types::attribute;
use super::{bodies, node_name};
use crate::onnx::{NodeProto, main_domain_normalized};

/// The versions of the main domain whose operators were held against the specification.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=25;

/// Why a node must not be given to the engine although it would take it; none if it may.
pub(crate) fn refusal(node: &NodeProto, scope: &Scope) -> Option<String> {
    refusal_inside(node, scope, 0)
}

fn refusal_inside(node: &NodeProto, scope: &Scope, depth: u32) -> Option<String> {
    version(node, scope)
        .or_else(|| types(node, scope))
        .or_else(|| constants(node, scope))
        .or_else(|| operator_rule(node, scope))
        .or_else(|| scope.bounds().beyond(node))
        .or_else(|| inner(node, scope, depth))
}

fn version(node: &NodeProto, scope: &Scope) -> Option<String> {
    let domain = main_domain_normalized(&node.domain);
    match (domain, scope.opset(domain)) {
        ("", Some(version)) if OPSETS.contains(&version) => None,
        ("", Some(_)) => Some(format!("versions {} to {} of the domain are supported", OPSETS.start(), OPSETS.end())),
        ("com.microsoft", Some(_)) => None,
        ("" | "com.microsoft", None) => Some("the model does not import the domain".to_owned()),
        _ => Some("the domain is not known".to_owned()),
    }
}

/// The engine has FP32, INT32, INT8, UINT8, and what fits into them or is checked on the way.
fn types(node: &NodeProto, scope: &Scope) -> Option<String> {
    use ElementType::{Bool, Fp16, Fp32, Int8, Int32, Int64, Uint8};
    let mut values = node.input.iter().chain(&node.output).filter_map(|name| Some((name, scope.element_type(name)?)));
    let (name, found) =
        values.find(|(_, found)| !matches!(found, Bool | Fp16 | Fp32 | Int8 | Int32 | Int64 | Uint8))?;
    Some(format!("value `{name}` is {found}, which the engine for networks does not have"))
}

/// INT64 constants become INT32. A bound beyond that means "to the end" for `Slice` and "without end" for `Loop`, and
/// still does when it is cut to the largest INT32.
fn constants(node: &NodeProto, scope: &Scope) -> Option<String> {
    let open_ended = |index: usize| match node.op_type.as_str() {
        "Slice" => matches!(index, 1 | 2),
        "Loop" => index == 0,
        _ => false,
    };
    let beyond_int32 = |(index, name): (usize, &String)| {
        let value = scope.facts(name)?.beyond.filter(|_| !open_ended(index))?;
        Some(format!("its constant `{name}` holds {value}, which the engine for networks would cut to 32 bits"))
    };
    let tensor = attribute(node, "value").filter(|_| node.op_type != "Constant").and_then(|one| one.t.as_ref());
    let own = || {
        let value = tensor.and_then(beyond)?;
        Some(format!("its attribute `value` holds {value}, which the engine for networks would cut to 32 bits"))
    };
    node.input.iter().enumerate().find_map(beyond_int32).or_else(own)
}

/// Why a value must not leave a graph: a constant that does, as it is, would be cut.
pub(super) fn output(name: &str, scope: &Scope) -> Option<String> {
    let value = scope.facts(name)?.beyond?;
    Some(format!("the output `{name}` holds {value}, which the engine for networks would cut to 32 bits"))
}

fn inner(node: &NodeProto, scope: &Scope, depth: u32) -> Option<String> {
    if depth >= DEPTH_LIMIT {
        return Some("its bodies are nested too deeply".to_owned());
    }
    bodies(node).find_map(|body| {
        let inside = scope.inside(node, body);
        let output = body.output.iter().find_map(|info| output(&info.name, &inside));
        output.or_else(|| {
            body.node.iter().find_map(|inner| {
                let reason = refusal_inside(inner, &inside, depth + 1)?;
                Some(format!("in its body, {} of node `{}`: {reason}", inner.op_type, node_name(inner)))
            })
        })
    })
}
