//! What the kernel says about a process.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// A process, by its id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

/// Ticks a second of /proc/PID/stat: what all Linux systems have (`USER_HZ`).
const HZ: u64 = 100;

impl Process {
    /// Memory that it has in use, in KiB: of its own, not of files.
    pub(crate) fn memory(self) -> u64 {
        let status = self.read("status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let number = line.unwrap().split_ascii_whitespace().next();
        number.unwrap().parse().unwrap()
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0))
            .unwrap()
            .count()
    }

    /// How many of them are sockets.
    pub(crate) fn sockets(self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.0)).unwrap();
        // One may have been closed since.
        let names = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        names
            .filter(|name| name.as_os_str().as_encoded_bytes().starts_with(b"socket:"))
            .count()
    }

    /// How much processor time it has used.
    pub(crate) fn time(self) -> Duration {
        let stat = self.read("stat");
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let field = |number: usize| {
            let field = fields.split_ascii_whitespace().nth(number - 3);
            field.unwrap().parse::<u64>().unwrap()
        };
        Duration::from_millis((field(14) + field(15)) * 1_000 / HZ)
    }

    /// Lets it open so many descriptors from now on.
    pub(crate) fn limit_descriptors(self, limit: u64) {
        let pid = Pid::from_raw(i32::try_from(self.0).unwrap());
        let limit = Rlimit {
            current: Some(limit),
            maximum: getrlimit(Resource::Nofile).maximum,
        };
        prlimit(pid, Resource::Nofile, limit).unwrap();
    }

    fn read(self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.0)).unwrap()
    }
}

/// How many descriptors a process may have here at most.
pub(crate) fn most_descriptors() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Lets this process have as many.
pub(crate) fn raise_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
}
