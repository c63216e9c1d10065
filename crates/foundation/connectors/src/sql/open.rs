use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::TryStreamExt as _;
use ropewalk_types::Ambient;

use crate::cell::Cell;
use crate::table::{BatchSender, MisfitCounter, TableBuilder, stream_of};
use crate::{ConnectorError, Note, PartitionSource, Provenance, Table};

use super::SqlRequest;
use super::bound::{bound, has_t, mixes_forms};
use super::dialect::{Comparable, Dialect};
use super::plan::{Axis, Condition, Statement, Wrapped, comparable, cuts};
use super::source::{Described, Source};

/// Opens `query`, whatever the database.
pub(super) async fn open<S: Source>(
    source: S,
    query: &str,
    request: &SqlRequest,
    ambient: &dyn Ambient,
) -> Result<Table, ConnectorError> {
    let mut connection = source.connect().await?;
    let version = source.version(&mut connection).await?;
    let columns = source.describe(&mut connection, query).await?;
    check_names(&columns)?;
    let (shared, snapshot) = source.share(&mut connection).await?;
    let listed = listed::<S>(&columns);
    let wrapped = Wrapped { dialect: S::DIALECT, query, columns: &listed };
    let mut asked =
        Asked { source: &source, connection: &mut connection, wrapped, columns: &columns, notes: Vec::new() };
    let window = asked.window(request).await?;
    let statements = asked.statements(request, window.as_ref()).await?;
    let mut notes = notes(&columns);
    notes.append(&mut asked.notes);

    let mut provenance = Provenance::new(source.location().to_owned(), ambient.now());
    provenance.query = Some(request.query.clone());
    provenance.fact("server", Some(version));
    provenance.fact("snapshot", snapshot);
    let cursor = window.map(|window| window.upper.or(window.after)).unwrap_or_default();
    let reading = Reading {
        source: shared,
        schema: schema(&columns),
        kinds: columns.into_iter().map(|column| column.kind).collect(),
        batch_rows: request.batch_rows,
        counter: MisfitCounter::new(request.misfits, source.location()),
        // The snapshot that partitions share lives as long as the transaction that exported it.
        held: Arc::new(Mutex::new(connection)),
    };
    let schema = SchemaRef::clone(&reading.schema);
    let partitions = statements.into_iter().enumerate().map(|(index, statement)| {
        let reading = reading.clone();
        let description = statement.description.clone();
        PartitionSource::new(index, description, move || stream_of(|sender| reading.run(statement, sender)))
    });
    Ok(Table { schema, notes, partitions: partitions.collect(), cursor, provenance })
}

fn check_names<K>(columns: &[Described<K>]) -> Result<(), ConnectorError> {
    if columns.is_empty() {
        return Err(ConnectorError::Refused { reason: "it gives no columns".to_owned() });
    }
    let mut seen = HashSet::new();
    for Described { name, .. } in columns {
        let reason = match name.as_str() {
            "" | "?column?" => "the query gives this column no name: write `AS` and one",
            name if !seen.insert(name) => "the query gives two columns this name: write `AS` and another",
            _ => continue,
        };
        return Err(ConnectorError::Column { column: name.clone(), reason: reason.to_owned() });
    }
    Ok(())
}

/// The columns as a wrapping statement lists them.
fn listed<S: Source>(columns: &[Described<S::Kind>]) -> String {
    let columns = columns.iter().map(|column| {
        let name = S::DIALECT.quoted(&column.name);
        if column.as_text { format!("{name}::text AS {name}") } else { name }
    });
    columns.collect::<Vec<_>>().join(", ")
}

fn schema<K>(columns: &[Described<K>]) -> SchemaRef {
    let fields: Vec<_> =
        columns.iter().map(|column| Field::new(&column.name, column.data_type.clone(), true)).collect();
    Arc::new(Schema::new(fields))
}

fn notes<K>(columns: &[Described<K>]) -> Vec<Note> {
    let notes = columns
        .iter()
        .filter_map(|column| column.note.clone().map(|text| Note { column: Some(column.name.clone()), text }));
    notes.collect()
}

/// The rows that an incremental read covers.
struct Window<'r> {
    axis: Axis<'r>,
    after: Option<String>,
    /// The greatest value there was when the read began; none when there is no new row.
    upper: Option<String>,
}

impl Window<'_> {
    fn condition(&self, mut condition: Condition) -> Condition {
        if let Some(after) = &self.after {
            condition.compare(self.axis, ">", after);
        }
        if let Some(upper) = &self.upper {
            condition.compare(self.axis, "<=", upper);
        }
        condition
    }
}

