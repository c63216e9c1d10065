//! A file system that can share blocks between files, in an image of its own: most machines have none.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::Services;
use crate::process::{carry_out, output};

/// XFS makes nothing smaller than 300 MiB.
const SIZE: u64 = 512 << 20;

/// Unmounted when dropped.
pub(super) struct Mounted(PathBuf);

pub(super) fn mount(services: &mut Services) -> Result<Mounted> {
    let folder = services.folder("reflink")?;
    let (image, place) = (folder.join("image"), folder.join("mounted"));
    std::fs::create_dir(&place).with_context(|| format!("cannot create {}", place.display()))?;
    let file = std::fs::File::create(&image).with_context(|| format!("cannot write {}", image.display()))?;
    file.set_len(SIZE)?;
    output(Command::new("mkfs.xfs").args(["-q", "-m", "reflink=1"]).arg(&image))
        .context("cannot make a file system")?;
    carry_out(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&place))
        .context("the tests need root, and a kernel with XFS and loop devices")?;
    let mounted = Mounted(place);
    services.variables.push(("ROPEWALK_TEST_REFLINK", text(&mounted.0)?));
    Ok(mounted)
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
