use futures::FutureExt as _;
use ropewalk_catalog::{Catalog, query};
use ropewalk_ingest::Column;
use ropewalk_types::{DatasetName, Diagnose as _, Digest, TagName, Timestamp, Zone};

use crate::dataset::latest::latest_list;
use crate::{
    DataError, DatasetVersion, MIGRATIONS, Removal, TagMove, VersionTag, tag_list, tag_remove, tag_set, version_again,
    version_history, version_list, version_record, version_remove, version_resolve,
};

fn version(name: &str, content: &[u8], at: i64) -> DatasetVersion {
    DatasetVersion {
        name: DatasetName::new(name).unwrap(),
        digest: Digest::of(content),
        zone: Zone::Raw,
        rows: 3,
        columns: vec![Column { name: "id".to_owned(), data_type: "int64".to_owned() }],
        bytes: 100,
        quarantined: 1,
        stage_key: (at == 1).then(|| Digest::of(b"key")),
        created_at: Timestamp(at),
    }
}

async fn record(catalog: &Catalog, version: DatasetVersion) -> Result<(), DataError> {
    catalog.write(move |connection| async move { version_record(connection, &version).await }.boxed()).await
}

async fn latest(catalog: &Catalog, name: &DatasetName) -> Digest {
    version_resolve(catalog, name, "latest").await.unwrap().digest
}

#[tokio::test]
async fn the_latest_is_the_last_recorded_also_when_it_is_an_old_one() {
    let catalog = Catalog::in_memory(&[MIGRATIONS]).await.unwrap();
    let (first, second) = (version("flights", b"1", 1), version("flights", b"2", 2));
    for version in [&first, &second, &second] {
        record(&catalog, version.clone()).await.unwrap();
    }
    assert_eq!(version_list(&catalog, Some(&first.name)).await.unwrap(), [second.clone(), first.clone()]);
    let back = DatasetVersion { created_at: Timestamp(9), ..first.clone() };
    record(&catalog, back).await.unwrap();
    assert_eq!(latest(&catalog, &first.name).await, first.digest);
    assert_eq!(version_list(&catalog, None).await.unwrap(), [first.clone(), second]);
}

#[tokio::test]
async fn a_known_version_is_the_latest_again_unless_it_was_removed() {
    let catalog = Catalog::in_memory(&[MIGRATIONS]).await.unwrap();
    let versions = [version("flights", b"1", 1), version("flights", b"2", 2), version("flights", b"3", 3)];
    for version in &versions {
        record(&catalog, version.clone()).await.unwrap();
    }
    let [first, second, third] = versions;
    let (name, key) = (first.name.clone(), Digest::of(b"key"));
    let again = async |digest: Digest, at: i64| {
        let name = name.clone();
        let write = catalog.write(move |connection| {
            async move { version_again(connection, &name, &digest, key, Timestamp(at)).await }.boxed()
        });
        write.await.unwrap()
    };
    assert_eq!(again(third.digest, 4).await, None, "it is the latest already");
    assert_eq!(again(first.digest, 5).await, Some(first.clone()));
    assert_eq!(latest(&catalog, &name).await, first.digest);
    assert_eq!(again(first.digest, 6).await, None);
    let when = latest_list(&catalog).await.unwrap()[&name];
    assert_eq!((when.digest, when.at), (first.digest, Timestamp(5)), "others take it over as the latest");
    let history = version_history(&catalog, Some(&name)).await.unwrap();
    assert_eq!((history[0].number, history[0].version.created_at), (1, Timestamp(1)), "number and time stay");
    let removal = Removal {
        name: name.clone(),
        digest: second.digest,
        who: "ada".to_owned(),
        why: "wrong".to_owned(),
        at: Timestamp(7),
    };
    let write = catalog.write(move |connection| async move { version_remove(connection, &removal).await }.boxed());
    assert!(write.await.unwrap());
    assert_eq!(again(second.digest, 8).await, None, "a removal holds");
    assert_eq!(again(Digest::of(b"never"), 9).await, None);
    assert_eq!(latest(&catalog, &name).await, first.digest);
}

