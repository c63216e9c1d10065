//! The crate as its callers use it, on real files that the tests write.

mod archives;
mod changed;
mod connected;
#[cfg(target_os = "linux")]
mod descriptors;
mod fixture;
mod folders;
mod formats;
mod guards;
mod ingest;
mod json;
mod media;
#[cfg(target_os = "linux")]
mod memory;
mod oddities;
mod received;
mod scan;
mod sheets;
mod workbooks;
