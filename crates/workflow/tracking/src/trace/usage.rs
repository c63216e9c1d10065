//! What a trace used in all: tokens and money, summed over its spans.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Something that spans have in an attribute and that is summed over a trace into its metadata.
pub(super) struct Measure {
    /// The spans' attribute; its value is a JSON object.
    pub(super) attribute: &'static str,
    /// The trace's metadata.
    pub(super) metadata: &'static str,
    /// Members that every sum has.
    always: &'static [&'static str],
    /// Members that a sum has if a span has them.
    optional: &'static [&'static str],
    /// Whether members are whole numbers.
    whole: bool,
}

/// Tokens that models read and wrote.
pub(super) const TOKENS: Measure = Measure {
    attribute: "mlflow.chat.tokenUsage",
    metadata: "mlflow.trace.tokenUsage",
    always: &["input_tokens", "output_tokens", "total_tokens"],
    optional: &["cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation_input_tokens_above_1hr"],
    whole: true,
};

/// What they cost, in US dollars.
pub(super) const COST: Measure = Measure {
    attribute: "mlflow.llm.cost",
    metadata: "mlflow.trace.cost",
    always: &["input_cost", "output_cost", "total_cost"],
    optional: &[],
    whole: false,
};

/// A span as far as it is summed.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) id: String,
    pub(super) parent: Option<String>,
    /// What it used, itself and below it.
    pub(super) used: Option<Map<String, Value>>,
}

impl Measure {
    /// The object in an attribute's JSON text, which may be a text of JSON again.
    pub(super) fn object(text: &str) -> Option<Map<String, Value>> {
        match serde_json::from_str(text).ok()? {
            Value::Object(object) => Some(object),
            Value::String(text) => serde_json::from_str(&text).ok(),
            _ => None,
        }
    }

    /// The sum over a trace as the JSON text that its metadata holds; none if no span used anything.
    ///
    /// A span's figures include those of the spans below it, so that below a span that has some no others count.
    pub(super) fn sum(&self, nodes: &[Node]) -> Option<String> {
        let ids: HashSet<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
        let mut children: HashMap<&str, Vec<&Node>> = HashMap::new();
        let mut waiting = Vec::new();
        for node in nodes {
            match node.parent.as_deref().filter(|parent| ids.contains(parent)) {
                Some(parent) => children.entry(parent).or_default().push(node),
                None => waiting.push(node),
            }
        }
        let mut counted = Vec::new();
        while let Some(node) = waiting.pop() {
            match &node.used {
                Some(used) => counted.push(used),
                // Taken out, so that a span that comes twice is not gone through twice.
                None => waiting.extend(children.remove(node.id.as_str()).unwrap_or_default()),
            }
        }
        if counted.is_empty() {
            return None;
        }
        let optional = self.optional.iter().filter(|key| counted.iter().any(|used| used.contains_key(**key)));
        let mut text = String::from("{");
        for key in self.always.iter().chain(optional) {
            let comma = if text.len() > 1 { ", " } else { "" };
            let values = counted.iter().filter_map(|used| used.get(*key));
            // Written as Python does, which is what clients compare with.
            let written = if self.whole {
                let sum = values.filter_map(Value::as_i64).fold(0, i64::saturating_add);
                write!(text, "{comma}\"{key}\": {sum}")
            } else {
                // Not `sum`, which is -0.0 of nothing.
                let sum = values.filter_map(Value::as_f64).fold(0.0, |sum, value| sum + value);
                write!(text, "{comma}\"{key}\": {sum:?}")
            };
            written.ok()?;
        }
        text.push('}');
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, parent: Option<&str>, used: Option<&str>) -> Node {
        Node { id: id.to_owned(), parent: parent.map(str::to_owned), used: used.and_then(Measure::object) }
    }

    #[test]
    fn what_a_span_says_includes_what_lies_below_it() {
        let nodes = [
            node("root", None, None),
            node("a", Some("root"), Some(r#"{"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}"#)),
            node("under a", Some("a"), Some(r#"{"input_tokens": 100}"#)),
            node("b", Some("root"), Some(r#""{\"input_tokens\": 1, \"cache_read_input_tokens\": 9}""#)),
            node("stray", Some("absent"), Some(r#"{"total_tokens": 2}"#)),
            node("circle", Some("circle"), Some(r#"{"total_tokens": 50}"#)),
        ];
        let expected = r#"{"input_tokens": 4, "output_tokens": 4, "total_tokens": 9, "cache_read_input_tokens": 9}"#;
        assert_eq!(TOKENS.sum(&nodes).as_deref(), Some(expected));
        assert_eq!(TOKENS.sum(&nodes[..1]), None);
    }

    #[test]
    fn money_is_a_fraction() {
        let nodes = [node("a", None, Some(r#"{"input_cost": 0.25, "total_cost": 1}"#))];
        let expected = r#"{"input_cost": 0.25, "output_cost": 0.0, "total_cost": 1.0}"#;
        assert_eq!(COST.sum(&nodes).as_deref(), Some(expected));
    }
}
