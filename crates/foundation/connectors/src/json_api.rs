//! Tables from HTTP APIs that answer in JSON, page by page.

mod paging;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::Url;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue as WireValue};
use ropewalk_types::{Ambient, Digest};
use serde_json::{Value, json};

use crate::document::{self, Columns, SAMPLE_BYTES, infer};
use crate::http::{Failure, Http, Pauses, chain, shown, web_url};
use crate::table::{BatchSender, MisfitCounter, TableBuilder, stream_of};
use crate::{ConnectionOptions, ConnectorError, Header, HeaderValue, MisfitPolicy, PartitionSource, Provenance, Table};

use paging::{Pager, Position};

/// What to ask of which API.
#[derive(Clone, PartialEq)]
pub struct JsonApiRequest {
    /// The first page.
    pub url: String,
    /// The URL as it is written, where values of the environment are part of `url`: a value that changes from hour to
    /// hour must not make another source of it. What an import that was cut off has received is found by it; by `url`
    /// where it is not given.
    pub known_as: Option<String>,
    /// Sent to the URL's own host only.
    pub headers: Vec<Header>,
    /// Where in an answer the array of items is: a JSON pointer (RFC 6901), empty when the answer is the array.
    pub items: String,
    /// How one page leads to the next.
    pub paging: Paging,
    /// How much may be asked.
    pub limits: JsonApiLimits,
    /// Hosts other than the URL's that a link to the next page may lead to; they get no header of `headers`.
    pub allowed_hosts: Vec<String>,
    /// From how many items, at most, the columns are inferred.
    pub sample_rows: usize,
    /// Columns of which all items are looked at before any is read, not the first alone.
    pub inferred_whole: BTreeSet<String>,
    /// Rows of a batch, at most.
    pub batch_rows: usize,
    /// What to do about values and fields that the sample did not show.
    pub misfits: MisfitPolicy,
}

impl JsonApiRequest {
    /// All items of the one page `url`, which is an array.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            known_as: None,
            headers: Vec::new(),
            items: String::new(),
            paging: Paging::None,
            limits: JsonApiLimits::default(),
            allowed_hosts: Vec::new(),
            sample_rows: 1000,
            inferred_whole: BTreeSet::new(),
            batch_rows: 16_384,
            misfits: MisfitPolicy::default(),
        }
    }

    /// Digest of all that decides which rows come and how; of the URL and of plain headers too, which cannot be had
    /// back from it. The values of secrets are no part of it: a token that was renewed asks for the same.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let headers = self.headers.iter().map(|header| match &header.value {
            HeaderValue::Plain(text) => json!([header.name, text]),
            HeaderValue::Option { name, prefix } => json!([header.name, { "option": name, "prefix": prefix }]),
        });
        Digest::of_json(&json!({
            "url": self.known_as.as_ref().unwrap_or(&self.url),
            "headers": headers.collect::<Vec<_>>(),
            "asked": described(self),
            "pages": self.limits.pages,
            "rows": self.limits.rows,
            "sample": self.sample_rows,
            "misfits": format!("{:?}", self.misfits),
        }))
    }
}

/// How one page of an API leads to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Paging {
    /// There is one page.
    #[default]
    None,
    /// By the header `Link` with `rel="next"` (RFC 8288).
    LinkHeader,
    /// By a URL in the answer; the last page has none.
    NextUrl {
        /// JSON pointer to it.
        pointer: String,
    },
    /// By a query parameter that counts pages, until one is empty.
    PageNumber {
        /// The parameter.
        parameter: String,
        /// The number of the first page.
        first: u64,
    },
    /// By a query parameter that says how many items to pass over, until a page is empty.
    Offset {
        /// The parameter.
        parameter: String,
        /// The parameter that says how many items a page has.
        limit_parameter: String,
        /// How many items a page is to have.
        limit: u64,
    },
    /// By a token in the answer that is a query parameter of the next page; the last page has none.
    CursorToken {
        /// The parameter.
        parameter: String,
        /// JSON pointer to the token.
        pointer: String,
    },
}

impl Paging {
    fn described(&self) -> Value {
        match self {
            Self::None => Value::Null,
            Self::LinkHeader => json!({ "link_header": {} }),
            Self::NextUrl { pointer } => json!({ "next_url": { "pointer": pointer } }),
            Self::PageNumber { parameter, first } => {
                json!({ "page_number": { "parameter": parameter, "first": first } })
            }
            Self::Offset { parameter, limit_parameter, limit } => {
                json!({ "offset": { "parameter": parameter, "limit_parameter": limit_parameter, "limit": limit } })
            }
            Self::CursorToken { parameter, pointer } => {
                json!({ "cursor": { "parameter": parameter, "pointer": pointer } })
            }
        }
    }
}

