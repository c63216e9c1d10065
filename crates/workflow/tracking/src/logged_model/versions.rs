use ropewalk_catalog::{Connection, query};
use serde_json::{Value, json};

use super::{LoggedModelError, LoggedModelId, write};
use crate::{Tag, TrackingError};

/// The tag of a logged model that lists, as JSON, the versions of registered models that were made of it.
pub const MODEL_VERSIONS_TAG: &str = "mlflow.modelVersions";

/// Adds `{"name", "version"}` to the list in the tag, unless it is there, in the caller's transaction.
pub async fn logged_model_version_record(
    connection: &mut Connection,
    id: LoggedModelId,
    registered_model: &str,
    version: i64,
) -> Result<(), TrackingError> {
    let model = write::number(connection, id).await?;
    let select = "SELECT value FROM logged_model_tag WHERE model = $1 AND key = $2";
    let stored: Option<String> = query(select).bind(model).bind(MODEL_VERSIONS_TAG).fetch_optional(connection).await?;
    let list = stored.as_deref().map_or(Ok(Vec::new()), serde_json::from_str::<Vec<Value>>);
    let mut list = list.map_err(|_| LoggedModelError::VersionsTag(id))?;
    let new = json!({ "name": registered_model, "version": version });
    if list.contains(&new) {
        return Ok(());
    }
    list.push(new);
    write::tags_upsert(connection, model, &[Tag::new(MODEL_VERSIONS_TAG, Value::Array(list).to_string())]).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tracking;
    use crate::{DEFAULT_EXPERIMENT, NewLoggedModel};

    #[tokio::test]
    async fn versions_are_listed_once_each_and_a_foreign_text_is_left_alone() {
        let tracking = tracking().await;
        let id = tracking.logged_model_create(NewLoggedModel::new(DEFAULT_EXPERIMENT)).await.expect("model").id;
        for (name, version) in [("a", 1), ("a", 2), ("b", 1), ("a", 2)] {
            tracking.logged_model_version_record(id, name, version).await.expect("recorded");
        }
        let listed = tracking.logged_model_get(id, false).await.expect("model").tags[MODEL_VERSIONS_TAG].clone();
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        let one = |name: &str, version: i64| json!({"name": name, "version": version});
        assert_eq!(listed, json!([one("a", 1), one("a", 2), one("b", 1)]));
        tracking.logged_model_tags_set(id, vec![Tag::new(MODEL_VERSIONS_TAG, "mine")]).await.expect("set");
        tracking.logged_model_version_record(id, "a", 3).await.expect_err("not a list");
        assert_eq!(tracking.logged_model_get(id, false).await.expect("model").tags[MODEL_VERSIONS_TAG], "mine");
    }
}
