use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use ropewalk_connectors::{
    ConnectionOptions, ConnectorError, FetchLimits, FetchProgress, FetchRequest, Fetched, FetchedFile, Header,
    HeaderValue, NoProgress, files_fetch,
};
use ropewalk_store::files;
use ropewalk_types::{Digest, ManualAmbient};

use super::support::{Act, Server, scratch};

pub(crate) fn limits() -> FetchLimits {
    FetchLimits { retry_pause: Duration::from_millis(1), attempts: 4, ..FetchLimits::default() }
}

pub(crate) async fn fetch(
    request: &FetchRequest,
    directory: &Path,
    limits: &FetchLimits,
) -> Result<Vec<Fetched>, ConnectorError> {
    let options = ConnectionOptions::new([("TOKEN".to_owned(), "hunter2".to_owned())]);
    files_fetch(request, &options, directory, limits, &ManualAmbient::default(), &NoProgress).await
}

async fn one(server: &Server, directory: &Path) -> Result<FetchedFile, ConnectorError> {
    let mut fetched = fetch(&FetchRequest::new(server.url("data/rope.bin")), directory, &limits()).await?;
    match fetched.pop() {
        Some(Fetched::File(file)) => Ok(*file),
        other => panic!("{other:?}"),
    }
}

fn content(number: usize, seed: u8) -> Vec<u8> {
    (0..number).map(|at| (at % 251) as u8 ^ seed).collect()
}

fn ranges(server: &Server) -> Vec<Option<String>> {
    let range = |headers: &axum::http::HeaderMap| headers.get("range").map(|range| range.to_str().unwrap().to_owned());
    server.seen().iter().map(|(_, headers)| range(headers)).collect()
}

#[tokio::test]
async fn a_file_arrives_with_what_the_server_says_of_it() {
    let bytes = content(100_000, 0);
    let server = Server::start(&bytes, Some("\"v1\""), []).await;
    let (_kept, directory) = scratch();
    let file = one(&server, &directory).await.unwrap();
    assert_eq!(files::read(&file.path).unwrap(), bytes);
    assert_eq!((file.name.as_str(), file.size, file.digest), ("rope.bin", 100_000, Digest::of(&bytes)));
    assert_eq!(file.etag.as_deref(), Some("\"v1\""));
    assert_eq!(file.provenance.digest, Some(file.digest));
    assert_eq!(file.provenance.facts["last-modified"], "Wed, 21 Oct 2015 07:28:00 GMT");
    assert!(files::list(&directory.join(".partial")).unwrap().is_empty());
}

#[tokio::test]
async fn a_cut_connection_is_continued_where_it_was() {
    let bytes = content(100_000, 0);
    let server =
        Server::start(&bytes, Some("\"v1\""), [Act::Cut(30_000), Act::Status(503, vec![]), Act::Cut(20_000)]).await;
    let (_kept, directory) = scratch();
    let file = one(&server, &directory).await.unwrap();
    assert_eq!(file.digest, Digest::of(&bytes));
    let ranges = ranges(&server);
    assert_eq!(ranges.len(), 4);
    assert_eq!(ranges[0], None);
    assert_eq!(ranges[1], Some("bytes=30000-".to_owned()));
    assert_eq!(ranges[3], Some("bytes=50000-".to_owned()));
    assert_eq!(server.seen()[3].1["if-range"], "\"v1\"");
}

#[tokio::test]
async fn the_next_call_continues_what_this_one_could_not_end() {
    let bytes = content(100_000, 0);
    let acts = [
        Act::Cut(40_000),
        Act::Status(500, vec![]),
        Act::Status(500, vec![]),
        Act::Status(500, vec![]),
        Act::Status(500, vec![]),
    ];
    let server = Server::start(&bytes, Some("\"v1\""), acts).await;
    let (_kept, directory) = scratch();
    let error = one(&server, &directory).await.unwrap_err();
    assert!(matches!(error, ConnectorError::Transfer { attempts: 4, .. }), "{error}");
    assert!(!files::exists(&directory.join("rope.bin")).unwrap());
    server.served.lock().unwrap().acts.clear();
    assert_eq!(one(&server, &directory).await.unwrap().digest, Digest::of(&bytes));
    assert_eq!(ranges(&server).pop().unwrap(), Some("bytes=40000-".to_owned()));
}