/// What is asked of the database before its rows are.
struct Asked<'a, S: Source> {
    source: &'a S,
    connection: &'a mut S::Connection,
    wrapped: Wrapped<'a>,
    columns: &'a [Described<S::Kind>],
    notes: Vec<Note>,
}

impl<S: Source> Asked<'_, S> {
    async fn window<'r>(&mut self, request: &'r SqlRequest) -> Result<Option<Window<'r>>, ConnectorError> {
        let Some(cursor) = &request.cursor else { return Ok(None) };
        let (index, axis) = self.axis(&cursor.column)?;
        let mut window = Window { axis, after: cursor.after.clone(), upper: None };
        let extremes = self.extremes(index, axis, window.condition(Condition::new(S::DIALECT))).await?;
        window.upper = extremes.greatest?;
        if let Some(upper) = &window.upper {
            // Text sorts above the numbers that a column of SQLite may hold too.
            let least =
                if axis.kind == Comparable::Text { extremes.least? } else { extremes.least.unwrap_or_default() };
            one_form::<S>(axis, window.after.as_deref(), least.as_deref(), upper)?;
            self.check_equal(axis, upper).await?;
        }
        if matches!(axis.kind, Comparable::Date | Comparable::Timestamp | Comparable::TimestampUtc) {
            let text = "the cursor: rows that come later with a value that was read already are never read".to_owned();
            self.notes.push(Note { column: Some(cursor.column.clone()), text });
        }
        let nulls = self.number(self.wrapped.nulls(axis)).await?;
        if nulls > 0 {
            self.notes.push(Note::cursorless(&cursor.column, nulls));
        }
        Ok(Some(window))
    }

    /// An error when the database does not find `value`, which it has just told, by its text: it would lose rows.
    async fn check_equal(&mut self, axis: Axis<'_>, value: &str) -> Result<(), ConnectorError> {
        if self.first_row(self.wrapped.equal(axis, value)).await?.is_some() {
            return Ok(());
        }
        let reason =
            format!("the database has `{value}` in it, but does not find that by its text; cast it in the query");
        Err(ConnectorError::Column { column: axis.name.to_owned(), reason })
    }

    async fn statements(
        &mut self,
        request: &SqlRequest,
        window: Option<&Window<'_>>,
    ) -> Result<Vec<Statement>, ConnectorError> {
        let shared = || {
            let mut condition = Condition::new(S::DIALECT);
            if let Some(window) = window {
                condition = window.condition(condition);
                if window.upper.is_none() {
                    condition.nothing();
                }
            }
            condition
        };
        let Some(partition) = &request.partition else {
            if window.is_none() && !self.columns.iter().any(|column| column.as_text) {
                // As it was written, so that its order is kept.
                let sql = self.wrapped.query.to_owned();
                return Ok(vec![Statement { sql, parameters: Vec::new(), description: "all rows".to_owned() }]);
            }
            return Ok(vec![self.wrapped.select(self.wrapped.columns, shared(), "all rows".to_owned())]);
        };
        let (index, axis) = self.axis(&partition.column)?;
        let (mut lower, mut upper) = (partition.lower.clone(), partition.upper.clone());
        if lower.is_none() || upper.is_none() {
            let Extremes { least, greatest } = self.extremes(index, axis, shared()).await?;
            lower = if lower.is_some() { lower } else { least? };
            upper = if upper.is_some() { upper } else { greatest? };
        }
        let cuts = match (lower, upper) {
            (Some(lower), Some(upper)) => cuts(axis, S::DIALECT, &lower, &upper, partition.count)?,
            // No row has a value.
            _ => Vec::new(),
        };
        Ok(self.wrapped.parts(axis, &cuts, shared))
    }

    fn axis<'r>(&self, name: &'r str) -> Result<(usize, Axis<'r>), ConnectorError> {
        let wrong = |reason: String| ConnectorError::Column { column: name.to_owned(), reason };
        let found = self.columns.iter().enumerate().find(|(_, column)| column.name == name);
        let (index, column) = found.ok_or_else(|| {
            let names: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
            wrong(format!("the query does not give it; it gives {}", names.join(", ")))
        })?;
        let ordered = !column.as_text && S::has_order(&column.kind);
        let kind = if ordered { comparable(&column.data_type, S::is_decimal(&column.kind)) } else { None };
        let kind = kind.ok_or_else(|| wrong(format!("its type, {}, has no order to read by", type_name(column))))?;
        Ok((index, Axis { name, kind }))
    }

    async fn extremes(
        &mut self,
        index: usize,
        axis: Axis<'_>,
        condition: Condition,
    ) -> Result<Extremes, ConnectorError> {
        let statement = self.wrapped.extremes(axis, condition);
        let kind = self.columns.get(index).map(|column| S::bound_kind(&column.kind));
        let Some(kind) = kind else { return Ok(Extremes { least: Ok(None), greatest: Ok(None) }) };
        let row = self.row(statement).await?;
        let value = |at: usize| {
            let found = bound(&S::cell(&row, at, &kind), axis.kind, S::DIALECT);
            found.map_err(|reason| ConnectorError::Column { column: axis.name.to_owned(), reason })
        };
        Ok(Extremes { least: value(0), greatest: value(1) })
    }

    async fn number(&mut self, statement: Statement) -> Result<u64, ConnectorError> {
        let row = self.row(statement).await?;
        Ok(match S::cell(&row, 0, &S::count_kind()) {
            Cell::Integer(number) => u64::try_from(number).unwrap_or_default(),
            _ => 0,
        })
    }

    async fn row(&mut self, statement: Statement) -> Result<S::Row, ConnectorError> {
        let row = self.first_row(statement).await?;
        row.ok_or_else(|| self.source.failed("asking for bounds")(sqlx::Error::RowNotFound))
    }

    async fn first_row(&mut self, statement: Statement) -> Result<Option<S::Row>, ConnectorError> {
        let mut rows = S::rows(self.connection, statement.sql, statement.parameters);
        let row = rows.try_next().await.map_err(self.source.failed("asking for bounds"))?;
        // Read to its end, so that the connection is free again.
        while rows.try_next().await.map_err(self.source.failed("asking for bounds"))?.is_some() {}
        Ok(row)
    }
}

