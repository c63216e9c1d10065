//! The object that marks a place as a store, written again where it was spoilt.

use object_store::ObjectStoreExt as _;

use super::{FORMAT, FORMAT_MOST, FORMAT_OBJECT, Store, failed, holds_objects, number_of};
use crate::backend::{self, BackendOptions};
use crate::error::StoreError;

impl Store {
    /// Writes the mark of the store at `url` again where that is empty or garbled, and says whether it did: only where other
    /// objects say that this is a store, and never over the mark of another form.
    pub async fn mark_again(url: &str, options: &BackendOptions) -> Result<bool, StoreError> {
        let (objects, place) = backend::object_store_at(url, options)?;
        let mark = place.clone().join(FORMAT_OBJECT);
        let found = match objects.get(&mark).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(false),
            found => found.map_err(failed("read", &mark)).map_err(|error| error.opening(url))?,
        };
        if found.meta.size <= FORMAT_MOST {
            let bytes = found.bytes().await.map_err(failed("read", &mark))?;
            if bytes == FORMAT || number_of(&bytes).is_some_and(|number| number != 1) {
                return Ok(false);
            }
        }
        if !holds_objects(objects.as_ref(), &place, url).await? {
            return Ok(false);
        }
        objects.put(&mark, FORMAT.into()).await.map_err(failed("write", &mark))?;
        Ok(true)
    }
}
