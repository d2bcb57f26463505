//! The two Debian trees that `tests/trees` builds: where they are, and what is in them.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::{env, fs};

/// A Debian release, and with it one version each of Dovecot and Postfix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tree {
    /// Debian 12.
    Bookworm,
    /// Debian 13.
    Trixie,
}

impl Tree {
    pub const ALL: [Self; 2] = [Self::Bookworm, Self::Trixie];

    fn suite(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }

    /// Name of the Dovecot in it, as part of a test's name.
    pub fn dovecot(self) -> &'static str {
        match self {
            Self::Bookworm => "dovecot_2_3",
            Self::Trixie => "dovecot_2_4",
        }
    }

    /// Name of the Postfix in it, as part of a test's name.
    pub fn postfix(self) -> &'static str {
        match self {
            Self::Bookworm => "postfix_3_7",
            Self::Trixie => "postfix_3_10",
        }
    }

    pub fn path(self) -> PathBuf {
        env::var_os("DOVELATCH_TREES")
            .map_or_else(
                || PathBuf::from("/var/cache/dovelatch-trees"),
                PathBuf::from,
            )
            .join(self.suite())
    }

    /// Why nothing can be run in it, if so.
    pub fn unusable(self) -> Option<String> {
        if !nix::unistd::geteuid().is_root() {
            return Some("needs root, for namespaces and chroot".to_owned());
        }
        // A container may give out root without it.
        static NAMESPACES: LazyLock<bool> = LazyLock::new(|| {
            let mut unshare = Command::new("unshare");
            unshare
                .args(["--mount", "--pid", "--net", "--fork", "true"])
                .stderr(Stdio::null());
            unshare.status().is_ok_and(|status| status.success())
        });
        if !*NAMESPACES {
            return Some("this root may not make namespaces".to_owned());
        }
        // Written last, so that a tree without it is no tree.
        if !self.path().join(".dovelatch-tree").exists() {
            return Some(format!("no {} tree, see tests/trees", self.suite()));
        }
        None
    }

    /// Whether a program that was built on this host can run in it: its C library must not be older.
    pub fn runs_what_the_host_built(self) -> bool {
        let minor = |root: PathBuf| {
            let library = format!("lib/{}-linux-gnu/libc.so.6", env::consts::ARCH);
            let bytes = fs::read(root.join(library)).ok()?;
            let text = String::from_utf8_lossy(&bytes);
            let (_, version) = text.split_once("stable release version 2.")?;
            let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u32>().ok()
        };
        minor(self.path()).is_some_and(|found| minor("/".into()).is_some_and(|host| host <= found))
    }

    /// Numbers of a user and its group in the tree. The host may have no such user, or another.
    pub fn user(self, name: &str) -> (u32, u32) {
        let passwd =
            fs::read_to_string(self.path().join("etc/passwd")).expect("passwd of the tree");
        passwd
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find_map(|fields| match fields[..] {
                [user, _, uid, gid, ..] if user == name => {
                    Some((uid.parse().expect("a uid"), gid.parse().expect("a gid")))
                }
                _ => None,
            })
            .expect("the tree has the users of its packages")
    }
}
