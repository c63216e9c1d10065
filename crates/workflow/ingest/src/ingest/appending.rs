use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef};
use ropewalk_connectors::{Note, is_same_database, redacted};
use ropewalk_store::{Blob, Store};
use ropewalk_types::Digest;

use super::again::tell_unknown;
use super::quarantine::Misfit;
use super::schema::TableSchema;
use super::widen::stored_type;
use super::writing::WrittenTable;
use crate::report::{CURSOR_COLUMN, Origin};
use crate::{IngestError, IngestProgress, TableReport, parts, quarantine, report, table_schema};

/// The version that new parts are added to.
pub(crate) struct Previous {
    tree: Digest,
    bytes: u64,
    name: String,
    pub(crate) schema: SchemaRef,
    pub(crate) report: TableReport,
    parts: Vec<Blob>,
    misfits: Vec<Misfit>,
}

impl Previous {
    /// Reads what has to be known of the version `tree`; none when there is none.
    pub(crate) async fn open(tree: Option<&Digest>, store: &Store) -> Result<Option<Self>, IngestError> {
        let Some(tree) = tree else { return Ok(None) };
        let report = report(store, tree).await?;
        let schema = table_schema(store, tree).await?;
        let parts = parts(store, tree).await?.into_iter().map(|(digest, size)| Blob { digest, size }).collect();
        let damaged = || IngestError::Damaged {
            what: "quarantine of dataset",
            digest: *tree,
            reason: "a column is missing".to_owned(),
        };
        let mut misfits = Vec::new();
        for batch in quarantine(store, tree).await? {
            misfits.extend(misfits_of(&batch).ok_or_else(damaged)?);
        }
        let bytes = version_bytes(store, tree).await?;
        Ok(Some(Self { tree: *tree, bytes, name: format!("version {}", tree.short()), schema, report, parts, misfits }))
    }

    /// The version itself: its digest, the bytes of its files and its report.
    pub(crate) fn into_version(self) -> (Digest, u64, TableReport) {
        (self.tree, self.bytes, self.report)
    }

    /// What errors call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The largest value of the cursor column that it holds; none when it was read without a cursor, so that nothing
    /// says which rows it lacks.
    ///
    /// # Errors
    /// When it was read from another database than `url`, or up to a value of another column: rows after that value
    /// would be too many or too few.
    pub(crate) fn cursor(&self, url: &str, column: &str) -> Result<Option<&str>, IngestError> {
        let Some(origin) = &self.report.origin else { return Ok(None) };
        let Some(cursor) = origin.cursor.as_deref() else { return Ok(None) };
        let latest = origin.imports.last();
        let known = latest.and_then(|import| import.facts.get(CURSOR_COLUMN));
        let place = latest.map(|import| import.location.as_str()).unwrap_or_default();
        let reason = match known {
            None => "it does not say by which column it was read".to_owned(),
            Some(known) if known != column => {
                format!("it was read up to a value of `{known}`, and the cursor is `{column}` now")
            }
            Some(_) if !is_same_database(place, url) => {
                format!("it was read from `{place}`, and the source is `{}` now", redacted(url))
            }
            Some(_) => return Ok(Some(cursor)),
        };
        let reason = format!("rows cannot be added to {}: {reason}; ingest everything anew", self.name);
        Err(IngestError::Settings { reason })
    }

    /// Says those `notes` that it does not hold: what a read that found nothing new has to say goes into no report.
    pub(crate) fn tell_unknown(&self, notes: &[Note], progress: &dyn IngestProgress) {
        let notes = notes.iter().map(|note| (note.column.as_deref(), note.text.as_str()));
        tell_unknown(&self.report, notes, progress);
    }

    /// The columns that are text.
    pub(crate) fn text_columns(&self) -> BTreeSet<String> {
        let text = self.schema.fields().iter().filter(|field| *field.data_type() == DataType::Utf8);
        text.map(|field| field.name().clone()).collect()
    }

