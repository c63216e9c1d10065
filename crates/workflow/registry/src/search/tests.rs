use crate::testing::{name, registry, sourced};
use crate::{ErrorKind, Registry, Search, SourcedVersion};

async fn filled() -> Registry {
    let (_, registry) = registry().await;
    let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    for (model, tags) in [
        ("b", vec![tag("team", "one")]),
        ("a", vec![tag("team", "two"), tag("tier", "x")]),
        ("C", vec![]),
        ("p", vec![tag("mlflow.prompt.is_prompt", "true")]),
    ] {
        registry.model_create(&name(model), None, tags).await.expect("model");
    }
    for (model, run) in [("a", "r1"), ("b", "r2"), ("a", "r2")] {
        let new =
            SourcedVersion { run: Some(run.to_owned()), tags: vec![tag("run", run)], ..sourced(model, "s3://b/x") };
        registry.version_create(new).await.expect("version");
    }
    let prompt = SourcedVersion { tags: vec![tag("mlflow.prompt.is_prompt", "true")], ..sourced("p", "dummy-source") };
    registry.version_create(prompt).await.expect("prompt");
    registry
}

fn search(filter: &str, order_by: &[&str]) -> Search {
    let order_by = order_by.iter().map(|clause| (*clause).to_owned()).collect();
    Search { filter: filter.to_owned(), order_by, limit: 100, page_token: None }
}

async fn models(registry: &Registry, filter: &str, order_by: &[&str]) -> String {
    let found = registry.model_search(search(filter, order_by)).await.expect(filter);
    found.items.iter().map(|model| model.name.to_string()).collect::<Vec<_>>().join(" ")
}

async fn versions(registry: &Registry, filter: &str, order_by: &[&str]) -> String {
    let found = registry.version_search(search(filter, order_by)).await.expect(filter);
    found.items.iter().map(|one| format!("{}{}", one.name, one.version)).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn models_are_found_by_name_and_tags_and_prompts_on_demand_only() {
    let registry = filled().await;
    assert_eq!(models(&registry, "", &[]).await, "C a b");
    assert_eq!(models(&registry, "", &["name DESC"]).await, "b a C");
    assert_eq!(models(&registry, "", &["last_updated_timestamp DESC"]).await, "a b C");
    assert_eq!(models(&registry, "name ILIKE 'c%'", &[]).await, "C");
    assert_eq!(models(&registry, "name LIKE 'c%'", &[]).await, "");
    assert_eq!(models(&registry, "name IN ('a', 'p')", &[]).await, "a");
    assert_eq!(models(&registry, "tags.team = 'two' and tag.tier != 'y'", &[]).await, "a");
    assert_eq!(models(&registry, "tags.team LIKE '%o%'", &[]).await, "a b");
    for (filter, found) in [
        ("tags.`mlflow.prompt.is_prompt` = 'true'", "p"),
        ("tags.`mlflow.prompt.is_prompt` != 'false'", "p"),
        ("tags.`mlflow.prompt.is_prompt` = 'false'", "C a b"),
        ("tags.`mlflow.prompt.is_prompt` != 'true'", "C a b"),
    ] {
        assert_eq!(models(&registry, filter, &[]).await, found, "{filter}");
    }
    for (filter, order) in
        [("run_id = 'x'", ""), ("name > 'a'", ""), ("name = 5", ""), ("name", ""), ("", "run_id"), ("", "name NEAR")]
    {
        let error = registry.model_search(search(filter, &[order][usize::from(order.is_empty())..])).await;
        assert_eq!(error.expect_err(filter).kind(), ErrorKind::Invalid, "{filter} {order}");
    }
}

#[tokio::test]
async fn versions_are_found_by_what_they_are_and_come_with_their_tags() {
    let registry = filled().await;
    assert_eq!(versions(&registry, "", &[]).await, "a2 b1 a1");
    assert_eq!(versions(&registry, "name = 'a'", &["version_number ASC"]).await, "a1 a2");
    assert_eq!(versions(&registry, "run_id = 'r2'", &["name ASC"]).await, "a2 b1");
    assert_eq!(versions(&registry, "run_id IN ('r1') and source_path LIKE 's3:%'", &[]).await, "a1");
    assert_eq!(versions(&registry, "version_number >= 2", &[]).await, "a2");
    assert_eq!(versions(&registry, "version_number = '2'", &[]).await, "a2");
    assert_eq!(versions(&registry, "tags.run = 'r1'", &[]).await, "a1");
    assert_eq!(versions(&registry, "tags.`mlflow.prompt.is_prompt` = 'true'", &[]).await, "p1");
    let found = registry.version_search(search("tags.run = 'r1'", &[])).await.expect("found");
    assert_eq!(found.items[0].tags["run"], "r1");
    for filter in
        ["version_number > 'a'", "version_number > 1.5", "source_path IN ('a')", "tags.x IN ('a')", "stage = 'None'"]
    {
        let error = registry.version_search(search(filter, &[])).await.expect_err(filter);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{filter}");
    }
}

#[tokio::test]
async fn pages_go_on_where_they_ended_and_belong_to_their_search() {
    let registry = filled().await;
    let first = registry.model_search(Search { limit: 2, ..search("", &[]) }).await.expect("first");
    assert_eq!(first.items.len(), 2);
    let next = Search { limit: 2, page_token: first.next.clone(), ..search("", &[]) };
    let second = registry.model_search(next).await.expect("second");
    assert_eq!((second.items[0].name.as_str(), second.next), ("b", None));
    let other = Search { page_token: first.next, ..search("name = 'a'", &[]) };
    assert_eq!(registry.model_search(other).await.expect_err("another search").kind(), ErrorKind::Invalid);
    let exact = registry.model_search(Search { limit: 3, ..search("", &[]) }).await.expect("all");
    assert_eq!((exact.items.len(), exact.next), (3, None));
}
