//! What lies in the folder of refs and is none.

use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};

use super::heal::ASIDE;
use super::refs::{FOLDER, MAX_VALUE, is_generation};
use super::{Store, failed};
use crate::error::StoreError;
use crate::files;

impl Store {
    /// Objects in the folder of refs that certainly are none, by their paths: nothing that keeps refs ever gave one such a
    /// name. Without what another process is writing just now.
    pub async fn ref_strays(&self) -> Result<Vec<String>, StoreError> {
        let folder = Path::from(FOLDER);
        let listed: Vec<_> =
            self.inner.backend.list(Some(&folder)).try_collect().await.map_err(failed("list", &folder))?;
        let is_stray = |name: &str| !is_generation(name) && !files::is_leftover(name);
        let strays = listed.iter().filter(|meta| meta.location.filename().is_some_and(is_stray));
        Ok(strays.map(|meta| meta.location.to_string()).collect())
    }

    /// Moves such an object to the folder `damaged`, and says where it is now; `None` where it is gone, or larger than a ref
    /// can be: then it stays.
    pub async fn stray_put_aside(&self, stray: &str) -> Result<Option<String>, StoreError> {
        let (Ok(from), Ok(to)) = (Path::parse(stray), Path::parse(format!("{ASIDE}/{stray}"))) else { return Ok(None) };
        let found = match self.inner.backend.get(&from).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(failed("read", &from))?,
        };
        if found.meta.size > MAX_VALUE {
            return Ok(None);
        }
        let bytes = found.bytes().await.map_err(failed("read", &from))?;
        self.inner.backend.put(&to, PutPayload::from(bytes)).await.map_err(failed("write", &to))?;
        self.inner.remove(&from).await?;
        Ok(Some(to.to_string()))
    }
}
