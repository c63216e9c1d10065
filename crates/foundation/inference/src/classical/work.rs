//! What the bodies of loops and branches, and searches of text, may cost while one request is answered, and what is
//! evaluated when a model is loaded.

use std::cell::Cell;

use super::fault::Fault;
use super::inputs::Inputs;
use super::operators::Operator;
use crate::{Tensor, TensorData};

/// The most units of work that all bodies may do together: a second or so for each 2^31, by what they do.
const UNITS_LIMIT: u64 = 1 << 34;
/// Units of the evaluation of a node, whatever it reads and makes; each element of that is one more, and each product of
/// matrices' elements.
const UNITS_OF_A_NODE: u64 = 64;
/// Units of a byte at which a search of text looks, which takes longer than an element.
const UNITS_OF_A_LOOK: u64 = 8;
/// The most turns of one loop.
pub(super) const TURNS_LIMIT: usize = 1 << 20;
/// The most bytes of tensors made of constants that a model keeps.
const FOLDED_LIMIT: u64 = 1 << 30;

/// Counts the work of one request, or of the loading of a model.
#[derive(Debug, Default)]
pub(super) struct Work {
    done: Cell<u64>,
}

impl Work {
    /// Evaluates a node: what it reads is counted before, so that too much is not begun, and what it makes after.
    pub(super) fn evaluate(&self, operator: &dyn Operator, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        self.begin(operator.cost(inputs))?;
        let made = operator.evaluate_within(inputs, self)?;
        self.made(&made)?;
        Ok(made)
    }

    /// Counts a node, or a turn of a body, that is about to cost so much.
    pub(super) fn begin(&self, cost: u64) -> Result<(), Fault> {
        self.add(cost.saturating_add(UNITS_OF_A_NODE))
    }

    /// Counts what a node, or a turn of a body, has made.
    pub(super) fn made(&self, tensors: &[Tensor]) -> Result<(), Fault> {
        self.add(tensors.iter().map(|tensor| units(tensor) + 1).sum())
    }

    /// Counts the bytes at which a search of text has looked: the same ones many times, where an expression looks far
    /// beyond what it finds.
    pub(super) fn looked(&self, bytes: u64) -> Result<(), Fault> {
        self.add(bytes.saturating_mul(UNITS_OF_A_LOOK))
    }

    fn add(&self, units: u64) -> Result<(), Fault> {
        let done = self.done.get().saturating_add(units);
        self.done.set(done);
        if done > UNITS_LIMIT {
            let what = "work in loops or on constants, or in searches of text \
                        (elements, bytes of text and products, and 64 for each node evaluated)";
            return Err(Fault::TooLarge { what: what.to_owned(), size: done, limit: UNITS_LIMIT });
        }
        Ok(())
    }
}

/// What is evaluated once, when a model is loaded: nodes on constants alone, and a trial. It is shared by the graph, all
/// bodies in it, and all parts into which it is cut.
#[derive(Debug, Default)]
pub(crate) struct Folding {
    work: Work,
    bytes: Cell<u64>,
}

impl Folding {
    pub(super) fn work(&self) -> &Work {
        &self.work
    }

    /// What a node makes of constants; none if that is too much to keep, and is to be made for each request.
    pub(super) fn evaluate(&self, operator: &dyn Operator, inputs: Inputs<'_>) -> Result<Option<Vec<Tensor>>, Fault> {
        let made = self.work.evaluate(operator, inputs)?;
        let bytes = made.iter().map(bytes_of).fold(self.bytes.get(), u64::saturating_add);
        if bytes > FOLDED_LIMIT {
            return Ok(None);
        }
        self.bytes.set(bytes);
        Ok(Some(made))
    }
}

fn bytes_of(tensor: &Tensor) -> u64 {
    let bytes = match (&tensor.data, tensor.element_type().size()) {
        (TensorData::Bytes(texts), _) => texts.iter().map(|text| size_of_val(text) + text.len()).sum(),
        (data, size) => data.len() * size.unwrap_or(1),
    };
    bytes as u64
}

/// What it takes to read or to make a tensor: an element each, and a byte of text.
pub(super) fn units(tensor: &Tensor) -> u64 {
    let texts = match &tensor.data {
        TensorData::Bytes(texts) => texts.iter().map(|text| text.len() as u64).sum(),
        _ => 0,
    };
    tensor.data.len() as u64 + texts
}

