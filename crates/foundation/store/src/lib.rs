//! The content-addressed store, and the one door to the local disk.
//!
//! A *blob* is named by the BLAKE3 digest of its bytes. It is cut into *chunks* by its content, so that a changed
//! gigabyte costs its changed chunks; a blob of one chunk is that chunk, and a *recipe* lists the chunks of a larger
//! one. Chunks and recipes, compressed where it pays, lie in *packs*; an *index object* makes what lies in a pack
//! visible, and is written only after the pack is durable. A *tree* names the files of a directory. A *ref* is the only
//! thing that changes, by compare-and-swap.
//!
//! ```text
//! format                      what kind of store this is
//! packs/<random id>           RWPK, then pieces without gaps
//! index/<digest>              which pack holds what, and what of that is condemned
//! refs/<name>/@<generation>   what a ref was set to
//! ```
//!
//! It runs on any object store (see `backend.rs` for those that are built in). What must never happen here:
//! - Bytes are given out that were not checked against the digest that was asked for.
//! - Something is visible that is not durable, or half of a commit is.
//! - Memory grows with the size of a file.
//! - This crate knows what its blobs mean, or removes one but by `Store::collect`, which is given all that is to stay.

mod backend;
mod chunk;
mod codec;
mod error;
pub mod files;
#[cfg(fuzzing)]
pub mod fuzzing;
mod index;
mod recipe;
mod reference;
mod store;
mod tree;
mod writer;

#[cfg(test)]
mod testing;

pub use backend::{BackendOptions, object_store_at};
pub use error::StoreError;
pub use files::{FileError, LinkSupport, link_support};
pub use reference::{RefName, RefValue};
pub use store::{
    Amount, Blob, CollectSettings, Collected, Damage, Lacking, LaidOut, LinkMode, NoProgress, RefHistory, Root, Store,
    Swept, TransferProgress, Transferred, TreeFile, Unreadable, Usage, Verified, sweep_leftovers,
};
pub use tree::{Tree, TreeEntry};
pub use writer::{NewFile, Writer};
