/// How much a [`ModelHost`](crate::ModelHost) does at once, over all its models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostLimits {
    /// Threads on which models are evaluated that have none of their own.
    pub concurrency: usize,
    /// Requests inside the host beyond those; past that, [`ServingError::HostFull`](crate::ServingError::HostFull).
    pub waiting: usize,
    /// Rows of one request.
    pub rows: usize,
    /// Bytes of the inputs of all requests inside the host.
    pub bytes: u64,
}

impl HostLimits {
    /// Limits for a machine of `cores` cores: one evaluation on each, 8192 requests and 1 GiB of tensors inside.
    pub fn for_cores(cores: usize) -> Self {
        Self { concurrency: cores.max(1), waiting: 8192, rows: 1 << 20, bytes: 1 << 30 }
    }
}
