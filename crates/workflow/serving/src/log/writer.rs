use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::FutureExt;
use ropewalk_catalog::{Catalog, CatalogError, Connection, query};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::record::EncodedAnswer;
use super::{Counts, LogSettings, LogState};
use crate::Answered;

/// Rows of one INSERT: 9 values each, far below the 32,766 that SQLite binds to one statement.
const ROWS_PER_STATEMENT: usize = 64;
/// Tries to write the last batch of a log that is being closed.
const LAST_TRIES: u32 = 5;
/// The writer of the catalogue is lent for one transaction; a batch of larger text is cut into several.
const TEXT_PER_TRANSACTION: usize = 16 << 20;

/// What the task is told.
#[derive(Debug)]
pub(super) enum Message {
    /// Write this; the permit is given back when it is written.
    Record(Box<Answered>, OwnedSemaphorePermit),
    /// Answer when everything before this is written.
    Flush(oneshot::Sender<()>),
    /// Write what came before this and end.
    Close,
}

/// The task that writes records in groups.
pub(super) struct Writer {
    catalog: Catalog,
    settings: LogSettings,
    messages: mpsc::Receiver<Message>,
    state: watch::Sender<LogState>,
    counts: Arc<Counts>,
    closing: bool,
    /// Tries that a batch gets once the log is being closed.
    last_tries: u32,
}

/// What is written and answered together.
#[derive(Default)]
struct Batch {
    answers: Vec<Answered>,
    permits: Vec<OwnedSemaphorePermit>,
    flushes: Vec<oneshot::Sender<()>>,
}

impl Writer {
    pub(super) fn new(
        catalog: Catalog,
        settings: LogSettings,
        messages: mpsc::Receiver<Message>,
        state: watch::Sender<LogState>,
        counts: Arc<Counts>,
    ) -> Self {
        let settings = LogSettings { batch: settings.batch.max(1), ..settings };
        Self { catalog, settings, messages, state, counts, closing: false, last_tries: LAST_TRIES }
    }

    /// Ends when it is told to close or when the last handle of the log is dropped, after all that waits is written.
    pub(super) async fn run(mut self) {
        let mut lost = None;
        while let Some(batch) = self.gather().await {
            if let Err((records, problem)) = self.store(batch).await {
                let before = lost.map_or(0, |(before, _)| before);
                lost = Some((before + records, problem));
                self.last_tries = 1;
            }
        }
        self.state.send_replace(match lost {
            None => LogState::Closed,
            Some((records, problem)) => LogState::Lost { records, problem },
        });
    }

    /// The next batch; none when the log is closed and empty.
    async fn gather(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
        let mut arrived = Vec::new();
        let mut deadline = None;
        while batch.answers.len() < self.settings.batch && batch.flushes.is_empty() {
            let room = self.settings.batch - batch.answers.len();
            let receive = self.messages.recv_many(&mut arrived, room);
            let count = match deadline {
                None => receive.await,
                Some(deadline) => timeout_at(deadline, receive).await.unwrap_or(0),
            };
            if count == 0 {
                break;
            }
            self.sort(&mut arrived, &mut batch);
            deadline = deadline.or(Some(Instant::now() + self.settings.linger)).filter(|_| !self.closing);
        }
        (!batch.answers.is_empty() || !batch.flushes.is_empty()).then_some(batch)
    }

    fn sort(&mut self, arrived: &mut Vec<Message>, batch: &mut Batch) {
        for message in arrived.drain(..) {
            match message {
                Message::Record(answer, permit) => {
                    batch.answers.push(*answer);
                    batch.permits.push(permit);
                }
                Message::Flush(done) => batch.flushes.push(done),
                Message::Close => {
                    self.closing = true;
                    self.messages.close();
                }
            }
        }
    }

    /// Writes a batch, however often it has to be tried. Once the log is being closed it gives up after a few tries
    /// and tells how many records are lost.
    async fn store(&self, batch: Batch) -> Result<(), (usize, String)> {
        let answers = batch.answers;
        let count = answers.len();
        // The text of a batch can be megabytes, so it is not made on the reactor.
        let encode = move || answers.into_iter().map(Answered::encode).collect::<Vec<_>>();
        let encoded = tokio::task::spawn_blocking(encode).await;
        let mut rest = encoded.map_err(|problem| (count, format!("they could not be encoded: {problem}")))?;
        while !rest.is_empty() {
            let tail = rest.split_off(transaction_length(&rest));
            let rows = Arc::new(std::mem::replace(&mut rest, tail));
            if let Err(problem) = self.insert_until_done(&rows).await {
                return Err((rows.len() + rest.len(), problem));
            }
            self.counts.logged.fetch_add(rows.len() as u64, Ordering::AcqRel);
        }
        self.state.send_if_modified(|state| std::mem::replace(state, LogState::Working) != LogState::Working);
        for flush in batch.flushes {
            // Whoever asked may have gone away.
            let _ = flush.send(());
        }
        Ok(())
    }

    async fn insert_until_done(&self, rows: &Arc<Vec<EncodedAnswer>>) -> Result<(), String> {
        let mut last_tries = 0;
        while let Err(problem) = insert(&self.catalog, Arc::clone(rows)).await {
            let problem = problem.to_string();
            last_tries += u32::from(self.closing || self.messages.is_closed());
            if last_tries >= self.last_tries {
                return Err(problem);
            }
            self.state.send_replace(LogState::Broken { problem });
            sleep(self.settings.retry).await;
        }
        Ok(())
    }
}

/// How many of `rows`, at least one, go into one transaction.
fn transaction_length(rows: &[EncodedAnswer]) -> usize {
    let mut text = 0_usize;
    let fitting = rows.iter().take_while(|row| {
        text = text.saturating_add(row.inputs.len() + row.outputs.len());
        text <= TEXT_PER_TRANSACTION
    });
    fitting.count().max(1)
}

/// One transaction. It may be tried again after a commit whose outcome is unknown, so a known id is no error.
async fn insert(catalog: &Catalog, rows: Arc<Vec<EncodedAnswer>>) -> Result<(), CatalogError> {
    catalog.write(move |connection| async move { insert_rows(connection, &rows).await }.boxed()).await
}

async fn insert_rows(connection: &mut Connection, rows: &[EncodedAnswer]) -> Result<(), CatalogError> {
    for rows in rows.chunks(ROWS_PER_STATEMENT) {
        let mut query = query(insert_text(rows.len()));
        for row in rows {
            query = query
                .bind(row.prediction.to_string())
                .bind(row.request.as_deref())
                .bind(row.model.as_str())
                .bind(row.version as i64)
                .bind(row.prediction.millis())
                .bind(row.latency_us as i64)
                .bind(row.rows as i64)
                .bind(row.inputs.as_str())
                .bind(row.outputs.as_str());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

fn insert_text(rows: usize) -> String {
    let columns = "id, request_id, model, version, at, latency_us, rows, inputs, outputs";
    let mut text = format!("INSERT INTO prediction ({columns}) VALUES ");
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=9 {
            // Writing to a String never fails.
            let _ = write!(text, "{}${}", if column == 1 { "" } else { ", " }, row * 9 + column);
        }
        text.push(')');
    }
    text.push_str(" ON CONFLICT (id) DO NOTHING");
    text
}

#[cfg(test)]
mod tests {
    use super::insert_text;

    #[test]
    fn every_value_has_its_own_number() {
        let text = insert_text(2);
        assert!(text.contains("($1, $2, $3, $4, $5, $6, $7, $8, $9), ($10, "), "{text}");
        assert!(text.ends_with("$18) ON CONFLICT (id) DO NOTHING"), "{text}");
    }
}
