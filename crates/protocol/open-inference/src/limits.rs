use std::time::Duration;

/// How much of a client's bytes is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolLimits {
    /// Bytes of one request, after decompression, and of one gRPC message in either direction.
    pub message_bytes: usize,
    /// How long the body of an HTTP request may take to arrive.
    pub body_time: Duration,
    /// HTTP inference requests that are read, answered or written at the same time; past that, 503.
    pub requests: usize,
    /// Bytes that the bodies of HTTP requests and the messages of gRPC take together once they are decompressed; past
    /// that, 503 and UNAVAILABLE. Those that come as they are are counted by who listens.
    pub memory_bytes: usize,
}

impl Default for ProtocolLimits {
    fn default() -> Self {
        Self { message_bytes: 16 << 20, body_time: Duration::from_secs(30), requests: 1024, memory_bytes: 256 << 20 }
    }
}
