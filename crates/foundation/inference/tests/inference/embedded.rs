//! Networks and mixed graphs inside the embedded engine: what is taken, what is refused, and how it is told.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use ropewalk_inference::onnx::{Attribute, DataType, GraphBuilder, ModelProto, StringStringEntryProto};
use ropewalk_inference::{
    EmbeddedEngine, Engine as _, InferenceError, LoadOptions, Model, ModelSource, NamedTensor, Tensor, TensorData,
};
use ropewalk_types::{Diagnose as _, ElementType};

fn load(builder: GraphBuilder) -> Result<Arc<dyn Model>, InferenceError> {
    EmbeddedEngine.load(&ModelSource::from(Bytes::from(builder.encode())), &LoadOptions::default())
}

fn refusal(builder: GraphBuilder) -> String {
    let error = load(builder).unwrap_err();
    assert_eq!(error.code(), "inference.unsupported", "{error}");
    error.to_string()
}

fn tensor<const N: usize>(shape: [usize; N], data: impl Into<TensorData>) -> Tensor {
    Tensor::new(shape.to_vec(), data).unwrap()
}

/// A 1x1 convolution that doubles, which only the engine for networks has.
fn convolution(builder: GraphBuilder, from: &str, to: &str) -> GraphBuilder {
    let attributes = vec![
        Attribute::new("kernel_shape", vec![1_i64]),
        Attribute::new("pads", vec![0_i64, 0]),
        Attribute::new("strides", vec![1_i64]),
        Attribute::new("dilations", vec![1_i64]),
    ];
    builder.initializer("kernel", &tensor([1, 1, 1], vec![2.0_f32])).node(
        "",
        "Conv",
        &[from, "kernel"],
        &[to],
        attributes,
    )
}

#[test]
fn a_network_keeps_the_models_own_types() {
    let builder = GraphBuilder::new("tokens")
        .opset("", 17)
        .input("tokens", ElementType::Int64, &[-1, 3])
        .node("", "Trilu", &["tokens", "k"], &["upper"], vec![])
        .initializer("k", &tensor([], vec![1_i64]))
        .output("upper", ElementType::Int64, &[-1, 3]);
    let model = load(builder).unwrap();
    assert_eq!(model.signature().outputs[0].to_string(), "upper: INT64[-1, 3]");
    let ask = |values: Vec<i64>| model.predict(&[NamedTensor::new("tokens", tensor([1, 3], values))]);
    assert_eq!(ask(vec![5, -6, 7]).unwrap()[0].tensor.data, vec![0_i64, -6, 7].into());
    let error = ask(vec![1, 2, 1 << 31]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "input `tokens`: expected INT64 within the range of INT32, in which this engine computes, found 2147483648"
    );
}

#[test]
fn undeclared_shapes_are_found_by_a_trial() {
    let builder = GraphBuilder::new("cnn").opset("", 17).input("x", ElementType::Fp32, &[-1, 1, 4]);
    let mut proto = convolution(builder, "x", "y").output("y", ElementType::Fp32, &[]).into_model();
    proto.graph.as_mut().unwrap().output[0].r#type = None;
    let source = ModelSource::from(Bytes::from(proto.encode_to_vec()));
    let model = EmbeddedEngine.load(&source, &LoadOptions::default()).unwrap();
    assert_eq!(model.signature().outputs[0].to_string(), "y: FP32[-1, 1, 4]");
}

#[test]
fn what_would_be_narrowed_is_refused_by_name() {
    let upper = |constant: Tensor| {
        GraphBuilder::new("wide")
            .opset("", 17)
            .input("x", ElementType::Int64, &[-1, 3])
            .initializer("much", &constant)
            .node("", "Trilu", &["x", "much"], &["y"], vec![])
            .output("y", ElementType::Int64, &[-1, 3])
    };
    let text = refusal(upper(tensor([], vec![1_i64 << 40])));
    assert!(text.contains("its constant `much` holds 1099511627776"), "{text}");
    load(upper(tensor([], vec![-1_i64]))).unwrap();
    let double = GraphBuilder::new("double")
        .opset("", 17)
        .input("x", ElementType::Fp64, &[-1, 3])
        .node("", "Trilu", &["x"], &["y"], vec![])
        .output("y", ElementType::Fp64, &[-1, 3]);
    assert!(refusal(double).contains("value `x` is FP64, which the engine for networks does not have"));
}

