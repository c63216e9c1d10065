use std::time::Duration;

/// How much of a client's bytes is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScoringLimits {
    /// Bytes of one request.
    pub body_bytes: usize,
    /// How long the body of a request may take to arrive.
    pub body_time: Duration,
    /// Rows of one table.
    pub rows: usize,
    /// Columns of one table.
    pub columns: usize,
    /// Cells of one table, and bytes of the texts in it: a Parquet file of some kilobytes may hold any number of them.
    pub cells: usize,
    /// Bytes of a Parquet file without its compression, as its pages say it. Its footer may become half as many.
    pub parquet_bytes: usize,
    /// Bytes that all tables may take at once, by what their bodies may become; past that, 503.
    pub table_bytes: usize,
    /// Requests that are read, answered or written at the same time; past that, 503.
    pub requests: usize,
}

impl Default for ScoringLimits {
    fn default() -> Self {
        Self {
            body_bytes: 16 << 20,
            body_time: Duration::from_secs(30),
            rows: 1 << 20,
            columns: 1 << 14,
            cells: 16 << 20,
            parquet_bytes: 256 << 20,
            table_bytes: 2 << 30,
            requests: 1024,
        }
    }
}
