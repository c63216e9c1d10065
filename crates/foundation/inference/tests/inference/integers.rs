//! Integers in networks: INT64 is INT32 inside, and nothing may be cut in silence. A graph whose integers may grow
//! beyond is answered rightly by other means or with an error, never wrongly.

use std::sync::Arc;

use bytes::Bytes;
use ropewalk_inference::onnx::{Attribute, DataType, GraphBuilder};
use ropewalk_inference::{
    EmbeddedEngine, Engine as _, LoadOptions, Model, ModelSource, NamedTensor, Tensor, TensorData,
};
use ropewalk_types::{Diagnose as _, ElementType};

fn load(builder: GraphBuilder) -> Arc<dyn Model> {
    EmbeddedEngine.load(&ModelSource::from(Bytes::from(builder.encode())), &LoadOptions::default()).unwrap()
}

/// Whether one engine, that for networks, has the whole graph.
fn is_whole_network(model: &Arc<dyn Model>) -> bool {
    format!("{model:?}").starts_with("NetworkModel")
}

fn tensor<const N: usize>(shape: [usize; N], data: impl Into<TensorData>) -> Tensor {
    Tensor::new(shape.to_vec(), data).unwrap()
}

/// What the model answers for `x`, or the code of its error.
fn ask(model: &Arc<dyn Model>, x: Tensor) -> Result<Tensor, &'static str> {
    let mut outputs = model.predict(&[NamedTensor::new("x", x)]).map_err(|error| error.code())?;
    Ok(outputs.remove(0).tensor)
}

/// A convolution of one element that doubles.
fn doubled(builder: GraphBuilder, from: &str, to: &str) -> GraphBuilder {
    let attributes =
        [("kernel_shape", vec![1_i64]), ("pads", vec![0, 0]), ("strides", vec![1]), ("dilations", vec![1])];
    let attributes = attributes.map(|(name, ints)| Attribute::new(name, ints)).to_vec();
    let kernel = tensor([1, 1, 1], vec![2.0_f32]);
    builder.initializer("kernel", &kernel).node("", "Conv", &[from, "kernel"], &[to], attributes)
}

fn number(builder: GraphBuilder, name: &str, value: i64) -> GraphBuilder {
    builder.initializer(name, &tensor([], vec![value]))
}

/// Integers times `factor`, between two operators of networks.
fn multiplied(factor: i64) -> Arc<dyn Model> {
    let builder = GraphBuilder::new("multiplied").opset("", 17).input("x", ElementType::Int64, &[-1, 3]);
    load(
        number(number(builder, "k", -2), "factor", factor)
            .node("", "Trilu", &["x", "k"], &["one"], vec![])
            .node("", "Mul", &["one", "factor"], &["two"], vec![])
            .node("", "Trilu", &["two", "k"], &["y"], vec![])
            .output("y", ElementType::Int64, &[-1, 3]),
    )
}

#[test]
fn a_product_beyond_2_31_is_right_or_an_error() {
    let model = multiplied(65_536);
    assert_eq!(
        ask(&model, tensor([1, 3], vec![1_i64, -2, 3])).unwrap().data,
        vec![65_536_i64, -131_072, 196_608].into()
    );
    for large in [40_000_i64, -40_000, i64::from(i32::MAX)] {
        match ask(&model, tensor([1, 3], vec![0, large, 0])) {
            Ok(found) => assert_eq!(found.data, vec![0, large * 65_536, 0].into()),
            Err(code) => assert_eq!(code, "inference.invalid_input"),
        }
    }
    assert!(!is_whole_network(&model), "{model:?}");
}

#[test]
fn a_cast_beyond_2_31_is_right_or_an_error() {
    let builder = GraphBuilder::new("cast").opset("", 17).input("x", ElementType::Fp32, &[-1, 1, 4]);
    let model = load(
        doubled(builder, "x", "twice")
            .node("", "Cast", &["twice"], &["whole"], vec![Attribute::new("to", DataType::Int64 as i64)])
            .node("", "Trilu", &["whole"], &["y"], vec![Attribute::new("upper", 1_i64)])
            .output("y", ElementType::Int64, &[-1, 1, 4]),
    );
    let asked = |value: f32| ask(&model, tensor([1, 1, 4], vec![value, 0.0, 0.0, 0.0])).map(|found| found.data);
    assert_eq!(asked(-7.25), Ok(vec![-14_i64, 0, 0, 0].into()));
    match asked(3e9) {
        Ok(found) => assert_eq!(found, vec![6_000_000_000_i64, 0, 0, 0].into()),
        Err(code) => assert_eq!(code, "inference.invalid_input"),
    }
}