    /// The columns, but those of `known`, to which `schema` gives another type than its parts have.
    pub(crate) fn typed_otherwise(&self, schema: &SchemaRef, known: &BTreeSet<String>) -> BTreeSet<String> {
        let differs = |field: &&Arc<Field>| {
            let before = self.schema.field_with_name(field.name());
            before.is_ok_and(|before| *before.data_type() != stored_type(field.data_type()))
        };
        let names = schema.fields().iter().filter(differs).map(|field| field.name().clone());
        names.filter(|name| !known.contains(name)).collect()
    }

    /// An error when its parts do not have the columns of `schema`: they are not written again.
    pub(crate) fn check(&self, schema: &TableSchema) -> Result<(), IngestError> {
        if self.report.kept_files.is_some() {
            let reason = format!("{} is one of files, to which rows cannot be added", self.name);
            return Err(IngestError::Settings { reason });
        }
        for column in &schema.columns {
            let reason = match self.schema.field_with_name(&column.name) {
                Err(_) => format!("column `{}` is new", column.name),
                Ok(field) if *field.data_type() != column.data_type => {
                    format!("column `{}` was {} and would be {}", column.name, field.data_type(), column.data_type)
                }
                Ok(_) => continue,
            };
            let reason = format!("rows cannot be added to {}: {reason}; ingest everything anew", self.name);
            return Err(IngestError::Settings { reason });
        }
        Ok(())
    }

    /// Its parts, then the new ones, and one report of both.
    pub(crate) fn append(self, new: WrittenTable, limit: u64) -> Result<WrittenTable, IngestError> {
        let mut report = self.report;
        let self_notes = report.notes.clone();
        for column in &mut report.columns {
            let Some(added) = new.report.columns.iter().find(|added| added.name == column.name) else { continue };
            column.nulls += added.nulls;
            column.misfits += added.misfits;
            column.notes.retain(|note| !Note::is_cursorless(note));
            for note in &added.notes {
                if !column.notes.contains(note) {
                    column.notes.push(note.clone());
                }
            }
        }
        report.rows += new.report.rows;
        report.quarantined += new.report.quarantined;
        report.empty_rows += new.report.empty_rows;
        report.error_cells += new.report.error_cells;
        report.files.extend(new.report.files);
        report.notes.extend(new.report.notes.into_iter().filter(|note| !self_notes.contains(note)));
        report.skipped.extend(new.report.skipped);
        report.origin = origins(report.origin, new.report.origin);
        let parts = [self.parts, new.parts].concat();
        let misfits = [self.misfits, new.misfits].concat();
        match misfits.last() {
            Some(last) if report.quarantined > limit => {
                Err(IngestError::QuarantineFull { limit, file: last.file.clone(), example: last.to_string() })
            }
            _ => Ok(WrittenTable { parts, misfits, report }),
        }
    }
}

async fn version_bytes(store: &Store, tree: &Digest) -> Result<u64, IngestError> {
    let files = store.tree_files(tree).await?;
    Ok(files.iter().map(|file| file.size).sum())
}

fn origins(before: Option<Origin>, new: Option<Origin>) -> Option<Origin> {
    match (before, new) {
        (Some(before), Some(new)) => {
            let imports = [before.imports, new.imports].concat();
            Some(Origin { imports, cursor: new.cursor.or(before.cursor) })
        }
        (before, new) => new.or(before),
    }
}

fn misfits_of(batch: &RecordBatch) -> Option<Vec<Misfit>> {
    let text = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    let (file, sheet, column, value, reason) =
        (text("file")?, text("sheet")?, text("column")?, text("text")?, text("reason")?);
    let row = Arc::clone(batch.column_by_name("row")?);
    let row = row.as_primitive_opt::<Int64Type>()?;
    let optional =
        |array: &arrow::array::StringArray, place| array.is_valid(place).then(|| array.value(place).to_owned());
    let misfit = |place| Misfit {
        file: file.value(place).to_owned(),
        sheet: optional(sheet, place),
        row: row.value(place).cast_unsigned(),
        column: optional(column, place),
        text: optional(value, place),
        reason: reason.value(place).to_owned(),
    };
    Some((0..batch.num_rows()).map(misfit).collect())
}
