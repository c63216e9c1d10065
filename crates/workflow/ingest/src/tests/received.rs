//! Files of an object store, which fake S3 gives; a real one does not lose an object when asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Response, StatusCode, header};
use ropewalk_connectors::{ConnectionOptions, FetchLimits, FetchRequest, NoProgress as NoFetchProgress};
use ropewalk_types::{Digest, ManualAmbient};

use super::fixture::{Project, zip};
use crate::{IngestSettings, Network, Source};

/// What the bucket holds, and the objects that were asked for.
#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Vec<u8>>,
    asked: Vec<String>,
}

fn tag(bytes: &[u8]) -> String {
    format!("\"{}\"", Digest::of(bytes).short())
}

fn answer(bucket: &Mutex<Bucket>, request: &Request) -> Response<Body> {
    let mut bucket = bucket.lock().unwrap();
    if request.uri().query().is_some_and(|query| query.contains("list-type=2")) {
        let listed = bucket.objects.iter().map(|(name, bytes)| {
            let (etag, size) = (tag(bytes), bytes.len());
            format!("<Contents><Key>{name}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>{etag}</ETag><Size>{size}</Size></Contents>")
        });
        let listed: String = listed.collect();
        let listing = format!("<ListBucketResult>{listed}<IsTruncated>false</IsTruncated></ListBucketResult>");
        return Response::new(Body::from(listing));
    }
    let name = request.uri().path().trim_start_matches("/bucket/").to_owned();
    bucket.asked.push(name.clone());
    let Some(bytes) = bucket.objects.get(&name) else {
        return Response::builder().status(StatusCode::NOT_FOUND).body(Body::empty()).unwrap();
    };
    let builder = Response::builder().header(header::ETAG, tag(bytes)).header(header::CONTENT_LENGTH, bytes.len());
    let builder = builder.header(header::LAST_MODIFIED, "Wed, 21 Oct 2015 07:28:00 GMT");
    builder.body(Body::from(bytes.clone())).unwrap()
}

async fn bucket(project: &Project, objects: &[(&str, &[u8])]) -> (Arc<Mutex<Bucket>>, IngestSettings) {
    let objects = objects.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
    let bucket = Arc::new(Mutex::new(Bucket { objects, asked: Vec::new() }));
    let shared = Arc::clone(&bucket);
    let router = Router::new().fallback(move |request: Request| {
        let shared = Arc::clone(&shared);
        async move { answer(&shared, &request) }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let options = [
        ("AWS_ENDPOINT_URL", format!("http://{address}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "id".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "hunter2".to_owned()),
    ];
    let network = Network {
        options: ConnectionOptions::new(options.map(|(name, value)| (name.to_owned(), value))),
        ambient: Arc::new(ManualAmbient::default()),
        limits: FetchLimits::default(),
        progress: Arc::new(NoFetchProgress),
        downloads: project.path().join("downloads"),
    };
    let source = Source::Remote(FetchRequest::new("s3://bucket/b/**"));
    let settings = IngestSettings { source, network: Some(network), ..IngestSettings::new("", project.scratch()) };
    (bucket, settings)
}

#[tokio::test]
async fn what_a_failed_import_received_belongs_to_no_later_version() {
    let project = Project::new().await;
    let objects: [(&str, &[u8]); 2] = [("b/a.csv", b"id\n1\n2\n"), ("b/bad.csv", b"id\n\xff\xff\n")];
    let (bucket, settings) = bucket(&project, &objects).await;
    let error = project.run(&settings).await.unwrap_err().to_string();
    assert!(error.contains("bad.csv"), "{error}");
    {
        let mut bucket = bucket.lock().unwrap();
        bucket.objects.remove("b/bad.csv");
        bucket.objects.insert("b/c.csv".to_owned(), b"id\n3\n".to_vec());
    }
    let made = project.run(&settings).await.unwrap();
    assert_eq!(project.rows(&made.tree).await, ["1", "2", "3"]);
    let names: Vec<_> = made.report.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["a.csv", "c.csv"]);
    let mut asked = bucket.lock().unwrap().asked.clone();
    // The first two were asked for at once.
    asked.sort_unstable();
    assert_eq!(asked, ["b/a.csv", "b/bad.csv", "b/c.csv"], "what was received is not asked for again");
}

#[tokio::test]
async fn every_file_has_its_rows_in_the_record() {
    let project = Project::new().await;
    let archive = zip(&[("1.csv", b"id\n1\n"), ("2.csv", b"id\n2\n3\n4,5\n")]);
    let objects: [(&str, &[u8]); 3] = [("b/a.csv", b"id\n8\n9\n"), ("b/notes.txt", b"x"), ("b/z.zip", &archive)];
    let (bucket, settings) = bucket(&project, &objects).await;
    let made = project.run(&settings).await.unwrap();
    let imports = made.report.origin.unwrap().imports;
    let rows: Vec<_> = imports.iter().map(|import| (import.file.as_deref().unwrap(), import.rows)).collect();
    assert_eq!(rows, [("a.csv", Some(2)), ("notes.txt", Some(0)), ("z.zip", Some(4))]);
    bucket.lock().unwrap().objects.retain(|name, _| name == "b/z.zip");
    let made = project.run(&settings).await.unwrap();
    assert_eq!(made.report.origin.unwrap().imports[0].rows, Some(4));
}
