use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::prelude::SessionContext;
use ropewalk_ingest::{
    Content, FileScan, IngestSettings, ScannedFile, Source, TableFormat as FileFormat, blocking, file_check, scan,
};

use super::files::Located;
use crate::DataError;
use crate::sql::{FilesTable, Order, Room, ScanTable, TableFormat};

/// The files on disk that one SELECT names.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadFiles {
    scans: Vec<Arc<FileScan>>,
    typed: Vec<(FileFormat, ScannedFile)>,
    /// What is to be said of files that fit a pattern and are not read.
    pub(crate) left_out: Vec<String>,
}

impl ReadFiles {
    /// Opens files as a table.
    pub(crate) async fn open(
        &mut self,
        session: &SessionContext,
        located: Located,
        room: Room<'_>,
    ) -> Result<Arc<dyn TableProvider>, DataError> {
        match located {
            Located::Scanned(files) => {
                let mut settings = IngestSettings::new(Source::Files(Vec::new()), room.scratch);
                settings.content = Content::Tables;
                if let Order::Free(parallelism) = room.order {
                    settings.parallelism = parallelism;
                }
                let scan = Arc::new(scan(&files, &settings).await?);
                self.scans.push(Arc::clone(&scan));
                Ok(Arc::new(ScanTable::new(scan, room.order)))
            }
            Located::Typed(format, files) => {
                let opened = FilesTable::open(session, format, &files, None, room.order).await;
                let format = match format {
                    TableFormat::Parquet => FileFormat::Parquet,
                    TableFormat::Arrow => FileFormat::Arrow,
                };
                self.typed.extend(files.into_iter().map(|file| (format, file)));
                match opened {
                    Ok(table) => Ok(Arc::new(table)),
                    Err(error) => Err(self.damage().await.unwrap_or(error)),
                }
            }
        }
    }

    /// The error, or a better one: which of the files it is that cannot be read, and what is wrong with it.
    ///
    /// Parquet and Arrow files are read by operators that do not tell which one failed, so all are read once more.
    pub(crate) async fn explained(&self, error: DataError) -> DataError {
        match error {
            DataError::Reading(_) => self.damage().await.unwrap_or(error),
            other => other,
        }
    }

    /// What is wrong with the first of the files that cannot be read.
    async fn damage(&self) -> Option<DataError> {
        for (format, file) in &self.typed {
            let (format, file) = (*format, file.clone());
            let checked: Result<(), DataError> = blocking(move || Ok(file_check(&file, format)?)).await;
            if let Err(error) = checked {
                return Some(error);
            }
        }
        None
    }

    /// What a reader of the answer should know: what was left out of it, and why.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.left_out.iter().cloned().chain(self.scans.iter().flat_map(|scan| scan.notes())).collect()
    }
}