/// A convolution whose result gets the shape [batch * length], or with `scale`, [batch, length * scale / scale].
fn reshaped(scale: Option<i64>) -> Arc<dyn Model> {
    let builder = GraphBuilder::new("reshaped").opset("", 17).input("x", ElementType::Fp32, &[-1, 1, -1]);
    let builder = number(number(number(builder, "first", 0), "last", 2), "scale", scale.unwrap_or(1));
    let builder = doubled(builder, "x", "twice")
        .initializer("axes", &tensor([1], vec![0_i64]))
        .node("", "Shape", &["twice"], &["shape"], vec![])
        .node("", "Gather", &["shape", "first"], &["batch"], vec![Attribute::new("axis", 0_i64)])
        .node("", "Gather", &["shape", "last"], &["length"], vec![Attribute::new("axis", 0_i64)])
        .node("", "Mul", &[if scale.is_some() { "scale" } else { "batch" }, "length"], &["product"], vec![])
        .node("", "Div", &["product", "scale"], &["extent"], vec![])
        .node("", "Unsqueeze", &["extent", "axes"], &["columns"], vec![])
        .node("", "Unsqueeze", &["batch", "axes"], &["rows"], vec![])
        .node("", "Concat", &["rows", "columns"], &["both"], vec![Attribute::new("axis", 0_i64)]);
    let wanted = if scale.is_some() { "both" } else { "columns" };
    let shape: &[i64] = if scale.is_some() { &[-1, -1] } else { &[-1] };
    load(builder.node("", "Reshape", &["twice", wanted], &["y"], vec![]).output("y", ElementType::Fp32, shape))
}

#[test]
fn the_arithmetic_of_shapes_stays_inside_a_network() {
    let model = reshaped(Some(64));
    assert!(is_whole_network(&model), "{model:?}");
    assert_eq!(ask(&model, tensor([2, 1, 3], vec![1.0_f32; 6])), Ok(tensor([2, 3], vec![2.0_f32; 6])));
}

#[test]
fn requests_are_held_to_the_extents_with_which_integers_fit() {
    let model = reshaped(None);
    assert!(is_whole_network(&model), "{model:?}");
    assert_eq!(ask(&model, tensor([2, 1, 3], vec![1.0_f32; 6])), Ok(tensor([6], vec![2.0_f32; 6])));
    let error = model.predict(&[NamedTensor::new("x", tensor([40_000, 1, 1], vec![0_f32; 40_000]))]).unwrap_err();
    let expected = "input `x`: expected extents up to 32768, with which no integer is cut, found 40000";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn of_equal_values_the_first_is_the_largest() {
    let builder = GraphBuilder::new("ties").opset("", 17).input("x", ElementType::Fp32, &[-1, 1, 4]);
    let attributes = vec![Attribute::new("axis", 2_i64), Attribute::new("keepdims", 0_i64)];
    let model = load(doubled(builder, "x", "twice").node("", "ArgMax", &["twice"], &["y"], attributes).output(
        "y",
        ElementType::Int64,
        &[-1, 1],
    ));
    assert_eq!(ask(&model, tensor([1, 1, 4], vec![0.5_f32, 2.0, 2.0, 1.0])), Ok(tensor([1, 1], vec![1_i64])));
}

#[test]
fn a_constant_that_leaves_a_network_is_not_cut() {
    let builder = GraphBuilder::new("constant").opset("", 17).input("x", ElementType::Fp32, &[-1, 1, 4]);
    let builder = number(doubled(builder, "x", "y"), "much", 1 << 40)
        .output("y", ElementType::Fp32, &[-1, 1, 4])
        .output("much", ElementType::Int64, &[]);
    let source = ModelSource::from(Bytes::from(builder.encode()));
    if let Ok(model) = EmbeddedEngine.load(&source, &LoadOptions::default()) {
        let outputs = model.predict(&[NamedTensor::new("x", tensor([1, 1, 4], vec![0_f32; 4]))]).unwrap();
        assert_eq!(outputs[1].tensor, tensor([], vec![1_i64 << 40]));
    }
}

#[test]
fn a_real_constant_beyond_2_31_is_not_cut() {
    let builder = GraphBuilder::new("real").opset("", 17).input("x", ElementType::Fp32, &[-1, 1, 4]);
    let builder = doubled(builder, "x", "y")
        .node("", "Constant", &[], &["real"], vec![Attribute::new("value_float", 3e9_f32)])
        .node("", "Cast", &["real"], &["much"], vec![Attribute::new("to", DataType::Int64 as i64)])
        .output("y", ElementType::Fp32, &[-1, 1, 4])
        .output("much", ElementType::Int64, &[]);
    let source = ModelSource::from(Bytes::from(builder.encode()));
    if let Ok(model) = EmbeddedEngine.load(&source, &LoadOptions::default()) {
        let outputs = model.predict(&[NamedTensor::new("x", tensor([1, 1, 4], vec![0_f32; 4]))]).unwrap();
        assert_eq!(outputs[1].tensor, tensor([], vec![3_000_000_000_i64]));
    }
}
