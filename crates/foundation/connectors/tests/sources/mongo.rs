//! A scripted server: it speaks as much of MongoDB's wire protocol (OP_MSG) as the official driver needs to run one
//! `find` over several batches. It is no MongoDB.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::TryStreamExt as _;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{self, Bson, Document, doc};
use ropewalk_connectors::{Batch, ConnectionOptions, ConnectorError, Misfit, MisfitPolicy, MongoRequest, mongo_open};
use ropewalk_types::ManualAmbient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const OP_MSG: i32 = 2013;
const CURSOR: i64 = 42;

type Seen = Arc<Mutex<Vec<Document>>>;

/// Answers a `find` with the first of `batches` and each `getMore` with the next; an empty one is an error.
async fn start(batches: Vec<Vec<Document>>) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    let (shared, left) = (Arc::clone(&seen), Arc::new(Mutex::new(batches)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&shared), Arc::clone(&left)));
        }
    });
    (format!("mongodb://{address}/shop?directConnection=true"), seen)
}

async fn serve(mut stream: TcpStream, seen: Seen, left: Arc<Mutex<Vec<Vec<Document>>>>) {
    let mut header = [0; 16];
    while stream.read_exact(&mut header).await.is_ok() {
        let number = |at: usize| i32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        let mut body = vec![0; number(0) as usize - header.len()];
        stream.read_exact(&mut body).await.unwrap();
        assert_eq!(number(12), OP_MSG);
        // Flags, then a section of kind 0: one document.
        let command = Document::from_reader(&body[5..]).unwrap();
        let answer = answer(&command, &mut left.lock().unwrap());
        seen.lock().unwrap().push(command);
        let answer = answer.to_vec().unwrap();
        let length = (16 + 5 + answer.len()) as i32;
        let mut message = Vec::new();
        for part in [length, 1, number(4), OP_MSG, 0] {
            message.extend(part.to_le_bytes());
        }
        message.push(0);
        message.extend(answer);
        stream.write_all(&message).await.unwrap();
    }
}

fn answer(command: &Document, left: &mut Vec<Vec<Document>>) -> Document {
    let name = command.keys().next().unwrap().as_str();
    if !matches!(name, "find" | "getMore") {
        return doc! {
            "ok": 1, "helloOk": true, "isWritablePrimary": true, "ismaster": true, "minWireVersion": 0,
            "maxWireVersion": 21, "maxBsonObjectSize": 16_777_216, "maxMessageSizeBytes": 48_000_000,
            "maxWriteBatchSize": 100_000,
        };
    }
    let batch = left.remove(0);
    if batch.is_empty() {
        return doc! { "ok": 0, "code": 43, "codeName": "CursorNotFound", "errmsg": "cursor id 42 not found" };
    }
    let id = if left.is_empty() { 0 } else { CURSOR };
    let key = if name == "find" { "firstBatch" } else { "nextBatch" };
    doc! { "ok": 1, "cursor": { "id": id, "ns": "shop.orders", key: batch } }
}

async fn read(request: &MongoRequest) -> Result<(Vec<Batch>, Vec<Misfit>), ConnectorError> {
    let table = mongo_open(request, &ConnectionOptions::default(), &ManualAmbient::default()).await?;
    let mut batches = Vec::new();
    for partition in table.partitions {
        batches.extend(partition.open().try_collect::<Vec<_>>().await?);
    }
    let misfits = batches.iter().flat_map(|batch| batch.misfits.clone()).collect();
    Ok((batches, misfits))
}

fn request(url: String) -> MongoRequest {
    MongoRequest { sample_documents: 2, connect_timeout: Duration::from_secs(5), ..MongoRequest::new(url, "orders") }
}

