use bytes::Bytes;
use ropewalk_inference::ModelSource;
use ropewalk_registry::MlModel;
use ropewalk_store::files::TemporaryDirectory;
use ropewalk_types::{Digest, ModelName, Uri};

use super::folder::ModelFolder;
use crate::{ServerError, TrackingHome};

/// Largest graph of a client's that is loaded: a file of ONNX cannot be larger, whose format is Protocol Buffers.
const ONNX_BYTES: u64 = 2 << 30;
/// Longest `MLmodel` that is read.
const MLMODEL_BYTES: u64 = 4 << 20;
/// The file that describes a model of MLflow's.
const MLMODEL: &str = "MLmodel";
/// What is served besides graphs that a stage made.
const HINT: &str = "what is served is a graph that a stage made, or a model that an MLflow client logged here";

/// A model as it was found.
pub(crate) struct Found {
    pub(crate) name: ModelName,
    pub(crate) version: u64,
    /// What lineage calls it: a version by its number.
    pub(crate) uri: Uri,
    pub(crate) digest: Digest,
    pub(crate) source: ModelSource,
    /// Where its files were written to, if they had to be.
    pub(crate) folder: Option<TemporaryDirectory>,
}

impl TrackingHome {
    /// What a URI of a registered model, or of an artifact of a run, names now.
    pub(crate) async fn model_find(&self, uri: &Uri) -> Result<Found, ServerError> {
        match uri {
            Uri::Run { .. } => self.logged(uri).await,
            _ => self.registered(uri).await,
        }
    }

    /// The digest of what [`Self::model_find`] gives, without reading a graph that the store has by its digest.
    pub(crate) async fn model_digest(&self, uri: &Uri) -> Result<Digest, ServerError> {
        if !matches!(uri, Uri::Run { .. })
            && let Some(content) = self.registry.resolve(uri).await?.content
        {
            return Ok(content.digest);
        }
        Ok(self.model_find(uri).await?.digest)
    }

    async fn registered(&self, uri: &Uri) -> Result<Found, ServerError> {
        let version = self.registry.resolve(uri).await?;
        let (name, number, uri) = (version.name.clone(), version.version, version.uri());
        if let Some(content) = &version.content {
            let onnx: Bytes = self.store.get_bytes(&content.digest).await?;
            let (digest, source) = (content.digest, onnx.into());
            return Ok(Found { name, version: number, uri, digest, source, folder: None });
        }
        let (digest, source, folder) = self.described(&uri, &version.storage).await?;
        Ok(Found { name, version: number, uri, digest, source, folder })
    }

    /// A model among the artifacts of a run, which has the name of its folder.
    async fn logged(&self, uri: &Uri) -> Result<Found, ServerError> {
        let Uri::Run { path, .. } = uri else { return Err(refused(uri, "it is not of a run")) };
        let name = path.rsplit('/').next().unwrap_or_default();
        let name = if name.is_empty() { "model" } else { name.strip_suffix(".onnx").unwrap_or(name) };
        let name = ModelName::new(name)?;
        let (digest, source, folder) = self.described(uri, &uri.to_string()).await?;
        Ok(Found { name, version: 1, uri: uri.clone(), digest, source, folder })
    }

    /// What lies at a place of artifacts: a file of ONNX, or a folder with an `MLmodel`.
    async fn described(
        &self,
        uri: &Uri,
        place: &str,
    ) -> Result<(Digest, ModelSource, Option<TemporaryDirectory>), ServerError> {
        let wrong = |reason: String| refused(uri, &reason);
        let folder = ModelFolder::at(&self.tracking, place).await.map_err(wrong)?;
        if let Some((digest, onnx)) = folder.itself(ONNX_BYTES).await.map_err(wrong)? {
            return Ok((digest, onnx.into(), None));
        }
        let (described, text) = folder.file(MLMODEL, MLMODEL_BYTES).await.map_err(wrong)?;
        let text =
            String::from_utf8(text.to_vec()).map_err(|error| wrong(format!("its MLmodel is no text: {error}")))?;
        let model = MlModel::parse(&text).map_err(|error| wrong(error.to_string()))?;
        if let Some(path) = model.onnx {
            let (digest, bytes) = folder.file(&path, ONNX_BYTES).await.map_err(wrong)?;
            // Beside the graph lie its example and the weights that it keeps outside.
            let kept = folder.written(Some(&path)).await.map_err(wrong)?;
            let source = ModelSource::Onnx { bytes, folder: Some(kept.path().to_owned()) };
            return Ok((digest, source, Some(kept)));
        }
        let kept = folder.written(None).await.map_err(wrong)?;
        let source = ModelSource::Folder(kept.path().to_owned());
        Ok((described, source, Some(kept)))
    }
}

fn refused(uri: &Uri, reason: &str) -> ServerError {
    ServerError::Unknown { what: format!("{uri} cannot be served: {reason}"), hint: HINT.to_owned() }
}
