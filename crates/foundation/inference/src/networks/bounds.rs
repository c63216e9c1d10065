//! How large the integers can become that a graph computes: INT64 is INT32 in the engine, and would wrap in silence.
//!
//! Each value gets a range, from those of a node's inputs: a request's integers are checked on the way in, constants
//! are known, `Shape` is bounded by the extents of what it measures, and arithmetic lets ranges grow. Extents follow
//! from those that the inputs declare; an open one is taken to be at most a limit, to which requests are then held. A
//! tensor of 2^31 elements or more is taken not to exist.

mod extents;
mod range;
mod rules;

use std::collections::HashMap;

use ropewalk_types::ElementType;

use self::extents::Extents;
use self::range::Range;
use super::types::attribute;
use crate::TensorData;
use crate::onnx::{NodeProto, TensorProto, tensor_from_proto};

/// Limits of open extents, of which the first is taken with which all integers stay within INT32.
pub(crate) const OPEN_LIMITS: [usize; 5] = [i32::MAX as usize, 1 << 24, 1 << 20, 1 << 15, 1 << 10];
const MOST_ELEMENTS: f64 = i32::MAX as f64;
/// Constants of so many elements are kept, because they may be axes or extents.
const KEPT_INTS: usize = 64;

/// What is known of the size of a graph's values, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Bounds {
    types: HashMap<String, ElementType>,
    ranges: HashMap<String, Range>,
    extents: HashMap<String, Vec<f64>>,
    ints: HashMap<String, Vec<i64>>,
}

impl Bounds {
    /// Says of what type a value is.
    pub(super) fn set_type(&mut self, name: &str, element_type: ElementType) {
        self.types.insert(name.to_owned(), element_type);
    }

    pub(super) fn element_type(&self, name: &str) -> Option<ElementType> {
        self.types.get(name).copied()
    }

    /// A value of which no more than its type is known.
    pub(super) fn unknown(&mut self, name: &str) {
        self.ranges.remove(name);
        self.extents.remove(name);
        self.ints.remove(name);
    }

    /// Narrow integers wrap by the specification; beyond their type they may be anything in it.
    fn wrapped(&self, name: &str, range: Range) -> Range {
        use ElementType::{Bool, Int8, Int32, Uint8};
        let narrow = self.element_type(name).filter(|one| matches!(one, Bool | Int8 | Int32 | Uint8));
        let whole = narrow.map(|narrow| Range::of(Some(narrow)));
        whole.filter(|whole| range.within(*whole) != range).unwrap_or(range)
    }

    /// An input, its open extents at most `limit`.
    pub(super) fn input(&mut self, name: &str, shape: &[Option<i64>], limit: usize) {
        let extent = |extent: &Option<i64>| extent.map_or(limit as f64, |extent| extent as f64);
        self.unknown(name);
        self.extents.insert(name.to_owned(), shape.iter().map(extent).collect());
    }

    /// The number of a loop's iteration: below the largest count, which a tensor's extents are below, too.
    pub(super) fn iteration(&mut self, name: &str, count: Option<&str>) {
        let most = count.map_or(MOST_ELEMENTS, |count| self.range_of(count).high);
        self.ranges.insert(name.to_owned(), Range::new(0.0, (most - 1.0).max(0.0)));
    }

    pub(super) fn constant(&mut self, name: &str, tensor: &TensorProto) {
        self.extents.insert(name.to_owned(), tensor.dims.iter().map(|extent| *extent as f64).collect());
        if let Some(TensorData::Int64(values)) = integers(tensor) {
            self.integers(name, values);
        } else if let Some(TensorData::Fp32(values)) = reals(tensor) {
            self.reals(name, &values);
        }
    }

    /// An FP32 constant; nothing is said of one without elements.
    pub(super) fn reals(&mut self, name: &str, values: &[f32]) {
        let one = |value: &f32| Range::new(f64::from(*value), f64::from(*value));
        let range = values.iter().map(one).reduce(Range::union);
        self.ranges.extend(range.map(|range| (name.to_owned(), range)));
    }

