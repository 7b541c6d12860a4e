//! The process as the system sees it, by the names that all of Prometheus' clients use, and the room on its disk.

use std::{path::Path, sync::atomic::AtomicU64};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{busy::Kind, sqlite};

/// Adds what the system tells; what it does not tell is left out.
pub(super) fn measure(data: &Path, registry: &mut Registry) {
    #[cfg(target_os = "linux")]
    if let Err(error) = linux::measure(registry) {
        tracing::debug!(%error, "the system does not tell of this process");
    }
    ours(registry);
    if let Ok(disk) = rustix::fs::statvfs(data) {
        let help = "Bytes that this process may still write where its data lies";
        registry.register("encargo_data_free_bytes", help, gauge(disk.f_bavail as f64 * disk.f_frsize as f64));
    }
}

/// What the process counts for all its services.
fn ours(registry: &mut Registry) {
    let commits = Family::<[(&'static str, String); 1], Counter>::default();
    for (file, count) in sqlite::commits() {
        commits.get_or_create(&[("file", file)]).inc_by(count);
    }
    let help = "Commits that changed a database file of this process, each with an fsync";
    registry.register("encargo_sqlite_commits", help, commits);
    let busy = Family::<[(&'static str, &'static str); 1], Counter<f64, AtomicU64>>::default();
    for kind in Kind::ALL {
        busy.get_or_create(&[("task", kind.name())]).inc_by(kind.busy().as_secs_f64());
    }
    let help = "Time that tasks of a kind were busy on the threads which they share, in seconds";
    registry.register("encargo_task_busy_seconds", help, busy);
}

fn gauge(value: f64) -> Gauge<f64, AtomicU64> {
    let gauge = Gauge::default();
    gauge.set(value);
    gauge
}

#[cfg(target_os = "linux")]
mod linux {
    use procfs::{
        ProcResult,
        process::{LimitValue, Process},
    };

    use super::{AtomicU64, Counter, Registry, gauge};

    pub(super) fn measure(registry: &mut Registry) -> ProcResult<()> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let ticks = procfs::ticks_per_second() as f64;
        let cpu = Counter::<f64, AtomicU64>::default();
        cpu.inc_by((stat.utime + stat.stime) as f64 / ticks);
        registry.register("process_cpu_seconds", "CPU time of the process, in seconds", cpu);
        let resident = stat.rss as f64 * procfs::page_size() as f64;
        registry.register("process_resident_memory_bytes", "Resident memory, in bytes", gauge(resident));
        let started = procfs::boot_time_secs()? as f64 + stat.starttime as f64 / ticks;
        let help = "When the process was started, in seconds since 1970";
        registry.register("process_start_time_seconds", help, gauge(started));
        registry.register("process_threads", "Threads", gauge(stat.num_threads as f64));
        registry.register("process_open_fds", "Open files and connections", gauge(process.fd_count()? as f64));
        if let LimitValue::Value(max) = process.limits()?.max_open_files.soft_limit {
            registry.register("process_max_fds", "Most files and connections that may be open", gauge(max as f64));
        }
        Ok(())
    }
}
