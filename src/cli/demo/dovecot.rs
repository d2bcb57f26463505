//! A private Dovecot, started as the caller on a loopback port, with our Lua script as its passdb.
//!
//! Dovecot 2.3 and 2.4 both run without root if every process keeps the caller's user and none
//! wants a chroot. Everything lies in the demonstration's directory. Where Dovecot cannot be asked,
//! it is [`Skipped`], with the reason.

mod config;

use std::ffi::OsStr;
use std::fmt;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use super::imap::Client;
use super::interrupt::Interrupt;
use crate::secret::Secret;

/// What the demonstration delivers, and reads.
const SUBJECT: &str = "Subject: It works";

/// How often, and how many times, a starting or stopping Dovecot is looked at: 10 s in all.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS: u32 = 100;

/// `first_valid_uid`: below it Dovecot opens no mailbox, neither version.
const FIRST_UID: u32 = 500;

/// Where distributions put the programs, beyond `PATH` (Debian: `/usr/sbin`, not in a user's).
const SBIN: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Why Dovecot was not asked.
#[derive(Debug)]
pub(super) struct Skipped(String);

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why there is no answer of Dovecot.
#[derive(Debug)]
pub(super) enum Error {
    Skipped(Skipped),
    Failed { step: String, cause: String },
}

/// A command that a reader can repeat, what came back, and the exit code that it has or would have.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) command: String,
    pub(super) said: String,
    pub(super) exit: u8,
}

/// What doveadm ends with where the log-in was refused (`EX_NOPERM`).
pub(super) const DOVEADM_REFUSED: u8 = 77;

/// What curl ends with there (`CURLE_LOGIN_DENIED`).
const CURL_REFUSED: u8 = 67;

/// The installed Dovecot.
#[derive(Debug)]
pub(super) struct Programs {
    dovecot: PathBuf,
    doveadm: PathBuf,
    /// As `dovecot --version` says it, for example `2.4.1`.
    version: String,
    series: Series,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Series {
    V23,
    V24,
}

impl Programs {
    /// Looks for Dovecot in `path` and the usual places.
    ///
    /// # Errors
    ///
    /// [`Skipped`] if there is none, or it is of a version that we do not know.
    pub(super) fn find(path: Option<&OsStr>) -> Result<Self, Skipped> {
        let directories: Vec<PathBuf> = path
            .into_iter()
            .flat_map(std::env::split_paths)
            .chain(SBIN.map(PathBuf::from))
            .collect();
        let find = |name: &str| {
            directories
                .iter()
                .map(|directory| directory.join(name))
                .find(|file| file.is_file())
                .ok_or_else(|| Skipped(format!("{name} is not installed")))
        };
        let (dovecot, doveadm) = (find("dovecot")?, find("doveadm")?);
        let said = Command::new(&dovecot)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| Skipped(format!("{}: {error}", dovecot.display())))?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        // "2.4.1-4 (7d8c0e5759)": number, packaging, commit.
        let version = said
            .split([' ', '-'])
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        let series = if version.starts_with("2.3.") {
            Series::V23
        } else if version.starts_with("2.4.") {
            Series::V24
        } else {
            return Err(Skipped(format!(
                "Dovecot {version:?} is neither 2.3 nor 2.4"
            )));
        };
        Ok(Self {
            dovecot,
            doveadm,
            version,
            series,
        })
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// `doveadm auth test` at our socket; the password goes in through standard input, as everything
    /// in an argument can be read by others.
    ///
    /// # Errors
    ///
    /// [`Error`] if doveadm cannot be run, or gets no answer.
    pub(super) fn auth_test(
        &self,
        base: &Path,
        socket: &Path,
        mailbox: &str,
        password: &Secret,
    ) -> Result<Answer, Error> {
        let step = "doveadm auth test";
        let config = base.join("doveadm.conf");
        write(&config, self.head().as_bytes(), step)?;
        let mut child = Command::new(&self.doveadm)
            .arg("-c")
            .arg(&config)
            .args(["auth", "test", "-a"])
            .arg(socket)
            .arg(mailbox)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(step, &error))?;
        if let Some(mut stdin) = child.stdin.take() {
            let line = Secret::new([password.expose(), b"\n"].concat());
            // If it hangs up, its own words below say why.
            let _ = stdin.write_all(line.expose());
        }
        let ended = child
            .wait_with_output()
            .map_err(|error| failed(step, &error))?;
        let said = [ended.stdout, ended.stderr].concat();
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        let exit = match ended.status.code().map(u8::try_from) {
            Some(Ok(exit @ (0 | DOVEADM_REFUSED))) => exit,
            _ => return Err(failed(step, &said)),
        };
        Ok(Answer {
            command: format!("doveadm auth test -a {} {mailbox}", socket.display()),
            said,
            exit,
        })
    }

