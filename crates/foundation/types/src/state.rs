use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that names no state of the kind that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}: use one of {allowed}")]
pub struct UnknownState {
    kind: &'static str,
    text: String,
    allowed: String,
}

macro_rules! state {
    ($(#[$docs:meta])* $name:ident, $kind:literal { $($(#[$variant_docs:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$docs])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_docs])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// The spelling used in the catalogue, in JSON and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownState;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    other => Err(UnknownState {
                        kind: $kind,
                        text: other.to_owned(),
                        allowed: [$(concat!("`", $text, "`")),+].join(", "),
                    }),
                }
            }
        }
    };
}

state! {
    /// Where a dataset stands: as it was handed over, or made from others.
    Zone, "zone" {
        /// As it was handed over: never overwritten.
        Raw = "raw",
        /// Made by a stage.
        Processed = "processed",
    }
}

state! {
    /// The life of a run, in MLflow's words.
    RunStatus, "run status" {
        /// Still going.
        Running = "RUNNING",
        /// Waits to be started.
        Scheduled = "SCHEDULED",
        /// Ended well.
        Finished = "FINISHED",
        /// Ended with an error.
        Failed = "FAILED",
        /// Stopped from outside.
        Killed = "KILLED",
    }
}