#[tokio::test]
async fn versions_are_found_by_the_beginning_of_their_digest() {
    let catalog = Catalog::in_memory(&[MIGRATIONS]).await.unwrap();
    let (first, second) = (version("flights", b"1", 1), version("flights", b"2", 2));
    record(&catalog, first.clone()).await.unwrap();
    let mut twin = second.clone();
    let text = format!("{}{}", &first.digest.to_string()[..8], &second.digest.to_string()[8..]);
    twin.digest = text.parse().unwrap();
    record(&catalog, twin.clone()).await.unwrap();
    let name = &first.name;
    let found = version_resolve(&catalog, name, &first.digest.to_string()).await.unwrap();
    assert_eq!(found, first);
    let error = version_resolve(&catalog, name, &text[..6]).await.unwrap_err();
    assert!(matches!(&error, DataError::AmbiguousVersion { matches, .. } if matches.len() == 2), "{error}");
    // A tag of that name tells which is meant; a digest that begins so alone is what is printed of it.
    set(&catalog, tag(&text[..6], &twin, 3), TagMove::Refused).await.unwrap();
    set(&catalog, tag(&text[..12], &first, 3), TagMove::Refused).await.unwrap();
    for spec in [&text[..6], &text[..12]] {
        assert_eq!(version_resolve(&catalog, name, spec).await.unwrap().digest, twin.digest, "{spec}");
    }
    for wrong in ["", &text[..3], "zzzz", "LATEST"] {
        let error = version_resolve(&catalog, name, wrong).await.unwrap_err();
        assert_eq!(error.code(), "data.unknown_version", "{wrong}");
    }
    let error = version_resolve(&catalog, &DatasetName::new("flihgts").unwrap(), "latest").await.unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("did you mean `flights`?"));
}

#[tokio::test]
async fn a_dataset_stays_in_its_zone() {
    let catalog = Catalog::in_memory(&[MIGRATIONS]).await.unwrap();
    record(&catalog, version("flights", b"1", 1)).await.unwrap();
    let processed = DatasetVersion { zone: Zone::Processed, ..version("flights", b"2", 2) };
    let error = record(&catalog, processed).await.unwrap_err();
    assert_eq!(error.code(), "data.zone_change");
    assert!(error.to_string().contains("`raw`") && error.to_string().contains("`processed`"), "{error}");
    let other = DatasetVersion { zone: Zone::Processed, ..version("features", b"2", 2) };
    record(&catalog, other).await.unwrap();
    assert_eq!(version_list(&catalog, None).await.unwrap().len(), 2);
}

fn tag(name: &str, version: &DatasetVersion, at: i64) -> VersionTag {
    let tag = TagName::new(name).unwrap();
    VersionTag { name: version.name.clone(), tag, digest: version.digest, who: "ann".to_owned(), at: Timestamp(at) }
}

async fn set(catalog: &Catalog, tag: VersionTag, moving: TagMove) -> Result<Option<Digest>, DataError> {
    catalog.write(move |connection| async move { tag_set(connection, &tag, moving).await }.boxed()).await
}

async fn remove(catalog: &Catalog, version: &DatasetVersion, why: &str) -> Result<bool, DataError> {
    let (name, digest) = (version.name.clone(), version.digest);
    let removal = Removal { name, digest, who: "ann".to_owned(), why: why.to_owned(), at: Timestamp(9) };
    catalog.write(move |connection| async move { version_remove(connection, &removal).await }.boxed()).await
}

#[tokio::test]
async fn numbers_count_from_the_first_recording_and_never_change() {
    let catalog = Catalog::in_memory(&[MIGRATIONS]).await.unwrap();
    let versions = [version("flights", b"1", 1), version("flights", b"2", 2), version("flights", b"3", 3)];
    for version in versions.iter().chain([&versions[0]]) {
        record(&catalog, version.clone()).await.unwrap();
    }
    let name = &versions[0].name;
    for (number, version) in (1..).zip(&versions) {
        let found = version_resolve(&catalog, name, &format!("v{number}")).await.unwrap();
        assert_eq!(found.digest, version.digest);
    }
    let history = version_history(&catalog, Some(name)).await.unwrap();
    assert_eq!(history.iter().map(|one| one.number).collect::<Vec<_>>(), [1, 3, 2]);
    assert_eq!(version_resolve(&catalog, name, "v4").await.unwrap_err().code(), "data.unknown_version");
}

