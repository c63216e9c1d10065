use ropewalk_types::{ExperimentId, RunId};

use super::{ArtifactPath, ArtifactPathError};

/// The scheme of URIs into the namespace of artifacts.
const SCHEME: &str = "mlflow-artifacts:";
/// Where the namespace lies on a server; what a client makes of a URI of [`SCHEME`].
const ROUTE: &str = "/api/2.0/mlflow-artifacts/artifacts";

/// The folder under which the paths of artifacts are meant, in the one namespace that all artifacts share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArtifactRoot {
    /// `EXPERIMENT/RUN/artifacts`.
    Run {
        /// The run's experiment.
        experiment: ExperimentId,
        /// The run.
        run: RunId,
    },
    /// `EXPERIMENT/models/MODEL/artifacts`.
    Model {
        /// The logged model's experiment.
        experiment: ExperimentId,
        /// The logged model's id.
        model: String,
    },
    /// `EXPERIMENT/traces/TRACE/artifacts`.
    Trace {
        /// The trace's experiment.
        experiment: ExperimentId,
        /// The trace's id.
        trace: String,
    },
    /// Any folder.
    At(ArtifactPath),
    /// The namespace as a whole.
    Top,
}

/// Where the artifacts lie that a URI names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArtifactHome {
    /// In the namespace that is kept here.
    Here(ArtifactRoot),
    /// At this URI, where a client goes by itself.
    Elsewhere(String),
}

impl ArtifactRoot {
    /// Its URI, as MLflow 3.17 makes it (`SqlAlchemyStore._get_artifact_location` and `append_to_uri_path`).
    ///
    /// `location` is the artifact location of the experiment; none, or an empty one, is the experiment's own folder here.
    pub fn uri(&self, location: Option<&str>) -> String {
        let (experiment, inner) = match self {
            Self::Run { experiment, run } => (*experiment, format!("{run}/artifacts")),
            Self::Model { experiment, model } => (*experiment, format!("models/{model}/artifacts")),
            Self::Trace { experiment, trace } => (*experiment, format!("traces/{trace}/artifacts")),
            Self::At(path) => return format!("{SCHEME}/{path}"),
            Self::Top => return format!("{SCHEME}/"),
        };
        let location = experiment_artifact_uri(experiment, location);
        // The path of `s3://bucket/path?version=1` ends before the question mark.
        let (path, query) = location.split_at(location.find(['?', '#']).unwrap_or(location.len()));
        format!("{}/{inner}{query}", path.trim_end_matches('/'))
    }

    /// Its folder in the namespace; none for the namespace as a whole.
    pub(crate) fn folder(&self) -> Result<Option<ArtifactPath>, ArtifactPathError> {
        let text = match self {
            Self::Run { experiment, run } => format!("{experiment}/{run}/artifacts"),
            Self::Model { experiment, model } => format!("{experiment}/models/{model}/artifacts"),
            Self::Trace { experiment, trace } => format!("{experiment}/traces/{trace}/artifacts"),
            Self::At(path) => return Ok(Some(path.clone())),
            Self::Top => return Ok(None),
        };
        ArtifactPath::new(text).map(Some)
    }

    /// The whole path of what is at `path` under this root.
    pub(crate) fn whole(&self, path: &ArtifactPath) -> Result<ArtifactPath, ArtifactPathError> {
        Ok(match self.folder()? {
            Some(folder) => folder.join(path),
            None => path.clone(),
        })
    }
}

impl ArtifactHome {
    /// Where `uri` leads.
    ///
    /// `mlflow-artifacts:` and `http:` or `https:` with the route of the namespace lead here, whatever host they name:
    /// MLflow's server, too, takes them for its own (`_is_servable_proxied_run_artifact_root`).
    pub fn of_uri(uri: &str) -> Result<Self, ArtifactPathError> {
        let path = if let Some(rest) = uri.strip_prefix(SCHEME) {
            match rest.strip_prefix("//") {
                Some(with_host) => with_host.split_once('/').map_or("", |(_, path)| path),
                None => rest,
            }
        } else if let Some((_, path)) = uri.split_once(ROUTE).filter(|(host, _)| is_http(host)) {
            path
        } else {
            return Ok(Self::Elsewhere(uri.to_owned()));
        };
        match path.trim_matches('/') {
            "" => Ok(Self::Here(ArtifactRoot::Top)),
            path => Ok(Self::Here(ArtifactRoot::At(ArtifactPath::new(path)?))),
        }
    }
}

