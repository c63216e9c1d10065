use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use globset::GlobBuilder;
use ropewalk_store::files::{self, EntryKind};

use super::TableFormat;
use crate::BatchError;

/// Most files of a folder that are scored at once.
const FILES: usize = 100_000;

/// Tables, and the file that is made of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileTask {
    /// The tables, in their order.
    pub inputs: Vec<PathBuf>,
    /// The Parquet file.
    pub output: PathBuf,
}

/// What has to be made of what `input` names, at `output`.
///
/// `input` is a file, a folder with tables in it, or a pattern for the names of files in a folder, as `day/*.parquet`. An
/// `output` that ends in `.parquet` is one file of all; any other is a folder with a file for each table.
///
/// # Errors
/// There is no table, or outputs would take the place of inputs or of each other.
pub fn tasks(input: &Path, output: &Path) -> Result<Vec<FileTask>, BatchError> {
    let inputs = tables(input)?;
    if TableFormat::of(output) == Some(TableFormat::Parquet) {
        let taken = location(output);
        if inputs.iter().any(|input| location(input) == taken) {
            return Err(over_an_input(output));
        }
        return Ok(vec![FileTask { inputs, output: output.to_owned() }]);
    }
    if TableFormat::of(output).is_some() || files::kind(output)? == Some(EntryKind::File) {
        return Err(BatchError::Format { path: output.to_owned(), verb: "written" });
    }
    one_each(inputs, output)
}

fn one_each(inputs: Vec<PathBuf>, folder: &Path) -> Result<Vec<FileTask>, BatchError> {
    let mut outputs: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    let (there, read) = (location(folder), inputs.iter().map(|input| location(input)).collect::<HashSet<_>>());
    for input in inputs {
        let stem = input.file_stem().unwrap_or_default().to_owned();
        let mut name = stem;
        name.push(".parquet");
        let output = folder.join(&name);
        if input.parent().is_some_and(|parent| location(parent) == there) {
            return Err(places("the outputs would lie among the inputs", "write them to another folder"));
        }
        // A link leads to an input in another folder, too.
        if read.contains(&resolved(&there.join(&name))) {
            return Err(over_an_input(&output));
        }
        if let Some(other) = outputs.get(&output) {
            let what = format!("{} and {} would both be {}", other.display(), input.display(), output.display());
            return Err(places(&what, "give one of them another name, or score them apart"));
        }
        outputs.insert(output, input);
    }
    Ok(outputs.into_iter().map(|(output, input)| FileTask { inputs: vec![input], output }).collect())
}

fn tables(input: &Path) -> Result<Vec<PathBuf>, BatchError> {
    if input.is_file() {
        return Ok(vec![input.to_owned()]);
    }
    let pattern = if input.is_dir() { None } else { Some(input) };
    let folder = match pattern.map(|pattern| pattern.parent().unwrap_or(Path::new(""))) {
        None => input,
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
    };
    let nothing = || BatchError::NoInput(input.to_owned());
    let matcher = match pattern.and_then(Path::file_name).and_then(|name| name.to_str()) {
        None if pattern.is_some() => return Err(nothing()),
        None => None,
        Some(name) if !name.contains(['*', '?', '[', '{']) => return Err(nothing()),
        Some(name) => {
            let glob = GlobBuilder::new(name).literal_separator(true).build();
            Some(glob.map_err(|error| {
                places(&format!("{} is no pattern: {error}", input.display()), "write FOLDER/*.parquet")
            })?)
        }
    };
    let matcher = matcher.map(|glob| glob.compile_matcher());
    if !folder.is_dir() {
        return Err(nothing());
    }
    let mut found = Vec::new();
    for entry in files::list(folder)? {
        let wanted = matcher.as_ref().is_none_or(|matcher| matcher.is_match(&entry.name));
        let hidden = entry.name.starts_with(['.', '_']);
        if wanted && !hidden && entry.path.is_file() && TableFormat::of(&entry.path).is_some() {
            found.push(entry.path);
        }
    }
    match found.len() {
        0 => Err(nothing()),
        count if count > FILES => {
            Err(places(&format!("{count} tables are too many at once"), &format!("score at most {FILES}")))
        }
        _ => Ok(found),
    }
}

/// Where a path leads, so that two paths can be compared; no path, as the folder of a bare name, is the working directory.
fn location(path: &Path) -> PathBuf {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    resolved(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
}

/// A path without links and `..`: as the file system has it as far as it is there, and by its words from there on.
fn resolved(path: &Path) -> PathBuf {
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Ok(found), _, _) => found,
        (Err(_), Some(parent), Some(name)) => resolved(parent).join(name),
        (Err(_), Some(parent), None) => {
            let mut above = resolved(parent);
            above.pop();
            above
        }
        (Err(_), None, _) => path.to_owned(),
    }
}

fn over_an_input(output: &Path) -> BatchError {
    places(&format!("{} would take the place of an input", output.display()), "write it somewhere else")
}

fn places(what: &str, hint: &str) -> BatchError {
    BatchError::Places { what: what.to_owned(), hint: hint.to_owned() }
}