/// The least and the greatest value of a column, or why one of them is no bound; none where no row has a value.
struct Extremes {
    least: Result<Option<String>, ConnectorError>,
    greatest: Result<Option<String>, ConnectorError>,
}

/// An error when SQLite, which compares moments as text, would not compare these by time.
fn one_form<S: Source>(
    axis: Axis<'_>,
    after: Option<&str>,
    least: Option<&str>,
    greatest: &str,
) -> Result<(), ConnectorError> {
    if S::DIALECT != Dialect::Sqlite || axis.kind != Comparable::Timestamp {
        return Ok(());
    }
    let least = least.unwrap_or(greatest);
    // After texts with a blank, those with a `T` are greater; the other way round they would never be read.
    let earlier =
        after.filter(|after| has_t(after)).filter(|after| mixes_forms(after, least) || mixes_forms(after, greatest));
    let other = if mixes_forms(least, greatest) { Some(least) } else { earlier };
    let Some(other) = other else { return Ok(()) };
    let reason = format!(
        "`{other}` and `{greatest}` are written in two ways, and SQLite compares them as text; write them in one way in \
         the query, as `datetime({})` does",
        S::DIALECT.quoted(axis.name)
    );
    Err(ConnectorError::Column { column: axis.name.to_owned(), reason })
}

fn type_name<K>(column: &Described<K>) -> String {
    match (&column.data_type, column.as_text) {
        (_, true) => "one that is cast to text".to_owned(),
        (DataType::Boolean, _) => "true and false".to_owned(),
        (other, _) => other.to_string(),
    }
}

/// What every partition needs to be read.
struct Reading<S: Source> {
    source: S,
    schema: SchemaRef,
    kinds: Arc<[S::Kind]>,
    batch_rows: usize,
    counter: MisfitCounter,
    held: Arc<Mutex<S::Connection>>,
}

impl<S: Source> Clone for Reading<S> {
    fn clone(&self) -> Self {
        Self {
            source: self.source.clone(),
            schema: SchemaRef::clone(&self.schema),
            kinds: Arc::clone(&self.kinds),
            batch_rows: self.batch_rows,
            counter: self.counter.clone(),
            held: Arc::clone(&self.held),
        }
    }
}

impl<S: Source> Reading<S> {
    async fn run(self, statement: Statement, sender: BatchSender) -> Result<(), ConnectorError> {
        let mut connection = self.source.connect().await?;
        let mut builder = TableBuilder::new(&self.schema, self.batch_rows, self.counter.clone())?;
        {
            let mut rows = S::rows(&mut connection, statement.sql, statement.parameters);
            while let Some(row) = rows.try_next().await.map_err(self.source.failed("reading rows"))? {
                builder.push(self.kinds.iter().enumerate().map(|(index, kind)| S::cell(&row, index, kind)))?;
                drop(row);
                if !builder.send_full(&sender).await? {
                    return Ok(());
                }
            }
        }
        builder.send_rest(&sender).await?;
        S::close(connection).await;
        // The last partition ends the transaction that they share.
        if let Some(held) = Arc::into_inner(self.held) {
            S::close(held.into_inner().unwrap_or_else(PoisonError::into_inner)).await;
        }
        Ok(())
    }
}
