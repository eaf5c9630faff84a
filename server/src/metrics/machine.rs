//! What the system says of this process and its disk, read when somebody asks for the metrics.
//!
//! **Invariant**: nothing here is sampled on a timer: a server that nobody watches does nothing for it.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes that the file system of the data directory has, and those that this process may still take.
pub const DATA_DIR_SIZE: &str = "data_dir_size_bytes";
/// See [`DATA_DIR_SIZE`].
pub const DATA_DIR_FREE: &str = "data_dir_free_bytes";

/// Size of and room in a folder's file system, in bytes.
pub fn disk(folder: &Path) -> Option<(u64, u64)> {
    #[cfg(unix)]
    {
        let stat = rustix::fs::statvfs(folder).ok()?;
        Some((stat.f_blocks.saturating_mul(stat.f_frsize), stat.f_bavail.saturating_mul(stat.f_frsize)))
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

/// Metrics of the process under their usual names, in Prometheus's text format; empty where the system does not tell.
///
/// They are written by hand because the recorder has no counter of fractions, and a gauge that only lives for this
/// answer would be one more thing that can be old.
pub fn process() -> String {
    let mut text = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        }
    };
    metric("process_open_fds", "gauge", "Open files and sockets.", open_files());
    metric("process_max_fds", "gauge", "Most open files and sockets that the system allows.", max_files());
    metric("process_resident_memory_bytes", "gauge", "Memory in use.", resident_bytes());
    metric("process_cpu_seconds_total", "counter", "Processor time, of all threads.", cpu_seconds());
    metric("process_start_time_seconds", "gauge", "When it started, seconds since 1970.", started_at());
    text
}

#[expect(clippy::cast_precision_loss, reason = "counts and bytes stay far below 2^53")]
fn float(value: u64) -> f64 {
    value as f64
}

fn open_files() -> Option<f64> {
    let count = std::fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them is that of this reading.
    Some(float(u64::try_from(count).ok()?.saturating_sub(1)))
}

fn max_files() -> Option<f64> {
    #[cfg(unix)]
    {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Some(limit.map_or(f64::INFINITY, float))
    }
    #[cfg(not(unix))]
    None
}

fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(float(kib * 1024))
}

#[expect(clippy::cast_precision_loss, reason = "seconds stay far below 2^53")]
fn cpu_seconds() -> Option<f64> {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Some(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
    }
    #[cfg(not(unix))]
    None
}

fn started_at() -> Option<f64> {
    static STARTED: std::sync::OnceLock<Option<f64>> = std::sync::OnceLock::new();
    // As near as a process can say without reading the clock of the boot: the first look is at the start of the server.
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64());
    *STARTED.get_or_init(now)
}

/// Remembers when the process started.
pub(super) fn remember_start() {
    let _remembered = started_at();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_tells_all_of_it() {
        let text = process();
        let value = |name: &str| {
            let line =
                text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{name}"));
            line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
        };
        assert!(value("process_open_fds") >= 3.0 && value("process_open_fds") < value("process_max_fds"));
        assert!(value("process_resident_memory_bytes") > 1e6 && value("process_cpu_seconds_total") > 0.0);
        assert!(value("process_start_time_seconds") > 1.7e9);
        let (size, free) = disk(Path::new("/")).unwrap();
        assert!(size > 0 && free <= size);
        assert_eq!(disk(Path::new("/no/such/folder")), None);
    }
}
