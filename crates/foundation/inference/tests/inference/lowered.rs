//! What engines see in other words than the model says: functions of its own, branches on constants, maps; and loops,
//! which end.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use ropewalk_inference::onnx::{
    Attribute, AttributeProto, AttributeType, DataType, FunctionProto, GraphBuilder, GraphProto, MapType, ModelProto,
    NodeProto, OperatorSetIdProto, TensorType, TypeProto, TypeValue, ValueInfoProto,
};
use ropewalk_inference::{
    EmbeddedEngine, Engine as _, InferenceError, LoadOptions, Model, ModelSource, NamedTensor, Tensor, TensorData,
};
use ropewalk_types::ElementType;

fn load(model: &ModelProto) -> Result<Arc<dyn Model>, InferenceError> {
    EmbeddedEngine.load(&ModelSource::from(Bytes::from(model.encode_to_vec())), &LoadOptions::default())
}

fn tensor(shape: &[usize], data: impl Into<TensorData>) -> Tensor {
    Tensor::new(shape.to_vec(), data).unwrap()
}

fn answer(model: &dyn Model, input: Tensor) -> Result<TensorData, InferenceError> {
    let name = model.signature().inputs[0].name.clone();
    model.predict(&[NamedTensor::new(name, input)]).map(|mut made| made.remove(0).tensor.data)
}

fn node(domain: &str, operator: &str, inputs: &[&str], outputs: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let (domain, op_type) = (domain.to_owned(), operator.to_owned());
    NodeProto { domain, op_type, input: owned(inputs), output: owned(outputs), attribute, ..NodeProto::default() }
}

fn graph_attribute(name: &str, graph: GraphProto) -> AttributeProto {
    let (name, r#type) = (name.to_owned(), AttributeType::Graph as i32);
    AttributeProto { name, r#type, g: Some(Box::new(graph)), ..AttributeProto::default() }
}

fn names(names: &[&str]) -> Vec<ValueInfoProto> {
    names.iter().map(|name| ValueInfoProto { name: (*name).to_owned(), ..ValueInfoProto::default() }).collect()
}

fn body(node: Vec<NodeProto>, inputs: &[&str], outputs: &[&str]) -> GraphProto {
    GraphProto { node, input: names(inputs), output: names(outputs), ..GraphProto::default() }
}

/// A function `x -> y` of the domain `own`.
fn function(name: &str, version: i64, node: Vec<NodeProto>) -> FunctionProto {
    FunctionProto {
        name: name.to_owned(),
        domain: "own".to_owned(),
        input: vec!["x".to_owned()],
        output: vec!["y".to_owned()],
        node,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version }],
        ..FunctionProto::default()
    }
}

/// `y` of the function `outer` of `x`.
fn using(functions: Vec<FunctionProto>) -> ModelProto {
    let mut model = GraphBuilder::new("functions")
        .opset("", 17)
        .opset("own", 1)
        .input("x", ElementType::Fp32, &[-1, 2])
        .node("own", "outer", &["x"], &["y"], vec![])
        .output("y", ElementType::Fp32, &[-1, 2])
        .into_model();
    model.functions = functions;
    model
}

#[test]
fn functions_are_written_out_with_their_attributes_and_names_of_their_own() {
    let by_name = AttributeProto {
        name: "alpha".to_owned(),
        ref_attr_name: "slope".to_owned(),
        r#type: AttributeType::Float as i32,
        ..AttributeProto::default()
    };
    let mut leaky = function(
        "leaky",
        17,
        vec![node("", "LeakyRelu", &["x"], &["t"], vec![by_name]), node("", "Add", &["t", "x"], &["y"], vec![])],
    );
    let slope = |value| AttributeProto {
        name: "slope".to_owned(),
        f: value,
        r#type: AttributeType::Float as i32,
        ..AttributeProto::default()
    };
    leaky.attribute_proto.push(slope(0.5));
    let outer = function(
        "outer",
        16,
        vec![node("own", "leaky", &["x"], &["t"], vec![]), node("own", "leaky", &["t"], &["y"], vec![slope(2.0)])],
    );
    let model = load(&using(vec![outer, leaky])).unwrap();
    // -2 -> -1 - 2 = -3 -> -6 - 3; 1 -> 2 -> 4.
    assert_eq!(answer(&*model, tensor(&[1, 2], vec![-2.0_f32, 1.0])).unwrap(), vec![-9.0_f32, 4.0].into());
}

