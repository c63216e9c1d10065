use futures::FutureExt as _;
use ropewalk_catalog::Catalog;
use ropewalk_types::{DatasetName, Diagnose as _, Digest, Timestamp, Zone};

use crate::{Column, DataError, DatasetVersion, MIGRATIONS, version_list, version_record, version_resolve};

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
