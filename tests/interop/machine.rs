//! A throw-away machine: the peers' servers in a tree, with a root, processes and a network of
//! their own (boot.sh). So every test has the well-known ports, any loopback address, and the paths
//! of an installed system, and nothing it starts can outlive it or meet another test.

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};

use crate::site::Site;
use crate::tested::{self, PROGRAM};
use crate::wait::{LONG, until};

const BOOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/boot.sh");

#[derive(Debug)]
pub struct Machine {
    process: Child,
    /// Its root directory, in its own mount namespace.
    root: PathBuf,
}

impl Machine {
    /// Runs shell commands side by side, each a server in the foreground, and waits until all the
    /// ports answer.
    pub fn start(site: &Site, commands: &[&str], ports: &[u16]) -> Self {
        let log = File::create(site.path("log/machine.log")).expect("own directory");
        let process = command(site, commands)
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .spawn()
            .expect("unshare is a part of util-linux");
        let root = site.path("mnt/root");
        let mut machine = Self { process, root };
        for port in ports {
            until(&format!("port {port}"), LONG, || {
                let exit = machine.process.try_wait().expect("our own child");
                assert_eq!(exit, None, "the machine did not boot");
                machine.connect(Ipv4Addr::LOCALHOST, *port).ok()
            });
        }
        machine
    }

    /// Runs one command to its end, in a machine of its own, and returns what it wrote. The last
    /// line is `exit code N`.
    pub fn run(site: &Site, line: &str) -> String {
        let line = format!("sh -c '{line} 2>&1; echo exit code $?'");
        let process = command(site, &[&line])
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is a part of util-linux");
        let root = site.path("mnt/root");
        let mut machine = Self { process, root };
        let stdout = machine.process.stdout.take().expect("a pipe");
        let mut written = String::new();
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            written += &format!("{line}\n");
            if line.starts_with("exit code ") {
                break;
            }
        }
        written
    }

    /// Runs one command in this machine, beside its servers, to its end.
    pub fn command(&self, arguments: &[&str]) -> Output {
        self.enter()
            .args(arguments)
            .output()
            .expect("a part of util-linux")
    }

    /// What runs a command in this machine, the command's words still to come.
    pub fn enter(&self) -> Command {
        let pid = self.process.id();
        let mut command = tested::started_by("nsenter");
        command
            .args(["--target", &pid.to_string(), "--mount", "--net"])
            // `unshare` itself is in the old one; its children are in the new.
            .arg(format!("--pid=/proc/{pid}/ns/pid_for_children"))
            .arg("chroot")
            .arg(&self.root)
            .stdin(Stdio::null());
        command
    }

    /// Puts a program on the host that is the machine's `doveadm`, where the configuration looks for it.
    pub fn lend_doveadm(&self, site: &Site) {
        let enter = self.enter();
        let words = std::iter::once(enter.get_program()).chain(enter.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        let script = format!("#!/bin/sh\nexec {} doveadm \"$@\"\n", words.join(" "));
        let path = site.path("doveadm");
        fs::write(&path, script).expect("own directory");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("ours");
    }

    /// A path in the machine as the host sees it.
    pub fn outside(&self, inside: &str) -> PathBuf {
        let root = self.root.display();
        PathBuf::from(format!("/proc/{}/root{root}{inside}", self.process.id()))
    }

    /// Connects from one loopback address to a port in the machine.
    pub fn connect(&self, from: Ipv4Addr, port: u16) -> nix::Result<TcpStream> {
        // `unshare` itself is in the new network, its first child in the new PID namespace.
        let network = format!("/proc/{}/ns/net", self.process.id());
        let connect = || {
            let network = File::open(network).map_err(|_gone| Errno::ESRCH)?;
            setns(network, CloneFlags::CLONE_NEWNET)?;
            let (family, kind) = (AddressFamily::Inet, SockType::Stream);
            let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
            let address = |ip, port| SockaddrIn::from(SocketAddrV4::new(ip, port));
            bind(socket.as_raw_fd(), &address(from, 0))?;
            connect(socket.as_raw_fd(), &address(Ipv4Addr::LOCALHOST, port))?;
            let stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(LONG)).expect("not zero");
            stream.set_nodelay(true).expect("a TCP socket");
            Ok(stream)
        };
        // A socket belongs to the network in which it was made, whoever uses it. The thread that
        // enters that network never comes back, so it must not be the test's own.
        thread::scope(|scope| scope.spawn(connect).join().expect("no panic in there"))
    }
}

/// Returns when every process of the machine is gone: none may write to the test's directory while
/// that is removed.
impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _status = self.process.wait();
    }
}

fn command(site: &Site, commands: &[&str]) -> Command {
    let mut command = tested::started_by("unshare");
    command
        .args(["--mount", "--pid", "--net", "--fork", "sh", BOOT])
        .arg(site.tree.path())
        .arg(site.path(""))
        .arg(PROGRAM)
        .args(commands)
        .stdin(Stdio::piped());
    command
}

/// Whether a server of an auth protocol greets on this socket.
pub fn greets(socket: &Path) -> bool {
    let Ok(stream) = UnixStream::connect(socket) else {
        return false;
    };
    stream.set_read_timeout(Some(LONG)).expect("not zero");
    BufReader::new(stream)
        .lines()
        .map_while(Result::ok)
        .any(|line| line.starts_with("SPID\t"))
}
