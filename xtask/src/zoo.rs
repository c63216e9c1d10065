//! What the inference engines are tested against, made by the real exporters: once, and kept in the target folder.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{carry_out, root};
use crate::test::{python_environment, target_folder};

/// The folder of the scripts, and the pins of what they import.
const SCRIPTS: &str = "tests/python";
const REQUIREMENTS: &str = "tests/python/zoo-requirements.txt";

/// Where the tests find the models of the exporters.
pub(crate) const ZOO: &str = "ROPEWALK_ONNX_ZOO";

/// Scripts that write a folder, the modules that each is made of, and where the tests find the folder.
const MADE: [(&str, &[&str], &str); 2] = [
    ("onnx_zoo", &["onnx_zoo", "onnx_estimators", "onnx_networks"], ZOO),
    ("onnx_specification", &["onnx_specification"], "ROPEWALK_ONNX_SPECIFICATION"),
];

/// A folder that a script has written.
pub(crate) struct Made {
    pub(crate) variable: &'static str,
    pub(crate) folder: PathBuf,
}

/// Makes what is not there yet, or was made by other scripts or other pins.
pub(crate) fn make() -> Result<Vec<Made>> {
    let python = python_environment(REQUIREMENTS, "python-zoo")?;
    let root = root()?;
    let target = target_folder(&root)?;
    let mut made = Vec::with_capacity(MADE.len());
    for (script, modules, variable) in MADE {
        let mut wanted = text(&root.join(REQUIREMENTS))?;
        for module in modules {
            wanted += &text(&root.join(SCRIPTS).join(format!("{module}.py")))?;
        }
        let folder = target.join(script);
        let stamp = folder.join("made-by.txt");
        if !std::fs::read_to_string(&stamp).is_ok_and(|made_by| made_by == wanted) {
            println!("making the models of {SCRIPTS}/{script}.py in {}", folder.display());
            if folder.exists() {
                std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
            }
            carry_out(Command::new(&python).arg(root.join(SCRIPTS).join(format!("{script}.py"))).arg(&folder))?;
            std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
        }
        made.push(Made { variable, folder });
    }
    Ok(made)
}

fn text(path: &std::path::Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
