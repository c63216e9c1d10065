//! The habits of the house, checked: DESIGN.md's arrows, sizes and names, links between pages.

mod arrows;
mod files;
mod links;

use anyhow::{Result, bail};

pub(crate) fn run() -> Result<()> {
    let mut complaints = arrows::check()?;
    complaints.extend(files::check()?);
    complaints.extend(links::check()?);
    if complaints.is_empty() {
        println!("tidy: the house is in order");
        return Ok(());
    }
    for complaint in &complaints {
        println!("tidy: {complaint}");
    }
    bail!("tidy: {} complaints", complaints.len())
}
