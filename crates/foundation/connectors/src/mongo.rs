//! Collections of MongoDB as tables.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use futures::TryStreamExt as _;
use futures::future::BoxFuture;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::{ClientOptions, Tls};
use mongodb::{Client, Collection, Cursor};
use ropewalk_types::{Ambient, Digest};
use serde_json::json;

use crate::cell::Cell;
use crate::document::{Columns, SAMPLE_BYTES, infer};
use crate::table::{BatchSender, MisfitCounter, TableBuilder, stream_of};
use crate::{ConnectionOptions, ConnectorError, MisfitPolicy, PartitionSource, Provenance, Table, redacted};

/// What an engineer must know before relying on this source: which server it was tested against, and which not.
pub const MONGODB_TESTED_AGAINST: &str = "tested against SecantusDB 0.7, another server of MongoDB's wire protocol (one \
     node, SCRAM-SHA-256), not against MongoDB's own, which is in no registry that the tests install from";

/// The option that holds the password when the URL has none.
const PASSWORD: &str = "DATABASE_PASSWORD";

/// Which documents to read.
#[derive(Clone, PartialEq)]
pub struct MongoRequest {
    /// `mongodb://` or `mongodb+srv://`, in MongoDB's own connection string format.
    pub url: String,
    /// The URL as it is written, where values of the environment are part of `url`: a value that changes from hour to
    /// hour must not make another source of it. What an import that was cut off has received is found by it; by `url`
    /// where it is not given.
    pub known_as: Option<String>,
    /// The database; that of the URL when it is not given.
    pub database: Option<String>,
    /// The collection.
    pub collection: String,
    /// Which documents, in extended JSON (v2); all when it is not given.
    pub filter: Option<String>,
    /// Which fields, in extended JSON (v2); all when it is not given.
    pub projection: Option<String>,
    /// From how many documents the columns are inferred; from fewer when they are large.
    pub sample_documents: usize,
    /// Columns of which all documents are looked at before any is read, not the first alone.
    pub inferred_whole: BTreeSet<String>,
    /// Rows of a batch, at most.
    pub batch_rows: usize,
    /// What to do about values and fields that the sample did not show.
    pub misfits: MisfitPolicy,
    /// What relative paths of certificates in the URL are relative to; the folder of the process when it is empty.
    pub directory: PathBuf,
    /// How long a connection may take.
    pub connect_timeout: Duration,
}

impl MongoRequest {
    /// All documents of `collection`.
    pub fn new(url: impl Into<String>, collection: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            known_as: None,
            database: None,
            collection: collection.into(),
            filter: None,
            projection: None,
            sample_documents: 1000,
            inferred_whole: BTreeSet::new(),
            batch_rows: 16_384,
            misfits: MisfitPolicy::default(),
            directory: PathBuf::new(),
            connect_timeout: Duration::from_secs(30),
        }
    }

    /// Digest of all that decides which rows come and how; of the URL too, which cannot be had back from it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of_json(&json!({
            "url": self.known_as.as_ref().unwrap_or(&self.url),
            "database": self.database,
            "query": described(self),
            "sample": self.sample_documents,
            "misfits": format!("{:?}", self.misfits),
        }))
    }
}

