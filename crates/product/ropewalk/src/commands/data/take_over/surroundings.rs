//! Where DVC has its settings for all projects, and how its remotes are opened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ropewalk_store::ForeignObjects;
use ropewalk_versions::{DvcRemote, DvcSurroundings};

use crate::commands;
use crate::commands::credentials::backend_options_of;

pub(super) fn surroundings() -> DvcSurroundings {
    let environment = commands::environment();
    let (settings, home) = (settings(&environment), environment.get("HOME").map(PathBuf::from));
    let open = move |remote: &DvcRemote| {
        let options = backend_options_of(&remote.environment(environment.clone()))?;
        ForeignObjects::open(&remote.store_url(), &options)
    };
    DvcSurroundings { settings, home, open: Arc::new(open) }
}

/// The files for the machine and for the user, where DVC looks for them (`platformdirs`, `site_config_dir` and
/// `user_config_dir`).
fn settings(environment: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let variable = |name: &str| environment.get(name).filter(|value| !value.trim().is_empty());
    let home = variable("HOME").map(Path::new);
    let apple = cfg!(target_os = "macos");
    let machine = match (variable("DVC_SYSTEM_CONFIG_DIR"), variable("XDG_CONFIG_DIRS")) {
        (Some(folder), _) => PathBuf::from(folder),
        (None, Some(folders)) => Path::new(folders.split(':').next().unwrap_or_default()).join("dvc"),
        (None, None) if apple => PathBuf::from("/Library/Application Support/dvc"),
        (None, None) => PathBuf::from("/etc/xdg/dvc"),
    };
    let user = match (variable("DVC_GLOBAL_CONFIG_DIR"), variable("XDG_CONFIG_HOME")) {
        (Some(folder), _) => Some(PathBuf::from(folder)),
        (None, Some(folder)) => Some(Path::new(folder).join("dvc")),
        (None, None) if apple => home.map(|home| home.join("Library/Application Support/dvc")),
        (None, None) => home.map(|home| home.join(".config/dvc")),
    };
    [Some(machine), user].into_iter().flatten().map(|folder| folder.join("config")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_where_dvc_has_them() {
        let of = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            settings(&pairs.collect()).iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        let both = [("HOME", "/h"), ("DVC_SYSTEM_CONFIG_DIR", "/s"), ("DVC_GLOBAL_CONFIG_DIR", "/g")];
        assert_eq!(of(&both), ["/s/config", "/g/config"]);
        let both = [("HOME", "/h"), ("XDG_CONFIG_DIRS", "/a:/b"), ("XDG_CONFIG_HOME", "/c")];
        assert_eq!(of(&both), ["/a/dvc/config", "/c/dvc/config"]);
        assert_eq!(of(&[]).len(), 1, "without a home there is no user");
        #[cfg(not(target_os = "macos"))]
        assert_eq!(of(&[("HOME", "/h"), ("XDG_CONFIG_HOME", " ")]), ["/etc/xdg/dvc/config", "/h/.config/dvc/config"]);
    }
}
