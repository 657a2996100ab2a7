//! The app's worker processes, from `/proc`: visible in a shared process namespace. Workers are the children of a server
//! that is known by name. Each has a place, a small number that a successor inherits, so that series stay few.

use std::collections::BTreeMap;

use procfs::process::{FDTarget, Process as Found, Stat};

use super::{Unseen, sockets};
use crate::time::Duration;

/// Servers that fork workers, as their command lines name them.
const SERVERS: [&str; 3] = ["gunicorn", "granian", "uwsgi"];
/// Words of a command line that are looked at: an interpreter, its options, the server.
const WORDS: usize = 4;
/// A helper of Python's that is a child of servers, too.
const NO_WORKER: &str = "resource_tracker";
/// Places that are told apart.
const MOST_PLACES: usize = 256;

/// A worker process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Process {
    pid: i32,
    /// Bytes.
    pub(super) memory: u64,
    cpu: Duration,
    /// In seconds since 1970.
    pub(super) started: f64,
}

/// What became of a place since the last look.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    pub(super) slot: usize,
    /// Who is there now.
    pub(super) process: Option<Process>,
    /// The CPU time that its processes used since.
    pub(super) cpu: Duration,
    /// Whether it took another's place.
    pub(super) is_restart: bool,
}

/// Who is where.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// By place; a process that is gone stays until another takes its place.
    places: Vec<(Process, bool)>,
}

impl Slots {
    /// Gives each process its place, and says what changed.
    pub(super) fn place(&mut self, mut found: Vec<Process>) -> Vec<Change> {
        found.sort_by(|one, other| one.started.total_cmp(&other.started).then(one.pid.cmp(&other.pid)));
        let mut newcomers: Vec<Process> =
            found.iter().filter(|process| !self.places.iter().any(|(here, _)| here.is(process))).copied().collect();
        newcomers.reverse();
        let mut changes = Vec::new();
        for (slot, (here, is_present)) in self.places.iter_mut().enumerate() {
            let still = found.iter().find(|process| here.is(process)).copied();
            let successor = still.is_none().then(|| newcomers.pop()).flatten();
            let cpu = match (still, successor) {
                (Some(now), _) => now.cpu.saturating_sub(here.cpu),
                (None, Some(new)) => new.cpu,
                (None, None) => Duration::ZERO,
            };
            let process = still.or(successor);
            *is_present = process.is_some();
            *here = process.unwrap_or(*here);
            changes.push(Change { slot, process, cpu, is_restart: successor.is_some() });
        }
        while let Some(new) = newcomers.pop().filter(|_| self.places.len() < MOST_PLACES) {
            changes.push(Change { slot: self.places.len(), process: Some(new), cpu: new.cpu, is_restart: false });
            self.places.push((new, true));
        }
        changes
    }

    /// How many processes there are.
    pub(super) fn len(&self) -> usize {
        self.places.iter().filter(|(_, is_present)| *is_present).count()
    }
}

impl Process {
    fn of(stat: &Stat, boot: f64) -> Self {
        let ticks = procfs::ticks_per_second() as f64;
        Self {
            pid: stat.pid,
            memory: stat.rss * procfs::page_size(),
            cpu: Duration::from_secs_f64((stat.utime + stat.stime) as f64 / ticks),
            started: boot + stat.starttime as f64 / ticks,
        }
    }

    /// Whether it is the same process: identities are used again.
    fn is(&self, other: &Process) -> bool {
        self.pid == other.pid && self.started == other.started
    }
}

