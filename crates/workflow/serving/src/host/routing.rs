use ropewalk_types::{Alias, Ambient, ModelName, PredictionId};

use super::ModelHost;
use crate::routes::{LiveRoute, Way};
use crate::{RequestContext, Route, RouteStatistics, RouteTarget, ServingError, Target, WatchedAlias};

/// A request that was sent on its way, and is to be read for the version that it goes to. Dropped, it counts for
/// nobody.
#[derive(Debug)]
pub struct Entered {
    pub(super) target: Target,
    /// By which route, if by any.
    pub(super) way: Option<Way>,
    /// The id of its answer, if the way hangs on it.
    pub(super) prediction: Option<PredictionId>,
}

impl Entered {
    /// The version that will answer.
    pub fn target(&self) -> &Target {
        &self.target
    }
}

impl ModelHost {
    /// Sets the route of a model, or sets it anew: shares hold from the next request on, counts begin at 0, and a canary
    /// that was taken back is on trial again.
    ///
    /// # Errors
    /// [`ServingError::InvalidRoute`] where it cannot be followed, or names a version that is not loaded or an alias
    /// that was not [set](Self::alias_set).
    pub fn route_set(&self, route: Route) -> Result<(), ServingError> {
        let wrong = |problem: String| ServingError::InvalidRoute { model: route.model.to_string(), problem };
        route.settings.check().map_err(wrong)?;
        for target in route.settings.targets() {
            if self.loaded_version(&route.model, target).is_none() {
                return Err(wrong(format!("{target} of the model is not loaded")));
            }
        }
        self.routes.set(route, self.ambient.now().millis());
        Ok(())
    }

    /// Removes the route of a model, whose default version answers from then on; tells whether there was one.
    pub fn route_remove(&self, model: &ModelName) -> bool {
        self.routes.remove(model, self.ambient.now().millis())
    }

    /// All routes with what they counted, by model.
    pub fn routes(&self) -> Vec<RouteStatistics> {
        self.routes.list().iter().map(|live| self.route_statistics(live)).collect()
    }

    fn route_statistics(&self, live: &LiveRoute) -> RouteStatistics {
        let model = &live.route().model;
        live.statistics(|target| match target {
            Some(target) => self.loaded_version(model, target),
            None => self.models.target(model.as_str(), None).ok().map(|target| target.version()),
        })
    }

    /// Says which version an alias of a model is, for routes; none forgets the alias.
    ///
    /// # Errors
    /// [`ServingError::UnknownModel`], [`ServingError::UnknownVersion`]: the version is not loaded.
    pub fn alias_set(&self, model: &ModelName, alias: Alias, version: Option<u64>) -> Result<(), ServingError> {
        if let Some(version) = version {
            self.models.find(model.as_str(), Some(&version.to_string()))?;
        }
        self.routes.alias_set(model, alias, version);
        Ok(())
    }

    /// Whether a route names that version, or an alias points at it.
    pub fn route_uses(&self, model: &ModelName, version: u64) -> bool {
        self.routes.is_used(model, version)
    }

    /// Tells the statistics what is followed.
    pub(crate) fn watched_set(&self, watched: Vec<WatchedAlias>) {
        self.routes.watched_set(watched);
    }

    /// Sends a request with that id on its way: to the version whose signature says how its inputs are read, and that
    /// answers them with [`infer_entered`](Self::infer_entered). All requests are sent here and nowhere else.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub fn enter(
        &self,
        name: &str,
        version: Option<&str>,
        id: Option<&str>,
        context: &RequestContext,
    ) -> Result<Entered, ServingError> {
        let unasked = version.is_none_or(str::is_empty);
        let Some(live) = unasked.then(|| self.routes.get(name)).flatten() else {
            return Ok(Entered { target: self.models.target(name, version)?, way: None, prediction: None });
        };
        let (way, prediction) = if let Some(id) = id.filter(|id| !id.is_empty()) {
            (live.way(&context.labels, id.as_bytes()), None)
        } else {
            let prediction = PredictionId::new(&self.ambient);
            (live.way(&context.labels, prediction.to_string().as_bytes()), Some(prediction))
        };
        let (target, way) = self.follow(name, way)?;
        Ok(Entered { target, way: Some(way), prediction })
    }

    /// The version at the end of the way; the default one if that is not loaded.
    fn follow(&self, name: &str, mut way: Way) -> Result<(Target, Way), ServingError> {
        let target = match way.to() {
            None => Some(self.models.target(name, None)?),
            Some(to) => self.route_target(name, to),
        };
        if let Some(target) = target {
            way.entered(&target);
            return Ok((target, way));
        }
        way.absent();
        Ok((self.models.target(name, None)?, way))
    }

    /// The version that a target of a route is, entered; none if it is not loaded.
    pub(super) fn route_target(&self, name: &str, to: &RouteTarget) -> Option<Target> {
        let model = ModelName::new(name).ok()?;
        let enter = || self.models.target_number(name, self.routes.version(&model, to)?);
        // An alias that moves between the two looks may have left a version that is already unloaded: once more.
        enter().or_else(enter)
    }

    fn loaded_version(&self, model: &ModelName, to: &RouteTarget) -> Option<u64> {
        self.route_target(model.as_str(), to).map(|target| target.version())
    }
}
