use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use futures::TryStreamExt as _;
use ropewalk_connectors::{
    ConnectionOptions, ConnectorError, Header, HeaderValue, JsonApiLimits, JsonApiRequest, Misfit, MisfitPolicy,
    Paging, json_api_open,
};
use ropewalk_types::ManualAmbient;
use serde_json::{Value, json};

use super::support::serve;

/// An API whose answer to a path and query `page` gives: headers and a body.
async fn api(
    page: impl Fn(&str) -> (Vec<(&'static str, String)>, Value) + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let page = Arc::new(page);
    let router = Router::new().fallback(move |request: Request| {
        let (page, log) = (Arc::clone(&page), Arc::clone(&log));
        async move {
            let asked = request.uri().to_string();
            log.lock().unwrap().push(asked.clone());
            let (headers, body) = page(&asked);
            let builder = Response::builder();
            let builder = headers.into_iter().fold(builder, |builder, (name, value)| match name {
                "status" => builder.status(value.parse::<u16>().unwrap()),
                _ => builder.header(name, value),
            });
            builder.body(Body::from(body.to_string())).unwrap()
        }
    });
    (format!("http://{}", serve(router).await), seen)
}

fn request(url: String, paging: Paging) -> JsonApiRequest {
    let limits = JsonApiLimits { retry_pause: Duration::from_millis(1), attempts: 3, ..JsonApiLimits::default() };
    JsonApiRequest { items: "/data/items".to_owned(), paging, limits, ..JsonApiRequest::new(url) }
}

async fn read(request: &JsonApiRequest) -> Result<(RecordBatch, Vec<Misfit>), ConnectorError> {
    let table = json_api_open(request, &ConnectionOptions::default(), Arc::new(ManualAmbient::default())).await?;
    let (mut batches, mut misfits) = (Vec::new(), Vec::new());
    for partition in table.partitions {
        let mut stream = partition.open();
        while let Some(batch) = stream.try_next().await? {
            batches.push(batch.records);
            misfits.extend(batch.misfits);
        }
    }
    Ok((concat_batches(&table.schema, &batches).unwrap(), misfits))
}

fn items(first: usize, count: usize) -> Value {
    let items: Vec<_> = (first..first + count).map(|id| json!({"id": id, "at": {"lat": 0.5}, "tags": ["a"]})).collect();
    json!({"data": {"items": items}})
}

#[tokio::test]
async fn pages_are_followed_by_header_url_number_offset_and_token() {
    let pagings = [
        Paging::LinkHeader,
        Paging::NextUrl { pointer: "/next".to_owned() },
        Paging::PageNumber { parameter: "page".to_owned(), first: 0 },
        Paging::Offset { parameter: "offset".to_owned(), limit_parameter: "limit".to_owned(), limit: 10 },
        Paging::CursorToken { parameter: "cursor".to_owned(), pointer: "/token".to_owned() },
    ];
    for paging in pagings {
        let kind = paging.clone();
        let (url, seen) = api(move |asked| {
            let parameter =
                |name: &str| asked.split(name).nth(1).map(|rest| rest.split('&').next().unwrap().parse().unwrap());
            let first: usize = match &kind {
                Paging::Offset { .. } => parameter("offset=").unwrap(),
                Paging::PageNumber { .. } => parameter("page=").unwrap() * 10,
                Paging::CursorToken { .. } => parameter("cursor=").unwrap_or(0) * 10,
                _ => asked.trim_start_matches('/').parse::<usize>().unwrap() * 10,
            };
            let page = first / 10;
            let count = 25_usize.saturating_sub(first).min(10);
            let mut body = items(first, count);
            let mut headers = Vec::new();
            if page < 2 {
                headers.push(("link", format!("</0>; rel=first, </{}>; rel=\"next\"", page + 1)));
                body["next"] = json!(format!("/{}", page + 1));
                body["token"] = json!(page + 1);
            }
            (headers, body)
        })
        .await;
        let mut request = request(format!("{url}/0"), paging.clone());
        request.sample_rows = 5;
        request.batch_rows = 4;
        let (batch, misfits) = read(&request).await.unwrap_or_else(|error| panic!("{paging:?}: {error}"));
        assert_eq!((batch.num_rows(), misfits.len()), (25, 0), "{paging:?}");
        let ids = batch.column_by_name("id").unwrap();
        assert_eq!(arrow::util::display::array_value_to_string(ids, 24).unwrap(), "24");
        assert!(seen.lock().unwrap().len() >= 3);
    }
}

/// A record of an import tells what to ask for the same again, and no secret.
#[tokio::test]
async fn what_was_asked_is_in_the_provenance() {
    let (url, _) = api(|_| (Vec::new(), items(0, 3))).await;
    let mut request = request(format!("{url}/0?sort_key=a"), Paging::NextUrl { pointer: "/next".to_owned() });
    let secret = HeaderValue::Option { name: "TOKEN".to_owned(), prefix: "Bearer ".to_owned() };
    request.headers.push(Header { name: "Authorization".to_owned(), value: secret });
    request.headers.push(Header { name: "X-Part".to_owned(), value: HeaderValue::Plain("hunter2".to_owned()) });
    request.allowed_hosts.push("cdn.example".to_owned());
    let options = ConnectionOptions::new([("TOKEN".to_owned(), "hunter2".to_owned())]);
    let table = json_api_open(&request, &options, Arc::new(ManualAmbient::default())).await.unwrap();
    let asked = table.provenance.query.unwrap();
    let read: Value = serde_json::from_str(&asked).unwrap();
    assert_eq!(
        read,
        json!({
            "items": "/data/items",
            "paging": { "next_url": { "pointer": "/next" } },
            "headers": ["Authorization", "X-Part"],
            "allowed_hosts": ["cdn.example"],
        })
    );
    assert!(!asked.contains("hunter2"), "{asked}");
    // Those that are shown alike are not the same.
    let other = JsonApiRequest { url: request.url.replace("=a", "=b"), ..request.clone() };
    assert_ne!(request.digest(), other.digest());
    let other = JsonApiRequest { paging: Paging::LinkHeader, ..request.clone() };
    assert_ne!(request.digest(), other.digest());
    let other = JsonApiRequest { headers: Vec::new(), ..request.clone() };
    assert_ne!(request.digest(), other.digest());
}

#[tokio::test]
async fn circles_strangers_and_repeated_pages_are_refused() {
    let next = Paging::NextUrl { pointer: "/next".to_owned() };
    for (link, paging) in [
        ("/0", next.clone()),
        ("http://example.invalid/1", next.clone()),
        ("http://127.0.0.1:1/1", next),
        ("", Paging::PageNumber { parameter: "page".to_owned(), first: 1 }),
    ] {
        let (url, _) = api(move |_| {
            let mut body = items(0, 3);
            body["next"] = json!(link);
            (Vec::new(), body)
        })
        .await;
        let error = read(&request(format!("{url}/0"), paging)).await.unwrap_err();
        assert!(matches!(error, ConnectorError::Paging { .. }), "{link}: {error}");
    }
}

#[tokio::test]
async fn fields_and_types_that_the_sample_did_not_show_are_said() {
    let (url, _) = api(|asked| {
        let second = asked.ends_with('1');
        let body = if second {
            json!({"data": {"items": [{"id": "two", "new": 1}, {"id": 3}, 7]}, "next": null})
        } else {
            json!({"data": {"items": [{"id": 1}]}, "next": "/1"})
        };
        (Vec::new(), body)
    })
    .await;
    let mut request = request(format!("{url}/0"), Paging::NextUrl { pointer: "/next".to_owned() });
    request.sample_rows = 1;
    assert!(matches!(read(&request).await, Err(ConnectorError::Misfit { .. })));
    request.misfits = MisfitPolicy::Collect { limit: 10 };
    let (batch, misfits) = read(&request).await.unwrap();
    assert_eq!(batch.num_rows(), 4);
    let found: Vec<_> = misfits.iter().map(|one| (one.row, one.column.as_str(), one.value.as_str())).collect();
    assert_eq!(found, [(2, "new", "1"), (2, "id", "two"), (4, "", "7")]);
    request.inferred_whole = ["new", "id"].map(str::to_owned).into();
    let (batch, misfits) = read(&request).await.unwrap();
    let shown: Vec<_> =
        batch.columns().iter().map(|array| arrow::util::display::array_value_to_string(array, 1).unwrap()).collect();
    assert_eq!(shown, ["\"two\"", "1"], "what all pages hold");
    let found: Vec<_> = misfits.iter().map(|one| (one.row, one.column.as_str())).collect();
    assert_eq!(found, [(4, "")], "what is no object is set aside, as it was");
}

#[tokio::test]
async fn answers_that_are_no_items_and_limits_are_errors() {
    let failures = Arc::new(Mutex::new(2));
    let left = Arc::clone(&failures);
    let (url, _) = api(move |asked| {
        if asked.starts_with("/flaky") && std::mem::replace(&mut *left.lock().unwrap(), 0) > 0 {
            return (vec![("status", "503".to_owned()), ("retry-after", "0".to_owned())], Value::Null);
        }
        let page: usize = asked.split("page=").nth(1).map_or(0, |page| page.parse().unwrap());
        match asked {
            "/missing" => (Vec::new(), json!({"data": 1})),
            "/text" => (Vec::new(), json!("no object")),
            "/packed" => (vec![("content-encoding", "gzip".to_owned())], items(0, 3)),
            _ => (Vec::new(), items(page * 3, 3)),
        }
    })
    .await;
    for path in ["missing", "text", "packed"] {
        let error = read(&request(format!("{url}/{path}"), Paging::None)).await.unwrap_err();
        assert!(matches!(error, ConnectorError::Document { .. }), "{error}");
    }
    assert_eq!(read(&request(format!("{url}/flaky"), Paging::None)).await.unwrap().0.num_rows(), 3);
    let mut endless = request(format!("{url}/x"), Paging::PageNumber { parameter: "page".to_owned(), first: 0 });
    endless.limits.pages = 4;
    assert!(matches!(read(&endless).await, Err(ConnectorError::TooLarge { limit: 4, unit: "pages", .. })));
    endless.limits = JsonApiLimits { rows: 7, ..JsonApiLimits::default() };
    assert!(matches!(read(&endless).await, Err(ConnectorError::TooLarge { limit: 7, unit: "items", .. })));
    endless.limits = JsonApiLimits { page_bytes: 10, ..JsonApiLimits::default() };
    assert!(matches!(read(&endless).await, Err(ConnectorError::TooLarge { limit: 10, unit: "bytes", .. })));
}
