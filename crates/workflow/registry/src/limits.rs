//! What is taken, after `mlflow/utils/validation.py`; lengths in Unicode characters.

use ropewalk_tracking::tag_key_check;

use crate::RegistryError;

/// Longest value of a tag of a model or a version; a longer one is refused.
pub const TAG_VALUE_CHARACTERS: usize = 100_000;

pub(crate) fn tag_check(key: &str, value: &str) -> Result<(), RegistryError> {
    tag_key_check(key)?;
    let length = value.chars().count();
    if length > TAG_VALUE_CHARACTERS {
        let reason =
            format!("the value of the tag '{key}' has {length} characters, {TAG_VALUE_CHARACTERS} are allowed");
        return Err(RegistryError::Invalid { parameter: "value", reason });
    }
    Ok(())
}

pub(crate) fn tags_check(tags: &[(String, String)]) -> Result<(), RegistryError> {
    tags.iter().try_for_each(|(key, value)| tag_check(key, value))
}
