//! Against SecantusDB, a server of MongoDB's wire protocol with its own storage engine, which asks for passwords.

use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{self, Bson, Document, doc, oid::ObjectId};
use mongodb::{Client, Collection};
use ropewalk_connectors::{ConnectionOptions, ConnectorError, MisfitPolicy, MongoRequest, Table, mongo_open};
use ropewalk_types::ManualAmbient;

use super::support::{column, fresh, rows, server, shown, types};

const PASSWORD: &str = "ropewalk-test";

fn url() -> String {
    server("ROPEWALK_TEST_MONGODB")
}

async fn collection(name: &str) -> Collection<Document> {
    Client::with_uri_str(url()).await.unwrap().database("tests").collection(name)
}

/// A collection with these documents, as a request for all of them.
async fn fill(name: &str, documents: Vec<Document>) -> MongoRequest {
    let name = fresh(name);
    collection(&name).await.insert_many(documents).await.unwrap();
    MongoRequest::new(url(), name)
}

async fn open(request: &MongoRequest) -> Result<Table, ConnectorError> {
    mongo_open(request, &ConnectionOptions::default(), &ManualAmbient::default()).await
}

/// What each column of the collection of types is, and what its first document holds, as Arrow writes it.
const TYPES: [(&str, &str, &str); 17] = [
    ("_id", "Utf8", "abababababababababababab"),
    ("whole", "Int64", "-2147483648"),
    ("long", "Int64", "9223372036854775807"),
    ("half", "Float64", "0.1"),
    ("text", "Utf8", "größe"),
    ("yes", "Boolean", "true"),
    ("at", "Timestamp(µs, \"UTC\")", "1969-12-31T23:59:59.999"),
    ("price", "Utf8", "-1234567890123456789012345.123456789"),
    ("bytes", "Binary", "00ff"),
    ("uuid", "Utf8", "a0a0a0a0-a0a0-a0a0-a0a0-a0a0a0a0a0a0"),
    ("tags", "List(Utf8)", "[a, ]"),
    ("place", "Struct(\"lat\": Float64, \"deep\": Struct(\"n\": Int64))", "{lat: 1.5, deep: {n: 1}}"),
    ("lines", "List(Struct(\"sku\": Utf8, \"count\": Int64))", "[{sku: rope, count: 2}, {sku: , count: 3}]"),
    ("stamp", "Struct(\"t\": Int64, \"i\": Int64)", "{t: 7, i: 8}"),
    ("code", "Utf8", "f()"),
    ("pattern", "Utf8", "/^a/i"),
    ("odd", "Utf8", "1"),
];

#[tokio::test]
async fn every_type_arrives_as_it_is() {
    let binary = |subtype, bytes: Vec<u8>| bson::Binary { subtype, bytes };
    let pattern =
        bson::Regex { pattern: "^a".to_owned().try_into().unwrap(), options: "i".to_owned().try_into().unwrap() };
    let request = fill(
        "types",
        vec![
            doc! {
                "_id": ObjectId::from_bytes([0xab; 12]),
                "whole": i32::MIN,
                "long": i64::MAX,
                "half": 0.1,
                "text": "größe",
                "yes": true,
                "at": bson::DateTime::from_millis(-1),
                "price": "-1234567890123456789012345.123456789".parse::<bson::Decimal128>().unwrap(),
                "bytes": binary(BinarySubtype::Generic, vec![0, 255]),
                "uuid": binary(BinarySubtype::Uuid, vec![0xa0; 16]),
                "tags": ["a", null],
                "place": { "lat": 1.5, "deep": { "n": 1 } },
                "lines": [{ "sku": "rope", "count": 2 }, { "count": 3_i64 }],
                "stamp": bson::Timestamp { time: 7, increment: 8 },
                "code": Bson::JavaScriptCode("f()".to_owned()),
                "pattern": pattern,
                "odd": 1,
            },
            // Fields that are not there, that are null, and one of another type.
            doc! { "_id": ObjectId::from_bytes([0xac; 12]), "text": null, "odd": "one" },
        ],
    )
    .await;
    let (batch, misfits) = rows(open(&request).await.unwrap()).await.unwrap();
    assert_eq!((batch.num_rows(), misfits.len()), (2, 0));
    for (name, kind, value) in TYPES {
        assert_eq!(shown(&batch, name, 0), value, "{name}");
        assert!(types(&batch).contains(&format!("{name} {kind}")), "{name}: {:?}", types(&batch));
        let nulls = usize::from(!matches!(name, "_id" | "odd"));
        assert_eq!(batch.column_by_name(name).unwrap().null_count(), nulls, "{name}");
    }
    assert_eq!(column(&batch, "odd"), ["1", "\"one\""]);
}

