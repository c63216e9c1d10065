//! The crate as its callers use it, on real workbooks that the tests write.

mod dataset;
mod fixture;
mod guards;
mod ingest;
mod oddities;
mod query;
mod transform;
