//! A fake S3: it lists and gives objects, and breaks off; a real one does not do that when asked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Response};
use ropewalk_connectors::{ConnectionOptions, ConnectorError, FetchRequest, Fetched, NoProgress, files_fetch};
use ropewalk_store::files;
use ropewalk_types::ManualAmbient;

use super::fetch::limits;
use super::support::{Act, Served, file, scratch, serve};

type Objects = Arc<Mutex<BTreeMap<String, Served>>>;

async fn bucket(objects: &[(&str, &[u8])]) -> (Objects, ConnectionOptions) {
    let served =
        |bytes: &[u8]| Served { bytes: bytes.to_vec(), etag: Some("\"v1\""), acts: VecDeque::new(), seen: Vec::new() };
    let objects: BTreeMap<_, _> = objects.iter().map(|(name, bytes)| ((*name).to_owned(), served(bytes))).collect();
    let objects = Arc::new(Mutex::new(objects));
    let shared = Arc::clone(&objects);
    let router = Router::new().fallback(move |request: Request| {
        let shared = Arc::clone(&shared);
        async move { answer(&shared, &request) }
    });
    let address = serve(router).await;
    let options = [
        ("AWS_ENDPOINT_URL", format!("http://{address}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "id".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "hunter2".to_owned()),
    ];
    (objects, ConnectionOptions::new(options.map(|(name, value)| (name.to_owned(), value))))
}

fn answer(objects: &Objects, request: &Request) -> Response<Body> {
    let mut objects = objects.lock().unwrap();
    let uri = request.uri();
    if uri.query().is_some_and(|query| query.contains("list-type=2")) {
        let prefix = uri.query().unwrap().split('&').find_map(|pair| pair.strip_prefix("prefix=")).unwrap_or_default();
        let prefix = prefix.replace("%2F", "/");
        return Response::new(Body::from(listing(&objects, &prefix)));
    }
    let name = uri.path().trim_start_matches("/bucket/").to_owned();
    let Some(served) = objects.get_mut(&name) else {
        return Response::builder().status(404).body(Body::empty()).unwrap();
    };
    served.seen.push((name, request.headers().clone()));
    // A request for the metadata alone is no act.
    let act = if request.method() == "HEAD" { None } else { served.acts.pop_front() };
    let act = match act {
        Some(Act::Change(bytes, etag)) => {
            (served.bytes, served.etag) = (bytes, Some(etag));
            served.acts.pop_front()
        }
        act => act,
    };
    if let Some(Act::Status(status, _)) = act {
        return Response::builder().status(status).body(Body::empty()).unwrap();
    }
    file(served, request.headers(), act.as_ref())
}

fn listing(objects: &BTreeMap<String, Served>, prefix: &str) -> String {
    let contents = objects.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(name, served)| {
        format!(
            "<Contents><Key>{name}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
            served.etag.unwrap(),
            served.bytes.len()
        )
    });
    format!("<ListBucketResult>{}<IsTruncated>false</IsTruncated></ListBucketResult>", contents.collect::<String>())
}

async fn fetch(
    request: &FetchRequest,
    options: &ConnectionOptions,
    directory: &std::path::Path,
) -> Result<Vec<Fetched>, ConnectorError> {
    files_fetch(request, options, directory, &limits(), &ManualAmbient::default(), &NoProgress).await
}

fn names(fetched: &[Fetched]) -> Vec<&str> {
    let names = fetched.iter().map(|one| match one {
        Fetched::File(file) => file.name.as_str(),
        Fetched::Unchanged { name, .. } => name,
    });
    names.collect()
}

#[tokio::test]
async fn globs_prefixes_and_single_objects() {
    let objects: [(&str, &[u8]); 5] =
        [("a/1.csv", b"one"), ("a/2.csv", b"two"), ("a/b/3.csv", b"three"), ("a/x.txt", b"x"), ("ab/4.csv", b"4")];
    let (_objects, options) = bucket(&objects).await;
    for (url, wanted) in [
        ("s3://bucket/a/*.csv", vec!["1.csv", "2.csv"]),
        ("s3://bucket/a/**/*.csv", vec!["1.csv", "2.csv", "b/3.csv"]),
        ("s3://bucket/a/", vec!["1.csv", "2.csv", "b/3.csv", "x.txt"]),
        ("s3://bucket/a/b/3.csv", vec!["3.csv"]),
    ] {
        let (_kept, directory) = scratch();
        let fetched = fetch(&FetchRequest::new(url), &options, &directory).await.unwrap();
        assert_eq!(names(&fetched), wanted, "{url}");
        for one in &fetched {
            let Fetched::File(file) = one else { panic!("{one:?}") };
            assert_eq!(file.path, directory.join(&file.name));
            assert_eq!(files::size(&file.path).unwrap(), file.size);
        }
    }
    let (_kept, directory) = scratch();
    let error = fetch(&FetchRequest::new("s3://bucket/none/*.csv"), &options, &directory).await.unwrap_err();
    assert!(matches!(error, ConnectorError::NothingFound { .. }));
    let mut request = FetchRequest::new("s3://bucket/a/*.csv");
    request.known.insert("1.csv".to_owned(), "\"v1\"".to_owned());
    let fetched = fetch(&request, &options, &directory).await.unwrap();
    assert!(matches!(fetched[..], [Fetched::Unchanged { .. }, Fetched::File(_)]));
}

#[tokio::test]
async fn objects_that_are_finished_are_not_received_again() {
    let (objects, options) = bucket(&[("a/1.csv", b"one"), ("a/2.csv", b"two"), ("a/3.csv", b"three")]).await;
    let received = |name: &str| objects.lock().unwrap()[name].seen.len();
    objects.lock().unwrap().get_mut("a/3.csv").unwrap().acts.push_back(Act::Status(403, vec![]));
    let (_kept, directory) = scratch();
    let request = FetchRequest::new("s3://bucket/a/*.csv");
    let one_by_one = ropewalk_connectors::FetchLimits { parallelism: std::num::NonZeroUsize::MIN, ..limits() };
    let fetch = || async {
        files_fetch(&request, &options, &directory, &one_by_one, &ManualAmbient::default(), &NoProgress).await
    };
    fetch().await.unwrap_err();
    assert_eq!((received("a/1.csv"), received("a/2.csv"), received("a/3.csv")), (1, 1, 1));
    // One of them changes before the next call.
    objects.lock().unwrap().get_mut("a/2.csv").unwrap().bytes = b"TWO, longer".to_vec();
    objects.lock().unwrap().get_mut("a/2.csv").unwrap().etag = Some("\"v2\"");
    let fetched = fetch().await.unwrap();
    assert_eq!(names(&fetched), ["1.csv", "2.csv", "3.csv"]);
    assert_eq!((received("a/1.csv"), received("a/2.csv"), received("a/3.csv")), (1, 2, 2));
    let read = |name: &str| files::read(&directory.join(name)).unwrap();
    assert_eq!(
        (read("1.csv"), read("2.csv"), read("3.csv")),
        (b"one".to_vec(), b"TWO, longer".to_vec(), b"three".to_vec())
    );
}

#[tokio::test]
async fn an_object_that_changes_in_the_middle_is_never_mixed() {
    let old: Vec<u8> = vec![1; 50_000];
    let new: Vec<u8> = vec![2; 60_000];
    let (objects, options) = bucket(&[("a/1.bin", &old)]).await;
    let acts = [Act::Cut(20_000), Act::Change(new.clone(), "\"v2\"")];
    objects.lock().unwrap().get_mut("a/1.bin").unwrap().acts.extend(acts);
    let (_kept, directory) = scratch();
    let fetched = fetch(&FetchRequest::new("s3://bucket/a/1.bin"), &options, &directory).await.unwrap();
    let Fetched::File(file) = &fetched[0] else { panic!("{fetched:?}") };
    assert_eq!(files::read(&file.path).unwrap(), new);
    assert_eq!(file.etag.as_deref(), Some("\"v2\""));
    let seen: Vec<HeaderMap> =
        objects.lock().unwrap()["a/1.bin"].seen.iter().map(|(_, headers)| headers.clone()).collect();
    assert!(seen.iter().any(|headers| headers.contains_key("range")), "{seen:?}");
}

#[tokio::test]
async fn objects_with_names_that_lead_out_are_refused() {
    let (_objects, options) = bucket(&[("a/.ssh/keys", b"x"), ("a/b\\c", b"x")]).await;
    for url in ["s3://bucket/a/", "s3://bucket/a/**"] {
        let (_kept, directory) = scratch();
        assert!(matches!(fetch(&FetchRequest::new(url), &options, &directory).await, Err(ConnectorError::Url { .. })));
    }
}
