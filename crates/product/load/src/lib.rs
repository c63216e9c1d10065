//! Loads an endpoint of the Open Inference Protocol and counts what it answers: `ropewalk bench serve`.
//!
//! [`Endpoint::requests`] makes the requests, of the model's metadata, a body or a table, and sees whether the first is
//! answered; [`load`] sends them from several clients at once and tells throughput, latency and errors. With a rate, latency
//! counts from the moment at which a request was due, not only from when a client was free to send it: a server that stalls
//! cannot hide what waited meanwhile ("coordinated omission"). Clients then wait by the kernel's own timers, and how late they
//! were by their own fault is told beside it. This crate prints nothing.

mod address;
mod client;
mod endpoint;
mod error;
mod pacing;
mod report;
mod requests;
mod running;
mod tensors;

pub use endpoint::{Endpoint, EndpointSettings, Transport};
pub use error::LoadError;
pub use report::{Latency, LoadReport};
pub use requests::{Content, LoadRequests};
pub use running::{LoadPlan, load};
