use std::sync::atomic::{AtomicU32, Ordering};

use arrow::array::{AsArray as _, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::TimestampMicrosecondType;
use futures::TryStreamExt as _;
use ropewalk_connectors::{ConnectionOptions, ConnectorError, Misfit, SqlRequest, Table, sql_open};
use ropewalk_types::ManualAmbient;

/// The URL of a test server.
pub(crate) fn server(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run the tests by `cargo xtask test`, which starts the servers")
    })
}

/// A table name that no other test of this or another run has.
pub(crate) fn fresh(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) async fn open(request: &SqlRequest) -> Result<Table, ConnectorError> {
    sql_open(request, &ConnectionOptions::default(), &ManualAmbient::default()).await
}

/// All rows of all partitions, in their order.
pub(crate) async fn rows(table: Table) -> Result<(RecordBatch, Vec<Misfit>), ConnectorError> {
    let (mut batches, mut misfits) = (Vec::new(), Vec::new());
    for partition in table.partitions {
        let mut stream = partition.open();
        while let Some(batch) = stream.try_next().await? {
            batches.push(batch.records);
            misfits.extend(batch.misfits);
        }
    }
    Ok((concat_batches(&table.schema, &batches).unwrap(), misfits))
}

pub(crate) async fn read(request: &SqlRequest) -> Result<(RecordBatch, Vec<Misfit>), ConnectorError> {
    rows(open(request).await?).await
}

/// One value, as Arrow writes it.
pub(crate) fn shown(batch: &RecordBatch, column: &str, row: usize) -> String {
    let array = batch.column_by_name(column).unwrap_or_else(|| panic!("no column `{column}`"));
    // Without its zone, which is UTC: to write that takes a feature of Arrow that this crate does not need.
    if let Some(moments) = array.as_primitive_opt::<TimestampMicrosecondType>() {
        let moments = moments.clone().with_timezone_opt(None::<&str>);
        return arrow::util::display::array_value_to_string(&moments, row).unwrap();
    }
    arrow::util::display::array_value_to_string(array, row).unwrap()
}

pub(crate) fn column(batch: &RecordBatch, name: &str) -> Vec<String> {
    (0..batch.num_rows()).map(|row| shown(batch, name, row)).collect()
}

pub(crate) fn types(batch: &RecordBatch) -> Vec<String> {
    batch.schema().fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect()
}