#[tokio::test]
async fn tags_move_only_explicitly() {
    let catalog = Catalog::in_memory(&[MIGRATIONS]).await.unwrap();
    let (first, second) = (version("flights", b"1", 1), version("flights", b"2", 2));
    record(&catalog, first.clone()).await.unwrap();
    record(&catalog, second.clone()).await.unwrap();
    assert_eq!(set(&catalog, tag("good", &first, 3), TagMove::Refused).await.unwrap(), None);
    assert_eq!(set(&catalog, tag("good", &first, 4), TagMove::Refused).await.unwrap(), None);
    let error = set(&catalog, tag("good", &second, 5), TagMove::Refused).await.unwrap_err();
    assert_eq!(error.code(), "data.tag_taken");
    let name = &first.name;
    assert_eq!(version_resolve(&catalog, name, "good").await.unwrap().digest, first.digest);
    assert_eq!(set(&catalog, tag("good", &second, 6), TagMove::Allowed).await.unwrap(), Some(first.digest));
    assert_eq!(version_resolve(&catalog, name, "good").await.unwrap().digest, second.digest);
    assert_eq!(tag_list(&catalog, Some(name)).await.unwrap(), [tag("good", &second, 6)]);
    let unknown = set(&catalog, tag("x", &version("flights", b"9", 1), 7), TagMove::Allowed).await.unwrap_err();
    assert_eq!(unknown.code(), "data.unknown_version");
    let taken = |name: DatasetName| {
        let tag = TagName::new("good").unwrap();
        catalog.write(move |connection| async move { tag_remove(connection, &name, &tag).await }.boxed())
    };
    assert_eq!(taken(name.clone()).await.unwrap(), second.digest);
    assert_eq!(taken(name.clone()).await.unwrap_err().code(), "data.unknown_tag");
}

#[tokio::test]
async fn a_removed_version_leaves_its_record() {
    let catalog = Catalog::in_memory(&[MIGRATIONS]).await.unwrap();
    let (first, second) = (version("flights", b"1", 1), version("flights", b"2", 2));
    record(&catalog, first.clone()).await.unwrap();
    record(&catalog, second.clone()).await.unwrap();
    set(&catalog, tag("good", &second, 3), TagMove::Refused).await.unwrap();
    let error = remove(&catalog, &second, "old").await.unwrap_err();
    assert_eq!(error.code(), "data.tagged");
    let name = second.name.clone();
    let untag = TagName::new("good").unwrap();
    catalog
        .write::<_, DataError, _>(move |connection| async move { tag_remove(connection, &name, &untag).await }.boxed())
        .await
        .unwrap();
    assert_eq!(remove(&catalog, &second, " ").await.unwrap_err().code(), "data.statement");
    assert!(remove(&catalog, &second, "old").await.unwrap());
    assert!(!remove(&catalog, &second, "older").await.unwrap());
    assert_eq!(latest(&catalog, &first.name).await, first.digest);
    assert_eq!(version_list(&catalog, None).await.unwrap(), std::slice::from_ref(&first));
    let error = version_resolve(&catalog, &first.name, &second.digest.to_string()).await.unwrap_err();
    assert_eq!(error.code(), "data.removed");
    let history = version_history(&catalog, None).await.unwrap();
    assert_eq!(history[0].removed.as_ref().unwrap().why, "old");
    assert_eq!(set(&catalog, tag("x", &second, 3), TagMove::Refused).await.unwrap_err().code(), "data.removed");
    assert!(remove(&catalog, &first, "older").await.unwrap());
    let error = version_resolve(&catalog, &first.name, "latest").await.unwrap_err();
    assert_eq!(error.code(), "data.removed", "none is left: {error}");
    let again = version("flights", b"2", 9);
    record(&catalog, again.clone()).await.unwrap();
    assert_eq!(latest(&catalog, &first.name).await, second.digest);
    // Later than its removal, though the clock says the same.
    let again = DatasetVersion { created_at: Timestamp(10), ..again };
    assert_eq!(version_resolve(&catalog, &first.name, "v2").await.unwrap(), again, "its days count anew");
}

#[tokio::test]
async fn a_catalogue_of_the_first_release_gets_numbers() {
    let old = ropewalk_catalog::MigrationSet { owner: MIGRATIONS.owner, steps: &MIGRATIONS.steps[..1] };
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("catalog.db").display());
    let catalog = Catalog::open(&url, &[old]).await.unwrap();
    catalog
        .write(|connection| {
            async move {
                for (digest, at, position) in [(b"1", 5, 4), (b"2", 5, 2), (b"3", 6, 3)] {
                    query("INSERT INTO dataset_version VALUES ('a', $1, 'raw', 0, '[]', 0, 0, NULL, $2, $3)")
                        .bind(Digest::of(digest).to_string())
                        .bind(at)
                        .bind(position)
                        .execute(&mut *connection)
                        .await?;
                }
                Ok::<_, DataError>(())
            }
            .boxed()
        })
        .await
        .unwrap();
    catalog.close().await;
    let catalog = Catalog::open(&url, &[MIGRATIONS]).await.unwrap();
    let name = DatasetName::new("a").unwrap();
    for (version, digest) in [("v1", b"2"), ("v2", b"1"), ("v3", b"3"), ("latest", b"1")] {
        assert_eq!(version_resolve(&catalog, &name, version).await.unwrap().digest, Digest::of(digest), "{version}");
    }
}