#[test]
fn an_operator_known_to_be_wrong_is_refused() {
    let resize = |mode: &str| {
        GraphBuilder::new("larger")
            .opset("", 17)
            .input("x", ElementType::Fp32, &[-1, 1, 2, 2])
            .initializer("scales", &tensor([4], vec![1.0_f32, 1.0, 2.0, 2.0]))
            .node("", "Resize", &["x", "", "scales"], &["y"], vec![Attribute::new("mode", mode)])
            .output("y", ElementType::Fp32, &[-1, 1, 4, 4])
    };
    assert!(refusal(resize("cubic")).contains("cubic interpolation is not implemented"));
    load(resize("linear")).unwrap();
}

#[test]
fn every_missing_operator_is_named_in_one_message() {
    let builder = GraphBuilder::new("missing")
        .opset("", 17)
        .opset("org.example", 1)
        .input("x", ElementType::Fp32, &[-1, 3])
        .node("org.example", "Knot", &["x"], &["y"], vec![])
        .node("", "Det", &["y"], &["z"], vec![])
        .output("z", ElementType::Fp32, &[-1]);
    let text = refusal(builder);
    assert!(text.contains("org.example.Knot") && text.contains("`Knot_0`"), "{text}");
    assert!(text.contains("ai.onnx.Det of node `Det_1`"), "{text}");
}

/// Text to numbers by the classical evaluator, a convolution by the other, and the label by the first again.
fn mixed() -> GraphBuilder {
    let keys = Attribute::new("keys_strings", vec!["hemp".to_owned(), "flax".to_owned()]);
    let values = Attribute::new("values_floats", vec![1.5_f32, -1.0]);
    let builder = GraphBuilder::new("mixed")
        .opset("", 17)
        .opset("ai.onnx.ml", 3)
        .input("fibre", ElementType::Bytes, &[-1, 1])
        .initializer("axis", &tensor([1], vec![1_i64]))
        .node("ai.onnx.ml", "LabelEncoder", &["fibre"], &["number"], vec![keys, values])
        .node("", "Unsqueeze", &["number", "axis"], &["series"], vec![]);
    convolution(builder, "series", "twice")
        .node("", "Cast", &["twice"], &["whole"], vec![Attribute::new("to", DataType::Int64 as i64)])
        .node(
            "ai.onnx.ml",
            "LabelEncoder",
            &["whole"],
            &["label"],
            vec![
                Attribute::new("keys_int64s", vec![3_i64, -2]),
                Attribute::new("values_strings", vec!["strong".to_owned(), "fine".to_owned()]),
            ],
        )
        .output("label", ElementType::Bytes, &[-1, 1, 1])
        .output("twice", ElementType::Fp32, &[-1, 1, 1])
}

#[test]
fn a_graph_may_mix_both_worlds() {
    let model = load(mixed()).unwrap();
    assert_eq!(model.signature().outputs[0].to_string(), "label: BYTES[-1, 1, 1]");
    let fibres = vec![Bytes::from("flax"), Bytes::from("hemp")];
    let outputs = model.predict(&[NamedTensor::new("fibre", tensor([2, 1], fibres))]).unwrap();
    assert_eq!(outputs[0].tensor.data, vec![Bytes::from("fine"), Bytes::from("strong")].into());
    assert_eq!(outputs[1].tensor, tensor([2, 1, 1], vec![-2.0_f32, 3.0]));
    let error = model.predict(&[NamedTensor::new("fibre", tensor([1, 1], vec![1.0_f32]))]).unwrap_err();
    assert_eq!(error.code(), "inference.invalid_input");
}

#[test]
fn requests_at_the_same_time_do_not_wait_for_each_other_and_agree() {
    let model = load(mixed()).unwrap();
    let ask = || model.predict(&[NamedTensor::new("fibre", tensor([1, 1], vec![Bytes::from("hemp")]))]).unwrap();
    let expected = ask();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| (0..20).all(|_| ask() == expected))).collect();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    });
}

