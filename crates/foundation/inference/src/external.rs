//! Tensors that a model keeps in other files (ONNX "External Data"), brought into the model.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use ropewalk_store::files::{self, EntryKind};

use crate::InferenceError;
use crate::onnx::{GraphProto, ModelProto, NodeProto, TensorProto};

/// The most bytes that all files of one model may have together.
pub(crate) const BYTES_LIMIT: u64 = 1 << 30;
/// How deep graphs are nested at most: a model that was decoded is nested less.
const DEPTH_LIMIT: u32 = 100;

/// Brings the elements of such tensors into the model; says whether there were any. Only files inside `folder` are
/// read, also where links lead.
///
/// # Errors
/// [`InferenceError::InvalidGraph`] names the tensor and what is wrong with its file, [`InferenceError::TooLarge`] if
/// the files are.
pub(crate) fn bring_in(model: &mut ModelProto, folder: Option<&Path>) -> Result<bool, InferenceError> {
    let mut files = Files { folder, root: None, read: HashMap::new(), bytes: 0 };
    let mut found = false;
    let mut visit = |tensor: &mut TensorProto| {
        if tensor.data_location == 0 {
            return Ok(());
        }
        found = true;
        let data = files.elements(tensor)?;
        tensor.raw_data = data;
        tensor.data_location = 0;
        tensor.external_data.clear();
        Ok(())
    };
    if let Some(graph) = model.graph.as_mut() {
        each_tensor(graph, 0, &mut visit)?;
    }
    for function in &mut model.functions {
        each_tensor_of_nodes(&mut function.node, 0, &mut visit)?;
    }
    Ok(found)
}

type Visit<'a> = dyn FnMut(&mut TensorProto) -> Result<(), InferenceError> + 'a;

fn each_tensor(graph: &mut GraphProto, depth: u32, visit: &mut Visit<'_>) -> Result<(), InferenceError> {
    if depth > DEPTH_LIMIT {
        return Err(InferenceError::Malformed { reason: "graphs are nested too deeply".to_owned() });
    }
    for tensor in &mut graph.initializer {
        visit(tensor)?;
    }
    each_tensor_of_nodes(&mut graph.node, depth, visit)
}

fn each_tensor_of_nodes(nodes: &mut [NodeProto], depth: u32, visit: &mut Visit<'_>) -> Result<(), InferenceError> {
    for attribute in nodes.iter_mut().flat_map(|node| &mut node.attribute) {
        if let Some(tensor) = &mut attribute.t {
            visit(tensor)?;
        }
        for inner in attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs) {
            each_tensor(inner, depth + 1, visit)?;
        }
    }
    Ok(())
}

/// Where a folder or a file really is.
pub(crate) fn real(path: &Path) -> Result<PathBuf, String> {
    path.canonicalize().map_err(|error| format!("cannot find `{}`: {error}", path.display()))
}

/// Where a model's file really is, if that is inside `root`, which is where the model's folder really is.
pub(crate) fn located(root: &Path, location: &str) -> Result<PathBuf, String> {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if location.is_empty() || !Path::new(location).components().all(plain) {
        return Err(format!("its data lies in `{location}`, which is not inside the model's folder"));
    }
    let path = real(&root.join(location))?;
    if !path.starts_with(root) {
        return Err(format!("its data lies in `{location}`, a link that leads out of the model's folder"));
    }
    match files::kind(&path) {
        Ok(Some(EntryKind::File)) => Ok(path),
        _ => Err(format!("its data lies in `{location}`, which is no file")),
    }
}

/// Data that is over [`BYTES_LIMIT`].
pub(crate) fn too_large(size: u64) -> InferenceError {
    InferenceError::TooLarge { what: "data of the model in other files, in bytes".to_owned(), size, limit: BYTES_LIMIT }
}

struct Files<'a> {
    folder: Option<&'a Path>,
    /// The folder as it really is.
    root: Option<PathBuf>,
    read: HashMap<PathBuf, Vec<u8>>,
    bytes: u64,
}

impl Files<'_> {
    fn elements(&mut self, tensor: &TensorProto) -> Result<Vec<u8>, InferenceError> {
        let invalid =
            |reason: String| InferenceError::InvalidGraph { place: format!("tensor `{}`", tensor.name), reason };
        let entry = |key: &str| tensor.external_data.iter().find(|one| one.key == key).map(|one| one.value.as_str());
        let number = |key: &str| match entry(key).map(str::parse::<usize>) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(_)) => Err(invalid(format!("the {key} of its data in another file is no number"))),
        };
        let location =
            entry("location").ok_or_else(|| invalid("it does not say in which file its data lies".into()))?;
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        let path = self.path(location).map_err(&invalid)?;
        if !self.read.contains_key(&path) {
            self.read_file(&path, location).map_err(|error| match error {
                ReadError::File(reason) => invalid(reason),
                ReadError::TooLarge(size) => too_large(size),
            })?;
        }
        let bytes = self.read.get(&path).map_or(&[][..], Vec::as_slice);
        let end = length.map_or(Some(bytes.len()), |length| offset.checked_add(length));
        let part = end.and_then(|end| bytes.get(offset..end));
        part.map(<[u8]>::to_vec).ok_or_else(|| {
            let asked = length.map_or(String::new(), |length| format!("{length} bytes "));
            invalid(format!("it needs {asked}from byte {offset} of `{location}`, which has {} bytes", bytes.len()))
        })
    }

    /// Where the file really is, if that is inside the folder.
    fn path(&mut self, location: &str) -> Result<PathBuf, String> {
        let folder = self.folder.ok_or("its data lies in another file, and the model came without its folder")?;
        let root = match &self.root {
            Some(root) => root.clone(),
            None => self.root.insert(real(folder)?).clone(),
        };
        located(&root, location)
    }

    fn read_file(&mut self, path: &Path, location: &str) -> Result<(), ReadError> {
        let failed = |error: files::FileError| ReadError::File(format!("its data in `{location}`: {error}"));
        let size = self.bytes.saturating_add(files::size(path).map_err(failed)?);
        if size > BYTES_LIMIT {
            return Err(ReadError::TooLarge(size));
        }
        let bytes = files::read_bounded(path, BYTES_LIMIT - self.bytes).map_err(failed)?;
        self.bytes += bytes.len() as u64;
        self.read.insert(path.to_owned(), bytes);
        Ok(())
    }
}

enum ReadError {
    File(String),
    TooLarge(u64),
}
