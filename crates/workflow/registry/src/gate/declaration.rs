use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Gate, GateError};

/// What is declared for an alias or a stage of a model: all of it must hold before a version moves there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateDeclaration {
    /// Comparisons of metrics, as [`Gate`] reads them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<String>,
    /// Better than the incumbent, both measured on the same version of a dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub better: Option<Better>,
    /// Whether the version must take what the incumbent takes, and give what it gives.
    #[serde(default, skip_serializing_if = "is_false")]
    pub signature: bool,
    /// Who may approve; one of them must. Empty: nobody need to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approval: Vec<Approver>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl GateDeclaration {
    /// Whether it asks for anything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The comparisons, read. Errors: a text that is none.
    pub fn gate(&self) -> Result<Option<Gate>, GateError> {
        self.conditions.as_deref().map(Gate::parse).transpose()
    }
}

/// One line: `auc >= 0.66 and better auc and signature and approved by alice or role:reviewer`.
impl fmt::Display for GateDeclaration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self.conditions.iter().map(|text| format!("({text})")).collect();
        parts.extend(self.better.iter().map(Better::to_string));
        parts.extend(self.signature.then(|| "signature compatible".to_owned()));
        if !self.approval.is_empty() {
            parts.push(approved_by(&self.approval));
        }
        f.write_str(&parts.join(" and "))
    }
}

/// `approved by alice or role:reviewer`.
pub(crate) fn approved_by(approvers: &[Approver]) -> String {
    let names: Vec<String> = approvers.iter().map(Approver::to_string).collect();
    format!("approved by {}", names.join(" or "))
}

/// The metric in which a version must beat the incumbent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Better {
    /// Its key.
    pub metric: String,
    /// Whether less of it is better, as of a loss.
    #[serde(default, skip_serializing_if = "is_false")]
    pub lower: bool,
}

impl fmt::Display for Better {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.lower { "lower" } else { "higher" };
        write!(f, "{word} {} than the incumbent's on the same data", self.metric)
    }
}

/// Who may approve a version: `alice`, or whoever has a role, `role:reviewer`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Approver {
    /// A person or a service, as they authenticate.
    Principal(String),
    /// The members of a role.
    Role(String),
}

/// A text that names nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names nobody: use NAME or role:NAME")]
pub struct ApproverError(pub String);

impl fmt::Display for Approver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(name) => f.write_str(name),
            Self::Role(name) => write!(f, "role:{name}"),
        }
    }
}

impl FromStr for Approver {
    type Err = ApproverError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let usable = |name: &str| !name.trim().is_empty() && name.trim() == name && !name.chars().any(char::is_control);
        match text.strip_prefix("role:") {
            Some(role) if usable(role) => Ok(Self::Role(role.to_owned())),
            None if usable(text) => Ok(Self::Principal(text.to_owned())),
            _ => Err(ApproverError(text.to_owned())),
        }
    }
}

impl Serialize for Approver {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Approver {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declaration_is_kept_as_json_and_said_in_a_line() {
        let text = r#"{"conditions":"auc >= 0.6","better":{"metric":"loss","lower":true},"signature":true,"approval":["alice","role:reviewer"]}"#;
        let declared: GateDeclaration = serde_json::from_str(text).expect("declaration");
        assert_eq!(serde_json::to_string(&declared).expect("text"), text);
        assert_eq!(
            declared.to_string(),
            "(auc >= 0.6) and lower loss than the incumbent's on the same data and signature compatible and \
             approved by alice or role:reviewer"
        );
        assert!(serde_json::from_str::<GateDeclaration>("{}").expect("empty").is_empty());
        for bad in [r#"{"aproval":[]}"#, r#"{"approval":["role:"]}"#, r#"{"approval":[" "]}"#] {
            assert!(serde_json::from_str::<GateDeclaration>(bad).is_err(), "{bad}");
        }
    }
}
