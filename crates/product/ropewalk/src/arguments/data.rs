use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use ropewalk_data::AuditHead;
use ropewalk_store::LinkMode;
use ropewalk_types::DatasetName;
use ropewalk_versions::AddLinks;

use super::DataSpec;

#[derive(Clone, Debug, Args)]
pub(crate) struct Verify {
    /// Read the store of this remote again, not that of the project
    #[arg(long, value_name = "REMOTE")]
    pub(crate) remote: Option<String>,
    /// Heal what is damaged or missing: of the project's store from the work tree and from this remote, or the only one; of
    /// a remote, without a value, from this project and its other remotes
    #[arg(long, value_name = "REMOTE", num_args = 0..=1, default_missing_value = "")]
    pub(crate) heal: Option<String>,
    /// Let go of refs to versions that nobody has, and of code of runs: heads go back, tags and tips go
    #[arg(long, requires = "heal")]
    pub(crate) give_up: bool,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Data {
    /// List every version of every dataset
    Ls,
    /// Show columns, where the rows came from, source files and quarantined rows of one version
    Show {
        /// The dataset, as NAME or NAME@VERSION
        dataset: DataSpec,
    },
    /// Begin to track a file or folder, or take in what changed in it
    Add(AddArguments),
    /// Say what changed in tracked files since they were added or checked out
    Status {
        /// Only these datasets
        names: Vec<DatasetName>,
    },
    /// Make a version of each tracked dataset that changed
    Commit {
        /// Only these datasets
        names: Vec<DatasetName>,
        /// What the version is
        #[arg(long, short)]
        message: String,
        /// Who made it; by default the author that git knows
        #[arg(long)]
        author: Option<String>,
    },
    /// List the versions of a dataset, newest first
    Log {
        /// The dataset
        name: DatasetName,
    },
    /// Compare two versions; or tracked files with what lies in the work tree, a table with the version before its latest
    Diff(Diff),
    /// Lay out a version of a tracked dataset in the work tree
    Checkout(Checkout),
    /// Lay out files again as they were added or checked out
    Restore {
        /// The dataset
        name: DatasetName,
        /// Only files of these paths and patterns, relative to the dataset
        files: Vec<String>,
        /// Also give up files that were added and are in no version, where the `.dataset` file was set back since
        #[arg(long)]
        force: bool,
    },
    /// Give a version of tracked files or of a table a name, or list the names
    Tag(Tag),
    /// Track a dataset no longer; its versions stay. Or, with NAME@VERSION, remove that version of tracked files or of a
    /// table
    Rm(Remove),
    /// Merge two lines of versions file by file, as after a conflict in a `.dataset` file
    Merge(Merge),
    /// Write a file of a version to standard output
    Cat {
        /// The file, as data:NAME@VERSION/PATH; without VERSION that of the `.dataset` file
        file: DataSpec,
    },
    /// Read a source of the project file now, also when it is known already
    Import {
        /// The dataset: a [data.NAME] of the project file
        name: DatasetName,
        /// Read everything anew and start the cursor over, as when the source has got a new column
        #[arg(long)]
        full: bool,
    },
    /// Take over the data of a DVC project
    ImportDvc {
        /// The DVC project's folder
        #[arg(default_value = ".")]
        folder: PathBuf,
        #[command(flatten)]
        links: LinkArguments,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Take over files of Git LFS, which git then no longer tracks
    ImportLfs {
        /// A folder or file, with all that lies in it; by default each topmost folder that holds files of Git LFS and
        /// nothing else of git
        folder: Option<PathBuf>,
        #[command(flatten)]
        links: LinkArguments,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Show types, distributions and the most frequent values of each column
    #[command(group = ArgGroup::new("described").args(["dataset", "file"]).required(true))]
    Describe {
        /// The dataset, as NAME or NAME@VERSION
        dataset: Option<DataSpec>,
        /// A file of the project, or a pattern of several, read as an import would read it
        #[arg(long, short = 'f', value_name = "FILE")]
        file: Option<String>,
    },
    /// Look whether what the project file declares of a dataset holds
    Check {
        /// The dataset, as NAME or NAME@VERSION
        dataset: DataSpec,
    },
    /// Show what a dataset came from and what came from it
    Lineage {
        /// The dataset, as NAME or NAME@VERSION
        dataset: DataSpec,
        /// Only what it came from
        #[arg(long, conflicts_with = "down")]
        up: bool,
        /// Only what came from it
        #[arg(long)]
        down: bool,
    },
    /// Remove from the store what no version, tag, run or model needs
    Gc(Collect),
    /// Read every stored byte again, of this project or of a remote, and name what is damaged or missing, and for whom
    Verify(Verify),
    /// Show what datasets cost in the store
    Du {
        /// Only these datasets
        names: Vec<DatasetName>,
    },
    /// Show who read, wrote, tagged or deleted what
    Audit(Audit),
    /// List versions that are kept longer than their dataset's retention allows, or remove them
    Retention {
        /// Remove them, but those with a tag and those that the work tree holds
        #[arg(long, requires = "reason")]
        remove: bool,
        /// Why, for the audit trail
        #[arg(long, visible_alias = "why")]
        reason: Option<String>,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Remove {
    /// The dataset, as NAME to track it no longer, or NAME@VERSION to remove that version
    pub(crate) dataset: DataSpec,
    /// With NAME: remove the files from the work tree too
    #[arg(long)]
    pub(crate) files: bool,
    /// With NAME: also when files have changes that no version holds
    #[arg(long)]
    pub(crate) force: bool,
    /// With NAME@VERSION: why, for everybody who asks for that version, and for the audit trail
    #[arg(long, visible_alias = "why", conflicts_with_all = ["files", "force"])]
    pub(crate) reason: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Diff {
    /// The dataset or version that is compared, as NAME or NAME@VERSION
    pub(crate) from: DataSpec,
    /// What it is compared with; by default, of tracked files, what lies in the work tree; of a table its latest version,
    /// with the one before it if the first names no version
    pub(crate) to: Option<DataSpec>,
    /// Tables: columns that identify a row, so that changed rows are told from removed and added ones
    #[arg(long, value_delimiter = ',')]
    pub(crate) key: Vec<String>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Checkout {
    /// The dataset, as NAME or NAME@VERSION; by default the version of the `.dataset` file
    pub(crate) dataset: DataSpec,
    /// Leave exactly the files of these paths and patterns, relative to the dataset, in the work tree; the others go from
    /// it, and come back with a checkout without paths
    pub(crate) files: Vec<String>,
    #[command(flatten)]
    pub(crate) laying_out: LayingOut,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct LayingOut {
    /// How files come into the work tree
    #[arg(long, value_enum, default_value_t)]
    pub(crate) link: Link,
    /// Overwrite changes that no version holds
    #[arg(long)]
    pub(crate) force: bool,
}

impl From<Link> for LinkMode {
    fn from(link: Link) -> Self {
        match link {
            Link::Auto => Self::Auto,
            Link::Reflink => Self::Reflink,
            Link::Hardlink => Self::Hardlink,
            Link::Copy => Self::Copy,
        }
    }
}

/// How files come into the work tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Link {
    /// Clones where the file system has them, else read-only hard links for large files, else copies
    #[default]
    Auto,
    /// Clones that share their blocks until one is changed
    Reflink,
    /// Read-only hard links
    Hardlink,
    /// Copies
    Copy,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Tag {
    /// The dataset, as NAME or NAME@VERSION
    pub(crate) dataset: DataSpec,
    /// The tag; without one, the tags are listed
    #[arg(value_name = "TAG", id = "tag")]
    pub(crate) name: Option<String>,
    /// Move the tag if it is at another version
    #[arg(long, requires = "tag", conflicts_with = "delete")]
    pub(crate) r#move: bool,
    /// Remove the tag
    #[arg(long, requires = "tag")]
    pub(crate) delete: bool,
}

#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("prefer").args(["ours", "theirs"]))]
pub(crate) struct Merge {
    /// The dataset; its `.dataset` file may hold git's conflict marks
    pub(crate) name: DatasetName,
    /// The version to merge; by default the other side of the conflict
    pub(crate) version: Option<String>,
    /// Where both changed a file, keep ours
    #[arg(long)]
    pub(crate) ours: bool,
    /// Where both changed a file, take theirs
    #[arg(long)]
    pub(crate) theirs: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Collect {
    /// Collect in this remote instead of in the project's own store
    #[arg(long, value_name = "REMOTE")]
    pub(crate) remote: Option<String>,
    /// Hours that something must have been unneeded; with 0, refused while other commands of this project run, and in a
    /// remote only for when nobody else works with it
    #[arg(long, default_value_t = 24, value_name = "HOURS")]
    pub(crate) grace: u32,
    /// Only say what would go
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Audit {
    /// Only what concerns this dataset
    pub(crate) name: Option<DatasetName>,
    /// Only what this person did
    #[arg(long)]
    pub(crate) who: Option<String>,
    /// How many entries, the newest
    #[arg(long, default_value_t = 100)]
    pub(crate) limit: u32,
    /// Look whether entries follow each other as they were written, and print the newest as NUMBER:DIGEST
    ///
    /// Entries cut off at the end, and a trail written anew as a whole, are seen only with --head.
    #[arg(long)]
    pub(crate) verify: bool,
    /// An entry that was printed before: prove that nothing up to it was changed or cut off
    #[arg(long, value_name = "NUMBER:DIGEST", requires = "verify")]
    pub(crate) head: Option<AuditHead>,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Remote {
    /// Add a remote to the project file
    Add {
        /// Its name
        name: String,
        /// file:PATH, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
        url: String,
    },
    /// List the remotes
    Ls,
    /// Remove a remote from the project file
    Rm {
        /// Its name
        name: String,
    },
}

/// What is tracked.
#[derive(Clone, Debug, Args)]
pub(crate) struct AddArguments {
    /// The file or folder
    pub(crate) path: PathBuf,
    /// Name of the dataset; by default the last part of the path
    #[arg(long)]
    pub(crate) name: Option<DatasetName>,
    /// Also when git tracks files in it, which it then forgets, or when the `.dataset` file names another version than
    /// the one that is laid out
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) links: LinkArguments,
}

/// What becomes of symbolic links in data that is taken in.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct LinkArguments {
    /// Put what symbolic links point to in their place, as plain files; without `=anywhere` only inside the project
    #[arg(long, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "inside")]
    pub(crate) follow_links: Option<FollowLinks>,
    /// Leave symbolic links out, now and at every later look; the `.dataset` file says so
    #[arg(long, conflicts_with = "follow_links")]
    pub(crate) skip_links: bool,
}

impl From<LinkArguments> for AddLinks {
    fn from(LinkArguments { follow_links, skip_links }: LinkArguments) -> Self {
        match follow_links {
            Some(FollowLinks::Inside) => Self::Follow,
            Some(FollowLinks::Anywhere) => Self::FollowAnywhere,
            None if skip_links => Self::Skip,
            None => Self::AsBefore,
        }
    }
}

/// Where symbolic links may lead that are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FollowLinks {
    /// Inside the project
    Inside,
    /// Anywhere
    Anywhere,
}

/// Which datasets, and between here and where.
#[derive(Clone, Debug, Args)]
pub(crate) struct With {
    /// Only these datasets, tracked files or tables; by default all
    pub(crate) names: Vec<DatasetName>,
    /// The remote; by default the only one, or `origin`
    #[arg(long, short)]
    pub(crate) remote: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Push {
    #[command(flatten)]
    pub(crate) to: With,
    /// Move tags of the remote that are at other versions there
    #[arg(long)]
    pub(crate) move_tags: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Pull {
    #[command(flatten)]
    pub(crate) from: With,
    /// Lay out the latest version, not the one of the `.dataset` file
    #[arg(long)]
    pub(crate) latest: bool,
    /// The bytes of every version, not only of what is laid out and of tables' latest and tagged ones
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) laying_out: LayingOut,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Fetch {
    #[command(flatten)]
    pub(crate) from: With,
    /// The bytes of every version, not only of the latest and, of tables, of those with a tag
    #[arg(long)]
    pub(crate) all: bool,
}
