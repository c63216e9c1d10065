use std::path::Path;

use ropewalk_store::files;
use serde::{Deserialize, Serialize};

/// Longest file of the system that is read, in bytes.
const LONGEST_FILE: u64 = 1 << 20;

/// A machine, as far as it says what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HardwareRecord {
    /// Operating system and architecture.
    pub platform: String,
    /// The system's kernel.
    pub kernel: Option<String>,
    /// The model of its processors.
    pub processor: Option<String>,
    /// Threads that can run at once.
    pub cores: usize,
    /// Memory, in bytes.
    pub memory: Option<u64>,
    /// The models of its graphics processors.
    pub graphics: Vec<String>,
}

/// This machine. Nothing is started to find it out; what it does not say in files is not known.
pub(super) fn here() -> HardwareRecord {
    let processors = text("/proc/cpuinfo");
    let named = ["model name", "Model", "cpu model", "Hardware"];
    let memory = text("/proc/meminfo").as_deref().and_then(|text| field(text, "MemTotal"));
    HardwareRecord {
        platform: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
        kernel: text("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()),
        processor: processors.as_deref().and_then(|text| named.iter().find_map(|name| field(text, name))),
        cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        memory: memory.as_deref().and_then(bytes),
        graphics: graphics(Path::new("/proc/driver/nvidia/gpus")),
    }
}

fn text(path: &str) -> Option<String> {
    files::read_text(Path::new(path), LONGEST_FILE).ok()
}

/// The value of the first line `NAME : VALUE`.
fn field(text: &str, name: &str) -> Option<String> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(found, _)| found.trim() == name).map(|(_, value)| value.trim().to_owned())
}

/// The bytes of `16318480 kB`.
fn bytes(size: &str) -> Option<u64> {
    let kilobytes: u64 = size.strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kilobytes << 10)
}

/// What NVIDIA's driver says, one folder for each.
fn graphics(folder: &Path) -> Vec<String> {
    let gpus = files::list(folder).unwrap_or_default();
    let models = gpus.iter().filter_map(|gpu| {
        let text = files::read_text(&gpu.path.join("information"), LONGEST_FILE).ok()?;
        field(&text, "Model")
    });
    models.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        let text = "processor\t: 0\nmodel name\t: Fine CPU @ 3.00GHz\nflags\t\t: a b\n\nmodel name\t: other\n";
        assert_eq!(field(text, "model name").as_deref(), Some("Fine CPU @ 3.00GHz"));
        assert_eq!(field(text, "model"), None);
        assert_eq!(bytes("16318480 kB"), Some(16_318_480 << 10));
        let folder = tempfile::tempdir().expect("folder");
        let gpu = folder.path().join("0000:01:00.0");
        files::create_directories(&gpu).expect("folder");
        files::write_atomic(&gpu.join("information"), b"Model: \t\t Fast GPU\nIRQ:   1\n").expect("write");
        assert_eq!(graphics(folder.path()), ["Fast GPU"]);
        assert!(here().cores > 0);
    }
}
