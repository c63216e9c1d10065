//! New projects: files that the binary carries with it.

use std::path::Path;

use ropewalk_config::FILE_NAME;
use ropewalk_server::ServerError;
use ropewalk_store::files;

use crate::arguments::Template;

/// A file of a template: its path in the project, and its bytes.
type File = (&'static str, &'static [u8]);

const EMPTY: [File; 1] = [(FILE_NAME, include_bytes!("template/empty.toml"))];

/// The project file comes last: without it a folder is no project, so a half-made one is never run.
const FLIGHTS: [File; 5] = [
    ("data/flights-2013.zip", include_bytes!("../../../../examples/flights/data/flights-2013.zip")),
    ("data/weather.csv", include_bytes!("../../../../examples/flights/data/weather.csv")),
    ("sql/features.sql", include_bytes!("../../../../examples/flights/sql/features.sql")),
    ("README.md", include_bytes!("../../../../examples/flights/README.md")),
    (FILE_NAME, include_bytes!("../../../../examples/flights/ropewalk.toml")),
];

/// Writes a template's files into `folder`, which is made where it is not; says which.
///
/// # Errors
/// A file of the same name is there already: nothing is written then.
pub(crate) fn write(template: Template, folder: &Path) -> Result<Vec<&'static str>, ServerError> {
    let list: &[File] = match template {
        Template::Empty => &EMPTY,
        Template::Flights => &FLIGHTS,
    };
    for (name, _) in list {
        let path = folder.join(name);
        if files::exists(&path)? {
            return Err(ServerError::Unknown {
                what: format!("{} is there already", path.display()),
                hint: "choose another folder, or remove that file".to_owned(),
            });
        }
    }
    for (name, bytes) in list {
        files::write_atomic(&folder.join(name), bytes)?;
    }
    Ok(list.iter().map(|(name, _)| *name).collect())
}

/// Whether `folder` holds a project already.
pub(crate) fn is_project(folder: &Path) -> Result<bool, ServerError> {
    Ok(files::exists(&folder.join(FILE_NAME))?)
}
