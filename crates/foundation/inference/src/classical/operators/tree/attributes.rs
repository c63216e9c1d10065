use std::sync::Arc;

use super::super::Definition;
use super::super::post_transform::PostTransform;
use crate::classical::fault::Fault;
use crate::{TensorData, classical::attributes::Attributes};

/// How a node decides (attribute `nodes_modes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    LessOrEqual,
    Less,
    GreaterOrEqual,
    Greater,
    Equal,
    NotEqual,
    /// In a set of values.
    Member,
    Leaf,
}

impl Mode {
    /// Whether the first child is the one for a test that fails, as `x > t` is "not `x <= t`".
    pub(super) const fn swaps(self) -> bool {
        matches!(self, Self::Greater | Self::GreaterOrEqual | Self::NotEqual)
    }

    fn parse(text: &str) -> Result<Self, Fault> {
        Ok(match text {
            "BRANCH_LEQ" => Self::LessOrEqual,
            "BRANCH_LT" => Self::Less,
            "BRANCH_GTE" => Self::GreaterOrEqual,
            "BRANCH_GT" => Self::Greater,
            "BRANCH_EQ" => Self::Equal,
            "BRANCH_NEQ" => Self::NotEqual,
            "LEAF" => Self::Leaf,
            other => return Err(Fault::unsupported(format!("node mode `{other}`"))),
        })
    }
}

/// Thresholds, weights and base values, which are f32 unless the model gives them as tensors of f64.
#[derive(Clone, Debug)]
pub(super) enum Reals {
    Single(Vec<f32>),
    Double(Vec<f64>),
}

impl Reals {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Single(values) => values.len(),
            Self::Double(values) => values.len(),
        }
    }

    pub(super) fn widened(&self) -> Vec<f64> {
        match self {
            Self::Single(values) => values.iter().map(|value| f64::from(*value)).collect(),
            Self::Double(values) => values.clone(),
        }
    }
}

/// One line of the table of nodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct NodeRow {
    pub(super) tree: i64,
    pub(super) node: i64,
    pub(super) feature: i64,
    pub(super) mode: Mode,
    pub(super) when_true: i64,
    pub(super) when_false: i64,
    pub(super) missing_is_true: bool,
    /// Which of the sets [`Mode::Member`] looks in.
    pub(super) set: u32,
}

impl NodeRow {
    /// A leaf without a place.
    pub(super) const LEAF: Self = Self {
        tree: 0,
        node: 0,
        feature: 0,
        mode: Mode::Leaf,
        when_true: 0,
        when_false: 0,
        missing_is_true: false,
        set: 0,
    };
}

/// The most values of a set that is kept as bits.
const SET_BITS: usize = 1 << 12;

/// A set of numbers, as one bit each if they are small whole numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Set {
    Bits(Vec<u64>),
    /// The bits of f64 in their order.
    Sorted(Vec<u64>),
}

impl Set {
    pub(super) fn new(mut members: Vec<f64>) -> Self {
        let small = |member: &f64| *member >= 0.0 && *member < SET_BITS as f64 && member.fract() == 0.0;
        if !members.iter().all(small) {
            members.sort_unstable_by(f64::total_cmp);
            return Self::Sorted(members.into_iter().map(f64::to_bits).collect());
        }
        let mut words = vec![0_u64; SET_BITS / 64];
        for member in members.iter().map(|member| *member as usize) {
            if let Some(word) = words.get_mut(member / 64) {
                *word |= 1 << (member % 64);
            }
        }
        Self::Bits(words)
    }

    /// Whether `value` equals a member.
    pub(super) fn contains(&self, value: f64) -> bool {
        match self {
            Self::Bits(words) => {
                let whole = value as usize;
                let word = words.get(whole / 64).copied().unwrap_or(0);
                value >= 0.0 && value.fract() == 0.0 && word >> (whole % 64) & 1 == 1
            }
            Self::Sorted(members) => {
                let at = members.partition_point(|member| f64::from_bits(*member) < value);
                members.get(at).is_some_and(|member| f64::from_bits(*member) <= value)
            }
        }
    }
}

/// One line of the table of votes.
#[derive(Clone, Copy, Debug)]
pub(super) struct VoteRow {
    pub(super) tree: i64,
    pub(super) node: i64,
    /// Index of the class or target.
    pub(super) column: usize,
}

/// The attributes that both ensembles share, columns of equal length made into rows.
#[derive(Clone, Debug)]
pub(super) struct EnsembleAttributes {
    pub(super) nodes: Vec<NodeRow>,
    pub(super) thresholds: Reals,
    pub(super) votes: Vec<VoteRow>,
    pub(super) weights: Reals,
    pub(super) base_values: Reals,
    pub(super) post_transform: PostTransform,
    /// What the nodes of [`Mode::Member`] look in.
    pub(super) sets: Vec<Arc<Set>>,
}