/// Opens the documents of a collection as rows: fields are columns, documents inside them structs, arrays lists.
///
/// The columns are those of the first documents; what comes later and does not fit is a misfit, but for the columns of
/// [`MongoRequest::inferred_whole`]. Object ids, UUIDs,
/// regular expressions, JavaScript and decimals become text, dates timestamps in UTC, internal timestamps structs.
/// Values of several types in one place are kept as JSON, what JSON lacks in the form of Extended JSON.
/// See [`MONGODB_TESTED_AGAINST`].
///
/// # Errors
/// When the server cannot be reached, refuses, or no document has a field.
pub fn mongo_open<'a>(
    request: &'a MongoRequest,
    options: &'a ConnectionOptions,
    ambient: &'a dyn Ambient,
) -> BoxFuture<'a, Result<Table, ConnectorError>> {
    Box::pin(async move {
        let location = redacted(&request.url);
        let mut provenance = Provenance::new(location.clone(), ambient.now());
        provenance.query = Some(described(request));
        let collection = collection(request, options, &location).await?;
        let wide = request.inferred_whole.clone();
        let whole =
            if wide.is_empty() { None } else { Some(Box::pin(columns_of_all(request, &collection, &location)).await?) };
        let mut cursor = find(request, &collection, &location).await?;
        let (mut sample, mut bytes) = (Vec::new(), 0);
        while sample.len() < request.sample_documents.max(1) && bytes < SAMPLE_BYTES {
            let Some(document) = cursor.try_next().await.map_err(failed(&location, "reading the sample"))? else {
                break;
            };
            bytes += document_cell(&document).weight();
            sample.push(document);
        }
        if sample.is_empty() {
            return Err(nothing(&collection, location).await);
        }
        let place = location.clone();
        // Not on the reactor: it looks at every value of the sample.
        let inferring = tokio::task::spawn_blocking(move || {
            let cells: Vec<_> = sample.iter().map(document_cell).collect();
            let inferred = infer(&cells, whole.map(|whole| (whole, &wide)), &place);
            drop(cells);
            inferred.map(|inferred| (inferred, sample))
        });
        let (inferred, sample) = inferring.await??;
        let counter = MisfitCounter::new(request.misfits, &location);
        let builder = TableBuilder::new(&inferred.schema, request.batch_rows, counter)?;
        let open = move || stream_of(|sender| read(cursor, sample, builder, location, sender));
        Ok(Table {
            schema: inferred.schema,
            notes: inferred.notes,
            partitions: vec![PartitionSource::new(0, "all documents", open)],
            cursor: None,
            provenance,
        })
    })
}

async fn collection(
    request: &MongoRequest,
    options: &ConnectionOptions,
    location: &str,
) -> Result<Collection<Document>, ConnectorError> {
    let wrong = |reason: String| ConnectorError::url(location, reason);
    let parsed = ClientOptions::parse(&request.url).await;
    // The driver's own text may quote the connection string.
    let mut client =
        parsed.map_err(|_| wrong("it is no connection string of MongoDB, or its host is unknown".to_owned()))?;
    client.connect_timeout = Some(request.connect_timeout);
    client.server_selection_timeout = Some(request.connect_timeout);
    client.app_name = Some("ropewalk".to_owned());
    if let Some(Tls::Enabled(tls)) = &mut client.tls {
        for path in [&mut tls.ca_file_path, &mut tls.cert_key_file_path] {
            *path = path.take().map(|path| request.directory.join(path));
        }
    }
    if let Some(credential) = client.credential.as_mut().filter(|credential| credential.password.is_none()) {
        credential.password = options.get(PASSWORD).map(str::to_owned);
    }
    let database = request.database.clone().or_else(|| client.default_database.clone());
    let database = database.ok_or_else(|| wrong("neither it nor the request names a database".to_owned()))?;
    let client = Client::with_options(client).map_err(failed(location, "preparing the connection"))?;
    Ok(client.database(&database).collection(&request.collection))
}

async fn find(
    request: &MongoRequest,
    collection: &Collection<Document>,
    location: &str,
) -> Result<Cursor<Document>, ConnectorError> {
    let filter = extended_json("filter", request.filter.as_deref())?.unwrap_or_default();
    let projection = extended_json("projection", request.projection.as_deref())?;
    let mut find = collection.find(filter);
    if let Some(projection) = projection {
        find = find.projection(projection);
    }
    find.await.map_err(failed(location, "finding documents"))
}

/// What all documents show of their columns; none of them is kept.
async fn columns_of_all(
    request: &MongoRequest,
    collection: &Collection<Document>,
    location: &str,
) -> Result<Columns, ConnectorError> {
    let mut cursor = find(request, collection, location).await?;
    let mut columns = Columns::default();
    while let Some(document) = cursor.try_next().await.map_err(failed(location, "looking at all documents"))? {
        columns.add(&document_cell(&document));
    }
    Ok(columns)
}

/// Why no document came: to the server, a collection that is not there is an empty one.
async fn nothing(collection: &Collection<Document>, location: String) -> ConnectorError {
    let (space, name) = (collection.namespace(), collection.name());
    let database = collection.client().database(&space.db);
    let known = database.list_collection_names().filter(doc! { "name": name }).await;
    // Who may read a collection need not be allowed to list them.
    let reason = match known {
        Ok(names) if names.is_empty() => format!("the database `{}` has no collection `{name}`", space.db),
        _ => format!("no document of the collection `{name}` matches, so nothing says which columns there are"),
    };
    ConnectorError::Document { url: location, reason }
}