    /// An INT64 constant of one dimension or none.
    pub(super) fn integers(&mut self, name: &str, values: Vec<i64>) {
        let (low, high) = (values.iter().min().copied(), values.iter().max().copied());
        let range = Range::new(low.unwrap_or(0) as f64, high.unwrap_or(0) as f64);
        self.ranges.insert(name.to_owned(), range);
        if values.len() <= KEPT_INTS {
            self.ints.insert(name.to_owned(), values);
        }
    }

    /// Adds what a node makes, whose outputs' types are known by now.
    pub(super) fn learn(&mut self, node: &NodeProto) {
        if node.op_type == "Constant" {
            return;
        }
        let found = extents::of(node, self);
        let several = matches!(node.op_type.as_str(), "Split" | "TopK");
        let ranges: Vec<_> = (0..node.output.len()).map(|index| rules::range(node, index, self)).collect();
        for (index, (name, range)) in node.output.iter().zip(ranges).enumerate() {
            self.unknown(name);
            let range = range.map(|range| (name.clone(), self.wrapped(name, range)));
            self.ranges.extend(range);
            let extents = found.clone().filter(|_| index == 0 || several);
            self.extents.extend(extents.map(|extents| (name.clone(), extents)));
        }
    }

    /// Takes back what was derived of a value that may be handed over, where only its type is checked.
    pub(super) fn forget_range(&mut self, name: &str) {
        self.ranges.remove(name);
    }

    /// Why an output may be beyond INT32; none if it cannot be.
    pub(super) fn beyond(&self, node: &NodeProto) -> Option<String> {
        let place = |name: &&String| match (self.types.get(*name), self.ranges.get(*name)) {
            (Some(ElementType::Int64) | None, Some(range)) => !range.is_int32(),
            (Some(ElementType::Int64), None) => !rules::is_inside(node),
            _ => false,
        };
        let name = node.output.iter().filter(|name| !name.is_empty()).find(place)?;
        Some(format!(
            "its output `{name}` may be an integer beyond 2^31, which the engine for networks would cut to 32 bits"
        ))
    }

    /// What a value lies between where it is used: an integer that gets here was shown or checked to be INT32.
    fn range_of(&self, name: &str) -> Range {
        let whole = Range::of(self.types.get(name).copied());
        self.ranges.get(name).map_or(whole, |range| range.within(whole))
    }

    fn extents_of(&self, name: &str) -> Extents {
        self.extents.get(name).cloned()
    }

    fn ints(&self, name: &str) -> Option<&[i64]> {
        self.ints.get(name).map(Vec::as_slice)
    }

    /// The integers of an attribute, or of an input that is a constant; none if there are none.
    fn ints_of<'a>(&'a self, node: &'a NodeProto, name: &str, index: usize) -> Option<&'a [i64]> {
        let own = attribute(node, name).map(|attribute| attribute.ints.as_slice());
        let found = own.or_else(|| self.ints(node.input.get(index)?));
        found.filter(|ints| !ints.is_empty())
    }
}

fn integers(tensor: &TensorProto) -> Option<TensorData> {
    let wanted = crate::onnx::element_type_of(tensor.data_type) == Some(ElementType::Int64);
    if wanted { tensor_from_proto(tensor).ok().map(|tensor| tensor.data) } else { None }
}

/// A real constant that may be part of the arithmetic of extents: few elements, not weights.
fn reals(tensor: &TensorProto) -> Option<TensorData> {
    let few = tensor.dims.iter().product::<i64>() <= KEPT_INTS as i64;
    let wanted = crate::onnx::element_type_of(tensor.data_type) == Some(ElementType::Fp32) && few;
    if wanted { tensor_from_proto(tensor).ok().map(|tensor| tensor.data) } else { None }
}
