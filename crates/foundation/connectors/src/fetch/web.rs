use chrono::DateTime;
use futures::TryStreamExt as _;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use reqwest::{Response, StatusCode, Url};

use crate::http::{Failure, Http, Pauses, chain, shown, web_url};
use crate::{ConnectorError, source_key};

use super::name::file_name;
use super::partial::{Ended, Partial, Validator, append, blocking};
use super::{Fetch, Fetched, FetchedFile};

/// A `Last-Modified` this much older than `Date` tells two versions apart (RFC 9110, section 8.8.2.2).
const STRONG_AFTER_SECONDS: i64 = 1;

/// What an answer means for the file.
enum Step {
    /// The body is to be appended.
    Append(Response),
    /// All bytes are here.
    Complete,
    /// The caller has this version.
    Unchanged(String),
    /// What is here is of another version: begin again.
    Void,
}

struct Download<'a> {
    fetch: Fetch<'a>,
    http: Http,
    url: Url,
    location: String,
    name: String,
}

pub(super) async fn file_fetch(fetch: Fetch<'_>) -> Result<Fetched, ConnectorError> {
    let url = web_url(&fetch.request.url)?;
    let limits = fetch.limits;
    let http = Http::new(
        &url,
        &fetch.request.headers,
        fetch.options,
        limits.redirects,
        limits.connect_timeout,
        limits.read_timeout,
    )?;
    let download = Download { fetch, http, location: shown(&url), name: file_name(&url), url };
    download.run().await
}

impl Download<'_> {
    async fn run(&self) -> Result<Fetched, ConnectorError> {
        let (directory, name, key) = (self.fetch.directory.to_owned(), self.name.clone(), self.fetch.request.key());
        let asked = source_key(&self.fetch.request.url);
        let mut partial = blocking(move || Partial::open(&directory, &name, &key.to_string(), &asked)).await?;
        let Fetch { limits, ambient, options, .. } = self.fetch;
        let mut pauses = Pauses::new(limits.attempts, limits.retry_pause, ambient, options);
        let mut versions = 0;
        let mut announced = false;
        loop {
            let here = partial.received();
            let answer = match self.http.get(&self.url, &self.headers(&partial)).await {
                Ok(response) => response,
                Err(failure) => {
                    pauses.wait(failure).await?;
                    continue;
                }
            };
            let (kept, step) = self.step(partial, answer).await?;
            partial = kept;
            if !announced {
                self.fetch.progress.planned(1, partial.validator().size);
                self.fetch.progress.resumed(&self.name, partial.received());
                announced = true;
            } else if partial.received() < here {
                self.fetch.progress.restarted(&self.name);
            }
            let response = match step {
                Step::Unchanged(etag) => return Ok(Fetched::Unchanged { name: self.name.clone(), etag }),
                Step::Complete => return self.finish(partial).await,
                Step::Append(response) => Some(response),
                Step::Void => None,
            };
            if here > 0 && partial.received() == 0 {
                versions += 1;
                if versions >= self.fetch.limits.attempts {
                    return Err(self.unsteady(versions));
                }
            }
            let Some(response) = response else {
                // Counted whatever was here: a server that answers so once may do it for ever.
                let reason = "its answer is not the part of the file that was asked for".to_owned();
                pauses.wait(self.torn(reason)).await?;
                continue;
            };
            let (kept, failure) = self.append(partial, response).await?;
            partial = kept;
            let Some(failure) = failure else { return self.finish(partial).await };
            if partial.received() > here {
                pauses.progress();
            }
            pauses.wait(failure).await?;
        }
    }

    fn torn(&self, reason: String) -> Failure {
        Failure::Again { reason, after: None, url: self.location.clone() }
    }

    fn unsteady(&self, attempts: u32) -> ConnectorError {
        let reason = "the file changed whenever it was continued".to_owned();
        ConnectorError::Transfer { url: self.location.clone(), attempts, reason }
    }

    fn headers(&self, partial: &Partial) -> HeaderMap {
        let mut headers = HeaderMap::new();
        // Ranges are of the bytes as they are kept.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut insert = |name: HeaderName, text: &str| {
            if let Ok(value) = text.parse() {
                headers.insert(name, value);
            }
        };
        match (partial.validator().strong(), partial.received()) {
            _ if partial.is_finished() => match &partial.validator().etag {
                Some(etag) => insert(IF_NONE_MATCH, etag),
                None => insert(IF_MODIFIED_SINCE, partial.validator().last_modified.as_deref().unwrap_or_default()),
            },
            (Some(strong), here @ 1..) => {
                insert(RANGE, &format!("bytes={here}-"));
                insert(IF_RANGE, strong);
            }
            _ => {
                if let Some(etag) = self.fetch.request.known.get(&self.name) {
                    insert(IF_NONE_MATCH, etag);
                }
            }
        }
        headers
    }

    /// Whether the caller has the version that is here.
    fn is_known(&self, partial: &Partial) -> bool {
        let etag = partial.validator().etag.as_ref();
        etag.is_some() && self.fetch.request.known.get(&self.name) == etag
    }

    async fn step(&self, mut partial: Partial, response: Response) -> Result<(Partial, Step), ConnectorError> {
        let validator = validator(response.headers());
        match response.status() {
            // It is in its place, and is not what the caller has.
            StatusCode::NOT_MODIFIED if partial.is_finished() && !self.is_known(&partial) => {
                Ok((partial, Step::Complete))
            }
            StatusCode::NOT_MODIFIED => {
                let known = self.fetch.request.known.get(&self.name).cloned();
                let etag = validator.etag.or(known).unwrap_or_default();
                Ok((partial, Step::Unchanged(etag)))
            }
            StatusCode::PARTIAL_CONTENT if continues(&partial, &validator, response.headers()) => {
                Ok((partial, Step::Append(response)))
            }
            StatusCode::RANGE_NOT_SATISFIABLE if total_of(response.headers()) == Some(partial.received()) => {
                Ok((partial, Step::Complete))
            }
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                let partial = blocking(move || partial.clear().map(|()| partial)).await?;
                Ok((partial, Step::Void))
            }
            _ => {
                if let Some(size) = validator.size {
                    self.fetch.check_size(&self.name, size)?;
                }
                let partial = blocking(move || partial.begin(validator).map(|()| partial)).await?;
                Ok((partial, Step::Append(response)))
            }
        }
    }

    async fn append(&self, partial: Partial, response: Response) -> Result<(Partial, Option<Failure>), ConnectorError> {
        let limit = self.fetch.limits.file_bytes.min(self.fetch.limits.total_bytes);
        let body = response.bytes_stream().map_err(|error| chain(&error.without_url()));
        let received = |bytes| self.fetch.progress.received(&self.name, bytes);
        let (partial, ended) = append(partial, Box::pin(body), limit, &received).await?;
        let failure = match ended {
            Ended::TooLarge => {
                self.fetch.check_size(&self.name, u64::MAX)?;
                None
            }
            Ended::Torn(reason) => Some(self.torn(reason)),
            Ended::Whole => match partial.validator().size {
                Some(size) if size != partial.received() => {
                    Some(self.torn(format!("{} of {size} bytes came", partial.received())))
                }
                _ => None,
            },
        };
        Ok((partial, failure))
    }

    async fn finish(&self, partial: Partial) -> Result<Fetched, ConnectorError> {
        let (path, size, digest, validator) = blocking(move || partial.finish()).await?;
        self.fetch.progress.finished(&self.name);
        Ok(Fetched::File(Box::new(FetchedFile {
            name: self.name.clone(),
            path,
            size,
            provenance: self.fetch.provenance(self.location.clone(), digest, &validator),
            etag: validator.etag,
            last_modified: validator.last_modified,
            digest,
        })))
    }
}