async fn read(
    mut cursor: Cursor<Document>,
    sample: Vec<Document>,
    mut builder: TableBuilder,
    location: String,
    sender: BatchSender,
) -> Result<(), ConnectorError> {
    for document in &sample {
        builder.push_document(document_cell(document))?;
        if !builder.send_full(&sender).await? {
            return Ok(());
        }
    }
    drop(sample);
    while let Some(document) = cursor.try_next().await.map_err(failed(&location, "reading documents"))? {
        builder.push_document(document_cell(&document))?;
        if !builder.send_full(&sender).await? {
            return Ok(());
        }
    }
    builder.send_rest(&sender).await
}

fn failed(location: &str, doing: &'static str) -> impl FnOnce(mongodb::error::Error) -> ConnectorError {
    let location = location.to_owned();
    move |error| {
        let reason = error.kind.to_string();
        match *error.kind {
            ErrorKind::Authentication { .. }
            | ErrorKind::ServerSelection { .. }
            | ErrorKind::DnsResolve { .. }
            | ErrorKind::InvalidTlsConfig { .. }
            | ErrorKind::IncompatibleServer { .. } => ConnectorError::Connect { location, reason },
            _ => ConnectorError::Query { location, doing, reason },
        }
    }
}

fn extended_json(what: &str, text: Option<&str>) -> Result<Option<Document>, ConnectorError> {
    let parsed = text.map(serde_json::from_str).transpose();
    parsed.map_err(|error| ConnectorError::Request { what: format!("the {what}"), reason: error.to_string() })
}

fn described(request: &MongoRequest) -> String {
    let query = json!({
        "collection": request.collection,
        "filter": request.filter,
        "projection": request.projection,
    });
    query.to_string()
}

fn document_cell(document: &Document) -> Cell<'_> {
    Cell::Struct(document.iter().map(|(name, value)| (Cow::Borrowed(name.as_str()), cell(value))).collect())
}

fn cell(value: &Bson) -> Cell<'_> {
    match value {
        Bson::Null | Bson::Undefined => Cell::Null,
        Bson::Boolean(value) => Cell::Boolean(*value),
        Bson::Int32(value) => Cell::Integer((*value).into()),
        Bson::Int64(value) => Cell::Integer(*value),
        Bson::Double(value) => Cell::Float(*value),
        Bson::String(text) | Bson::Symbol(text) | Bson::JavaScriptCode(text) => Cell::Text(text.into()),
        Bson::Document(document) => document_cell(document),
        Bson::Array(items) => Cell::List(items.iter().map(cell).collect()),
        Bson::ObjectId(id) => Cell::text(id.to_hex()),
        Bson::DateTime(moment) => match moment.timestamp_millis().checked_mul(1000) {
            Some(micros) => Cell::Timestamp(micros),
            None => Cell::Misfit(moment.timestamp_millis().to_string().into(), "no timestamp is so far away"),
        },
        // Its text may have an exponent: it is kept as it is.
        Bson::Decimal128(number) => Cell::Decimal(number.to_string().into()),
        Bson::Binary(binary) if binary.subtype == BinarySubtype::Uuid => match uuid::Uuid::from_slice(&binary.bytes) {
            Ok(uuid) => Cell::text(uuid.hyphenated().to_string()),
            Err(_) => Cell::malformed(&binary.bytes),
        },
        Bson::Binary(binary) => Cell::Binary(binary.bytes.as_slice().into(), binary.subtype.into()),
        Bson::Timestamp(stamp) => Cell::Struct(vec![
            ("t".into(), Cell::Integer(stamp.time.into())),
            ("i".into(), Cell::Integer(stamp.increment.into())),
        ]),
        Bson::RegularExpression(regex) => Cell::text(regex.to_string()),
        Bson::JavaScriptCodeWithScope(code) => Cell::text(code.to_string()),
        Bson::MinKey => Cell::Misfit("MinKey".into(), "it is a bound and no value"),
        Bson::MaxKey => Cell::Misfit("MaxKey".into(), "it is a bound and no value"),
        Bson::DbPointer(pointer) => Cell::text(format!("{pointer:?}")),
    }
}

#[cfg(test)]
mod tests;
