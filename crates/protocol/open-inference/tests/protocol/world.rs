use std::sync::Arc;

use bytes::Bytes;
use ropewalk_catalog::Catalog;
use ropewalk_inference::{Engine, InferenceError, Model, NamedTensor, Tensor, TensorData};
use ropewalk_serving::{HostLimits, HostedModel, LogSettings, MIGRATIONS, ModelHost, PredictionLog};
use ropewalk_types::{Digest, ElementType, ManualAmbient, ModelName, Signature, TensorSpec};

/// Answers with what it was asked: a probability from `distance`, a label from `hour`, a note from `carrier`.
#[derive(Debug)]
struct TestEngine;

#[derive(Debug)]
struct TestModel(Signature);

impl Engine for TestEngine {
    fn name(&self) -> &'static str {
        "test"
    }

    fn load(&self, _model: &[u8]) -> Result<Arc<dyn Model>, InferenceError> {
        let spec =
            |name: &str, datatype, shape: &[i64]| TensorSpec { name: name.into(), datatype, shape: shape.into() };
        Ok(Arc::new(TestModel(Signature {
            inputs: vec![
                spec("carrier", ElementType::Bytes, &[-1, 1]),
                spec("distance", ElementType::Fp32, &[-1, 1]),
                spec("hour", ElementType::Int64, &[-1, 1]),
            ],
            outputs: vec![
                spec("label", ElementType::Int64, &[-1]),
                spec("probability", ElementType::Fp32, &[-1, 2]),
                spec("note", ElementType::Bytes, &[-1]),
            ],
        })))
    }
}

impl Model for TestModel {
    fn signature(&self) -> &Signature {
        &self.0
    }

    fn predict(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, InferenceError> {
        let find = |name| inputs.iter().find(|input| input.name == name).map(|input| &input.tensor.data);
        let (Some(TensorData::Bytes(carrier)), Some(TensorData::Fp32(distance)), Some(TensorData::Int64(hour))) =
            (find("carrier"), find("distance"), find("hour"))
        else {
            panic!("the host checks the inputs");
        };
        if carrier.len() != distance.len() || hour.len() != distance.len() {
            return Err(InferenceError::Evaluation {
                node: "test".to_owned(),
                operator: "Test".to_owned(),
                reason: "the inputs differ in their number of rows".to_owned(),
            });
        }
        let probability: Vec<f32> = distance.iter().flat_map(|x| [1.0 - x / 1000.0, x / 1000.0]).collect();
        let rows = distance.len();
        Ok(vec![
            NamedTensor::new("label", Tensor::new(vec![rows], hour.clone())?),
            NamedTensor::new("probability", Tensor::new(vec![rows, 2], probability)?),
            NamedTensor::new("note", Tensor::new(vec![rows], carrier.clone())?),
        ])
    }
}

/// A host with versions 1 and 3 of the model `flight delays`.
pub(crate) async fn host() -> Arc<ModelHost> {
    let catalog = Catalog::in_memory(&[MIGRATIONS]).await.unwrap();
    host_on(PredictionLog::open(catalog, LogSettings::default())).await
}

/// The same host on a log that is given.
pub(crate) async fn host_on(log: PredictionLog) -> Arc<ModelHost> {
    let limits = HostLimits { rows: 1000, ..HostLimits::for_cores(2) };
    let host = ModelHost::new(Arc::new(TestEngine), log, Arc::new(ManualAmbient::default()), limits);
    for version in [1, 3] {
        let name = ModelName::new("flight delays").unwrap();
        let model = HostedModel { name, version, digest: Digest::of(b""), onnx: Bytes::new() };
        host.load(model).await.unwrap();
    }
    Arc::new(host)
}
