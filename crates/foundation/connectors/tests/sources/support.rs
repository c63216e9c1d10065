use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Response, StatusCode, header};
use futures::{StreamExt as _, stream};
use ropewalk_store::files::{TemporaryDirectory, temporary_directory};

/// What a server does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// As HTTP says, but at most so many bytes of the body, then the connection is cut.
    Cut(usize),
    /// Answers this status with these headers and nothing else.
    Status(u16, Vec<(&'static str, String)>),
    /// The file becomes this one, with this ETag, before the request is answered.
    Change(Vec<u8>, &'static str),
    /// Does not know ranges.
    Whole,
    /// Answers a range of another place than was asked for.
    WrongRange,
    /// Says that the file is in this coding.
    Encoded(&'static str),
}

/// A file on a server, the acts of its next requests, and the requests it has seen.
pub(crate) struct Served {
    pub(crate) bytes: Vec<u8>,
    pub(crate) etag: Option<&'static str>,
    pub(crate) acts: VecDeque<Act>,
    pub(crate) seen: Vec<(String, HeaderMap)>,
}

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) served: Arc<Mutex<Served>>,
}

impl Server {
    /// Serves `bytes` at every path.
    pub(crate) async fn start(bytes: &[u8], etag: Option<&'static str>, acts: impl IntoIterator<Item = Act>) -> Self {
        let served = Served { bytes: bytes.to_vec(), etag, acts: acts.into_iter().collect(), seen: Vec::new() };
        let served = Arc::new(Mutex::new(served));
        let shared = Arc::clone(&served);
        let router = Router::new().fallback(move |request: Request| {
            let shared = Arc::clone(&shared);
            async move { answer(&shared, &request) }
        });
        Self { address: serve(router).await, served }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<(String, HeaderMap)> {
        self.served.lock().unwrap().seen.clone()
    }
}

pub(crate) async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

fn answer(served: &Mutex<Served>, request: &Request) -> Response<Body> {
    let mut served = served.lock().unwrap();
    let headers = request.headers().clone();
    served.seen.push((request.uri().to_string(), headers.clone()));
    let mut act = served.acts.pop_front();
    if let Some(Act::Change(bytes, etag)) = act {
        (served.bytes, served.etag) = (bytes, Some(etag));
        act = served.acts.pop_front();
    }
    if let Some(Act::Status(status, extra)) = act {
        let builder = Response::builder().status(status);
        return extra
            .into_iter()
            .fold(builder, |builder, (name, value)| builder.header(name, value))
            .body(Body::empty())
            .unwrap();
    }
    file(&served, &headers, act.as_ref())
}

/// RFC 9110, sections 13 and 14, as far as the tests need them.
pub(crate) fn file(served: &Served, headers: &HeaderMap, act: Option<&Act>) -> Response<Body> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let mut builder = Response::builder();
    if let Some(etag) = served.etag {
        if text(header::IF_NONE_MATCH) == Some(etag) {
            return builder.status(StatusCode::NOT_MODIFIED).header(header::ETAG, etag).body(Body::empty()).unwrap();
        }
        if text(header::IF_MATCH).is_some_and(|wanted| wanted != etag) {
            return builder.status(StatusCode::PRECONDITION_FAILED).body(Body::empty()).unwrap();
        }
        builder = builder.header(header::ETAG, etag);
    }
    let range = text(header::RANGE).filter(|_| text(header::IF_RANGE).is_none_or(|etag| Some(etag) == served.etag));
    let range = range.filter(|_| !matches!(act, Some(Act::Whole)));
    let total = served.bytes.len();
    let mut first = 0;
    if let Some(range) = range {
        first = range.strip_prefix("bytes=").unwrap().split('-').next().unwrap().parse().unwrap();
        if first >= total {
            let builder = builder.status(StatusCode::RANGE_NOT_SATISFIABLE);
            return builder.header(header::CONTENT_RANGE, format!("bytes */{total}")).body(Body::empty()).unwrap();
        }
        if matches!(act, Some(Act::WrongRange)) {
            first = 0;
        }
        builder = builder.status(StatusCode::PARTIAL_CONTENT);
        builder = builder.header(header::CONTENT_RANGE, format!("bytes {first}-{}/{total}", total - 1));
    }
    let rest = served.bytes[first..].to_vec();
    builder = builder.header(header::CONTENT_LENGTH, rest.len());
    builder = builder.header(header::LAST_MODIFIED, "Wed, 21 Oct 2015 07:28:00 GMT");
    if let Some(Act::Encoded(coding)) = act {
        builder = builder.header(header::CONTENT_ENCODING, *coding);
    }
    match act {
        Some(Act::Cut(at)) if *at < rest.len() => {
            let first = rest[..*at].to_vec();
            let cut = async {
                // Pending once, which makes the server send what it has.
                tokio::task::yield_now().await;
                Err(std::io::Error::other("cut"))
            };
            let pieces = stream::once(async { Ok(first) }).chain(stream::once(cut));
            builder.body(Body::from_stream(pieces)).unwrap()
        }
        _ => builder.body(Body::from(rest)).unwrap(),
    }
}

pub(crate) fn scratch() -> (TemporaryDirectory, PathBuf) {
    let directory = temporary_directory(&std::env::temp_dir()).unwrap();
    let path = directory.path().to_owned();
    (directory, path)
}
