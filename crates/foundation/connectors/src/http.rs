//! One GET request after another: redirects, what may be tried again, and which host gets a secret.

mod retry;

use std::time::Duration;

use reqwest::header::{CONTENT_ENCODING, HeaderMap, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Proxy, Response, StatusCode, Url};

use crate::{ConnectionOptions, ConnectorError, Header, redacted};

pub(crate) use retry::{Failure, Pauses};

/// Characters of an error's body that are shown.
const SHOWN: usize = 300;
/// Bytes of it that are read, so that no secret is cut before it is looked for.
const READ: usize = 16 << 10;
/// What is shorter is no secret, and may stand anywhere by chance.
const SHORTEST_SECRET: usize = 4;

/// A client for one source.
pub(crate) struct Http {
    client: Client,
    /// Sent to `origin` only.
    headers: HeaderMap,
    origin: Url,
    redirects: usize,
}

impl Http {
    /// For requests to the host of `url`.
    pub(crate) fn new(
        url: &Url,
        headers: &[Header],
        options: &ConnectionOptions,
        redirects: usize,
        connect_timeout: Duration,
        read_timeout: Duration,
    ) -> Result<Self, ConnectorError> {
        let headers = headers.iter().map(|header| header.resolve(options)).collect::<Result<HeaderMap, _>>()?;
        let mut builder = Client::builder()
            // Redirects are followed here, where it is known which headers are secret.
            .redirect(Policy::none())
            .connect_timeout(connect_timeout)
            .read_timeout(read_timeout)
            .user_agent(concat!("ropewalk/", env!("CARGO_PKG_VERSION")))
            // The environment's proxies are the product's to give.
            .no_proxy();
        for proxy in proxies(options)? {
            builder = builder.proxy(proxy);
        }
        let client = builder.build().map_err(|error| connect_error(url, &error))?;
        Ok(Self { client, headers, origin: url.clone(), redirects })
    }

    /// The answer to a GET for `url` with `extra` headers, after redirects; statuses of 400 and more are failures,
    /// 304 and 416 answers.
    pub(crate) async fn get(&self, url: &Url, extra: &HeaderMap) -> Result<Response, Failure> {
        let (asked, mut url) = (url, url.clone());
        for _ in 0..=self.redirects {
            let mut request = self.client.get(url.clone()).headers(extra.clone());
            if same_origin(&url, &self.origin) {
                request = request.headers(self.headers.clone());
            }
            let response = request.send().await.map_err(|error| failed(&url, error))?;
            match response.status() {
                StatusCode::NOT_MODIFIED | StatusCode::RANGE_NOT_SATISFIABLE => return Ok(response),
                status if status.is_redirection() => url = redirected(&url, &response)?,
                status if status.is_success() => {
                    return match packed([asked, &url], &response) {
                        Some(error) => Err(Failure::Final(error)),
                        None => Ok(response),
                    };
                }
                status => return Err(refused(&url, status, response, &self.secrets(&url)).await),
            }
        }
        let reason = format!("more than {} redirects", self.redirects);
        Err(Failure::Final(ConnectorError::Redirect { url: shown(&self.origin), reason }))
    }

    /// What was sent and may be a secret: values of headers, and those in the URL, as they are written there and as they
    /// are meant; the longest first.
    fn secrets(&self, url: &Url) -> Vec<String> {
        let headers = self.headers.values().filter_map(|value| value.to_str().ok());
        let headers =
            headers.flat_map(|value| std::iter::once(value).chain(value.rsplit_once(' ').map(|(_, last)| last)));
        let written = url.query().unwrap_or_default().split('&').filter_map(|pair| Some(pair.split_once('=')?.1));
        let meant = url.query_pairs().map(|(_, value)| value.into_owned());
        let mut secrets: Vec<String> = headers.chain(written).chain(url.password()).map(str::to_owned).collect();
        secrets.extend(meant);
        secrets.retain(|secret| secret.len() >= SHORTEST_SECRET);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets
    }
}

/// A web URL.
pub(crate) fn web_url(text: &str) -> Result<Url, ConnectorError> {
    let wrong = |reason: String| ConnectorError::url(text, reason);
    let url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(wrong(format!("`{other}` is not a scheme of the web"))),
    }
}

/// Whether two URLs have scheme, host and port in common (RFC 6454, section 4).
pub(crate) fn same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

pub(crate) fn shown(url: &Url) -> String {
    redacted(url.as_str())
}