/// Whether an answer with a part gives just the part that is missing, of the same version.
fn continues(partial: &Partial, validator: &Validator, headers: &HeaderMap) -> bool {
    let kept = partial.validator();
    let range = text_of(headers, CONTENT_RANGE).and_then(|text| text.strip_prefix("bytes "));
    let first = range.and_then(|range| range.split(['-', '/']).next()).and_then(|first| first.parse().ok());
    let same = |one: &Option<String>, other: &Option<String>| one.is_none() || other.is_none() || one == other;
    first == Some(partial.received())
        && partial.received() > 0
        && same(&kept.etag, &validator.etag)
        && same(&kept.last_modified, &validator.last_modified)
        && (kept.size.is_none() || total_of(headers).is_none() || kept.size == total_of(headers))
}

fn validator(headers: &HeaderMap) -> Validator {
    let text = |name| text_of(headers, name).map(str::to_owned);
    let seconds = |text: Option<&str>| DateTime::parse_from_rfc2822(text?).ok().map(|date| date.timestamp());
    let age = seconds(text_of(headers, DATE)).zip(seconds(text_of(headers, LAST_MODIFIED)));
    Validator {
        etag: text(ETAG),
        last_modified: text(LAST_MODIFIED),
        last_modified_is_strong: age.is_some_and(|(now, then)| now - then >= STRONG_AFTER_SECONDS),
        size: text_of(headers, CONTENT_LENGTH).and_then(|text| text.parse().ok()),
    }
}

/// The size of the whole file, from `bytes 5-9/10` or `bytes */10`.
fn total_of(headers: &HeaderMap) -> Option<u64> {
    text_of(headers, CONTENT_RANGE)?.rsplit_once('/')?.1.parse().ok()
}

fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
