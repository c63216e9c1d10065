use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::Full;
use ropewalk_batch::{ColumnChoice, Mapping, Rounded, TableFile};
use ropewalk_open_inference::proto;
use ropewalk_types::{Signature, TensorSpec};

use crate::{Endpoint, LoadError, tensors};

/// Rows of a table that are read at once.
const BATCH: usize = 4096;
/// Most requests that are made of a table, and most bytes of them; what comes after is left out and told.
const REQUESTS: usize = 100_000;
const BYTES: usize = 256 << 20;

/// What is asked.
#[derive(Clone, Debug)]
pub enum Content {
    /// Rows that are made up of the model's metadata.
    MadeUp {
        /// Of each request.
        rows: usize,
    },
    /// A request as its protocol writes it in JSON.
    Body(String),
    /// The rows of a table, one request after another and from the beginning again.
    Table {
        /// Parquet, CSV, JSON Lines or Arrow IPC, as its name says.
        path: PathBuf,
        /// Of each request; the last one may have less.
        rows: usize,
        /// Which columns are the inputs, as batch scoring finds them.
        choice: ColumnChoice,
    },
}

/// Requests that are sent in turn.
#[derive(Clone, Debug)]
pub struct LoadRequests {
    requests: Vec<LoadRequest>,
    /// Whether the table has more rows than were taken.
    pub is_cut: bool,
    /// How many values of each column were rounded on their way into the model.
    pub rounded: Rounded,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct LoadRequest {
    /// Rows that it asks for.
    pub(crate) rows: usize,
    pub(crate) body: Body,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Rest(Box<hyper::Request<Full<Bytes>>>),
    Grpc(Box<proto::ModelInferRequest>),
}

impl LoadRequests {
    /// How many different ones there are.
    pub fn count(&self) -> usize {
        self.requests.len()
    }

    /// Request number `number`.
    pub(crate) fn at(&self, number: u64) -> Option<&LoadRequest> {
        let count = self.requests.len() as u64;
        self.requests.get(usize::try_from(number.checked_rem(count)?).ok()?)
    }

    fn of(request: LoadRequest) -> Self {
        Self { requests: vec![request], is_cut: false, rounded: Rounded::new() }
    }
}

impl Endpoint {
    /// Makes the requests. The first is sent once, to see that it is answered.
    ///
    /// # Errors
    /// Nobody answers, or with a refusal; the body or the table cannot be read, or its columns are not the model's.
    pub async fn requests(&self, content: Content) -> Result<LoadRequests, LoadError> {
        let requests = match content {
            Content::MadeUp { rows } => {
                LoadRequests::of(self.request_of(&tensors::made_up(&self.inputs().await?, rows)?)?)
            }
            Content::Body(body) => LoadRequests::of(self.request_written(&body)?),
            Content::Table { path, rows, choice } => {
                let (inputs, endpoint) = (self.inputs().await?, self.clone());
                let read = tokio::task::spawn_blocking(move || of_table(&endpoint, inputs, &path, rows, &choice));
                read.await.map_err(|error| unreadable(error.to_string()))??
            }
        };
        match requests.requests.first() {
            Some(first) => self.asked(first).await?,
            None => return Err(unreadable("the table has no row".to_owned())),
        }
        Ok(requests)
    }
}

fn of_table(
    endpoint: &Endpoint,
    inputs: Vec<TensorSpec>,
    path: &Path,
    rows: usize,
    choice: &ColumnChoice,
) -> Result<LoadRequests, LoadError> {
    let table = TableFile::open(path)?;
    let mapping = Mapping::new(&Signature { inputs, outputs: Vec::new() }, &*table.schema()?, choice)?;
    let mut made = LoadRequests { requests: Vec::new(), is_cut: false, rounded: Rounded::new() };
    let (rows, mut first, mut bytes) = (rows.max(1), 1, 0);
    // Several requests at once, so that only the last of the table has fewer rows.
    for batch in table.batches(rows * BATCH.div_ceil(rows))? {
        let batch = batch?;
        for begin in (0..batch.num_rows()).step_by(rows) {
            if made.requests.len() >= REQUESTS || bytes >= BYTES {
                made.is_cut = true;
                return Ok(made);
            }
            let part = batch.slice(begin, rows.min(batch.num_rows() - begin));
            let tensors = mapping.tensors(&part, first, &mut made.rounded)?;
            first += part.num_rows() as u64;
            let request = endpoint.request_of(&tensors)?;
            bytes += request.body.bytes();
            made.requests.push(request);
        }
    }
    Ok(made)
}

impl Body {
    fn bytes(&self) -> usize {
        match self {
            Self::Rest(request) => hyper::body::Body::size_hint(request.body()).lower() as usize,
            Self::Grpc(message) => message.raw_input_contents.iter().map(Bytes::len).sum(),
        }
    }
}

fn unreadable(reason: String) -> LoadError {
    LoadError::Unreadable { what: "the request", reason }
}

#[cfg(test)]
mod tests;
