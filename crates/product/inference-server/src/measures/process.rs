use std::path::Path;

use ropewalk_store::files;

/// What the process takes of the machine.
pub(super) struct Process {
    /// Processor time of user and system, in seconds.
    pub(super) cpu_seconds: Option<f64>,
    /// Resident memory, in bytes.
    pub(super) resident_bytes: Option<u64>,
}

/// Ticks of `/proc/PID/stat` in a second: `USER_HZ`, which is 100 on every Linux that Rust is built for.
const TICKS: f64 = 100.0;
/// Where in `/proc/PID/stat` the times of user and system stand, counted after the name (proc_pid_stat(5)).
const USER: usize = 11;

impl Process {
    /// As the system says it; nothing where it does not.
    pub(super) fn now() -> Self {
        let text = |path: &str| String::from_utf8(files::read(Path::new(path)).ok()?).ok();
        Self {
            cpu_seconds: text("/proc/self/stat").as_deref().and_then(cpu_seconds),
            resident_bytes: text("/proc/self/status").as_deref().and_then(resident_bytes),
        }
    }
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    // The name may hold anything but ends with the last bracket.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(USER);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim_end().parse().ok()?;
    Some(kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_read() {
        let stat = "1 (a ) b) S 0 1 1 0 -1 4194560 10 20 30 40 250 150 0 0 20 0 1 0 5 0 0";
        assert_eq!(cpu_seconds(stat), Some(4.0));
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t  2048 kB\n"), Some(2 << 20));
        assert_eq!((cpu_seconds(""), resident_bytes("")), (None, None));
    }
}
