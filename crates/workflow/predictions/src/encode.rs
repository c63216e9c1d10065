use ropewalk_inference::TensorData;
use ropewalk_serving::{Answered, in_sample, json};
use ropewalk_types::{ModelName, PredictionId};

use crate::journal::frame::{FrameHead, push_frame};
use crate::settings::PAYLOAD_LIMIT;
use crate::{PayloadSettings, PredictionsError};

impl PayloadSettings {
    /// Refuses what is out of its range.
    pub(crate) fn check(&self) -> Result<(), PredictionsError> {
        let mut rates = self.sample_of.values().chain([&self.sample]);
        if let Some(wrong) = rates.find(|rate| !(0.0..=1.0).contains(*rate)) {
            return Err(PredictionsError::Setting(format!("a sample of {wrong} is not between 0 and 1")));
        }
        if self.limit > PAYLOAD_LIMIT {
            let (limit, most) = (self.limit, PAYLOAD_LIMIT);
            return Err(PredictionsError::Setting(format!("a payload limit of {limit} bytes is over {most}")));
        }
        Ok(())
    }

    /// Whether a record is written of this prediction.
    pub(crate) fn takes(&self, model: &ModelName, prediction: PredictionId) -> bool {
        let rate = self.sample_of.get(model).copied().unwrap_or(self.sample);
        in_sample(prediction, rate)
    }

    /// Leaves out what is not to be written; says whether inputs and outputs were too large.
    pub(crate) fn strip(&self, answered: &mut Answered) -> bool {
        for named in answered.inputs.iter_mut().chain(&mut answered.outputs) {
            if self.redact.contains(&named.name) {
                named.tensor.data = TensorData::Bool(Vec::new());
                named.tensor.shape.clear();
            }
        }
        let cut = answered.payload_bytes() > self.limit;
        if cut {
            (answered.inputs, answered.outputs) = (Vec::new(), Vec::new());
        }
        cut
    }

    /// Appends the record of `answered`, which was [stripped](Self::strip), as one frame; `text` is scratch.
    pub(crate) fn encode(&self, answered: &Answered, cut: bool, text: &mut String, frames: &mut Vec<u8>) {
        text.clear();
        let mut middle = 0;
        if !cut {
            json::push_columns(&answered.inputs, &self.redact, text);
            middle = text.len();
            json::push_columns(&answered.outputs, &self.redact, text);
        }
        let columns = (!cut).then(|| text.split_at(middle));
        let head = FrameHead {
            prediction: answered.prediction,
            version: answered.version,
            latency_us: answered.latency_us,
            rows: answered.rows as u64,
        };
        let (inputs, outputs) = columns.unzip();
        let texts =
            [answered.request.as_deref(), Some(answered.model.as_str()), answered.client.as_deref(), inputs, outputs];
        push_frame(&head, texts, frames);
    }
}

/// Bytes that the answer holds in memory, about.
pub(crate) fn weight(answered: &Answered) -> usize {
    256 + answered.payload_bytes() + answered.request.as_ref().map_or(0, String::len)
}

#[cfg(test)]
mod tests {
    use ropewalk_types::{Ambient as _, ManualAmbient};

    use super::*;

    #[test]
    fn a_sample_is_a_share_and_always_the_same() {
        let ambient = ManualAmbient::default();
        let (model, other) = (ModelName::new("m").unwrap(), ModelName::new("n").unwrap());
        let settings =
            PayloadSettings { sample: 0.25, sample_of: [(other.clone(), 0.0)].into(), ..PayloadSettings::default() };
        let ids: Vec<_> = (0..4000).map(|_| PredictionId::new(&ambient)).collect();
        let taken: Vec<_> = ids.iter().filter(|id| settings.takes(&model, **id)).collect();
        assert!((800..1200).contains(&taken.len()), "{}", taken.len());
        assert!(taken.iter().all(|id| settings.takes(&model, **id)));
        assert!(!ids.iter().any(|id| settings.takes(&other, *id)));
        let all = PayloadSettings::default();
        assert!(ids.iter().all(|id| all.takes(&model, *id)) && all.takes(&model, PredictionId::from_bits(u128::MAX)));
        assert!(ambient.now().millis() > 0);
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for sample in [-0.1, 1.1, f64::NAN] {
            assert!(PayloadSettings { sample, ..PayloadSettings::default() }.check().is_err());
        }
        assert!(PayloadSettings { limit: usize::MAX, ..PayloadSettings::default() }.check().is_err());
        PayloadSettings::default().check().unwrap();
    }
}
