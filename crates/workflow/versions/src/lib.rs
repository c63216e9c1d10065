//! Box "version control": which code a run ran, and which bytes a dataset had.
//!
//! *Code*: the project file and every file that its stages name are kept in the store as a tree, so that they can be
//! read again whether or not a commit holds them; where git knows better, the commit is the name.
//!
//! *Data*: a tracked dataset is a file or a folder of the project. Git keeps one small text file beside it, the
//! [`Pointer`]; the bytes lie in the store. A [`Version`] is an object of the store that names a tree and its parents,
//! and `datasets/NAME/…` are the refs (see `history.rs`), so that history needs no catalogue and travels with the data.
//! What lies in the work tree is remembered in an index (see `index.rs`), so that [`Workspace::status`] reads metadata
//! only. Every operation can be killed at any point and run again; the pointer is always written last.
//!
//! What must never happen here:
//! - A repository of git is changed: this crate only asks git, and writes pointers and lines of `.gitignore`.
//! - A file with changes that no version holds is overwritten or removed unless that was asked for.
//! - A ref of another store is moved to something that does not descend from what it held.
//! - Anything is printed, or an environment variable read, or a socket opened.

mod code;
mod diff;
mod discovery;
mod error;
mod examine;
mod git;
mod history;
mod import;
mod index;
mod merge;
mod pointer;
mod remote;
mod roots;
mod selection;
mod trail;
mod version;
mod work;
mod workspace;

pub use code::{CodePatch, CodeState, code_of_commit, code_state};
pub use diff::{ChangedFile, Diff, MovedFile, SizedFile};
pub use error::{LostHead, LostVersion, NotWhole, NumberedVersion, Unfit, UnfitFact, VersionsError, is_of_content};
pub use examine::{Examined, NeededVersion, store_examine};
pub use history::{DamagedRef, GiveUp, GivenUp, LetGo, LogEntry, Released, Removal, Resolved};
pub use import::{
    DamagedObject, DvcOpener, DvcRemote, DvcSurroundings, FailedOutput, FileSource, ImportOutcome, ImportPlan,
    Imported, PlannedFile, PlannedOutput, RemoteObject, SkippedOutput,
};
pub use merge::{Conflict, ConflictKind, Prefer};
pub use pointer::{Kind, Links, Pointer, PointerState};
pub use remote::{Fetched, PullOptions, PullTo, Pulled, PushOptions, Pushed, PushedHead, RefusedRemoval, RefusedTag};
pub use roots::{Held, has_removed, store_roots};
pub use selection::Selection;
pub use trail::{Act, Intent, Trail};
pub use version::Version;
pub use workspace::{
    AddLinks, AddRequest, Added, CheckedOut, CheckoutRequest, CommitOutcome, Committed, CommittedEach, Dataset, FileOf,
    FromWorkTree, Holder, Layout, MergeOutcome, MergeRequest, Problem, RemoteOpener, Removed, RemovedVersion,
    RestoreRequest, Restored, Side, Status, StoreOpener, Wanted, Workspace,
};

#[cfg(test)]
mod tests;