#[tokio::test]
async fn urls_that_differ_in_a_secret_only_are_two_files_and_one_signed_anew_is_the_same() {
    let (jan, feb) = (content(100_000, 0), content(100_000, 7));
    // A server whose ETag is that of its last release, whatever is asked for.
    let server = Server::start(&jan, Some("\"release 7\""), []).await;
    let (_kept, directory) = scratch();
    let request = |query: &str| FetchRequest::new(server.url(&format!("rope.bin?{query}")));
    let cut = || {
        let refused = (0..4).map(|_| Act::Status(500, vec![]));
        server.served.lock().unwrap().acts = [Act::Cut(40_000)].into_iter().chain(refused).collect();
    };
    cut();
    fetch(&request("key=jan"), &directory, &limits()).await.unwrap_err();
    server.served.lock().unwrap().acts.clear();
    server.served.lock().unwrap().bytes.clone_from(&feb);
    let fetched = fetch(&request("key=feb"), &directory, &limits()).await.unwrap();
    assert!(matches!(&fetched[..], [Fetched::File(file)] if file.digest == Digest::of(&feb)), "{fetched:?}");
    assert_eq!(ranges(&server).pop().unwrap(), None);
    cut();
    fetch(&request("X-Amz-Date=1&X-Amz-Signature=one"), &directory, &limits()).await.unwrap_err();
    server.served.lock().unwrap().acts.clear();
    let fetched = fetch(&request("X-Amz-Date=2&X-Amz-Signature=two"), &directory, &limits()).await.unwrap();
    assert!(matches!(&fetched[..], [Fetched::File(file)] if file.digest == Digest::of(&feb)), "{fetched:?}");
    assert_eq!(ranges(&server).pop().unwrap(), Some("bytes=40000-".to_owned()));
}

/// Known by the URL as it is written, with another token in it: only a tag of its own says that it is the same file.
#[tokio::test]
async fn what_came_for_another_token_counts_by_a_strong_tag_only() {
    let (first, second) = (content(100_000, 0), content(100_000, 7));
    for (etag, is_continued) in [(Some("\"v1\""), true), (Some("W/\"v1\""), false), (None, false)] {
        let server = Server::start(&first, etag, []).await;
        let (_kept, directory) = scratch();
        let request = |token: &str| FetchRequest {
            known_as: Some("rope.bin?token=${TOKEN}".to_owned()),
            ..FetchRequest::new(server.url(&format!("rope.bin?token={token}")))
        };
        fetch(&request("one"), &directory, &limits()).await.unwrap();
        if !is_continued {
            server.served.lock().unwrap().bytes.clone_from(&second);
        }
        let fetched = fetch(&request("two"), &directory, &limits()).await.unwrap();
        let expected = Digest::of(if is_continued { &first } else { &second });
        assert!(matches!(&fetched[..], [Fetched::File(file)] if file.digest == expected), "{etag:?}: {fetched:?}");
        let asked = server.seen().pop().unwrap().1;
        let conditions = (asked.contains_key("if-none-match"), asked.contains_key("if-modified-since"));
        assert_eq!(conditions, (is_continued, false), "{etag:?}");
    }
}

#[tokio::test]
async fn a_file_that_changes_in_the_middle_is_never_mixed() {
    let (old, new) = (content(100_000, 0), content(90_000, 7));
    let server = Server::start(&old, Some("\"v1\""), [Act::Cut(30_000), Act::Change(new.clone(), "\"v2\"")]).await;
    let (_kept, directory) = scratch();
    let file = one(&server, &directory).await.unwrap();
    assert_eq!((file.digest, file.etag.as_deref()), (Digest::of(&new), Some("\"v2\"")));
    // A server that gives another range, or ignores ranges.
    for act in [Act::WrongRange, Act::Whole] {
        let server = Server::start(&old, Some("\"v1\""), [Act::Cut(30_000), act]).await;
        let (_kept, directory) = scratch();
        assert_eq!(one(&server, &directory).await.unwrap().digest, Digest::of(&old));
    }
    // One that changes for ever.
    let changes = (0..20).flat_map(|index| {
        let etag = ["\"a\"", "\"b\""][index % 2];
        [Act::Change(content(50_000, index as u8), etag), Act::Cut(10_000)]
    });
    let server = Server::start(&old, Some("\"v1\""), changes).await;
    let (_kept, directory) = scratch();
    assert!(matches!(one(&server, &directory).await, Err(ConnectorError::Transfer { .. })));
}

