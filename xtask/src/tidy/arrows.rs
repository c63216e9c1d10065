use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::{cargo, output, root};

/// The floors of the house, from the ground up: a crate may know its own floor and those below.
const FLOORS: [&str; 4] = ["foundation", "workflow", "protocol", "product"];

/// The boxes of the workflow, in the order in which data flows: a box may know those before it.
const BOXES: [&str; 14] = [
    "ingest",
    "data",
    "versions",
    "workspace",
    "pipeline",
    "training",
    "tracking",
    "registry",
    "images",
    "delivery",
    "serving",
    "predictions",
    "batch",
    "monitoring",
];

/// Heavy or worldly dependencies and the folders that may name them.
const ROOMS: [(&str, &[&str]); 10] = [
    ("datafusion", &["workflow/data"]),
    ("calamine", &["workflow/ingest"]),
    ("hessboost", &["workflow/training"]),
    ("rten", &["foundation/inference"]),
    ("tonic", &["protocol/", "product/"]),
    ("axum", &["protocol/", "product/"]),
    // The flags of serving are those of two binaries.
    ("clap", &["product/inference-server", "product/ropewalk"]),
    ("anyhow", &["product/ropewalk"]),
    // DataFusion reads its Parquet through an object store of its own.
    ("object_store", &["foundation/connectors", "foundation/store", "workflow/data"]),
    ("reqwest", &["foundation/connectors", "product/inference-server", "product/ropewalk", "product/server"]),
];

struct Package {
    name: String,
    /// Folder under `crates/`, such as `workflow/data`.
    folder: String,
    needs: Vec<String>,
}

pub(crate) fn check() -> Result<Vec<String>> {
    let packages = packages()?;
    let mut complaints = Vec::new();
    for package in &packages {
        complaints.extend(without_a_place(package));
        for need in &package.needs {
            if let Some(other) = packages.iter().find(|other| other.name == *need) {
                complaints.extend(against_the_arrows(package, other));
            }
            complaints.extend(outside_its_room(package, need));
        }
    }
    Ok(complaints)
}

fn packages() -> Result<Vec<Package>> {
    let root = root()?;
    let metadata = output(cargo().current_dir(&root).args(["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata")?;
    let list = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    list.iter().filter_map(|package| package_of(&root, package).transpose()).collect()
}

fn package_of(root: &Path, package: &Value) -> Result<Option<Package>> {
    let manifest = PathBuf::from(package["manifest_path"].as_str().context("a package has a manifest")?);
    let Ok(folder) = manifest.strip_prefix(root.join("crates")) else { return Ok(None) };
    let needs = package["dependencies"].as_array().context("a package has dependencies")?;
    // Tests may look anywhere: only what is shipped follows the arrows.
    let shipped = needs.iter().filter(|need| need["kind"].as_str() != Some("dev"));
    Ok(Some(Package {
        name: package["name"].as_str().context("a package has a name")?.to_owned(),
        folder: folder.parent().context("a manifest lies in a folder")?.display().to_string(),
        needs: shipped.filter_map(|need| Some(need["name"].as_str()?.to_owned())).collect(),
    }))
}

/// A crate of which no arrow could be checked.
fn without_a_place(package: &Package) -> Option<String> {
    let known = package.folder.split_once('/').is_some_and(|(floor, room)| {
        place(&FLOORS, floor).is_some() && (floor != "workflow" || place(&BOXES, room).is_some())
    });
    (!known).then(|| format!("crates/{} has no place in the order of xtask/src/tidy/arrows.rs", package.folder))
}

fn place<'a>(order: &[&str], name: &'a str) -> Option<(usize, &'a str)> {
    order.iter().position(|one| *one == name).map(|place| (place, name))
}

fn against_the_arrows(package: &Package, other: &Package) -> Option<String> {
    let (floor, room) = package.folder.split_once('/')?;
    let (other_floor, other_room) = other.folder.split_once('/')?;
    let wrong = if floor == other_floor {
        floor == "workflow" && place(&BOXES, room)?.0 <= place(&BOXES, other_room)?.0
    } else {
        place(&FLOORS, floor)?.0 < place(&FLOORS, other_floor)?.0
    };
    wrong.then(|| {
        format!(
            "{} may not know {}: arrows go {}",
            package.folder, other.folder, "product -> protocol -> workflow (in the order of the boxes) -> foundation"
        )
    })
}

fn outside_its_room(package: &Package, need: &str) -> Option<String> {
    let (_, rooms) = ROOMS.iter().find(|(name, _)| *name == need)?;
    let allowed = rooms.iter().any(|room| package.folder.starts_with(room));
    (!allowed).then(|| format!("{} depends on `{need}`, which belongs in {}", package.folder, rooms.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(folder: &str) -> Package {
        Package { name: folder.replace('/', "-"), folder: folder.to_owned(), needs: Vec::new() }
    }

    #[test]
    fn arrows_point_down_and_along_the_flow() {
        let wrong = |from: &str, to: &str| against_the_arrows(&package(from), &package(to)).is_some();
        assert!(wrong("foundation/store", "workflow/data"));
        assert!(wrong("workflow/serving", "protocol/mlflow"));
        assert!(wrong("workflow/data", "workflow/training"));
        assert!(!wrong("workflow/training", "workflow/data"));
        assert!(!wrong("product/server", "foundation/store"));
        assert!(!wrong("foundation/lineage", "foundation/catalog"));
        assert!(wrong("workflow/ingest", "workflow/data"));
        assert!(!wrong("workflow/data", "workflow/ingest"));
    }

    #[test]
    fn a_crate_without_a_place_is_noticed() {
        assert!(without_a_place(&package("workflow/rigging")).is_some());
        assert!(without_a_place(&package("attic/data")).is_some());
        assert!(without_a_place(&package("workflow/ingest")).is_none());
        assert!(without_a_place(&package("foundation/store")).is_none());
    }

    #[test]
    fn heavy_dependencies_stay_in_their_rooms() {
        assert!(outside_its_room(&package("workflow/pipeline"), "datafusion").is_some());
        assert!(outside_its_room(&package("workflow/data"), "datafusion").is_none());
        assert!(outside_its_room(&package("workflow/serving"), "axum").is_some());
        assert!(outside_its_room(&package("protocol/mlflow"), "axum").is_none());
    }
}