/// How many elements a shape has, or products are added up, whatever can be counted.
pub(super) fn product<'a>(extents: impl IntoIterator<Item = &'a usize>) -> u64 {
    extents.into_iter().fold(1_u64, |product, extent| product.saturating_mul(*extent as u64))
}

/// Refuses a loop that turns more often than [`TURNS_LIMIT`].
pub(super) fn check_turns(turns: usize) -> Result<(), Fault> {
    if turns > TURNS_LIMIT {
        let (size, limit) = (turns as u64, TURNS_LIMIT as u64);
        return Err(Fault::TooLarge { what: "turns".to_owned(), size, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ropewalk_types::ElementType;

    use super::*;
    use crate::classical::graph::{Plan, compile};
    use crate::classical::interface::inputs;
    use crate::classical::model::{Bounds, run};
    use crate::onnx::{Attribute, AttributeValue, GraphBuilder};

    fn plan(builder: GraphBuilder, folding: &Folding) -> Plan {
        let model = builder.into_model();
        let graph = model.graph.as_ref().unwrap();
        compile(&model, graph, &inputs(graph).unwrap(), folding).unwrap()
    }

    fn spent_but(left: u64) -> Work {
        Work { done: Cell::new(UNITS_LIMIT - left) }
    }

    fn zeros(shape: &[usize]) -> Tensor {
        Tensor::new(shape.to_vec(), vec![0.0_f32; shape.iter().product()]).unwrap()
    }

    #[test]
    fn work_ends_at_its_limit() {
        let work = spent_but(UNITS_OF_A_NODE + 4);
        work.begin(0).unwrap();
        work.made(&[zeros(&[3])]).unwrap();
        assert!(matches!(work.begin(0), Err(Fault::TooLarge { .. })));
        assert!(matches!(Work::default().begin(u64::MAX), Err(Fault::TooLarge { .. })));
        assert!(check_turns(TURNS_LIMIT).is_ok() && check_turns(TURNS_LIMIT + 1).is_err());
    }

    /// Whether a body of this node, on these inputs, does no more than `left` units.
    fn fits(left: u64, operator: &str, tensors: &[Tensor]) -> bool {
        let names: &[&str] = &["a", "b"];
        let names = &names[..tensors.len()];
        let mut builder = GraphBuilder::new("body").opset("", 17).opset("com.microsoft", 1);
        for (name, tensor) in names.iter().zip(tensors) {
            builder = builder.input(*name, tensor.element_type(), &vec![-1; tensor.shape.len()]);
        }
        let domain = if operator == "CDist" { "com.microsoft" } else { "" };
        let builder = builder.node(domain, operator, names, &["y"], vec![]).output("y", ElementType::Fp32, &[-1]);
        let plan = plan(builder, &Folding::default());
        run(&plan, &tensors.iter().collect::<Vec<_>>(), Bounds::Body(&spent_but(left))).is_ok()
    }

    #[test]
    fn what_a_node_reads_counts_and_what_it_multiplies() {
        assert!(fits(4000, "ReduceSum", &[zeros(&[2000])]) && !fits(2000, "ReduceSum", &[zeros(&[2000])]));
        let square = || [zeros(&[20, 20]), zeros(&[20, 20])];
        for operator in ["MatMul", "Gemm", "CDist"] {
            assert!(fits(10_000, operator, &square()), "{operator}");
            assert!(!fits(8000, operator, &square()), "{operator}");
        }
        assert!(!fits(2000, "MatMul", &[zeros(&[10, 10, 10]), zeros(&[10])]));
        // What is only looked up, or not even that, costs what is made.
        assert!(fits(200, "Shape", &[zeros(&[2000])]));
        let index = Tensor::new(vec![1], vec![7_i64]).unwrap();
        assert!(fits(200, "Gather", &[zeros(&[2000]), index]));
    }

    /// Whether a body of this node, whose one input that is, does no more than `left` units.
    fn node_fits(left: u64, (domain, operator): (&str, &str), attributes: Vec<Attribute>, tensor: &Tensor) -> bool {
        let builder = GraphBuilder::new("body").opset("", 17).opset("ai.onnx.ml", 3);
        let builder = builder.input("x", tensor.element_type(), &vec![-1; tensor.shape.len()]);
        let builder = builder.node(domain, operator, &["x"], &["y"], attributes).output("y", ElementType::Fp32, &[-1]);
        run(&plan(builder, &Folding::default()), &[tensor], Bounds::Body(&spent_but(left))).is_ok()
    }

    #[test]
    fn each_row_costs_what_the_model_compares_it_with() {
        let attribute = |name: &str, value: AttributeValue| Attribute::new(name, value);
        let machine = || {
            vec![
                attribute("kernel_type", "RBF".into()),
                attribute("kernel_params", vec![0.5_f32, 0.0, 3.0].into()),
                attribute("support_vectors", vec![1.0_f32; 400].into()),
                attribute("coefficients", vec![1.0_f32; 100].into()),
                attribute("n_supports", 100_i64.into()),
                attribute("rho", vec![0.0_f32].into()),
            ]
        };
        let machine_fits = |left| node_fits(left, ("ai.onnx.ml", "SVMRegressor"), machine(), &zeros(&[10, 4]));
        assert!(machine_fits(6000) && !machine_fits(4000));
        let each = |of_tree: [i64; 3]| AttributeValue::from([of_tree; 100].concat());
        let numbers = || AttributeValue::from((0_i64..100).flat_map(|tree| [tree; 3]).collect::<Vec<_>>());
        let modes = || (0..100).flat_map(|_| ["BRANCH_LEQ", "LEAF", "LEAF"]).map(str::to_owned).collect::<Vec<_>>();
        let trees = || {
            vec![
                attribute("nodes_treeids", numbers()),
                attribute("nodes_nodeids", each([0, 1, 2])),
                attribute("nodes_featureids", each([0, 0, 0])),
                attribute("nodes_modes", modes().into()),
                attribute("nodes_values", vec![0.5_f32; 300].into()),
                attribute("nodes_truenodeids", each([1, 0, 0])),
                attribute("nodes_falsenodeids", each([2, 0, 0])),
                attribute("target_treeids", numbers()),
                attribute("target_nodeids", each([0, 1, 2])),
                attribute("target_ids", vec![0_i64; 300].into()),
                attribute("target_weights", vec![1.0_f32; 300].into()),
                attribute("n_targets", 1_i64.into()),
            ]
        };
        let trees_fit = |left| node_fits(left, ("ai.onnx.ml", "TreeEnsembleRegressor"), trees(), &zeros(&[50, 1]));
        assert!(trees_fit(11_000) && !trees_fit(9000));
    }

    #[test]
    fn texts_cost_their_bytes_and_words_their_n_grams() {
        let long = Tensor::new(vec![1], vec![Bytes::from(vec![b'x'; 5000])]).unwrap();
        let text_fits = |left| node_fits(left, ("", "StringNormalizer"), vec![], &long);
        assert!(text_fits(11_000) && !text_fits(9000), "read and made");
        let words = Tensor::new(vec![1, 1000], vec![1_i64; 1000]).unwrap();
        let grams = || {
            let integers = [("min_gram_length", 1_i64), ("max_gram_length", 2), ("max_skip_count", 9)];
            let lists = [("ngram_counts", vec![0_i64, 1]), ("ngram_indexes", vec![0, 1]), ("pool_int64s", vec![1; 3])];
            let integers = integers.map(|(name, value)| Attribute::new(name, value)).into_iter();
            let lists = lists.map(|(name, values)| Attribute::new(name, values));
            integers.chain(lists).chain([Attribute::new("mode", "TF")]).collect::<Vec<_>>()
        };
        let grams_fit = |left| node_fits(left, ("", "TfIdfVectorizer"), grams(), &words);
        assert!(grams_fit(22_000) && !grams_fit(18_000));
    }

    #[test]
    fn more_than_can_be_kept_is_made_for_each_request() {
        let ones = || {
            GraphBuilder::new("folded")
                .opset("", 17)
                .initializer("shape", &Tensor::new(vec![1], vec![4_i64]).unwrap())
                .node("", "ConstantOfShape", &["shape"], &["y"], vec![])
                .output("y", ElementType::Fp32, &[-1])
        };
        let folding = Folding { bytes: Cell::new(FOLDED_LIMIT - 16), ..Folding::default() };
        let kept = plan(ones(), &folding);
        assert!(kept.steps.is_empty());
        let made = plan(ones(), &folding);
        assert_eq!(made.steps.len(), 1);
        for plan in [kept, made] {
            assert_eq!(run(&plan, &[], Bounds::Graph(&Work::default())).unwrap(), [zeros(&[4])]);
        }
    }
}