/// How much may be asked of an API, and how hard to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonApiLimits {
    /// Pages; more are an error, for what is missing would not be seen.
    pub pages: u64,
    /// Items; more are an error.
    pub rows: u64,
    /// Bytes of one page.
    pub page_bytes: u64,
    /// A pause before each page but the first.
    pub delay: Duration,
    /// How often in a row one page may fail.
    pub attempts: u32,
    /// About how long the first pause after a failure is; later ones double.
    pub retry_pause: Duration,
    /// How often a page may redirect.
    pub redirects: usize,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long the server may be silent.
    pub read_timeout: Duration,
}

impl Default for JsonApiLimits {
    fn default() -> Self {
        Self {
            pages: 100_000,
            rows: 100_000_000,
            page_bytes: 64 << 20,
            delay: Duration::ZERO,
            attempts: 6,
            retry_pause: Duration::from_millis(500),
            redirects: 10,
            connect_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_mins(1),
        }
    }
}

/// Opens the items of an API as rows: their fields are columns, objects inside them structs, arrays lists.
///
/// The columns are those of the first page or pages, up to `sample_rows` items; what comes later and does not fit is a
/// misfit, but for the columns of [`JsonApiRequest::inferred_whole`], for which every page is asked for once more before.
/// Numbers beyond 64 bits are doubles, as RFC 8259 says to expect. A link to another host is refused unless it
/// is allowed, as is a page that came before.
///
/// # Errors
/// When the API refuses, answers something else than such items, or leads nowhere.
pub fn json_api_open<'a>(
    request: &'a JsonApiRequest,
    options: &'a ConnectionOptions,
    ambient: Arc<dyn Ambient>,
) -> BoxFuture<'a, Result<Table, ConnectorError>> {
    Box::pin(async move {
        let url = web_url(&request.url)?;
        let place = shown(&url);
        let mut provenance = Provenance::new(place.clone(), ambient.now());
        provenance.query = Some(described(request).to_string());
        let wide = request.inferred_whole.clone();
        let whole = if wide.is_empty() {
            None
        } else {
            let mut pages = Pages::new(url.clone(), request, options, Arc::clone(&ambient))?;
            let mut columns = Columns::default();
            while let Some(items) = pages.next().await? {
                // Not on the reactor: it looks at every value.
                let looking = tokio::task::spawn_blocking(move || {
                    for item in &items {
                        columns.add(&document::json::cell(item));
                    }
                    columns
                });
                columns = looking.await?;
            }
            Some(columns)
        };
        let mut pages = Pages::new(url, request, options, ambient)?;
        let (mut sample, mut bytes) = (VecDeque::new(), 0);
        while sample.len() < request.sample_rows.max(1) && bytes < SAMPLE_BYTES {
            let Some(items) = pages.next().await? else { break };
            bytes += items.iter().map(|item| document::json::cell(item).weight()).sum::<usize>();
            sample.extend(items);
        }
        let its_place = place.clone();
        // Not on the reactor: it looks at every value of the sample.
        let inferring = tokio::task::spawn_blocking(move || {
            let cells: Vec<_> = sample.iter().map(document::json::cell).collect();
            let inferred = infer(&cells, whole.map(|whole| (whole, &wide)), &its_place);
            drop(cells);
            inferred.map(|inferred| (inferred, sample))
        });
        let (inferred, sample) = inferring.await??;
        let counter = MisfitCounter::new(request.misfits, &place);
        let builder = TableBuilder::new(&inferred.schema, request.batch_rows, counter)?;
        let open = move || stream_of(|sender| read(pages, sample, builder, sender));
        Ok(Table {
            schema: inferred.schema,
            notes: inferred.notes,
            partitions: vec![PartitionSource::new(0, "all pages", open)],
            cursor: None,
            provenance,
        })
    })
}

/// What is asked, in the words of the project file; of headers their names only, for their values may be secrets.
fn described(request: &JsonApiRequest) -> Value {
    let mut asked = json!({ "items": request.items, "paging": request.paging.described() });
    let headers: Vec<_> = request.headers.iter().map(|header| header.name.as_str()).collect();
    if !headers.is_empty() {
        asked["headers"] = json!(headers);
    }
    if !request.allowed_hosts.is_empty() {
        asked["allowed_hosts"] = json!(request.allowed_hosts);
    }
    asked
}

async fn read(
    mut pages: Pages,
    sample: VecDeque<Value>,
    mut builder: TableBuilder,
    sender: BatchSender,
) -> Result<(), ConnectorError> {
    let mut items = Some(sample.into());
    while let Some(page) = items {
        let page: Vec<Value> = page;
        for item in &page {
            builder.push_document(document::json::cell(item))?;
            if !builder.send_full(&sender).await? {
                return Ok(());
            }
        }
        items = pages.next().await?;
    }
    builder.send_rest(&sender).await
}

