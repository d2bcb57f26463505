//! A directory of its own for each session, and the commands that run in it.
//!
//! ```text
//! % file NAME          writes the lines that follow, each after "| "
//! % program NAME       the same, and it can be run
//! % mode 0644 NAME     changes the permissions
//! % directory NAME     makes one
//! % temporary NAME     names the directory for temporary files (TMPDIR)
//! % lock               holds the database's write lock, until the end of the session
//! % schema             makes the database one of a newer program
//! % secrets N          fails unless so many passwords are live, whoever has seen them
//! % unprivileged       runs the commands from here on without the rights of root
//! % daemon             starts `dovelatch serve`, until the end of the session
//! % wait NUMBER TABLE  until the daemon has written so many rows into a table
//! % sql                changes the database by the lines that follow, each after "| "
//! ```

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::Failed;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::child::KilledOnDrop;
use crate::program;
use crate::varying::Varying;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_dovelatch");

/// Who issues, as the audit log sees it: `SUDO_USER` of root, or whoever runs the tests.
const ACTOR: &str = "admin";

/// A user without any rights (`nobody` on Debian).
const NOBODY: u32 = 65_534;

/// How often a starting daemon is looked for, 10 ms apart: 10 s in all.
const LOOKS: u32 = 1_000;

pub(crate) struct Sandbox {
    /// Before the directory, which goes when nobody writes there any more.
    daemon: Option<KilledOnDrop>,
    directory: TempDir,
    program: PathBuf,
    varying: Varying,
    unprivileged: bool,
    temporary: Option<PathBuf>,
    lock: Option<Connection>,
}

