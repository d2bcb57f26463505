//! Stock Dovecot's auth service out of a Debian tree, in a throw-away machine (interop/boot.sh) of
//! its own, with one user whose password is known.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use crate::tree::Tree;
use crate::wait::{LONG, until};
use crate::{Account, tested};

const BOOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/boot.sh");

const PASSWORD: &str = "kqtm-whzr-nbfa-yxcd-peug";

/// The fields are ours, so that an OK looks the same from everybody.
const PASSWD: &str = "bob@example.org:{PLAIN}kqtm-whzr-nbfa-yxcd-peug::::::\
                      user_device=dp-kqtmwhzrnb event_device=dp-kqtmwhzrnb\n";

/// No protocols but the auth service alone, and none of its failure delay. What a socket is for, its
/// name says behind the hyphen.
const CONFIG_2_3: &str = "\
protocols =
log_path = /var/log/dovecot.log
auth_mechanisms = plain login
auth_failure_delay = 0
disable_plaintext_auth = no
passdb {
  driver = passwd-file
  args = /etc/dovecot/passwd
}
userdb {
  driver = static
  args = uid=vmail gid=vmail home=/var/vmail/%u
}
service auth {
  unix_listener /run/dovelatch/stock {
    mode = 0666
  }
  unix_listener /run/dovelatch/stock-master {
    mode = 0600
  }
  unix_listener /run/dovelatch/stock-userdb {
    mode = 0600
  }
}
";

const CONFIG_2_4: &str = "\
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
protocols =
log_path = /var/log/dovecot.log
auth_mechanisms = plain login
auth_failure_delay = 0
auth_allow_cleartext = yes
passdb passwd-file {
  passwd_file_path = /etc/dovecot/passwd
}
userdb static {
  fields {
    uid = vmail
    gid = vmail
    home = /var/vmail/%{user}
  }
}
service auth {
  unix_listener /run/dovelatch/stock {
    mode = 0666
  }
  unix_listener /run/dovelatch/stock-master {
    mode = 0600
  }
  unix_listener /run/dovelatch/stock-userdb {
    mode = 0600
  }
}
";

/// Started by the first dialogue that needs it, gone with the last.
pub struct Stock {
    tree: Tree,
    machine: Mutex<Option<Machine>>,
}

struct Machine {
    process: Child,
    dir: TempDir,
}

impl Stock {
    pub fn new(tree: Tree) -> Self {
        Self {
            tree,
            machine: Mutex::new(None),
        }
    }

    pub fn unusable(&self) -> Option<String> {
        self.tree.unusable()
    }

    pub fn account(&self) -> Account {
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        let machine = machine.get_or_insert_with(|| Machine::start(self.tree));
        Account {
            client: machine.dir.path().join("run/stock"),
            master: machine.dir.path().join("run/stock-master"),
            userdb: machine.dir.path().join("run/stock-userdb"),
            password: PASSWORD.to_owned(),
        }
    }
}

impl Machine {
    fn start(tree: Tree) -> Self {
        let dir = tempfile::Builder::new().prefix("dl").tempdir();
        let dir = dir.expect("a temporary directory");
        let path = |name: &str| dir.path().join(name);
        for name in "state run spool vmail log mnt files/etc/dovecot".split(' ') {
            fs::create_dir_all(path(name)).expect("own directory");
        }
        fs::set_permissions(path(""), Permissions::from_mode(0o755)).expect("own directory");
        let config = match tree {
            Tree::Bookworm => CONFIG_2_3,
            Tree::Trixie => CONFIG_2_4,
        };
        fs::write(path("files/etc/dovecot/dovecot.conf"), config).expect("own directory");
        fs::write(path("files/etc/dovecot/passwd"), PASSWD).expect("own directory");

        let log = File::create(path("log/machine.log")).expect("own directory");
        let process = tested::started_by("unshare")
            .args(["--mount", "--pid", "--net", "--fork", "sh", BOOT])
            .args([tree.path(), path("")])
            .args([tested::PROGRAM, "dovecot -F"])
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .spawn()
            .expect("unshare is a part of util-linux");
        let socket = path("run/stock");
        let mut machine = Self { process, dir };
        until("stock Dovecot's socket", LONG, || {
            let exit = machine.process.try_wait().expect("our own child");
            assert_eq!(exit, None, "the machine did not boot");
            std::os::unix::net::UnixStream::connect(&socket).ok()
        });
        machine
    }
}

/// The machine ends with its standard input; the directory must not go before it.
impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _status = self.process.wait();
    }
}
