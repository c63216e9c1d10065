use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;
use reqwest::Url;
use ropewalk_types::Digest;

use crate::{FetchRequest, JsonApiRequest, MongoRequest, SqlRequest, variable_name};

/// What is shown in the place of a secret.
const HIDDEN: &str = "***";

/// Names of query parameters and headers that hold secrets have one of these in them; in lower case, letters and digits
/// only.
const SECRET_PARTS: [&str; 10] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "signature",
    "credential",
    "authorization",
    "cookie",
];

/// … or end with one of these.
const SECRET_ENDINGS: [&str; 8] = ["pass", "pwd", "pw", "sig", "key", "auth", "jwt", "bearer"];

/// … or are one of these: `code` is the key of a function of Azure, and what OAuth gives for a token.
const SECRET_NAMES: [&str; 4] = ["code", "sas", "session", "sessionid"];

/// … but these are none where the URL is not one of the web: to a database the key is the path of a file.
const OPEN_ELSEWHERE: [&str; 3] = ["code", "sslkey", "ssl-key"];

/// Beginnings of the parameters by which presigned URLs say who may read and until when, not what.
const PRESIGNED: [&str; 2] = ["x-amz-", "x-goog-"];

/// `url` without its password and without the values of parameters that hold secrets, in the query or behind a `#`; of a web
/// URL with a user and no password, without the user, who is a token then.
///
/// The only form in which a URL may stand in an error, a log or a record. An `@` that is written behind a port, in the
/// path or the query, hides what stands between them too: nothing tells such a URL from one whose password has
/// a `/` or a `?` that was not written as `%2F` or `%3F`.
pub fn redacted(url: &str) -> String {
    Redaction::of(url).0
}

/// What stands for the file at `url` on disk: the same whoever asks for it, and another one for other parameters, be they
/// secret or not.
///
/// Users, passwords and the signatures of presigned URLs, which change from one hour to the next, are no part of it.
pub fn source_key(url: &str) -> Digest {
    // As it is asked for: what [`without_password`] hides may be part of the host and the path.
    let whole = Url::parse(url).ok().filter(Url::has_host);
    let hidden = without_password(url);
    let Some(mut parsed) = whole.or_else(|| Url::parse(&hidden).ok()) else { return Digest::of(hidden.as_bytes()) };
    // Only a URL without a host refuses to be without a user, and has none.
    let _ = parsed.set_username("").and_then(|()| parsed.set_password(None));
    parsed.set_fragment(None);
    if let Some(query) = parsed.query() {
        let kept = query.split('&').filter(|pair| {
            let name = pair.split('=').next().unwrap_or(pair).to_ascii_lowercase();
            !PRESIGNED.iter().any(|beginning| name.starts_with(beginning))
        });
        let kept = kept.collect::<Vec<_>>().join("&");
        parsed.set_query(Some(&kept));
    }
    Digest::of(parsed.as_str().as_bytes())
}

/// Hides what stands between the first `:` behind the scheme and the last `@`, before anything reads the URL: which part
/// of it is the password depends on who reads it.
fn without_password(url: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = url.split_once("://") else { return Cow::Borrowed(url) };
    let Some((before, place)) = rest.rsplit_once('@') else { return Cow::Borrowed(url) };
    match before.split_once(':') {
        // A name without a password; the colon belongs to a path.
        Some((user, _)) if user.contains(['/', '?', '#']) => Cow::Borrowed(url),
        // It stands in the environment.
        Some((_, password)) if variable_name(password).is_some() => Cow::Borrowed(url),
        Some((user, _)) => Cow::Owned(format!("{scheme}://{user}:{HIDDEN}@{place}")),
        None => Cow::Borrowed(url),
    }
}

/// Hides the secrets of one URL.
struct Redaction {
    /// Whether the URL is one of the web; in a word of a command, such as `--from=https://…`, something may stand before
    /// its scheme.
    is_web: bool,
    /// Whether anything was hidden that was not hidden before.
    has_hidden: bool,
}

