//! Loads an endpoint of the Open Inference Protocol and counts what it answers: `ropewalk bench serve`.
//!
//! [`Endpoint::request`] reads the model's metadata, makes up a request and sees whether it is answered; [`load`] sends it
//! from several clients at once and tells throughput, latency and errors. With a rate, latency counts from the moment at which a
//! request was due, not from when a client was free to send it: a server that stalls cannot hide what waited meanwhile
//! ("coordinated omission"). This crate prints nothing.

mod endpoint;
mod error;
mod running;
mod tensors;

pub use endpoint::{Endpoint, LoadRequest, Transport};
pub use error::LoadError;
pub use running::{Latency, LoadPlan, LoadReport, load};
