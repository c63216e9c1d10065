//! Tables of databases, document stores and JSON APIs: every partition is a part and a checkpoint.

mod partition;
mod widening;

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use ropewalk_connectors::{Note, SqlRequest, Table, json_api_open, mongo_open, sql_open};
use ropewalk_store::Blob;
use ropewalk_types::Digest;
use serde_json::json;

use self::partition::{PartitionJob, ReadPartition};
use self::widening::{ROUNDS, is_guessed, misfitting, told_again, told_before, widen};
use super::again::tell;
use super::appending::Previous;
use super::schema::{FileColumns, TableSchema};
use super::writing::{WrittenTable, columns_report};
use super::{Ingested, SourceFile, Work};
use crate::report::{CURSOR_COLUMN, FileReport, Import, Origin, READ_BEFORE, REPORT_FORMAT};
use crate::{IngestError, Network, Source, TableReport};

/// The fact of an import that names the state of the database that was read.
const SNAPSHOT: &str = "snapshot";

impl Work<'_> {
    /// Reads a table of a foreign system. With a cursor and a previous version that was read by it, what is new is added
    /// to that version, and nothing new gives it again; otherwise everything is read.
    ///
    /// Types that were guessed from a beginning may turn out wrong: then everything is read once more, and all rows
    /// decide the columns that they were wrong for, until no other column turns out so.
    pub(super) async fn connected(self, network: &Network) -> Result<Ingested, IngestError> {
        let mut source = self.settings.source.clone();
        if let Source::Sql(request) = &mut source {
            request.type_tolerance = self.settings.type_tolerance;
        }
        let mut previous = None;
        if let Source::Sql(request) = &mut source
            && let Some(cursor) = &mut request.cursor
        {
            let found = Previous::open(self.settings.previous.as_ref(), self.store).await?;
            if let Some(found) = found
                && let Some(after) = found.cursor(&request.url, &cursor.column)?.map(str::to_owned)
            {
                cursor.after = Some(after);
                request.text = found.text_columns();
                previous = Some(found);
            }
        }
        let (guessed, mut wide, mut rounds) = (is_guessed(&source), BTreeSet::new(), 0);
        let read = loop {
            let told = (guessed && rounds < ROUNDS).then_some(&wide);
            let asked = Asked { source: &source, previous: previous.as_ref(), network, wide: told };
            match self.read(asked).await? {
                Read::Whole(read) => break *read,
                Read::Misfits { columns, keys, why } => {
                    self.progress.noted(&why);
                    self.forget(&keys).await?;
                    wide.extend(columns);
                    widen(&mut source, wide.clone());
                    rounds += 1;
                }
            }
        };
        for note in read.notes.iter().filter(|note| Note::is_cursorless(&note.text)) {
            tell(note.column.as_deref(), &note.text, self.progress);
        }
        if read.import.rows == Some(0)
            && let Some(previous) = &previous
        {
            previous.tell_unknown(&read.notes, self.progress);
        }
        self.finish(read, previous).await
    }

    async fn read(self, asked: Asked<'_>) -> Result<Read, IngestError> {
        let table = table_open(asked.source, asked.network).await?;
        if let (Some(wide), Some(previous)) = (asked.wide, asked.previous) {
            let columns = previous.typed_otherwise(&table.schema, wide);
            if !columns.is_empty() {
                let why = told_before(&columns, previous.name());
                return Ok(Read::Misfits { columns, keys: Vec::new(), why });
            }
        }
        let name = table.provenance.location.clone();
        let typed = std::iter::once((name.as_str(), FileColumns::Typed(&table.schema)));
        let mut schema = self.unite(typed, asked.previous)?;
        for note in &table.notes {
            match schema.columns.iter_mut().find(|column| Some(&column.name) == note.column.as_ref()) {
                Some(column) => column.notes.push(note.text.clone()),
                None => schema.notes.push(note.text.clone()),
            }
        }
        self.partitions(table, schema, asked).await
    }

    async fn partitions(self, table: Table, schema: TableSchema, asked: Asked<'_>) -> Result<Read, IngestError> {
        let Asked { source, network, .. } = asked;
        let Table { partitions, cursor, provenance, notes, .. } = table;
        self.progress.files_found(partitions.len());
        let count = partitions.len();
        let previous = self.settings.previous.map(|digest| digest.to_string());
        let identity = json!({
            "kind": "partition",
            "request": request_digest(source)?.to_string(),
            // Which rows there were when the read began: a part of an earlier read lacks those that came since.
            "cursor": cursor,
            "count": count,
            "previous": previous,
            "schema": format!("{:?}", schema.arrow().fields()),
        });
        let job = PartitionJob { work: self, schema: schema.into(), identity, network: network.clone() };
        let keys: Vec<Digest> = partitions.iter().map(|partition| job.key(partition)).collect();
        let works: Vec<_> = partitions.into_iter().map(|partition| job.clone().read(partition)).collect();
        let parts: Result<Vec<ReadPartition>, _> =
            stream::iter(works).buffered(self.settings.parallelism.get()).try_collect().await;
        let misfits = asked.wide.and_then(|wide| misfitting(&parts, &job.schema, asked.previous, self.settings, wide));
        if let Some(columns) = misfits {
            let why = told_again(&columns);
            return Ok(Read::Misfits { columns, keys, why });
        }
        let parts = parts?;
        let rows = parts.iter().map(|part| part.written.outcome.rows + part.written.outcome.quarantined).sum();
        let digests: Vec<_> = parts.iter().map(|part| part.written.digest.to_string()).collect();
        let digest = Digest::of_json(&json!(digests));
        let (query, mut facts) = (provenance.query, provenance.facts);
        if let Source::Sql(SqlRequest { cursor: Some(cursor), .. }) = source {
            facts.insert(CURSOR_COLUMN.to_owned(), cursor.column.clone());
        }
        let mut schema = job.schema.as_ref().clone();
        let reused = parts.iter().filter(|part| part.reused).count();
        if reused > 0 {
            // It is not that of all parts.
            facts.remove(SNAPSHOT);
            facts.insert(READ_BEFORE.to_owned(), reused.to_string());
            schema.notes.push(format!(
                "{reused} of {count} parts were read by an earlier run that was cut off: what changed in the source \
                 between the two is in some parts only"
            ));
        }
        // A partition that an earlier run finished was asked for earlier.
        let retrieved_at = parts.iter().map(|part| part.retrieved_at).min().unwrap_or(provenance.retrieved_at);
        let import =
            Import { location: provenance.location, retrieved_at, query, file: None, rows: Some(rows), digest, facts };
        Ok(Read::Whole(Box::new(ReadTable { schema, parts, import, cursor, notes })))
    }

    /// What was read under `keys` does not count for the next import.
    async fn forget(self, keys: &[Digest]) -> Result<(), IngestError> {
        let forgotten = self.store.put_bytes(bytes::Bytes::from_static(partition::FORGOTTEN)).await?;
        for key in keys {
            self.checkpoints.put(key, &forgotten.digest).await?;
        }
        Ok(())
    }

    async fn finish(self, read: ReadTable, previous: Option<Previous>) -> Result<Ingested, IngestError> {
        let keys: Vec<Digest> = read.parts.iter().map(|part| part.key).collect();
        let reused_pieces = read.parts.iter().filter(|part| part.reused).count();
        let executed_pieces = read.parts.len() - reused_pieces;
        let Import { location, digest, .. } = &read.import;
        let source = SourceFile { path: location.into(), digest: *digest, size: 0, files: Vec::new() };
        let made = match (read.import.rows, previous) {
            (Some(0), Some(previous)) => Ok(previous.into_version()),
            (_, previous) => self.publish(read.written(), previous).await,
        };
        // The next import asks again: what is kept of this one is in the version, or not wanted.
        if matches!(made, Ok(_) | Err(IngestError::MostlyQuarantined { .. })) {
            self.forget(&keys).await?;
        }
        let (tree, bytes, report) = made?;
        Ok(Ingested { tree, report, bytes, source, reused_pieces, executed_pieces, tags: BTreeMap::new() })
    }
}