fn proxies(options: &ConnectionOptions) -> Result<Vec<Proxy>, ConnectorError> {
    let mut proxies = Vec::new();
    let except = options.get("NO_PROXY").and_then(reqwest::NoProxy::from_string);
    for (name, is_secure) in [("HTTP_PROXY", false), ("HTTPS_PROXY", true)] {
        let Some(url) = options.get(name).filter(|url| !url.is_empty()) else { continue };
        let proxy = if is_secure { Proxy::https(url) } else { Proxy::http(url) };
        let proxy = proxy.map_err(|error| ConnectorError::Request {
            what: format!("option `{name}`"),
            reason: error.without_url().to_string(),
        })?;
        proxies.push(proxy.no_proxy(except.clone()));
    }
    Ok(proxies)
}

fn redirected(url: &Url, response: &Response) -> Result<Url, Failure> {
    let stop = |reason: String| Failure::Final(ConnectorError::Redirect { url: shown(url), reason });
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.ok_or_else(|| stop("it says not where to".to_owned()))?;
    let next = url.join(location).map_err(|error| stop(error.to_string()))?;
    match (url.scheme(), next.scheme()) {
        ("https", "https") | ("http", "http" | "https") => Ok(next),
        ("https", "http") => Err(stop(format!("it leads from https to `{}`", shown(&next)))),
        _ => Err(stop(format!("`{}` is not on the web", shown(&next)))),
    }
}

fn failed(url: &Url, error: reqwest::Error) -> Failure {
    let reason = chain(&error.without_url());
    Failure::Again { reason, after: None, url: shown(url) }
}

/// The error when an answer is packed, which was not asked for, so that what comes is not the file. A file that is packed by
/// its name is what is meant: by that which was asked for, or that to which it led in the end.
fn packed(urls: [&Url; 2], response: &Response) -> Option<ConnectorError> {
    let encoding = response.headers().get(CONTENT_ENCODING)?.to_str().unwrap_or("?");
    let endings = [".gz", ".tgz", ".zst", ".zstd", ".tzst"];
    let is_named = urls.iter().any(|url| endings.iter().any(|ending| url.path().ends_with(ending)));
    if is_named || encoding.split(',').all(is_plain) {
        return None;
    }
    let [_, url] = urls;
    let reason = format!(
        "it is sent packed (`Content-Encoding: {encoding}`), which was not asked for; fetch it with a tool that unpacks it, \
         such as `curl --compressed`, and import the file"
    );
    Some(ConnectorError::Document { url: shown(url), reason })
}

/// Whether a content coding leaves the bytes as they are. S3 keeps `aws-chunked`, in which an object was sent to it, of
/// objects that it has whole.
fn is_plain(coding: &str) -> bool {
    ["", "identity", "aws-chunked"].iter().any(|plain| coding.trim().eq_ignore_ascii_case(plain))
}

async fn refused(url: &Url, status: StatusCode, response: Response, secrets: &[String]) -> Failure {
    let after = retry::after_header(response.headers());
    let reason = beginning(response, secrets).await;
    let again =
        matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) || status.is_server_error();
    // A server that does not know how will not learn it by being asked again.
    if again && !matches!(status, StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED) {
        return Failure::Again { reason: format!("it answered {status}"), after, url: shown(url) };
    }
    Failure::Final(ConnectorError::Status { url: shown(url), status: status.as_u16(), reason })
}

/// What the server says about it, if it is text, without what it repeats of `secrets`.
async fn beginning(mut response: Response, secrets: &[String]) -> Option<String> {
    let mut bytes = Vec::new();
    while bytes.len() < READ {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            _ => break,
        }
    }
    bytes.truncate(READ);
    let text = without(&String::from_utf8_lossy(&bytes), secrets);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text: String = text.chars().take(SHOWN).collect();
    (!text.is_empty() && !text.starts_with('<')).then_some(text)
}

fn without(text: &str, secrets: &[String]) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
}

fn connect_error(url: &Url, error: &reqwest::Error) -> ConnectorError {
    ConnectorError::Connect { location: shown(url), reason: chain(error) }
}

/// An error and what caused it: reqwest's own text says little.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_repeats_of_secrets_is_hidden() {
        let url = Url::parse("http://localhost/x?token=abc%2Fdef&page=2").unwrap();
        let limit = Duration::from_secs(1);
        let mut http = Http::new(&url, &[], &ConnectionOptions::default(), 1, limit, limit).unwrap();
        http.headers.insert("authorization", "Bearer SECRET-1".parse().unwrap());
        let secrets = http.secrets(&url);
        let said = "no `Bearer SECRET-1`, no SECRET-1, no abc%2Fdef nor abc/def on page 2";
        assert_eq!(without(said, &secrets), "no `***`, no ***, no *** nor *** on page 2");
    }
}