/// The workers of the app that listens on `port`, if it is the only one or can be told apart.
pub(super) fn find(port: Option<u16>) -> Result<Vec<Process>, Unseen> {
    let failed = |error: procfs::ProcError| Unseen::Failed(error.to_string());
    let mut all = BTreeMap::new();
    for process in procfs::process::all_processes().map_err(failed)?.flatten() {
        // A process may be gone by now.
        if let (Ok(stat), Ok(words)) = (process.stat(), process.cmdline()) {
            all.insert(stat.pid, (process, stat, words));
        }
    }
    let is_server = |pid: i32| all.get(&pid).is_some_and(|(_, _, words)| names_a_server(words));
    let masters: Vec<&Found> = all
        .values()
        .filter(|(_, stat, words)| names_a_server(words) && !is_server(stat.ppid))
        .map(|(process, ..)| process)
        .collect();
    let master = match masters.as_slice() {
        [] => return Ok(Vec::new()),
        [only] => only.pid,
        several => listening(several, port).ok_or(Unseen::NotHere)?,
    };
    let boot = procfs::boot_time_secs().map_err(failed)? as f64;
    let is_worker = |stat: &Stat, words: &[String]| {
        stat.ppid == master && stat.state != 'Z' && !words.iter().any(|word| word.contains(NO_WORKER))
    };
    let workers = all.values().filter(|(_, stat, words)| is_worker(stat, words));
    Ok(workers.map(|(_, stat, _)| Process::of(stat, boot)).collect())
}

fn names_a_server(words: &[String]) -> bool {
    let names = words.iter().take(WORDS).filter_map(|word| word.rsplit('/').next());
    names.flat_map(|name| SERVERS.iter().map(move |server| name.starts_with(server))).any(|is| is)
}

/// Which of several holds the app's socket. Only the same user's descriptors can be seen.
fn listening(masters: &[&Found], port: Option<u16>) -> Option<i32> {
    let inodes: Vec<u64> = sockets::listeners(port?).ok()?.iter().map(|listener| listener.inode).collect();
    let holds = |process: &&&Found| {
        let descriptors = process.fd().into_iter().flatten().flatten();
        descriptors.into_iter().any(|fd| matches!(fd.target, FDTarget::Socket(inode) if inodes.contains(&inode)))
    };
    masters.iter().find(holds).map(|process| process.pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, started: f64, cpu: u64) -> Process {
        Process { pid, memory: 1, cpu: Duration::from_secs(cpu), started }
    }

    fn slots(changes: &[Change]) -> Vec<(usize, Option<i32>, u64, bool)> {
        let told = |c: &Change| (c.slot, c.process.map(|p| p.pid), c.cpu.as_secs(), c.is_restart);
        changes.iter().map(told).collect()
    }

    #[test]
    fn a_successor_inherits_the_place_and_its_cpu_time_adds_up() {
        let mut places = Slots::default();
        let first = places.place(vec![process(12, 2.0, 3), process(11, 1.0, 5)]);
        assert_eq!(slots(&first), [(0, Some(11), 5, false), (1, Some(12), 3, false)]);
        let restarted = places.place(vec![process(12, 2.0, 4), process(13, 3.0, 1)]);
        assert_eq!(slots(&restarted), [(0, Some(13), 1, true), (1, Some(12), 1, false)]);
        let gone = places.place(vec![process(13, 3.0, 1)]);
        assert_eq!(slots(&gone), [(0, Some(13), 0, false), (1, None, 0, false)]);
        assert_eq!(places.len(), 1);
        let reused_pid = places.place(vec![process(13, 3.0, 1), process(12, 9.0, 2)]);
        assert_eq!(slots(&reused_pid), [(0, Some(13), 0, false), (1, Some(12), 2, true)]);
    }

    #[test]
    fn places_are_bounded() {
        let mut places = Slots::default();
        let many = (0..1000).map(|pid| process(pid, f64::from(pid), 0)).collect();
        assert_eq!(places.place(many).len(), MOST_PLACES);
    }

    #[test]
    fn a_server_is_known_by_its_command_line() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(names_a_server(&words("/venv/bin/python /venv/bin/gunicorn app.wsgi")));
        assert!(names_a_server(&words("gunicorn: master [app]")));
        assert!(names_a_server(&words("uwsgi --ini app.ini")));
        assert!(!names_a_server(&words("vi /etc/settings/of/the/app/gunicorn.conf.py.bak/notes")));
        assert!(!names_a_server(&words("siding run --config gunicorn-sidecar/siding.toml --backend a:1")));
    }
}