/// What is read of a foreign system, and what is known before.
#[derive(Clone, Copy)]
struct Asked<'a> {
    source: &'a Source,
    previous: Option<&'a Previous>,
    network: &'a Network,
    /// The columns that all rows decide already; none where types are declared, so that they cannot turn out wrong.
    wide: Option<&'a BTreeSet<String>>,
}

/// What came of reading a table.
enum Read {
    Whole(Box<ReadTable>),
    /// The types of these columns, none of which all rows decide already, were guessed wrong.
    Misfits {
        columns: BTreeSet<String>,
        /// The checkpoints that hold what was read so.
        keys: Vec<Digest>,
        /// What there is to say of it.
        why: String,
    },
}

/// What tells this request from others, without what it may hold of secrets.
fn request_digest(source: &Source) -> Result<Digest, IngestError> {
    Ok(match source {
        Source::Sql(request) => request.digest(),
        Source::Documents(request) => request.digest(),
        Source::JsonApi(request) => request.digest(),
        Source::Files(_) | Source::Remote(_) => return Err(no_table()),
    })
}

fn no_table() -> IngestError {
    IngestError::Settings { reason: "files are no table of a database".to_owned() }
}

async fn table_open(source: &Source, network: &Network) -> Result<Table, IngestError> {
    let (options, ambient) = (&network.options, &network.ambient);
    Ok(match source {
        Source::Sql(request) => sql_open(request, options, ambient.as_ref()).await?,
        Source::Documents(request) => mongo_open(request, options, ambient.as_ref()).await?,
        Source::JsonApi(request) => json_api_open(request, options, ambient.clone()).await?,
        Source::Files(_) | Source::Remote(_) => return Err(no_table()),
    })
}