    /// Starts a Dovecot that asks the daemon at `socket` and holds one message for `mailbox`.
    ///
    /// # Errors
    ///
    /// [`Error::Skipped`] where this user or this installation cannot, else [`Error::Failed`].
    pub(super) fn start(
        &self,
        base: &Path,
        socket: &Path,
        mailbox: &str,
        interrupt: &Interrupt,
    ) -> Result<Dovecot, Error> {
        let step = "starting a private Dovecot";
        let caller = Caller::find()?;
        lua_is_there()?;
        deliver(&base.join("home").join(mailbox).join("Maildir"))?;
        write(
            &base.join("dovelatch.lua"),
            config::script(socket).as_bytes(),
            step,
        )?;
        let port = free_port().map_err(|error| failed(step, &error))?;
        let config = base.join("dovecot.conf");
        write(&config, self.config(base, &caller, port).as_bytes(), step)?;
        let log = std::fs::File::create(base.join("dovecot.out"))
            .map_err(|error| failed(step, &error))?;
        let log_too = log.try_clone().map_err(|error| failed(step, &error))?;
        let child = bound_to_us(&self.dovecot)
            .arg("-F")
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(log_too)
            // A group of its own: Ctrl-C reaches us, and we end it.
            .process_group(0)
            .spawn()
            .map_err(|error| failed(step, &error))?;
        let mut dovecot = Dovecot { child, port };
        for _ in 0..LOOKS {
            if Client::connect(port).is_ok() {
                return Ok(dovecot);
            }
            if !matches!(dovecot.child.try_wait(), Ok(None)) || interrupt.within(LOOK) {
                break;
            }
        }
        drop(dovecot);
        let log = ["dovecot.out", "dovecot.log"]
            .map(|name| std::fs::read_to_string(base.join(name)).unwrap_or_default());
        Err(failed(step, &log.concat().trim()))
    }
}

/// A running Dovecot. Ended when dropped.
#[derive(Debug)]
pub(super) struct Dovecot {
    child: Child,
    port: u16,
}

impl Dovecot {
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Signs in over IMAP and reads the subject of the one message.
    ///
    /// # Errors
    ///
    /// What went otherwise than expected.
    pub(super) fn read_message(&self, mailbox: &str, password: &Secret) -> Result<Answer, String> {
        let broken = |error: std::io::Error| error.to_string();
        let mut client = Client::connect(self.port).map_err(broken)?;
        let login = client.login(mailbox, password).map_err(broken)?;
        if !login.ok {
            return Err(login.lines.join("; "));
        }
        client.command(b"SELECT INBOX").map_err(broken)?;
        let fetch = b"FETCH 1 BODY[HEADER.FIELDS (SUBJECT)]";
        let fetched = client.command(fetch).map_err(broken)?;
        if !fetched.lines.iter().any(|line| line == SUBJECT) {
            return Err(fetched.lines.join("; "));
        }
        Ok(Answer {
            command: self.curl(mailbox),
            said: SUBJECT.to_owned(),
            exit: 0,
        })
    }

    /// Signs in over IMAP and expects to be refused.
    ///
    /// # Errors
    ///
    /// What went otherwise than expected.
    pub(super) fn is_refused(&self, mailbox: &str, password: &Secret) -> Result<Answer, String> {
        let broken = |error: std::io::Error| error.to_string();
        let mut client = Client::connect(self.port).map_err(broken)?;
        let login = client.login(mailbox, password).map_err(broken)?;
        let said = login.lines.join("; ");
        if login.ok || !said.contains("AUTHENTICATIONFAILED") {
            return Err(said);
        }
        Ok(Answer {
            command: self.curl(mailbox),
            said,
            exit: CURL_REFUSED,
        })
    }