impl EnsembleAttributes {
    /// `prefix` is `class` or `target`; `columns` is how many of them there are.
    pub(super) fn read(definition: &mut Definition<'_>, prefix: &str, columns: usize) -> Result<Self, Fault> {
        let attributes = &mut definition.attributes;
        let thresholds = reals(attributes, "nodes_values")?;
        let nodes = node_rows(attributes, thresholds.len())?;
        let weights = reals(attributes, &format!("{prefix}_weights"))?;
        let votes = vote_rows(attributes, prefix, weights.len(), columns)?;
        let base_values = reals(attributes, "base_values")?;
        let post_transform = PostTransform::read(attributes)?;
        // Counts of training rows: they play no part in an answer.
        reals(attributes, "nodes_hitrates")?;
        Ok(Self { nodes, thresholds, votes, weights, base_values, post_transform, sets: Vec::new() })
    }
}

impl EnsembleAttributes {
    /// Whether the ensemble compares and adds in f64: only if the model gives f64.
    pub(super) fn is_double(&self) -> bool {
        let double = |reals: &Reals| matches!(reals, Reals::Double(_));
        double(&self.thresholds) || double(&self.weights) || double(&self.base_values)
    }
}

fn reals(attributes: &mut Attributes<'_>, name: &str) -> Result<Reals, Fault> {
    let single = attributes.floats(name)?.filter(|values| !values.is_empty());
    let tensor = attributes.tensor(&format!("{name}_as_tensor"))?.map(|tensor| tensor.data);
    match (single, tensor) {
        (Some(values), None) | (None, Some(TensorData::Fp32(values))) => Ok(Reals::Single(values)),
        (None, Some(TensorData::Fp64(values))) => Ok(Reals::Double(values)),
        (None, None) => Ok(Reals::Single(Vec::new())),
        (None, Some(other)) => Err(Fault::invalid(format!("`{name}_as_tensor` is of type {}", other.element_type()))),
        (Some(_), Some(_)) => Err(Fault::invalid(format!("both `{name}` and `{name}_as_tensor` are given"))),
    }
}

fn column(attributes: &mut Attributes<'_>, name: &str, length: usize) -> Result<Vec<i64>, Fault> {
    let values = attributes.ints(name)?.unwrap_or_default();
    if values.len() == length {
        return Ok(values);
    }
    Err(Fault::invalid(format!("attribute `{name}` has {} values, expected {length}", values.len())))
}

fn node_rows(attributes: &mut Attributes<'_>, length: usize) -> Result<Vec<NodeRow>, Fault> {
    let trees = column(attributes, "nodes_treeids", length)?;
    let nodes = column(attributes, "nodes_nodeids", length)?;
    let features = column(attributes, "nodes_featureids", length)?;
    let when_true = column(attributes, "nodes_truenodeids", length)?;
    let when_false = column(attributes, "nodes_falsenodeids", length)?;
    let modes = attributes.texts("nodes_modes")?.unwrap_or_default();
    if modes.len() != length {
        return Err(Fault::invalid(format!("attribute `nodes_modes` has {} values, expected {length}", modes.len())));
    }
    let missing = match attributes.ints("nodes_missing_value_tracks_true")? {
        Some(values) if values.len() == length => values,
        None => vec![0; length],
        Some(values) if values.is_empty() => vec![0; length],
        Some(values) => {
            let reason = format!("`nodes_missing_value_tracks_true` has {} values, expected {length}", values.len());
            return Err(Fault::invalid(reason));
        }
    };
    let columns = trees.iter().zip(&nodes).zip(&features).zip(&when_true).zip(&when_false).zip(&missing).zip(&modes);
    columns
        .map(|((((((tree, node), feature), when_true), when_false), missing), mode)| {
            Ok(NodeRow {
                tree: *tree,
                node: *node,
                feature: *feature,
                mode: Mode::parse(mode)?,
                when_true: *when_true,
                when_false: *when_false,
                missing_is_true: *missing == 1,
                set: 0,
            })
        })
        .collect()
}

fn vote_rows(
    attributes: &mut Attributes<'_>,
    prefix: &str,
    length: usize,
    columns: usize,
) -> Result<Vec<VoteRow>, Fault> {
    let trees = column(attributes, &format!("{prefix}_treeids"), length)?;
    let nodes = column(attributes, &format!("{prefix}_nodeids"), length)?;
    let ids = column(attributes, &format!("{prefix}_ids"), length)?;
    let rows = trees.iter().zip(&nodes).zip(&ids);
    rows.map(|((tree, node), id)| {
        let column = usize::try_from(*id).ok().filter(|column| *column < columns);
        let column = column.ok_or_else(|| Fault::invalid(format!("{prefix} id {id} is not one of {columns}")))?;
        Ok(VoteRow { tree: *tree, node: *node, column })
    })
    .collect()
}
