use std::borrow::Cow;
use std::fmt;

use reqwest::Url;

use crate::{FetchRequest, JsonApiRequest, MongoRequest, SqlRequest};

/// What is shown in the place of a secret.
const HIDDEN: &str = "***";

/// Endings of the names of query parameters that hold secrets, in lower case: presigned URLs, tokens, keys.
const SECRET_PARAMETERS: [&str; 12] = [
    "password",
    "passwd",
    "pass",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "signature",
    "sig",
    "credential",
    "key",
    "auth",
];

/// `url` without its password and without the values of query parameters that hold secrets.
///
/// The only form in which a URL may stand in an error, a log or a record. An `@` that is written behind a port, in the
/// path or the query, hides what stands between them too: nothing tells such a URL from one whose password has
/// a `/` or a `?` that was not written as `%2F` or `%3F`.
pub fn redacted(url: &str) -> String {
    let url = without_password(url);
    match Url::parse(&url) {
        Ok(parsed) if parsed.has_host() => redacted_url(parsed),
        // A list of hosts, as MongoDB has it, is no URL by the WHATWG's rules.
        _ => redacted_text(&url),
    }
}

/// Hides what stands between the first `:` behind the scheme and the last `@`, before anything reads the URL: which part
/// of it is the password depends on who reads it.
fn without_password(url: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = url.split_once("://") else { return Cow::Borrowed(url) };
    let Some((before, place)) = rest.rsplit_once('@') else { return Cow::Borrowed(url) };
    match before.split_once(':') {
        // A name without a password; the colon belongs to a path.
        Some((user, _)) if user.contains(['/', '?', '#']) => Cow::Borrowed(url),
        Some((user, _)) => Cow::Owned(format!("{scheme}://{user}:{HIDDEN}@{place}")),
        None => Cow::Borrowed(url),
    }
}

fn redacted_url(mut url: Url) -> String {
    if let Some(query) = url.query() {
        let query = redacted_query(query);
        url.set_query(Some(&query));
    }
    url.to_string()
}

fn redacted_text(url: &str) -> String {
    match url.split_once('?') {
        Some((place, query)) => format!("{place}?{}", redacted_query(query)),
        None => url.to_owned(),
    }
}

fn redacted_query(query: &str) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={HIDDEN}"),
        _ => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_PARAMETERS.iter().any(|ending| name.ends_with(ending))
}

/// Requests show their place only: a URL may hold a password, and a header or a filter what is no better.
macro_rules! show_place {
    ($($request:ident),+) => {
        $(impl fmt::Debug for $request {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($request)).field("url", &redacted(&self.url)).finish_non_exhaustive()
            }
        })+
    };
}

show_place!(FetchRequest, JsonApiRequest, MongoRequest, SqlRequest);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_show_no_secret() {
        let shown = [
            format!("{:?}", SqlRequest::new("postgres://anna:hunter2@db/x", "SELECT 1")),
            format!("{:?}", FetchRequest::new("https://anna:hunter2@a.example/x")),
        ];
        for shown in shown {
            assert!(shown.contains("anna:***@") && !shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn passwords_and_signatures_are_hidden() {
        for (url, shown) in [
            (
                "postgres://anna:hunter2@db.example/x?sslmode=require",
                "postgres://anna:***@db.example/x?sslmode=require",
            ),
            ("https://a.example/x?X-Amz-Signature=abc&part=1", "https://a.example/x?X-Amz-Signature=***&part=1"),
            ("https://a.example/x?api_key=abc", "https://a.example/x?api_key=***"),
            ("mongodb://u:p@h1:1,h2:2/x", "mongodb://u:***@h1:1,h2:2/x"),
            ("postgres://u:p@ss@host:x/y", "postgres://u:***@host:x/y"),
            ("postgres://anna:p?ss@db/x", "postgres://anna:***@db/x"),
            ("postgres://anna:p#ss@db/x", "postgres://anna:***@db/x"),
            ("postgres://anna:12/34@db/x", "postgres://anna:***@db/x"),
            ("postgres://anna:12?34@db/x", "postgres://anna:***@db/x"),
            ("postgres://anna@server:12/34@db/x", "postgres://anna%40server:***@db/x"),
            ("mongodb://u:a/b?c@h1:1,h2:2/x?authToken=abc", "mongodb://u:***@h1:1,h2:2/x?authToken=***"),
            ("https://:hunter2@a.example/", "https://:***@a.example/"),
            ("https://a.example/x?user=u&pass=abc", "https://a.example/x?user=u&pass=***"),
            ("postgres://me@db:5432/x", "postgres://me@db:5432/x"),
            ("s3://bucket/2024-01-01T00:00:00/a@b.csv", "s3://bucket/2024-01-01T00:00:00/a@b.csv"),
            ("https://a.example/@scope/x?at=10:00", "https://a.example/@scope/x?at=10:00"),
            ("sqlite:data/x.db", "sqlite:data/x.db"),
            ("https://a.example/", "https://a.example/"),
        ] {
            assert_eq!(redacted(url), shown);
        }
    }

    proptest! {
        #[test]
        fn no_password_survives(user in "[a-z]{1,8}", password in "[A-Z0-9@:!/?#&=%+;,. \\[\\]\\\\-]{6,20}", scheme in "(mysql|mongodb|https)") {
            let shown = redacted(&format!("{scheme}://{user}:{password}@h.example/x"));
            prop_assert!(!shown.contains(&password), "{}", shown);
        }
    }
}
