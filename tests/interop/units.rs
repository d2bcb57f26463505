//! The socket units of packaging/systemd, and systemd's part in them: the sockets are there, with names,
//! owners and modes, before whoever asks, and the daemon is started by the first who does.

use crate::site::shipped;

/// A line of shell that waits for the sockets of these units, named as their listeners, and starts the
/// daemon of the machine with the configuration that is installed there.
pub fn activate(names: &[&str]) -> String {
    let units = names.iter().map(|name| Unit::shipped(name));
    let (paths, names): (Vec<_>, Vec<_>) = units
        .map(|unit| (format!("--listen={}", unit.path), unit.name))
        .unzip();
    format!(
        "systemd-socket-activate {} --fdname={} dovelatch serve",
        paths.join(" "),
        names.join(":")
    )
}

/// Shell that gives those sockets their owners: systemd does so before anybody can connect, so here the
/// peers must come later.
pub fn own(names: &[&str]) -> String {
    let own = |name: &&str| {
        let Unit {
            path, owner, mode, ..
        } = Unit::shipped(name);
        format!(
            "until [ -S {path} ]; do sleep 0.1; done; chown {owner} {path}; chmod {mode} {path};"
        )
    };
    names.iter().map(own).collect()
}

struct Unit {
    path: String,
    name: String,
    owner: String,
    mode: String,
}

impl Unit {
    fn shipped(name: &str) -> Self {
        let text = shipped(&format!("packaging/systemd/dovelatch-{name}.socket"));
        let value = |key: &str| {
            let line = |line: &str| Some(line.strip_prefix(key)?.strip_prefix('=')?.to_owned());
            text.lines().find_map(line).expect("the unit sets it")
        };
        Self {
            path: value("ListenStream"),
            name: value("FileDescriptorName"),
            owner: format!("{}:{}", value("SocketUser"), value("SocketGroup")),
            mode: value("SocketMode"),
        }
    }
}