#[tokio::test]
async fn a_cursor_is_read_over_all_of_its_batches() {
    let document = |id: i32| doc! { "_id": id, "lines": [{ "sku": "rope", "count": id }] };
    let batches = (0..5).map(|batch| (batch * 3..batch * 3 + 3).map(document).collect()).collect();
    let (url, seen) = start(batches).await;
    let mut request = request(url);
    request.filter = Some(r#"{"_id": {"$gte": {"$numberLong": "0"}}}"#.to_owned());
    request.projection = Some(r#"{"lines": 1}"#.to_owned());
    request.batch_rows = 4;
    let (batches, misfits) = read(&request).await.unwrap();
    let sizes: Vec<_> = batches.iter().map(|batch| batch.records.num_rows()).collect();
    assert_eq!((sizes.as_slice(), misfits.len()), ([4, 4, 4, 3].as_slice(), 0));
    let lines = batches[3].records.column_by_name("lines").unwrap();
    assert_eq!(arrow::util::display::array_value_to_string(lines, 2).unwrap(), "[{sku: rope, count: 14}]");
    let seen = seen.lock().unwrap();
    let find = seen.iter().find(|command| command.contains_key("find")).unwrap();
    assert_eq!(find.get_str("find").unwrap(), "orders");
    assert_eq!(find.get_str("$db").unwrap(), "shop");
    assert_eq!(find.get_document("filter").unwrap(), &doc! { "_id": { "$gte": 0_i64 } });
    assert_eq!(find.get("projection"), Some(&Bson::Document(doc! { "lines": 1 })));
    assert_eq!(seen.iter().filter(|command| command.contains_key("getMore")).count(), 4);
}

#[tokio::test]
async fn later_documents_that_do_not_fit_are_said_and_a_lost_cursor_is_an_error() {
    let batches = vec![vec![doc! { "_id": 1 }, doc! { "_id": 2 }], vec![doc! { "_id": "three", "new": true }]];
    let (url, _) = start(batches.clone()).await;
    assert!(matches!(read(&request(url)).await, Err(ConnectorError::Misfit { .. })));
    let (url, _) = start(batches).await;
    let collecting = MongoRequest { misfits: MisfitPolicy::Collect { limit: 5 }, ..request(url) };
    let (_, misfits) = read(&collecting).await.unwrap();
    let found: Vec<_> = misfits.iter().map(|misfit| (misfit.row, misfit.column.as_str())).collect();
    assert_eq!(found, [(3, "new"), (3, "_id")]);
    let (url, _) = start(vec![vec![doc! { "_id": 1 }, doc! { "_id": 2 }], Vec::new(), Vec::new()]).await;
    let error = read(&request(url)).await.unwrap_err();
    assert!(matches!(error, ConnectorError::Query { .. }) && error.to_string().contains("not found"), "{error}");
}

/// A place with values of several types is kept as JSON, from which nothing is lost.
#[tokio::test]
async fn bytes_inside_a_mixed_place_are_kept_and_what_has_no_json_is_said() {
    let bytes = Bson::Binary(bson::Binary { subtype: BinarySubtype::Generic, bytes: vec![1, 2, 3] });
    let batches =
        vec![vec![doc! { "x": 1 }, doc! { "x": { "b": bytes, "n": f64::NAN } }, doc! { "x": [{ "k": Bson::MinKey }] }]];
    let (url, _) = start(batches).await;
    let collecting = MongoRequest { misfits: MisfitPolicy::Collect { limit: 5 }, ..request(url) };
    let (batches, misfits) = read(&collecting).await.unwrap();
    let column = batches[0].records.column_by_name("x").unwrap();
    let text = arrow::util::display::array_value_to_string(column, 1).unwrap();
    let read: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(read["b"]["$binary"], serde_json::json!({ "base64": "AQID", "subType": "00" }));
    assert_eq!(read["n"]["$numberDouble"], "NaN");
    let found: Vec<_> =
        misfits.iter().map(|misfit| (misfit.row, misfit.column.as_str(), misfit.value.as_str())).collect();
    assert_eq!(found, [(3, "x", "MinKey")]);
}