/// Nothing was asked of a part, and no pause or count would end it.
#[tokio::test]
async fn a_server_that_always_answers_with_a_part_is_given_up() {
    for status in [206, 416] {
        let acts = (0..50).map(|_| Act::Status(status, vec![]));
        let server = Server::start(b"rope", Some("\"v1\""), acts).await;
        let (_kept, directory) = scratch();
        let error = one(&server, &directory).await.unwrap_err();
        assert!(matches!(error, ConnectorError::Transfer { attempts: 4, .. }), "{error}");
        assert_eq!(server.seen().len(), 4, "{status}");
    }
}

#[tokio::test]
async fn without_a_strong_validator_it_begins_anew() {
    let bytes = content(50_000, 0);
    for etag in [Some("W/\"v1\""), None] {
        let server = Server::start(&bytes, etag, [Act::Cut(30_000), Act::Cut(10_000)]).await;
        let (_kept, directory) = scratch();
        assert_eq!(one(&server, &directory).await.unwrap().digest, Digest::of(&bytes));
        if etag.is_some() {
            // `Last-Modified` is strong enough where the ETag is not.
            assert_eq!(ranges(&server)[1], Some("bytes=30000-".to_owned()));
        }
    }
}

#[tokio::test]
async fn a_known_version_is_not_received_again() {
    let server = Server::start(b"rope", Some("\"v1\""), []).await;
    let (_kept, directory) = scratch();
    let mut request = FetchRequest::new(server.url("rope.bin"));
    request.known.insert("rope.bin".to_owned(), "\"v1\"".to_owned());
    let fetched = fetch(&request, &directory, &limits()).await.unwrap();
    assert_eq!(fetched, [Fetched::Unchanged { name: "rope.bin".to_owned(), etag: "\"v1\"".to_owned() }]);
    request.known.insert("rope.bin".to_owned(), "\"v0\"".to_owned());
    assert!(matches!(fetch(&request, &directory, &limits()).await.unwrap()[..], [Fetched::File(_)]));
}

#[tokio::test]
async fn a_finished_file_is_asked_for_only_if_it_changed() {
    let (bytes, new) = (content(100_000, 0), content(90_000, 7));
    let server = Server::start(&bytes, Some("\"v1\""), []).await;
    let (_kept, directory) = scratch();
    let first = one(&server, &directory).await.unwrap();
    let again = one(&server, &directory).await.unwrap();
    assert_eq!((again.digest, again.size, &again.path, &again.etag), (first.digest, 100_000, &first.path, &first.etag));
    let asked = server.seen().pop().unwrap().1;
    assert_eq!(asked["if-none-match"], "\"v1\"", "the answer had no body");
    // The file in its place is another than the one that was put there.
    files::write_atomic(&first.path, &new).unwrap();
    assert_eq!(one(&server, &directory).await.unwrap().digest, first.digest);
    assert!(!server.seen().pop().unwrap().1.contains_key("if-none-match"));
    server.served.lock().unwrap().acts.push_back(Act::Change(new.clone(), "\"v2\""));
    let changed = one(&server, &directory).await.unwrap();
    assert_eq!((changed.digest, changed.etag.as_deref()), (Digest::of(&new), Some("\"v2\"")));
    assert_eq!(files::read(&changed.path).unwrap(), new);
    // Whoever has this version already is told so.
    let mut request = FetchRequest::new(server.url("data/rope.bin"));
    request.known.insert("rope.bin".to_owned(), "\"v2\"".to_owned());
    let fetched = fetch(&request, &directory, &limits()).await.unwrap();
    assert!(matches!(fetched[..], [Fetched::Unchanged { .. }]), "{fetched:?}");
    request.known.insert("rope.bin".to_owned(), "\"v1\"".to_owned());
    let fetched = fetch(&request, &directory, &limits()).await.unwrap();
    assert!(matches!(&fetched[..], [Fetched::File(file)] if file.digest == changed.digest), "{fetched:?}");
}

