//! The engine from outside: answers of the real onnxruntime, damaged models, wrong requests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod damage;
mod embedded;
mod ensembles;
mod foreign;
mod golden;
mod integers;
mod lowered;
mod record;
mod requests;
mod specification;
mod stump;
mod zoo;
