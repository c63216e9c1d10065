use toml_edit::{DocumentMut, Item, Table, value};

use crate::{ConfigError, ProjectFile};

/// The text of the project file with the remote `name` at `url` added; comments and order stay as they are.
///
/// # Errors
/// The text is no project file, or has that remote already.
pub fn remote_added(file: &str, text: &str, name: &str, url: &str) -> Result<String, ConfigError> {
    let mut document = document(file, text)?;
    let remotes = document.entry("remote").or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let remotes =
        remotes.as_table_mut().ok_or_else(|| wrong(file, "`remote` is not a table", "write [remote.NAME]"))?;
    if remotes.contains_key(name) {
        let hint = format!("remove it first: ropewalk remote rm {name}");
        return Err(wrong(file, &format!("there is a remote `{name}` already"), &hint));
    }
    let mut remote = Table::new();
    remote.insert("url", value(url));
    remotes.insert(name, Item::Table(remote));
    checked(file, &document)
}

/// The text of the project file without the remote `name`.
///
/// # Errors
/// The text is no project file, or has no such remote.
pub fn remote_removed(file: &str, text: &str, name: &str) -> Result<String, ConfigError> {
    let mut document = document(file, text)?;
    let removed = document.get_mut("remote").and_then(Item::as_table_mut).and_then(|remotes| remotes.remove(name));
    if removed.is_none() {
        return Err(wrong(file, &format!("there is no remote `{name}`"), "see `ropewalk remote ls`"));
    }
    checked(file, &document)
}

pub(crate) fn document(file: &str, text: &str) -> Result<DocumentMut, ConfigError> {
    text.parse().map_err(|error: toml_edit::TomlError| ConfigError::Syntax {
        file: file.to_owned(),
        message: error.to_string().trim_end().to_owned(),
        suggestion: None,
    })
}

/// What is written must be readable again.
fn checked(file: &str, document: &DocumentMut) -> Result<String, ConfigError> {
    let text = document.to_string();
    ProjectFile::parse(file, &text)?;
    Ok(text)
}

fn wrong(file: &str, message: &str, hint: &str) -> ConfigError {
    ConfigError::Meaning {
        file: file.to_owned(),
        place: "[remote]".to_owned(),
        message: message.to_owned(),
        hint: Some(hint.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# ours\n[project]\nname = \"x\" # kept\n";

    #[test]
    fn comments_stay_and_a_name_is_taken_once() {
        let added = remote_added("f", FILE, "origin", "s3://bucket/x").expect("added");
        assert_eq!(added, format!("{FILE}\n[remote.origin]\nurl = \"s3://bucket/x\"\n"));
        assert!(remote_added("f", &added, "origin", "file:y").is_err());
        let two = remote_added("f", &added, "copy", "file:y").expect("two");
        assert_eq!(remote_removed("f", &two, "copy").expect("removed"), added);
        assert!(remote_removed("f", &added, "copy").is_err());
    }
}