#[tokio::test]
async fn limits_and_refusals_are_said() {
    let server = Server::start(&content(1000, 0), None, []).await;
    let (_kept, directory) = scratch();
    let small = FetchLimits { file_bytes: 999, ..limits() };
    let request = FetchRequest::new(server.url("rope.bin?token=hunter2"));
    let error = fetch(&request, &directory, &small).await.unwrap_err();
    assert!(matches!(error, ConnectorError::TooLarge { limit: 999, .. }), "{error}");
    for status in [401, 404, 501] {
        server.served.lock().unwrap().acts.push_back(Act::Status(status, vec![]));
        let error = fetch(&request, &directory, &limits()).await.unwrap_err();
        assert!(matches!(error, ConnectorError::Status { .. } | ConnectorError::Transfer { .. }), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    assert_eq!(server.seen().len(), 4);
    for url in ["ftp://h/x", "rope.bin", "http://", "file:///etc/passwd"] {
        assert!(fetch(&FetchRequest::new(url), &directory, &limits()).await.is_err(), "{url}");
    }
}

#[tokio::test]
async fn secrets_go_to_their_own_host_only() {
    let other = Server::start(b"rope", None, []).await;
    let moved = |url: String| Act::Status(302, vec![("location", url)]);
    let server = Server::start(b"rope", None, [moved("/there".to_owned()), moved(other.url("rope.bin"))]).await;
    let (_kept, directory) = scratch();
    let mut request = FetchRequest::new(server.url("rope.bin"));
    let value = HeaderValue::Option { name: "TOKEN".to_owned(), prefix: "Bearer ".to_owned() };
    request.headers.push(Header { name: "X-Api-Key".to_owned(), value });
    assert!(matches!(fetch(&request, &directory, &limits()).await.unwrap()[..], [Fetched::File(_)]));
    let seen = server.seen();
    assert_eq!(seen[1].0, "/there");
    assert!(seen.iter().all(|(_, headers)| headers["x-api-key"] == "Bearer hunter2"));
    assert!(!other.seen()[0].1.contains_key("x-api-key"));
}

#[tokio::test]
async fn a_coding_is_of_the_name_that_was_asked_for_or_the_one_in_the_end() {
    let server = Server::start(b"rope", None, []).await;
    let (_kept, directory) = scratch();
    for (path, location, coding, is_file) in [
        ("a.csv.gz", Some("/blob/1"), "gzip", true),
        ("blob", Some("/b.csv.gz"), "gzip", true),
        ("c.csv", Some("/blob/2"), "gzip", false),
        ("d.csv", None, "aws-chunked", true),
        ("e.csv", None, "aws-chunked, gzip", false),
    ] {
        let moved = location.map(|location| Act::Status(302, vec![("location", location.to_owned())]));
        server.served.lock().unwrap().acts = moved.into_iter().chain([Act::Encoded(coding)]).collect();
        let fetched = fetch(&FetchRequest::new(server.url(path)), &directory, &limits()).await;
        match fetched {
            Ok(_) => assert!(is_file, "{path}"),
            Err(error) => assert!(!is_file && error.to_string().contains("is sent packed"), "{path}: {error}"),
        }
    }
}

#[tokio::test]
async fn redirects_have_an_end() {
    let around = (0..20).map(|_| Act::Status(307, vec![("location", "/again".to_owned())]));
    let server = Server::start(b"rope", None, around).await;
    let (_kept, directory) = scratch();
    let error = one(&server, &directory).await.unwrap_err();
    assert!(matches!(error, ConnectorError::Redirect { .. }), "{error}");
    assert_eq!(server.seen().len(), 11);
    let server =
        Server::start(b"rope", None, [Act::Status(302, vec![("location", "file:///etc/passwd".to_owned())])]).await;
    assert!(matches!(one(&server, &directory).await, Err(ConnectorError::Redirect { .. })));
}

#[tokio::test]
async fn a_full_file_that_was_not_put_in_place_is_only_checked() {
    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);
    impl FetchProgress for Heard {
        fn planned(&self, files: usize, bytes: Option<u64>) {
            self.0.lock().unwrap().push(format!("planned {files} {bytes:?}"));
        }
        fn resumed(&self, _: &str, bytes: u64) {
            self.0.lock().unwrap().push(format!("resumed {bytes}"));
        }
        fn received(&self, _: &str, bytes: u64) {
            self.0.lock().unwrap().push(format!("received {bytes}"));
        }
        fn restarted(&self, _: &str) {
            self.0.lock().unwrap().push("restarted".to_owned());
        }
        fn finished(&self, _: &str) {
            self.0.lock().unwrap().push("finished".to_owned());
        }
    }
    let server = Server::start(&content(5000, 0), Some("\"v1\""), [Act::Cut(3000), Act::Cut(2000), Act::Cut(0)]).await;
    let (_kept, directory) = scratch();
    let heard = Heard::default();
    let request = FetchRequest::new(server.url("rope.bin"));
    let options = ConnectionOptions::default();
    files_fetch(&request, &options, &directory, &limits(), &ManualAmbient::default(), &heard).await.unwrap();
    let heard = heard.0.into_inner().unwrap();
    assert_eq!(heard, ["planned 1 Some(5000)", "resumed 0", "received 3000", "received 2000", "finished"]);
}
