use clap::{Args, Subcommand};
use ropewalk_registry::{Approver, Target};
use ropewalk_types::{Alias, ModelName};

use super::Kept;

#[derive(Clone, Debug, Args)]
pub(crate) struct Models {
    #[command(flatten)]
    pub(crate) kept: Kept,
    #[command(subcommand)]
    pub(crate) command: ModelsCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// List them, each with its newest version and its aliases
    Ls,
    /// Show one with its tags, its aliases and what guards them
    Show {
        /// The registered model
        name: ModelName,
    },
    /// List the versions of one
    Versions {
        /// The registered model
        name: ModelName,
    },
    /// Point an alias at a version, or take it away
    #[command(subcommand)]
    Alias(AliasCommand),
    /// What must hold before a version gets an alias or a stage
    #[command(subcommand)]
    Gate(GateCommand),
    /// Stand for a version, where a gate asks for it
    Approve(Approve),
    /// Who has which role in approvals
    #[command(subcommand)]
    Role(RoleCommand),
    /// Every attempt to move an alias or to change a stage, with the figures: who, when and why
    History {
        /// The registered model
        name: ModelName,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AliasCommand {
    /// Point it at a version, if every gate holds
    Set {
        /// The registered model
        name: ModelName,
        /// The alias, such as champion
        alias: Alias,
        /// The version's number
        version: u64,
        /// Why, for the history
        #[arg(long, default_value = "")]
        why: String,
    },
    /// Take it away
    Rm {
        /// The registered model
        name: ModelName,
        /// The alias
        alias: Alias,
        /// Why, for the history
        #[arg(long, default_value = "")]
        why: String,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum GateCommand {
    /// Declare it, in place of what was declared before
    Set(GateSet),
    /// Show what is declared
    Show {
        /// The registered model
        name: ModelName,
        /// Also what was declared before
        #[arg(long)]
        all: bool,
    },
    /// Take it away
    Rm {
        /// The registered model
        name: ModelName,
        /// The alias, or stage:Staging, stage:Production, stage:Archived
        target: Target,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct GateSet {
    /// The registered model
    pub(crate) name: ModelName,
    /// The alias, or stage:Staging, stage:Production, stage:Archived
    pub(crate) target: Target,
    /// Comparisons of metrics, such as "auc >= 0.66 and auc >= champion.auc - 0.01"
    #[arg(long, value_name = "GATE")]
    pub(crate) conditions: Option<String>,
    /// A metric that must be higher than the incumbent's, on the same version of a dataset
    #[arg(long, value_name = "METRIC", conflicts_with = "lower")]
    pub(crate) higher: Option<String>,
    /// A metric that must be lower than the incumbent's, on the same version of a dataset
    #[arg(long, value_name = "METRIC")]
    pub(crate) lower: Option<String>,
    /// It must take and give what the incumbent takes and gives
    #[arg(long)]
    pub(crate) signature: bool,
    /// Who may approve, as NAME or role:NAME; one of them must
    #[arg(long, value_name = "WHO")]
    pub(crate) approval: Vec<Approver>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Approve {
    /// The registered model
    pub(crate) name: ModelName,
    /// The version's number
    pub(crate) version: u64,
    /// Only for this alias or stage; by default for each
    #[arg(long = "for", value_name = "TARGET")]
    pub(crate) target: Option<Target>,
    /// In this role
    #[arg(long)]
    pub(crate) role: Option<String>,
    /// Why
    #[arg(long, default_value = "")]
    pub(crate) why: String,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// List roles and their members
    Ls,
    /// Give a role to somebody
    Add {
        /// The role
        role: String,
        /// Who gets it
        member: String,
    },
    /// Take a role from somebody
    Rm {
        /// The role
        role: String,
        /// Who loses it
        member: String,
    },
}