#[test]
fn a_function_that_uses_itself_grows_without_end_or_means_other_operators_is_refused() {
    let refused = |functions| load(&using(functions)).unwrap_err();
    let itself = function("outer", 17, vec![node("own", "outer", &["x"], &["y"], vec![])]);
    assert!(refused(vec![itself]).to_string().contains("uses itself"));
    let twice = |name: &str, inner: &str| {
        function(name, 17, vec![node("own", inner, &["x"], &["t"], vec![]), node("own", inner, &["t"], &["y"], vec![])])
    };
    let levels = (0..40).map(|level| twice(&format!("f{level}"), &format!("f{}", level + 1)));
    let mut bomb: Vec<FunctionProto> = levels.chain([twice("outer", "f0")]).collect();
    bomb.push(function("f40", 17, vec![node("", "Abs", &["x"], &["y"], vec![])]));
    let error = refused(bomb);
    assert!(matches!(error, InferenceError::TooLarge { .. }), "{error}");
    let older = function("outer", 12, vec![node("", "Softmax", &["x"], &["y"], vec![])]);
    let error = refused(vec![older]);
    assert!(matches!(&error, InferenceError::Unsupported { operator, .. } if operator == "outer"), "{error}");
}

#[test]
fn a_branch_on_a_constant_is_the_branch_that_it_takes() {
    let knot = body(vec![node("org.example", "Knot", &["x"], &["knot"], vec![])], &[], &["knot"]);
    let plain = body(vec![node("", "Neg", &["x"], &["same"], vec![])], &[], &["same"]);
    let branches = vec![graph_attribute("then_branch", knot), graph_attribute("else_branch", plain)];
    let mut model = GraphBuilder::new("branch")
        .opset("", 17)
        .opset("org.example", 1)
        .input("x", ElementType::Fp32, &[-1, 2])
        .initializer("no", &tensor(&[], vec![false]))
        .output("y", ElementType::Fp32, &[-1, 2])
        .into_model();
    model.graph.as_mut().unwrap().node.push(node("", "If", &["no"], &["y"], branches));
    let loaded = load(&model).unwrap();
    assert_eq!(answer(&*loaded, tensor(&[1, 2], vec![1.0_f32, -2.0])).unwrap(), vec![-1.0_f32, 2.0].into());
    // A condition that is found when the model is loaded: the branch that is not taken is not looked at either.
    model.graph.as_mut().unwrap().node.insert(0, node("", "Not", &["yes"], &["no"], vec![]));
    model.graph.as_mut().unwrap().initializer[0].name = "yes".to_owned();
    model.graph.as_mut().unwrap().initializer[0].raw_data = vec![1];
    let loaded = load(&model).unwrap();
    assert_eq!(answer(&*loaded, tensor(&[1, 2], vec![1.0_f32, -2.0])).unwrap(), vec![-1.0_f32, 2.0].into());
}

/// A loop of `x[0]` turns whose body doubles `x` as a state.
fn repeated() -> ModelProto {
    let next = node("", "Add", &["state", "state"], &["next"], vec![]);
    let own = body(vec![next, node("", "Identity", &["go"], &["on"], vec![])], &["i", "go", "state"], &["on", "next"]);
    let mut model = GraphBuilder::new("loop")
        .opset("", 17)
        .input("x", ElementType::Int64, &[1])
        .output("y", ElementType::Int64, &[-1])
        .into_model();
    let graph = model.graph.as_mut().unwrap();
    graph.node.push(node("", "Loop", &["x", "", "x"], &["y"], vec![graph_attribute("body", own)]));
    model
}

#[test]
fn a_loop_that_turns_without_end_is_an_error() {
    let model = load(&repeated()).unwrap();
    let ask = |count: i64| answer(&*model, tensor(&[1], vec![count]));
    assert_eq!(ask(3).unwrap(), vec![24_i64].into());
    assert_eq!(ask(-1).unwrap(), vec![-1_i64].into());
    let error = ask(i64::MAX).unwrap_err();
    assert!(matches!(&error, InferenceError::TooLarge { what, .. } if what.contains("turns")), "{error}");
}

/// Two matrices of 2^20 ones between whose rows and columns there are 2^34 products.
fn matrices(builder: GraphBuilder) -> GraphBuilder {
    builder
        .initializer("tall", &tensor(&[2], vec![1_i64 << 14, 1 << 6]))
        .initializer("wide", &tensor(&[2], vec![1_i64 << 6, 1 << 14]))
        .node("", "ConstantOfShape", &["tall"], &["a"], vec![])
        .node("", "ConstantOfShape", &["wide"], &["b"], vec![])
}

/// Whether it is too much work, which was said before the product was begun: it takes longer than a test may.
fn is_too_much_work(error: &InferenceError) -> bool {
    matches!(error, InferenceError::TooLarge { what, .. } if what.contains("work in loops or on constants"))
}