fn is_http(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// The URI of an experiment's own folder: its artifact location, or where it has none, its place in the namespace.
pub fn experiment_artifact_uri(experiment: ExperimentId, location: Option<&str>) -> String {
    match location {
        None | Some("") => format!("{SCHEME}/{experiment}"),
        Some(location) => location.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_root() -> (ArtifactRoot, String) {
        let id = "0123456789abcdef0123456789abcdef";
        (ArtifactRoot::Run { experiment: ExperimentId(7), run: id.parse().expect("run") }, id.to_owned())
    }

    #[test]
    fn uris_are_mlflows() {
        let (run, id) = run_root();
        for (location, expected) in [
            (None, format!("mlflow-artifacts:/7/{id}/artifacts")),
            (Some(""), format!("mlflow-artifacts:/7/{id}/artifacts")),
            (Some("mlflow-artifacts:/x/y/"), format!("mlflow-artifacts:/x/y/{id}/artifacts")),
            (Some("mlflow-artifacts:/"), format!("mlflow-artifacts:/{id}/artifacts")),
            (Some("s3://bucket"), format!("s3://bucket/{id}/artifacts")),
            (Some("s3://bucket/a?v=1"), format!("s3://bucket/a/{id}/artifacts?v=1")),
        ] {
            assert_eq!(run.uri(location), expected);
        }
        let model = ArtifactRoot::Model { experiment: ExperimentId(0), model: "m-1".to_owned() };
        assert_eq!(model.uri(None), "mlflow-artifacts:/0/models/m-1/artifacts");
        let trace = ArtifactRoot::Trace { experiment: ExperimentId(0), trace: "tr-1".to_owned() };
        assert_eq!(trace.uri(Some("file:///a")), "file:///a/traces/tr-1/artifacts");
    }

    #[test]
    fn a_uri_leads_to_where_its_root_is() {
        let (run, _) = run_root();
        let folder = run.folder().expect("folder").expect("not the top");
        let here = ArtifactHome::Here(ArtifactRoot::At(folder.clone()));
        for uri in [
            run.uri(None),
            format!("mlflow-artifacts://host:5000/{folder}"),
            format!("http://host:5000/prefix/api/2.0/mlflow-artifacts/artifacts/{folder}/"),
            format!("mlflow-artifacts:/{folder}"),
        ] {
            assert_eq!(ArtifactHome::of_uri(&uri).expect("uri"), here, "{uri}");
        }
        for uri in ["mlflow-artifacts:/", "mlflow-artifacts://host", "mlflow-artifacts:"] {
            assert_eq!(ArtifactHome::of_uri(uri).expect("uri"), ArtifactHome::Here(ArtifactRoot::Top), "{uri}");
        }
        for uri in ["s3://b/x", "file:///api/2.0/mlflow-artifacts/artifacts/x", "/a/b", "http://host/x"] {
            assert_eq!(ArtifactHome::of_uri(uri).expect("uri"), ArtifactHome::Elsewhere(uri.to_owned()));
        }
        for hostile in ["mlflow-artifacts:/../x", "mlflow-artifacts:/a/%2e%2e/b", "mlflow-artifacts://h/a//b"] {
            assert!(ArtifactHome::of_uri(hostile).is_err(), "{hostile}");
        }
    }

    #[test]
    fn ids_cannot_climb() {
        for bad in ["..", "a//b", "", "a\\b", "%2e%2e"] {
            let root = ArtifactRoot::Model { experiment: ExperimentId(0), model: bad.to_owned() };
            assert!(root.folder().is_err(), "{bad}");
        }
    }
}