impl Redaction {
    /// The URL without its secrets, and whether it had any.
    fn of(url: &str) -> (String, bool) {
        let shown = without_password(url);
        let scheme = url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase()).unwrap_or_default();
        let is_web = scheme.ends_with("http") || scheme.ends_with("https");
        let mut redaction = Self { is_web, has_hidden: shown != url };
        let shown = match Url::parse(&shown) {
            // A variable in place of a password keeps its braces.
            Ok(parsed) if parsed.has_host() => {
                redaction.url(parsed).replacen("$%7B", "${", 1).replacen("%7D@", "}@", 1)
            }
            // A list of hosts, as MongoDB has it, is no URL by the WHATWG's rules.
            _ => redaction.text(&shown),
        };
        (shown, redaction.has_hidden)
    }

    fn url(&mut self, mut url: Url) -> String {
        if let Some(query) = url.query() {
            let query = self.query(query);
            url.set_query(Some(&query));
        }
        if let Some(fragment) = url.fragment() {
            let fragment = self.query(fragment);
            url.set_fragment(Some(&fragment));
        }
        let is_token = !matches!(url.username(), "" | HIDDEN) && url.password().is_none();
        if is_token && matches!(url.scheme(), "http" | "https") {
            // A URL of the web can have a user.
            let _ = url.set_username(HIDDEN);
            self.has_hidden = true;
        }
        url.to_string()
    }

    fn text(&mut self, url: &str) -> String {
        let (url, fragment) = url.split_once('#').map_or((url, None), |(url, fragment)| (url, Some(fragment)));
        let mut text = match url.split_once('?') {
            Some((place, query)) => format!("{place}?{}", self.query(query)),
            None => url.to_owned(),
        };
        if let Some(fragment) = fragment {
            text.push('#');
            text.push_str(&self.query(fragment));
        }
        text
    }

    fn query(&mut self, query: &str) -> String {
        query.split('&').map(|pair| self.pair(pair)).collect::<Vec<_>>().join("&")
    }

    /// Hides the value of `name=value`; where others are joined to it by `;`, all from the first secret on.
    fn pair(&mut self, pair: &str) -> String {
        let mut shown = Vec::new();
        let mut parts = pair.split(';');
        for part in parts.by_ref() {
            match part.split_once('=') {
                Some((name, value)) if self.is_secret(name, value) => {
                    shown.push(format!("{name}={HIDDEN}"));
                    self.has_hidden |= value != HIDDEN;
                    break;
                }
                _ => shown.push(part.to_owned()),
            }
        }
        self.has_hidden |= parts.next().is_some();
        shown.join(";")
    }

    fn is_secret(&self, name: &str, value: &str) -> bool {
        let is_named = if self.is_web {
            is_secret_name(name)
        } else {
            is_secret_name(name) && !OPEN_ELSEWHERE.contains(&name.to_ascii_lowercase().as_str())
        };
        variable_name(value).is_none() && (is_named || holds_user(value))
    }
}

/// `text` without the secrets in the URLs that it holds; none where there are none.
///
/// A text that begins as a URL is one as a whole; in any other, such as a command, a URL ends at a blank or a quote.
pub fn without_secrets(text: &str) -> Option<String> {
    if let Some((scheme, rest)) = text.split_once(':')
        && scheme.len() > 1
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
        && !rest.starts_with(char::is_whitespace)
    {
        return hidden_in(text);
    }
    let ends = |letter: char| letter.is_whitespace() || matches!(letter, '"' | '\'' | '`');
    let mut shown = String::new();
    let mut any = false;
    for word in text.split_inclusive(ends) {
        let url = word.trim_end_matches(ends);
        let hidden = if url.contains("://") { hidden_in(url) } else { None };
        any |= hidden.is_some();
        shown.push_str(hidden.as_deref().unwrap_or(url));
        shown.push_str(&word[url.len()..]);
    }
    any.then_some(shown)
}

/// [`redacted`], where that hides anything.
fn hidden_in(url: &str) -> Option<String> {
    let (shown, has_hidden) = Redaction::of(url);
    has_hidden.then_some(shown)
}

/// Whether the value of a parameter or header of this name is a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = percent_decode_str(name).decode_utf8_lossy().to_lowercase();
    let name: String = name.chars().filter(|letter| letter.is_alphanumeric()).collect();
    let name = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    SECRET_PARTS.iter().any(|part| name.contains(part))
        || SECRET_ENDINGS.iter().any(|ending| name.ends_with(ending))
        || SECRET_NAMES.contains(&name)
}

