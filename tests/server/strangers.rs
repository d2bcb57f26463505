//! A socket for LMTP that everybody may open: who is told what there, by the user that the kernel names.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use dovelatch::config::{Listener, ListenerType};
use dovelatch::model::Userdb;
use libtest_mimic::Trial;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

use crate::daemon::{Daemon, OTHER, SWITCH, only_for_root};
use crate::peer::Peer;
use crate::site::Site;

const STRANGER: &str = "DOVELATCH_TEST_STRANGER";

/// Whose mail is delivered: the user of all mailboxes.
const MAIL: u32 = 47_120;

/// Another user.
const ANOTHER: u32 = 47_130;

/// Whose the socket is: user and group.
const OWNER: (u32, u32) = (47_140, 47_141);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        only_for_root(
            "strangers_on_a_socket_open_to_all_see_mailboxes_of_their_own_user_only",
            open_to_all,
        ),
        only_for_root(
            "on_a_socket_of_another_mode_nobody_is_a_stranger",
            another_mode,
        ),
        only_for_root(
            "strangers_are_known_where_the_daemons_user_cannot_see_the_socket",
            unseen,
        ),
    ]
}

/// Somebody who asks on a socket of the daemon, as another user: this process started again.
pub(crate) struct Stranger {
    uid: u32,
    gid: u32,
    socket: PathBuf,
}

/// Whether this process was started to be one.
#[expect(clippy::disallowed_methods, reason = "the switch of this test program")]
pub(crate) fn stranger() -> Option<Stranger> {
    let text = std::env::var(STRANGER).ok()?;
    let mut parts = text.splitn(3, ':');
    let mut next = || parts.next().unwrap();
    Some(Stranger {
        uid: next().parse().unwrap(),
        gid: next().parse().unwrap(),
        socket: next().into(),
    })
}

impl Stranger {
    /// Asks all there is to ask, and prints what it hears.
    pub(crate) fn ask(&self) -> ExitCode {
        setgroups(&[]).unwrap();
        setgid(Gid::from_raw(self.gid)).unwrap();
        setuid(Uid::from_raw(self.uid)).unwrap();
        let (mut peer, _) = Peer::greeted(&self.socket);
        let mut out = std::io::stdout();
        for (question, lines) in [
            ("USER\t1\tana@example.org\tservice=lmtp", 1),
            ("PASS\t2\tana@example.org\tservice=lmtp", 1),
            ("LIST\t3\tuser=a*\tservice=lmtp", 2),
        ] {
            peer.say(question);
            for _ in 0..lines {
                let line = peer.line();
                writeln!(out, "{line}").unwrap();
                if line.starts_with("DONE\t") {
                    break;
                }
            }
        }
        ExitCode::SUCCESS
    }
}

/// What somebody with these ids hears on `socket`.
fn heard_by((uid, gid): (u32, u32), socket: &Path) -> String {
    let stranger = format!("{uid}:{gid}:{}", socket.display());
    let output = Command::new(std::env::current_exe().unwrap())
        .env(STRANGER, stranger)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

const EVERYTHING: &str = "USER\t1\tana@example.org\tuid=47120\tgid=5000\n\
     PASS\t2\tuser=ana@example.org\nLIST\t3\tana@example.org\nDONE\t3\t\n";
const NOTHING: &str = "FAIL\t1\nFAIL\t2\nDONE\t3\tfail\n";
const OWN: &str = "USER\t1\tana@example.org\tuid=47120\tgid=5000\nFAIL\t2\nDONE\t3\tfail\n";

/// With one socket, for LMTP.
fn site(mode: u32) -> Site {
    let mut site = Site::new();
    site.config.listeners = vec![Listener {
        kind: ListenerType::Userdb,
        owner: Some(OWNER.0),
        group: Some(OWNER.1),
        mode,
        ..site.config.listeners[0].clone()
    }];
    site.config.userdb = Some(Userdb {
        uid: MAIL,
        gid: 5000,
        home: None,
        fields: "".parse().unwrap(),
    });
    set_mode(site.path(), 0o711);
    site
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn open_to_all() {
    let site = site(0o666);
    let running = site.start();
    for (who, heard) in [
        ((0, 0), EVERYTHING),
        ((OWNER.0, ANOTHER), EVERYTHING),
        ((ANOTHER, OWNER.1), EVERYTHING),
        ((MAIL, MAIL), OWN),
        ((ANOTHER, ANOTHER), NOTHING),
    ] {
        assert_eq!(heard_by(who, &site.socket()), heard, "{who:?}");
    }
    running.stop();
}

fn another_mode() {
    let site = site(0o667);
    let running = site.start();
    assert_eq!(heard_by((ANOTHER, ANOTHER), &site.socket()), EVERYTHING);
    running.stop();
}

/// The directory is open to a group that the daemon leaves when it becomes another user.
fn unseen() {
    let site = Site::new();
    chown(site.path(), Some(OTHER), Some(OTHER)).unwrap();
    for entry in fs::read_dir(site.path()).unwrap() {
        chown(entry.unwrap().path(), Some(OTHER), Some(OTHER)).unwrap();
    }
    set_mode(site.path(), 0o711);
    let directory = site.path().join("sockets");
    fs::create_dir(&directory).unwrap();
    chown(&directory, Some(0), Some(ANOTHER)).unwrap();
    set_mode(&directory, 0o710);
    let socket = directory.join("userdb");
    let config = site.path().join("userdb.toml");
    let text = format!(
        "database = {:?}\n[userdb]\nuid = {MAIL}\ngid = 5000\n\
         [[listen]]\ntype = \"userdb\"\npath = {socket:?}\nmode = \"0666\"\n",
        site.config.database,
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    let mut daemon = Daemon::spawn(command.env(SWITCH, config));
    daemon.wait_for("serving as the owner of the database");
    daemon.wait_for("serving sockets=1");
    assert_eq!(heard_by((ANOTHER, ANOTHER), &socket), NOTHING);
    assert_eq!(heard_by((0, ANOTHER), &socket), EVERYTHING);
}