    /// The same for a reader's hands; it asks for the password.
    fn curl(&self, mailbox: &str) -> String {
        format!(
            "curl --user {mailbox} 'imap://127.0.0.1:{}/INBOX;MAILINDEX=1;SECTION=HEADER.FIELDS%20(SUBJECT)'",
            self.port
        )
    }
}

impl Drop for Dovecot {
    /// Asks it to end, and kills what does not. `doveadm stop` would wait in vain: until we reap it,
    /// it is there.
    fn drop(&mut self) {
        let master = match (self.child.try_wait(), i32::try_from(self.child.id())) {
            (Ok(None), Ok(id)) => Pid::from_raw(id),
            _ => return,
        };
        let _ = signal::kill(master, Signal::SIGTERM);
        for _ in 0..LOOKS {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK);
        }
        // With its children: it leads their group.
        let _ = signal::killpg(master, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Starts `program` so that it ends with us, even where we are killed. setpriv(1) of util-linux asks
/// the kernel for that (`PR_SET_PDEATHSIG`), which between fork and exec only `unsafe` could. Without
/// it a killed demonstration leaves its Dovecot running.
fn bound_to_us(program: &Path) -> Command {
    let setpriv = || {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--pdeathsig", "TERM"]);
        setpriv
    };
    let works = setpriv()
        .arg("true")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !works.is_ok_and(|status| status.success()) {
        return Command::new(program);
    }
    let mut bound = setpriv();
    bound.arg(program);
    bound
}

/// Who starts Dovecot.
struct Caller {
    user: String,
    group: String,
    uid: u32,
    gid: u32,
}

impl Caller {
    fn find() -> Result<Self, Error> {
        let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
        if uid.as_raw() < FIRST_UID {
            return Err(skipped(format!(
                "Dovecot opens no mailbox for user id {uid}, below {FIRST_UID}; run the demonstration as an ordinary user"
            )));
        }
        let user = nix::unistd::User::from_uid(uid).ok().flatten();
        let group = nix::unistd::Group::from_gid(gid).ok().flatten();
        let (Some(user), Some(group)) = (user, group) else {
            return Err(skipped("this user or its group has no name".to_owned()));
        };
        Ok(Self {
            user: user.name,
            group: group.name,
            uid: uid.as_raw(),
            gid: gid.as_raw(),
        })
    }
}

/// Dovecot's Lua plugin and Lua's sockets are packages of their own.
fn lua_is_there() -> Result<(), Error> {
    // Debian and Fedora; lua-socket is below a directory of the Lua version.
    let plugin = ["/usr/lib/dovecot/modules/auth", "/usr/lib64/dovecot/auth"]
        .iter()
        .any(|directory| Path::new(directory).join("libauthdb_lua.so").exists());
    if !plugin {
        return Err(skipped("dovecot-auth-lua is not installed".to_owned()));
    }
    let libraries = ["/usr/share/lua", "/usr/local/share/lua"];
    let versions = libraries
        .iter()
        .filter_map(|library| std::fs::read_dir(library).ok())
        .flatten();
    if !versions
        .flatten()
        .any(|version| version.path().join("socket.lua").exists())
    {
        return Err(skipped("lua-socket is not installed".to_owned()));
    }
    Ok(())
}

/// One message in a new Maildir, as an MDA would leave it.
fn deliver(maildir: &Path) -> Result<(), Error> {
    let step = "delivering a message";
    for name in ["cur", "new", "tmp"] {
        std::fs::create_dir_all(maildir.join(name)).map_err(|error| failed(step, &error))?;
    }
    let message = format!(
        "From: dovelatch <demo@example.test>\r\nTo: demo@example.test\r\n{SUBJECT}\r\n\r\nRead with a device password.\r\n"
    );
    write(
        &maildir.join("new/1.demo.localhost"),
        message.as_bytes(),
        step,
    )
}

/// A port that was free a moment ago.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

fn write(path: &Path, bytes: &[u8], step: &str) -> Result<(), Error> {
    std::fs::write(path, bytes).map_err(|error| failed(step, &error))
}

fn failed(step: &str, cause: &impl fmt::Display) -> Error {
    Error::Failed {
        step: step.to_owned(),
        cause: cause.to_string(),
    }
}

fn skipped(why: String) -> Error {
    Error::Skipped(Skipped(why))
}