#[tokio::test]
async fn what_no_column_holds_is_an_error_or_counted() {
    let request = fill("bounds", vec![doc! { "_id": 1, "n": 1 }, doc! { "_id": 2, "n": "two" }]).await;
    let mut request = MongoRequest { sample_documents: 1, ..request };
    let opened = open(&request).await.unwrap();
    assert!(matches!(rows(opened).await, Err(ConnectorError::Misfit { .. })));
    request.misfits = MisfitPolicy::Collect { limit: 1 };
    let (batch, misfits) = rows(open(&request).await.unwrap()).await.unwrap();
    assert_eq!(column(&batch, "n"), ["1", ""]);
    let found: Vec<_> = misfits.iter().map(|misfit| (misfit.row, misfit.column.as_str())).collect();
    assert_eq!(found, [(2, "n")]);
}

#[tokio::test]
async fn filters_and_projections_are_the_servers() {
    let document = |n: i64| doc! { "_id": n, "n": n, "at": bson::DateTime::from_millis(n * 1000), "rest": "x" };
    let mut request = fill("filters", (0..10).map(document).collect()).await;
    let after = r#"{"at": {"$gte": {"$date": "1970-01-01T00:00:07Z"}}, "n": {"$ne": {"$numberLong": "8"}}}"#;
    request.filter = Some(after.to_owned());
    request.projection = Some(r#"{"_id": 0, "n": 1}"#.to_owned());
    let (batch, _) = rows(open(&request).await.unwrap()).await.unwrap();
    assert_eq!((types(&batch), column(&batch, "n")), (vec!["n Int64".to_owned()], vec!["7".into(), "9".into()]));
    request.filter = Some(r#"{"n": {"$nonsense": 1}}"#.to_owned());
    let error = open(&request).await.unwrap_err();
    assert!(matches!(error, ConnectorError::Query { .. }) && error.to_string().contains("nonsense"), "{error}");
}

/// More than one answer of the server holds, which is 16 MiB.
#[tokio::test]
async fn many_documents_come_in_bounded_batches_and_may_be_left() {
    const DOCUMENTS: i32 = 6000;
    let text = "rope ".repeat(1200);
    let request = fill("many", (0..DOCUMENTS).map(|n| doc! { "_id": n, "text": &text }).collect()).await;
    let request = MongoRequest { batch_rows: 500, sample_documents: 100, ..request };
    let (mut sum, mut stream) = (0_i64, open(&request).await.unwrap().partitions.remove(0).open());
    let mut sizes = Vec::new();
    while let Some(batch) = stream.try_next().await.unwrap() {
        sizes.push(batch.records.num_rows());
        sum += column(&batch.records, "_id").iter().map(|id| id.parse::<i64>().unwrap()).sum::<i64>();
    }
    assert_eq!(sizes, [500; 12]);
    assert_eq!(sum, i64::from(DOCUMENTS) * i64::from(DOCUMENTS - 1) / 2);
    let mut left = open(&request).await.unwrap().partitions.remove(0).open();
    assert_eq!(left.try_next().await.unwrap().unwrap().records.num_rows(), 500);
}

#[tokio::test]
async fn a_collection_that_is_not_there_is_said_and_so_is_an_empty_answer() {
    let mut request = MongoRequest::new(url(), fresh("nothing"));
    let error = open(&request).await.unwrap_err();
    assert!(error.to_string().contains("`tests` has no collection `nothing_"), "{error}");
    request = fill("something", vec![doc! { "_id": 1 }]).await;
    request.filter = Some(r#"{"_id": 2}"#.to_owned());
    let error = open(&request).await.unwrap_err();
    assert!(error.to_string().contains("no document of the collection `something_"), "{error}");
}

#[tokio::test]
async fn a_password_is_asked_for_and_may_come_as_an_option() {
    let request = fill("secrets", vec![doc! { "_id": 1 }]).await;
    let wrong = MongoRequest { url: url().replace(PASSWORD, "wrong-secret"), ..request.clone() };
    let error = open(&wrong).await.unwrap_err();
    assert!(matches!(error, ConnectorError::Connect { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("wrong-secret"), "{error}");

    let without = MongoRequest { url: url().replace(&format!(":{PASSWORD}"), ""), ..request.clone() };
    assert!(matches!(open(&without).await, Err(ConnectorError::Connect { .. })));
    let options = ConnectionOptions::new([("DATABASE_PASSWORD".to_owned(), PASSWORD.to_owned())]);
    let table = mongo_open(&without, &options, &ManualAmbient::default()).await.unwrap();
    assert_eq!(rows(table).await.unwrap().0.num_rows(), 1);

    let anonymous = MongoRequest { url: url().replace(&format!("tester:{PASSWORD}@"), ""), ..request };
    assert!(open(&anonymous).await.is_err());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_given_up() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let request = MongoRequest {
        connect_timeout: Duration::from_millis(300),
        ..MongoRequest::new(format!("mongodb://u:hush@{nobody}/tests"), "x")
    };
    let begin = Instant::now();
    let error = open(&request).await.unwrap_err();
    assert!(matches!(error, ConnectorError::Connect { .. }), "{error:?}");
    assert!(!error.to_string().contains("hush") && begin.elapsed() < Duration::from_secs(20), "{error}");
}
