use ropewalk_catalog::CatalogError;
use std::str::FromStr;

/// Reads a text of the catalogue that this crate wrote.
pub(crate) fn parsed<T>(text: &str) -> Result<T, CatalogError>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(CatalogError::decode)
}