/// What was read of a table, in its partitions.
struct ReadTable {
    schema: TableSchema,
    parts: Vec<ReadPartition>,
    import: Import,
    cursor: Option<String>,
    /// What the source has to say.
    notes: Vec<Note>,
}

impl ReadTable {
    fn written(mut self) -> WrittenTable {
        let outcomes: Vec<_> = self.parts.iter().map(|part| &part.written.outcome).collect();
        let files = self.parts.iter().map(|part| FileReport {
            name: part.name.clone(),
            digest: part.written.digest,
            sheet: None,
            delimiter: None,
            encoding: None,
            rows: part.written.outcome.rows,
            quarantined: part.written.outcome.quarantined,
            missing_columns: Vec::new(),
            notes: Vec::new(),
        });
        let report = TableReport {
            format: REPORT_FORMAT,
            rows: outcomes.iter().map(|outcome| outcome.rows).sum(),
            columns: columns_report(&self.schema, &outcomes),
            files: files.collect(),
            skipped: Vec::new(),
            quarantined: outcomes.iter().map(|outcome| outcome.quarantined).sum(),
            empty_rows: 0,
            error_cells: 0,
            notes: std::mem::take(&mut self.schema.notes),
            kept_files: None,
            origin: Some(Origin { imports: vec![self.import], cursor: self.cursor }),
        };
        // A part without rows is of use only when there is no other.
        let filled = self.parts.iter().any(|part| part.written.outcome.rows > 0);
        let kept = self.parts.iter().filter(|part| !filled || part.written.outcome.rows > 0);
        let parts: Vec<Blob> = kept.map(|part| part.written.blob()).collect();
        let misfits = self.parts.into_iter().flat_map(|part| part.written.outcome.quarantine).collect();
        WrittenTable { parts, misfits, report }
    }
}
