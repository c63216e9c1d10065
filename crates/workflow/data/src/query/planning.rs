use std::path::Path;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use ropewalk_ingest::ScannedFile;
use ropewalk_store::Store;

use super::{QueryTables, ReadFiles, TableSource};
use crate::DataError;
use crate::sql::{
    FilesTable, Joins, PartsTable, Room, TableMention, mentions, parse, refuse_volatile, refused, session,
    statement_plan,
};

/// What a SELECT may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refuse {
    /// Write.
    Writing,
    /// Write, or give another answer at the next run.
    Changing,
}

/// One SELECT that was understood.
pub(crate) struct Planned {
    /// Its logical plan; it can be run in any session.
    pub(crate) plan: LogicalPlan,
    /// The files that it reads.
    pub(crate) files: ReadFiles,
}

/// Understands one SELECT.
pub(crate) async fn planned(
    sql: &str,
    tables: &QueryTables,
    store: &Store,
    room: Room<'_>,
    refuse: Refuse,
) -> Result<Planned, DataError> {
    let translation = room.translation();
    let statement = parse(sql, translation)?;
    let session = session(room.order, room.memory_limit, room.scratch, Joins::Hash)?;
    let mut files = ReadFiles::default();
    for mention in mentions(&statement)? {
        let name = mention.identifier();
        // What is not there is the planner's to tell, with its place in the text.
        let Some(table) = provider(&session, &mention, &name, tables, store, room, &mut files).await? else { continue };
        let registered = session.register_table(TableReference::bare(name), table);
        registered.map_err(|error| translation.error(&error))?;
    }
    let plan = statement_plan(&session, statement, translation).await?;
    if refuse == Refuse::Changing {
        refuse_volatile(&plan, translation)?;
    }
    Ok(Planned { plan, files })
}

fn named(path: &Path) -> ScannedFile {
    ScannedFile { path: path.to_owned(), name: path.display().to_string() }
}

async fn provider(
    session: &SessionContext,
    mention: &TableMention,
    name: &str,
    tables: &QueryTables,
    store: &Store,
    room: Room<'_>,
    files: &mut ReadFiles,
) -> Result<Option<Arc<dyn TableProvider>>, DataError> {
    if let TableMention::File { path } = mention {
        let Some(access) = tables.file_access() else {
            return Err(refused(format!("it may not read the file `{path}`: only datasets can be named here")));
        };
        let (located, left_out) = access.locate(path).await?;
        files.left_out.extend(left_out);
        return files.open(session, located, room).await.map(Some);
    }
    let table: Arc<dyn TableProvider> = match tables.get(name) {
        None => return Ok(None),
        Some(TableSource::Version(tree)) => Arc::new(PartsTable::open(store, tree, room.order).await?),
        Some(TableSource::Batches { schema, batches }) => {
            let table = MemTable::try_new(Arc::clone(schema), vec![batches.clone()]);
            Arc::new(table.map_err(|error| room.translation().error(&error))?)
        }
        Some(TableSource::Files { format, paths, schema }) => {
            if paths.is_empty() && schema.is_none() {
                return Ok(None);
            }
            let named: Vec<_> = paths.iter().map(|path| named(path)).collect();
            Arc::new(FilesTable::open(session, *format, &named, schema.clone(), room.order).await?)
        }
    };
    Ok(Some(table))
}