/// A model whose kernel lies at `location`.
fn outside(location: &str) -> Bytes {
    let builder = GraphBuilder::new("outside").opset("", 17).input("x", ElementType::Fp32, &[-1, 1, 2]);
    let mut model: ModelProto = convolution(builder, "x", "y").output("y", ElementType::Fp32, &[-1, 1, 2]).into_model();
    let kernel = &mut model.graph.as_mut().unwrap().initializer[0];
    kernel.raw_data.clear();
    kernel.data_location = 1;
    let entry = |key: &str, value: &str| StringStringEntryProto { key: key.into(), value: value.into() };
    kernel.external_data = vec![entry("location", location), entry("offset", "4"), entry("length", "4")];
    Bytes::from(model.encode_to_vec())
}

fn load_beside(folder: Option<&Path>, location: &str) -> Result<Arc<dyn Model>, InferenceError> {
    let source = ModelSource::Onnx { bytes: outside(location), folder: folder.map(Path::to_owned) };
    EmbeddedEngine.load(&source, &LoadOptions::default())
}

#[test]
fn tensors_outside_of_the_file_come_from_its_folder_only() {
    let place = ropewalk_store::files::temporary_directory(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    let folder = place.path().join("model");
    std::fs::create_dir(&folder).unwrap();
    let data: Vec<u8> = [9.0_f32, 3.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(folder.join("weights.bin"), &data).unwrap();
    std::fs::write(place.path().join("secret.bin"), &data).unwrap();
    let model = load_beside(Some(&folder), "weights.bin").unwrap();
    let x = NamedTensor::new("x", tensor([1, 1, 2], vec![1.0_f32, 2.0]));
    assert_eq!(model.predict(&[x]).unwrap()[0].tensor.data, vec![3.0_f32, 6.0].into());

    let refused = |folder, location| load_beside(folder, location).unwrap_err().to_string();
    assert!(refused(None, "weights.bin").contains("without its folder"));
    assert!(refused(Some(&folder), "../secret.bin").contains("not inside the model's folder"));
    assert!(refused(Some(&folder), "/etc/passwd").contains("not inside the model's folder"));
    assert!(refused(Some(&folder), "absent.bin").contains("absent.bin"));
    std::fs::write(folder.join("short.bin"), [0; 6]).unwrap();
    assert!(refused(Some(&folder), "short.bin").contains("4 bytes from byte 4 of `short.bin`, which has 6 bytes"));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("../secret.bin", folder.join("link.bin")).unwrap();
        assert!(refused(Some(&folder), "link.bin").contains("a link that leads out"));
    }
}

/// scikit-learn's encoder refuses text that it has not seen, as long as nobody says otherwise, and so does the trial on zeros.
#[test]
fn the_classes_are_known_where_the_graph_cannot_be_tried() {
    let categories = ["AA", "UA"].map(str::to_owned).to_vec();
    let builder = GraphBuilder::new("encoded")
        .opset("ai.onnx.ml", 3)
        .input("carrier", ElementType::Bytes, &[-1])
        .node(
            "ai.onnx.ml",
            "OneHotEncoder",
            &["carrier"],
            &["scores"],
            vec![Attribute::new("cats_strings", categories.clone()), Attribute::new("zeros", 0_i64)],
        )
        .node(
            "ai.onnx.ml",
            "ZipMap",
            &["scores"],
            &["probability"],
            vec![Attribute::new("classlabels_strings", categories)],
        )
        .output("probability", ElementType::Fp32, &[]);
    let mut proto = ModelProto::decode(builder.encode().as_slice()).unwrap();
    // As it is exported: a sequence of maps.
    proto.graph.as_mut().unwrap().output[0].r#type = None;
    let bytes = Bytes::from(proto.encode_to_vec());
    let model = EmbeddedEngine.load(&ModelSource::from(bytes), &LoadOptions::default()).unwrap();
    assert_eq!(model.signature().outputs[0].to_string(), "probability: FP32[-1, 2]");
    let ask = |text: &str| {
        model.predict(&[NamedTensor::new("carrier", tensor([1], vec![Bytes::copy_from_slice(text.as_bytes())]))])
    };
    assert_eq!(ask("UA").unwrap()[0].tensor.data, vec![0.0_f32, 1.0].into());
    assert_eq!(ask("B6").unwrap_err().code(), "inference.evaluation");
}
