//! File systems that can share blocks between files, in images of their own: most machines have none.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::Services;
use crate::process::{carry_out, output};

/// XFS makes nothing smaller than 300 MiB.
const LEAST: u64 = 320 << 20;
/// Where each is, by environment variable: tests that look at what is free, or use it up, need one for themselves.
const PLACES: [(&str, &str, u64); 2] =
    [("reflink", "ROPEWALK_TEST_REFLINK", 512 << 20), ("reflink-filled", "ROPEWALK_TEST_REFLINK_FILLED", LEAST)];

/// Unmounted when dropped.
pub(super) struct Mounted(PathBuf);

pub(super) fn mount(services: &mut Services) -> Result<Vec<Mounted>> {
    let mut mounted = Vec::with_capacity(PLACES.len());
    for (name, variable, size) in PLACES {
        let place = mount_one(&services.folder(name)?, size)?;
        services.variables.push((variable, text(&place.0)?));
        mounted.push(place);
    }
    Ok(mounted)
}

fn mount_one(folder: &Path, size: u64) -> Result<Mounted> {
    let (image, place) = (folder.join("image"), folder.join("mounted"));
    std::fs::create_dir(&place).with_context(|| format!("cannot create {}", place.display()))?;
    let file = std::fs::File::create(&image).with_context(|| format!("cannot write {}", image.display()))?;
    file.set_len(size)?;
    output(Command::new("mkfs.xfs").args(["-q", "-m", "reflink=1"]).arg(&image))
        .context("cannot make a file system")?;
    carry_out(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&place))
        .context("the tests need root, and a kernel with XFS and loop devices")?;
    Ok(Mounted(place))
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{} is no UTF-8", path.display()))
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a test that was killed may have left a file open.
        if let Err(error) = carry_out(Command::new("umount").arg("--lazy").arg(&self.0)) {
            println!("cannot unmount {}: {error}", self.0.display());
        }
    }
}