/// Whether the value is a URL itself, with a user and perhaps a password.
fn holds_user(value: &str) -> bool {
    let value = percent_decode_str(value).decode_utf8_lossy();
    value.split_once("://").is_some_and(|(_, rest)| rest.contains('@'))
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
            ("postgres://anna:${PASSWORD}@db/x", "postgres://anna:${PASSWORD}@db/x"),
            ("postgres://anna:a${PASSWORD}@db/x", "postgres://anna:***@db/x"),
            ("postgres://u:p@ss@host:x/y", "postgres://u:***@host:x/y"),
            ("postgres://anna:p?ss@db/x", "postgres://anna:***@db/x"),
            ("postgres://anna:p#ss@db/x", "postgres://anna:***@db/x"),
            ("postgres://anna:12/34@db/x", "postgres://anna:***@db/x"),
            ("postgres://anna:12?34@db/x", "postgres://anna:***@db/x"),
            ("postgres://anna@server:12/34@db/x", "postgres://anna%40server:***@db/x"),
            ("mongodb://u:a/b?c@h1:1,h2:2/x?authToken=abc", "mongodb://u:***@h1:1,h2:2/x?authToken=***"),
            ("https://:hunter2@a.example/", "https://:***@a.example/"),
            ("https://a.example/x?user=u&pass=abc", "https://a.example/x?user=u&pass=***"),
            ("https://a.example/x?Pass%77ord=abc", "https://a.example/x?Pass%77ord=***"),
            ("https://a.example/x?part=1;pwd=abc;def", "https://a.example/x?part=1;pwd=***"),
            ("https://a.example/x?access-key[]=abc&api_key2=def", "https://a.example/x?access-key[]=***&api_key2=***"),
            ("https://a.example/x?password_hash=abc&sig=d;e", "https://a.example/x?password_hash=***&sig=***"),
            ("https://a.example/x#access_token=abc&part=1", "https://a.example/x#access_token=***&part=1"),
            ("sqlite:x.db?mode=ro&key=abc#token=d", "sqlite:x.db?mode=ro&key=***#token=***"),
            ("https://a.example/x?from=https%3A%2F%2Fu%3Ap%40h", "https://a.example/x?from=***"),
            ("https://a.example/api/f?code=abc%3D%3D&clientId=b", "https://a.example/api/f?code=***&clientId=b"),
            ("https://a.example/x?sv=1&sig=a&access_token=b", "https://a.example/x?sv=1&sig=***&access_token=***"),
            ("https://a.example/x?token=${TOKEN}&key=a", "https://a.example/x?token=${TOKEN}&key=***"),
            ("https://a.example/x?barcode=1&session_length=2", "https://a.example/x?barcode=1&session_length=2"),
            ("https://ghp_abc@a.example/x", "https://***@a.example/x"),
            ("https://a.example/x?keyword=hemp&passenger=2#top", "https://a.example/x?keyword=hemp&passenger=2#top"),
            ("postgres://me@db:5432/x", "postgres://me@db:5432/x"),
            (
                "mysql://me@db/x?ssl-key=tls/me.key&SSLKEY=a&code=5",
                "mysql://me@db/x?ssl-key=tls/me.key&SSLKEY=a&code=5",
            ),
            ("postgres://me@db/x?sslpassword=abc&sslkey=a", "postgres://me@db/x?sslpassword=***&sslkey=a"),
            ("https://a.example/x?sslkey=abc", "https://a.example/x?sslkey=***"),
            ("s3://bucket/2024-01-01T00:00:00/a@b.csv", "s3://bucket/2024-01-01T00:00:00/a@b.csv"),
            ("https://a.example/@scope/x?at=10:00", "https://a.example/@scope/x?at=10:00"),
            ("sqlite:data/x.db", "sqlite:data/x.db"),
            ("https://a.example/", "https://a.example/"),
        ] {
            assert_eq!(redacted(url), shown);
        }
    }

    #[test]
    fn texts_are_shown_without_the_secrets_of_their_urls() {
        for (text, shown) in [
            ("https://a.example/x y?token=abc", Some("https://a.example/x%20y?token=***")),
            ("sqlite:x.db?key=abc", Some("sqlite:x.db?key=***")),
            (
                "curl -H 'X: y' \"https://a.example/x?sig=abc\" https://b.example/ -o out",
                Some("curl -H 'X: y' \"https://a.example/x?sig=***\" https://b.example/ -o out"),
            ),
            ("python get.py --from=postgres://u:p@h/x\n", Some("python get.py --from=postgres://u:***@h/x\n")),
            ("SELECT a FROM t WHERE b = ? AND key=5", None),
            ("https://a.example/x?token=${TOKEN}", None),
            ("postgres://anna:${PASSWORD}@db/x", None),
            ("https://a.example?page=2", None),
            ("https://a.example/x?token=***", None),
            ("https://anna:***@a.example/x?token=***", None),
            ("https://***@a.example/x?part=1;pwd=***", None),
            ("https://a.example/x?token=ab***cd", Some("https://a.example/x?token=***")),
            ("https://anna:ab***cd@a.example/x", Some("https://anna:***@a.example/x")),
            ("https://a.example/x?pwd=***;abc", Some("https://a.example/x?pwd=***")),
            ("fetch --from=https://a.example/f?code=abc", Some("fetch --from=https://a.example/f?code=***")),
            ("fetch --from=postgres://me@db/x?code=5", None),
            ("remark: what?token=1", None),
        ] {
            assert_eq!(without_secrets(text).as_deref(), shown, "{text}");
        }
        for name in ["Authorization", "Cookie", "X-Api-Key", "Proxy-Authorization", "x-functions-key", "API_TOKEN"] {
            assert!(is_secret_name(name), "{name}");
        }
        assert!(!is_secret_name("Accept") && !is_secret_name("User-Agent") && !is_secret_name("CODE_FOLDER"));
    }

    #[test]
    fn a_key_is_of_the_file_and_not_of_who_asks() {
        let same = |one: &str, other: &str| source_key(one) == source_key(other);
        assert!(same("https://a.example/x?part=1", "https://anna:hunter2@a.example/x?part=1#top"));
        assert!(same("https://token@a.example/x", "https://a.example/x"));
        assert!(same("https://anna:hunter2@h:8443/jan/a@b.csv", "https://h:8443/jan/a@b.csv"));
        assert!(same("mongodb://u:p@h1:1,h2:2/x", "mongodb://u:q@h1:1,h2:2/x"));
        assert!(same(
            "https://a.example/x?v=1&X-Amz-Date=1&X-Amz-Signature=abc",
            "https://a.example/x?v=1&X-Amz-Date=2&X-Amz-Signature=def"
        ));
        for (one, other) in [
            ("https://a.example/x?key=jan", "https://a.example/x?key=feb"),
            ("https://a.example/x?token=1", "https://a.example/x?token=2"),
            ("https://a.example/x", "https://b.example/x"),
            ("https://a.example/x", "http://a.example/x"),
            ("s3://bucket/a/*.csv", "s3://bucket/b/*.csv"),
            ("https://h:8443/jan/a@b.csv", "https://h:8443/feb/a@b.csv"),
            ("https://h:8443/jan/a@b.csv", "https://other:8443/jan/a@b.csv"),
            ("https://h:8443/export?user=ann@x.org", "https://h:8443/export?user=bob@x.org"),
        ] {
            assert!(redacted(one) == redacted(other) || !one.contains('?'), "{one}");
            assert!(!same(one, other), "{one} {other}");
        }
    }

    proptest! {
        #[test]
        fn no_secret_parameter_survives(name in "(password|passwd|pwd|token|secret|sig|signature|key|apikey|access_key|client_secret|X-Amz-Credential)", value in "[A-Z0-9%;.+-]{6,20}", scheme in "(https|postgres|mongodb|s3|sqlite)") {
            for url in [format!("{scheme}://h.example/x?a=b&{name}={value}&c=d"), format!("{scheme}:x?{name}={value}")] {
                let shown = redacted(&url);
                prop_assert!(!shown.contains(&value), "{}", shown);
            }
        }

        #[test]
        fn no_password_survives(user in "[a-z]{1,8}", password in "[A-Z0-9@:!/?#&=%+;,. \\[\\]\\\\-]{6,20}", scheme in "(mysql|mongodb|https)") {
            let shown = redacted(&format!("{scheme}://{user}:{password}@h.example/x"));
            prop_assert!(!shown.contains(&password), "{}", shown);
        }
    }
}
