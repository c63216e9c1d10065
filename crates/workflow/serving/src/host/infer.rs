use std::time::Instant;

use ropewalk_types::{Ambient, PredictionId};

use super::{Entered, ModelHost};
use crate::lane::Evaluated;
use crate::measure::{rows, tensor_bytes};
use crate::routes::Observation;
use crate::statistics::{Answer, micros};
use crate::{Answered, InferenceRequest, InferenceResponse, RouteTarget, ServingError, Target};

impl ModelHost {
    /// Answers one request, and hands a record of it to the log.
    ///
    /// If the future is dropped, the request leaves the queue, and counts as abandoned for its route; an evaluation that
    /// has begun is carried to its end.
    ///
    /// # Errors
    /// [`InferenceError::InvalidInput`](ropewalk_inference::InferenceError::InvalidInput) where the inputs do not fit
    /// the signature, [`ServingError::Overloaded`], [`ServingError::DeadlineExceeded`], and what else
    /// [`ServingError::fault`] tells apart.
    pub async fn infer(
        &self,
        name: &str,
        version: Option<&str>,
        request: InferenceRequest,
    ) -> Result<InferenceResponse, ServingError> {
        let entered = self.enter(name, version, request.id.as_deref(), &request.context)?;
        self.infer_entered(entered, request).await
    }

    /// As [`infer`](Self::infer), for a request that was sent on its way before its inputs were read: under the same id
    /// and with the same headers. One that the host does not let in counts for nobody.
    ///
    /// # Errors
    /// As [`infer`](Self::infer).
    pub async fn infer_entered(
        &self,
        entered: Entered,
        request: InferenceRequest,
    ) -> Result<InferenceResponse, ServingError> {
        let started = Instant::now();
        let bytes = tensor_bytes(&request.inputs);
        let _inside = self.admission.enter(bytes)?;
        let awaited = Awaited { host: self, entered: &entered, is_over: false };
        let result = self.answer(&entered, request, bytes, started).await;
        awaited.over();
        self.count_way(&entered, &result, started);
        let result = result.map(|(response, _)| response);
        self.answered(&entered.target, &result, started);
        result
    }

    /// Counts, for the route by which it came, a request that cannot be read for the version that it goes to: its
    /// caller was wrong, or that version takes other inputs than those beside it. It is in no count of that version.
    pub fn count_unread(&self, entered: &Entered) {
        if let Some(way) = &entered.way {
            way.unread(entered.target.version(), self.ambient.now().millis());
        }
    }

    async fn answer(
        &self,
        entered: &Entered,
        request: InferenceRequest,
        bytes: u64,
        started: Instant,
    ) -> Result<(InferenceResponse, Option<Observation>), ServingError> {
        let (loaded, way) = (entered.target.loaded(), entered.way.as_ref());
        let rows = rows(&request.inputs);
        if rows > self.limits.rows {
            return Err(ServingError::TooManyRows { rows, limit: self.limits.rows });
        }
        loaded.check_inputs(&request.inputs)?;
        loaded.check_outputs(&request.outputs)?;
        let InferenceRequest { id, inputs, outputs: wanted, context } = request;
        let asked = loaded.lane.asked(inputs, rows, bytes, &context);
        let Evaluated { inputs, outputs, timing } = loaded.lane.evaluate(asked).await?;
        let latency = started.elapsed();
        let prediction = entered.prediction.unwrap_or_else(|| PredictionId::new(&self.ambient));
        let observation = way.filter(|way| way.observes()).and_then(|_| Observation::of(&loaded.signature, &outputs));
        if let Some(way) = way {
            let find = |to: &RouteTarget| self.route_target(loaded.name.as_str(), to);
            way.copy(loaded.version, (rows, bytes), find, || (inputs.clone(), outputs.clone()));
        }
        let outputs = if self.log.wants(&loaded.name, loaded.version, prediction) {
            let chosen = loaded.choose(outputs.clone(), &wanted)?;
            let (request, client, latency_us) = (id.clone(), context.client, micros(latency));
            let (model, version) = (loaded.name.clone(), loaded.version);
            let record = Answered { prediction, request, client, model, version, latency_us, rows, inputs, outputs };
            self.log.record(record);
            chosen
        } else {
            loaded.choose(outputs, &wanted)?
        };
        let inferences = if loaded.lane.has_batches() { rows } else { 1 };
        loaded.counters.count_answer(Answer { prediction, rows, inferences, latency, timing });
        let (model, version) = (loaded.name.clone(), loaded.version);
        Ok((InferenceResponse { prediction, id, model, version, outputs }, observation))
    }

    /// Counts for the route by which the request came.
    fn count_way(
        &self,
        entered: &Entered,
        result: &Result<(InferenceResponse, Option<Observation>), ServingError>,
        started: Instant,
    ) {
        let Some(way) = &entered.way else { return };
        let (went, output) = match result {
            Ok((_, output)) => (Ok(micros(started.elapsed())), *output),
            Err(error) => (Err(error), None),
        };
        way.count(entered.target.version(), self.ambient.now().millis(), went, output);
    }

    /// Counts a failure, and tells the observer.
    fn answered(&self, target: &Target, result: &Result<InferenceResponse, ServingError>, started: Instant) {
        if let Err(error) = result {
            target.loaded().counters.count_error(error, started.elapsed());
        }
        if let Some(observer) = self.observer.get() {
            observer.answered(target, result.as_ref(), started.elapsed());
        }
    }
}

/// A request on whose answer somebody waits. It is dropped before it is over if the client goes away: that also says
/// something about the version, which may be so slow that nobody waits to the end.
struct Awaited<'a> {
    host: &'a ModelHost,
    entered: &'a Entered,
    is_over: bool,
}

impl Awaited<'_> {
    fn over(mut self) {
        self.is_over = true;
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if !self.is_over
            && let Some(way) = &self.entered.way
        {
            way.abandoned(self.entered.target.version(), self.host.ambient.now().millis());
        }
    }
}