#[test]
fn the_products_of_a_loop_are_counted_before_they_are_made() {
    let own = body(
        vec![
            node("", "MatMul", &["a", "b"], &["product"], vec![]),
            node("", "ReduceSum", &["product"], &["sum"], vec![]),
            node("", "Add", &["state", "sum"], &["next"], vec![]),
            node("", "Identity", &["go"], &["on"], vec![]),
        ],
        &["i", "go", "state"],
        &["on", "next"],
    );
    let builder = GraphBuilder::new("loop")
        .opset("", 17)
        .input("x", ElementType::Int64, &[1])
        .initializer("zero", &tensor(&[1, 1], vec![0.0_f32]))
        .output("y", ElementType::Fp32, &[1, 1]);
    let mut model = matrices(builder).into_model();
    let attribute = vec![graph_attribute("body", own)];
    model.graph.as_mut().unwrap().node.push(node("", "Loop", &["x", "", "zero"], &["y"], attribute));
    let model = load(&model).unwrap();
    assert_eq!(answer(&*model, tensor(&[1], vec![0_i64])).unwrap(), vec![0.0_f32].into());
    let error = answer(&*model, tensor(&[1], vec![1_i64])).unwrap_err();
    assert!(is_too_much_work(&error), "{error}");
}

#[test]
fn constants_that_take_too_much_work_are_refused_by_name() {
    let builder = GraphBuilder::new("constants").opset("", 17).input("x", ElementType::Fp32, &[-1]);
    let model = matrices(builder)
        .node("", "MatMul", &["a", "b"], &["product"], vec![])
        .node("", "ReduceSum", &["product"], &["sum"], vec![])
        .node("", "Add", &["x", "sum"], &["y"], vec![])
        .output("y", ElementType::Fp32, &[1, -1])
        .into_model();
    let error = load(&model).unwrap_err();
    assert!(is_too_much_work(&error) && error.to_string().contains("(MatMul)"), "{error}");
}

/// `DictVectorizer` over a map from texts to numbers.
fn dictionary() -> ModelProto {
    let mut model = GraphBuilder::new("dictionary")
        .opset("ai.onnx.ml", 1)
        .node(
            "ai.onnx.ml",
            "DictVectorizer",
            &["row"],
            &["y"],
            vec![Attribute::new("string_vocabulary", vec!["b".to_owned(), "a".to_owned()])],
        )
        .output("y", ElementType::Fp32, &[-1, 2])
        .into_model();
    let numbers = TypeValue::TensorType(TensorType { elem_type: DataType::Float as i32, shape: None });
    let value_type = Some(Box::new(TypeProto { value: Some(numbers) }));
    let map = TypeValue::MapType(Box::new(MapType { key_type: DataType::String as i32, value_type }));
    let info = ValueInfoProto { name: "row".to_owned(), r#type: Some(TypeProto { value: Some(map) }) };
    model.graph.as_mut().unwrap().input.push(info);
    model
}

#[test]
fn maps_come_as_their_keys_and_values() {
    let model = load(&dictionary()).unwrap();
    let signature: Vec<String> = model.signature().inputs.iter().map(ToString::to_string).collect();
    assert_eq!(signature, ["row_keys: BYTES[-1, -1]", "row_values: FP32[-1, -1]"]);
    assert_eq!(model.signature().outputs[0].to_string(), "y: FP32[-1, 2]");
    let ask = |keys: [&'static str; 4], width: usize| {
        let keys: Vec<Bytes> = keys.iter().map(|key| Bytes::from_static(key.as_bytes())).collect();
        let values: Vec<f32> = vec![1.0, 2.0, 3.0, 4.0];
        model.predict(&[
            NamedTensor::new("row_keys", tensor(&[2, 2], keys)),
            NamedTensor::new("row_values", tensor(&[4 / width, width], values)),
        ])
    };
    let made = ask(["a", "b", "other", ""], 2).unwrap();
    assert_eq!(made[0].tensor, tensor(&[2, 2], vec![2.0_f32, 1.0, 0.0, 0.0]));
    assert!(ask(["a", "a", "b", "a"], 2).unwrap_err().to_string().contains("twice"));
    assert!(ask(["a", "b", "b", "a"], 1).unwrap_err().to_string().contains("keys of shape"));
}

#[test]
fn a_map_that_something_else_takes_is_refused_by_its_name() {
    let mut model = dictionary();
    model.graph.as_mut().unwrap().node.push(node("ai.onnx.ml", "CastMap", &["row"], &["z"], vec![]));
    let error = load(&model).unwrap_err();
    assert!(matches!(error, InferenceError::Unsupported { .. }), "{error}");
    let mut model = dictionary();
    model.graph.as_mut().unwrap().input.extend(names(&["row_keys"]));
    assert!(load(&model).unwrap_err().to_string().contains("that name is taken"));
}