impl Sandbox {
    pub(crate) fn new() -> Result<Self, Failed> {
        let directory = TempDir::new()?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700))?;
        let sandbox = Self {
            program: PathBuf::from(PROGRAM),
            varying: Varying::default(),
            unprivileged: false,
            temporary: None,
            lock: None,
            daemon: None,
            directory,
        };
        let path = |name: &str| sandbox.path().join(name);
        // Without the last section a revocation would ask the Dovecot of the host.
        let config = format!(
            "database = {:?}\n\n[[listen]]\ntype = \"auth\"\npath = {:?}\nfailure_delay = \"0s\"\n\n\
             [dovecot]\nbase_dir = {:?}\ndoveadm = {:?}\n",
            path("dovelatch.db"),
            path("auth"),
            path("dovecot"),
            path("doveadm"),
        );
        fs::write(path("dovelatch.toml"), config)?;
        Ok(sandbox)
    }

    /// Runs one command line and gives its answer in the form of a session.
    pub(crate) fn run(&mut self, line: &str) -> Result<String, Failed> {
        let line = self.varying.reveal(&self.with_directory(line));
        let (line, input) = line
            .split_once(" <<< ")
            .map_or((&*line, None), |(line, input)| {
                (line, Some(format!("{}\n", input.replace("\\n", "\n"))))
            });
        let (line, output) = line
            .split_once(" | ")
            .map_or((line, ""), |(line, output)| (line, output));
        let words: Vec<OsString> = words(line).iter().map(|word| bytes(word)).collect();
        let Some(arguments) = words.strip_prefix(&["dovelatch".into()]) else {
            return Err(format!("only dovelatch can be run: {line:?}").into());
        };
        let mut command = self.command();
        command
            .args(arguments)
            .stdout(stdout(output)?)
            .stderr(Stdio::piped());
        command.stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        if output == "terminal" {
            let mut script = Command::new("script");
            let quoted = arguments
                .iter()
                .map(|word| format!(" '{}'", word.to_string_lossy()));
            let line = quoted.collect::<String>();
            script.args([
                "-qe",
                "-E",
                "never",
                "-c",
                &format!("{:?}{line}", self.program),
                "/dev/null",
            ]);
            self.environment(&mut script);
            script
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            command = script;
        }
        if output == "closed" {
            // The shell's words for it; the program's own runtime sees a closed descriptor.
            let mut shell = Command::new("sh");
            shell
                .arg("-c")
                .arg("exec \"$@\" >&-")
                .arg("sh")
                .arg(&self.program)
                .args(arguments);
            self.environment(&mut shell);
            shell.stdin(Stdio::null()).stderr(Stdio::piped());
            command = shell;
        }
        let mut child = command.spawn()?;
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            // A program that refuses before it reads has not gone wrong.
            let _ = stdin.write_all(input.as_bytes());
        }
        let ended = child.wait_with_output()?;
        let said: &[u8] = match output {
            "some" if ended.stdout.is_empty() => b"nothing",
            "some" => b"something",
            _ => &ended.stdout,
        };
        let mut answer = self.marked("1>", said);
        answer += &self.marked("2>", &ended.stderr);
        let code = ended
            .status
            .code()
            .map_or("killed".to_owned(), |code| code.to_string());
        Ok(format!("{answer}? {code}\n"))
    }

    /// One of the preparations that the head of this file lists.
    pub(crate) fn prepare(&mut self, preparation: &str, text: &str) -> Result<(), Failed> {
        let words: Vec<&str> = preparation.split(' ').collect();
        match words.as_slice() {
            ["file", name] => fs::write(self.path().join(name), self.with_directory(text))?,
            ["program", name] => {
                program::write(&self.path().join(name), &self.with_directory(text))?
            }
            ["directory", name] => fs::create_dir(self.path().join(name))?,
            ["mode", mode, name] => {
                let mode = u32::from_str_radix(mode, 8)?;
                fs::set_permissions(self.path().join(name), fs::Permissions::from_mode(mode))?;
            }
            ["temporary", name] => self.temporary = Some(self.path().join(name)),
            ["lock"] => {
                let connection = self.database()?;
                connection.execute_batch("BEGIN IMMEDIATE")?;
                self.lock = Some(connection);
            }
            ["schema"] => self
                .database()?
                .pragma_update(None, "user_version", 9_999)?,
            ["secrets", wanted] => {
                let sql = "SELECT count(*) FROM secret WHERE ended IS NULL";
                let live: u32 = self.database()?.query_row(sql, [], |row| row.get(0))?;
                if live != wanted.parse::<u32>()? {
                    return Err(format!("{live} passwords are live, not {wanted}").into());
                }
            }
            ["unprivileged"] => self.give_up_rights()?,
            ["daemon"] => self.start_daemon()?,
            ["wait", number, table] => self.wait_for_rows(number.parse()?, table)?,
            ["sql"] => self.database()?.execute_batch(&self.varying.reveal(text))?,
            _ => return Err(format!("not understood: % {preparation}").into()),
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    fn with_directory(&self, text: &str) -> String {
        text.replace("[DIR]", &self.path().to_string_lossy())
    }

    fn database(&self) -> rusqlite::Result<Connection> {
        Connection::open(self.path().join("dovelatch.db"))
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        self.environment(&mut command);
        if self.unprivileged && is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn environment(&self, command: &mut Command) {
        command
            .env_clear()
            .env("DOVELATCH_CONFIG", self.path().join("dovelatch.toml"))
            .env("SUDO_USER", ACTOR)
            .env("PATH", "/usr/bin:/bin")
            .envs(self.temporary.iter().map(|path| ("TMPDIR", path)))
            .current_dir(self.path());
    }

    /// The program may lie where others cannot reach it, so they get a copy.
    fn give_up_rights(&mut self) -> Result<(), Failed> {
        self.unprivileged = true;
        fs::set_permissions(self.path(), fs::Permissions::from_mode(0o755))?;
        self.program = self.path().join("dovelatch");
        fs::copy(PROGRAM, &self.program)?;
        Ok(())
    }

    fn start_daemon(&mut self) -> Result<(), Failed> {
        let log = fs::File::create(self.path().join("log"))?;
        let mut command = self.command();
        command
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.daemon = Some(KilledOnDrop(command.spawn()?));
        for _ in 0..LOOKS {
            if UnixStream::connect(self.path().join("auth")).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(fs::read_to_string(self.path().join("log"))?.into())
    }

    fn wait_for_rows(&self, number: i64, table: &str) -> Result<(), Failed> {
        let count = format!("SELECT count(*) FROM {table}");
        for _ in 0..LOOKS {
            let found: i64 = self.database()?.query_row(&count, [], |row| row.get(0))?;
            if found == number {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("there never were {number} rows in {table}").into())
    }

    /// What was said, line by line, with all that varies replaced.
    fn marked(&mut self, mark: &str, said: &[u8]) -> String {
        let said = String::from_utf8_lossy(said);
        let said = self
            .varying
            .hide(&said.replace(&*self.path().to_string_lossy(), "[DIR]"));
        let said = match nix::unistd::User::from_uid(nix::unistd::getuid()) {
            Ok(Some(user)) if !is_root() => said.replace(&user.name, ACTOR),
            _ => said,
        };
        said.lines()
            .map(|line| format!("{mark} {line}").trim_end().to_owned() + "\n")
            .collect()
    }
}

/// A word as it reaches the program: [FF] is a byte that no UTF-8 has.
fn bytes(word: &str) -> OsString {
    let parts: Vec<&[u8]> = word.split("[FF]").map(str::as_bytes).collect();
    OsString::from_vec(parts.join(&0xff))
}

fn stdout(output: &str) -> Result<Stdio, Failed> {
    match output {
        "" | "some" | "closed" | "terminal" => Ok(Stdio::piped()),
        "full" => Ok(fs::OpenOptions::new().write(true).open("/dev/full")?.into()),
        "gone" => {
            let (writer, _reader) = UnixStream::pair()?;
            Ok(OwnedFd::from(writer).into())
        }
        other => Err(format!("not understood: | {other}").into()),
    }
}

fn is_root() -> bool {
    nix::unistd::getuid().is_root()
}

/// The words of a command line; single quotes hold blanks together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut quoted = false;
    let mut word = None;
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_with(String::new);
            }
            ' ' if !quoted => words.extend(word.take()),
            c => word.get_or_insert_with(String::new).push(c),
        }
    }
    words.extend(word);
    words
}
