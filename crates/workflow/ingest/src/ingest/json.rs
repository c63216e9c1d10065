//! JSON files: their records, the types of their columns, and their rows as Arrow batches.

mod reading;
mod records;
mod seed;
mod shape;

pub(crate) use reading::{JsonBatch, JsonFile, JsonReject, JsonSink, JsonSummary};
pub(crate) use shape::{Conflict, Shape};
