/// How much a [`ModelHost`](crate::ModelHost) does at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostLimits {
    /// Requests that are evaluated at the same time.
    pub concurrency: usize,
    /// Requests that may wait for their turn; past that, [`ServingError::Overloaded`](crate::ServingError::Overloaded).
    pub waiting: usize,
    /// Rows of one request.
    pub rows: usize,
}

impl HostLimits {
    /// Limits for a machine of `cores` cores: one evaluation on each, 256 requests waiting for it.
    pub fn for_cores(cores: usize) -> Self {
        let cores = cores.max(1);
        Self { concurrency: cores, waiting: cores * 256, rows: 1 << 20 }
    }
}
