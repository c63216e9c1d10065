//! Which names of hosts a program can look up that is linked statically.

use std::path::Path;

use ropewalk_store::files;

/// Where the GNU C library is told how names are looked up (nsswitch.conf(5)); without it by files and DNS.
const SWITCH: &str = "/etc/nsswitch.conf";
/// Longest such file that is read, in bytes.
const LONGEST: u64 = 1 << 16;
/// What is part of the library; every other way is a library of its own, which it loads.
const BUILT_IN: [&str; 2] = ["files", "dns"];
/// Whether the program has the GNU C library inside, which may then load no other.
const STATIC: bool = cfg!(all(target_env = "gnu", target_feature = "crt-static"));

/// Whether names of hosts can be looked up; the error says why not.
pub(super) fn check() -> Result<(), String> {
    if !STATIC {
        return Ok(());
    }
    // Where it cannot be read, the library does without it, too.
    match foreign(&files::read_text(Path::new(SWITCH), LONGEST).unwrap_or_default()) {
        None => Ok(()),
        Some(way) => Err(format!(
            "{SWITCH} has names of hosts looked up by `{way}`, which a program that is linked statically cannot load; an \
             address of digits can be used"
        )),
    }
}

/// The first way to look up hosts that is not built in. `[NOTFOUND=return]` and the like are no ways.
fn foreign(switch: &str) -> Option<&str> {
    let lines = switch.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let hosts = lines.filter_map(|line| line.strip_prefix("hosts:"));
    let outside = hosts.flat_map(|ways| ways.split('[').map(|part| part.rsplit(']').next().unwrap_or_default()));
    outside.flat_map(str::split_whitespace).find(|way| !BUILT_IN.contains(way))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_that_are_libraries_are_found() {
        assert_eq!(foreign(""), None);
        assert_eq!(foreign("passwd: files systemd\nhosts:\tfiles dns # mdns4\n"), None);
        assert_eq!(foreign("hosts: files [NOTFOUND=return SUCCESS=continue] dns [!UNAVAIL=return]"), None);
        assert_eq!(foreign("hosts: mymachines resolve [!UNAVAIL=return] files"), Some("mymachines"));
        assert_eq!(foreign("hosts:files mdns4_minimal [NOTFOUND=return] dns"), Some("mdns4_minimal"));
        assert_eq!(foreign("#hosts: nis\nhosts: files[NOTFOUND=return]myhostname"), Some("myhostname"));
    }
}