/// The pages of an API, one after another.
struct Pages {
    http: Http,
    request: JsonApiRequest,
    options: ConnectionOptions,
    ambient: Arc<dyn Ambient>,
    pager: Pager,
    next: Option<Url>,
    page: u64,
    rows: u64,
    /// Digest of the last page's items.
    last: Option<Digest>,
}

impl Pages {
    fn new(
        url: Url,
        request: &JsonApiRequest,
        options: &ConnectionOptions,
        ambient: Arc<dyn Ambient>,
    ) -> Result<Self, ConnectorError> {
        if !request.items.is_empty() && !request.items.starts_with('/') {
            let reason = "a JSON pointer is empty or begins with `/`".to_owned();
            return Err(ConnectorError::Request { what: format!("the pointer `{}`", request.items), reason });
        }
        let limits = &request.limits;
        let http =
            Http::new(&url, &request.headers, options, limits.redirects, limits.connect_timeout, limits.read_timeout)?;
        let (pager, first) = Pager::new(url, request.paging.clone(), &request.allowed_hosts);
        let (request, options, next) = (request.clone(), options.clone(), Some(first));
        Ok(Self { http, request, options, ambient, pager, next, page: 0, rows: 0, last: None })
    }

    /// The items of the next page; none after the last.
    async fn next(&mut self) -> Result<Option<Vec<Value>>, ConnectorError> {
        let Some(url) = self.next.take() else { return Ok(None) };
        self.page += 1;
        if self.page > self.request.limits.pages {
            return Err(self.too_large(self.request.limits.pages, "pages"));
        }
        if self.page > 1 && !self.request.limits.delay.is_zero() {
            tokio::time::sleep(self.request.limits.delay).await;
        }
        let (headers, mut answer) = self.answer(&url).await?;
        let found = answer.pointer_mut(&self.request.items).map(Value::take);
        let Some(Value::Array(items)) = found else {
            let what = if found.is_some() { "no array" } else { "nothing" };
            let reason = format!("there is {what} at `{}`", self.request.items);
            return Err(ConnectorError::Document { url: shown(&url), reason });
        };
        self.rows += items.len() as u64;
        if self.rows > self.request.limits.rows {
            return Err(self.too_large(self.request.limits.rows, "items"));
        }
        self.check_new(&url, &items)?;
        let position = Position { page: self.page, rows: self.rows, items: items.len(), url: &url };
        self.next = self.pager.next(&position, &headers, &answer)?;
        Ok(Some(items))
    }

    /// A server that does not know the paging parameter gives the same page for ever.
    fn check_new(&mut self, url: &Url, items: &[Value]) -> Result<(), ConnectorError> {
        if items.is_empty() {
            return Ok(());
        }
        let encoded =
            serde_json::to_vec(items).map_err(|error| ConnectorError::Encoding { reason: error.to_string() })?;
        let digest = Digest::of(&encoded);
        if self.last.replace(digest) == Some(digest) {
            let reason = "it has the same items as the page before it".to_owned();
            return Err(ConnectorError::Paging { page: self.page, url: shown(url), reason });
        }
        Ok(())
    }

    fn too_large(&self, limit: u64, unit: &'static str) -> ConnectorError {
        ConnectorError::TooLarge { what: format!("`{}`", shown(self.pager.first())), limit, unit }
    }

    async fn answer(&self, url: &Url) -> Result<(HeaderMap, Value), ConnectorError> {
        let limits = &self.request.limits;
        let mut pauses = Pauses::new(limits.attempts, limits.retry_pause, &*self.ambient, &self.options);
        loop {
            match self.try_answer(url).await {
                Ok((headers, bytes)) => {
                    let parsed = tokio::task::spawn_blocking(move || serde_json::from_slice(&bytes)).await?;
                    let wrong = |error: serde_json::Error| ConnectorError::Document {
                        url: shown(url),
                        reason: format!("it is not JSON: {error}"),
                    };
                    return Ok((headers, parsed.map_err(wrong)?));
                }
                Err(failure) => pauses.wait(failure).await?,
            }
        }
    }

    async fn try_answer(&self, url: &Url) -> Result<(HeaderMap, Vec<u8>), Failure> {
        let accept = [(ACCEPT, WireValue::from_static("application/json"))].into_iter().collect();
        let mut response = self.http.get(url, &accept).await?;
        let headers = response.headers().clone();
        let mut bytes = Vec::new();
        let torn = |error: reqwest::Error| Failure::Again {
            reason: chain(&error.without_url()),
            after: None,
            url: shown(url),
        };
        while let Some(chunk) = response.chunk().await.map_err(torn)? {
            if (bytes.len() + chunk.len()) as u64 > self.request.limits.page_bytes {
                let what = format!("page {} of `{}`", self.page, shown(url));
                let limit = self.request.limits.page_bytes;
                return Err(ConnectorError::TooLarge { what, limit, unit: "bytes" }.into());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok((headers, bytes))
    }
}
