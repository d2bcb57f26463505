//! The same log-ins with stock Dovecot 2.4, as people have it: the sql passdb on SQLite, in one passdb
//! or in twenty (a password for each device, without a program like ours), with and without auth_cache.
//!
//! Each configuration is a throw-away machine (tests/interop/boot.sh). All of them, and ours, are asked
//! in turns.

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dovelatch::password::generate::Password;
use dovelatch::password::phc::{self, Arena, Cost};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::dialogue::LogIn;
use crate::load::{Load, Until};
use crate::ours::Daemon;
use crate::site::Site;
use crate::table::{self, count, median, millis};
use crate::tested::PROGRAM;
use crate::tree::Tree;
use crate::wait::{LONG, until};
use crate::{Scale, cpu, hash};

const BOOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/boot.sh");

/// What passwords that people choose should cost at least (the least that OWASP advises for Argon2id). What
/// `doveadm pw -s ARGON2ID` writes costs five times as much.
const HEAVY: Cost = Cost {
    memory_kib: 19_456,
    passes: 2,
    lanes: 1,
};

/// What ours cost.
const LIGHT: Cost = Cost {
    memory_kib: 1_024,
    passes: 1,
    lanes: 1,
};

/// Mailboxes in Dovecot's database.
const USERS: usize = 100;

/// Passwords of each of them. The right one is the last.
const SLOTS: u8 = 20;

/// As many as keep two cores at work, and no more: here the wait is a figure.
const CONNECTIONS: usize = 4;

struct Configuration {
    name: &'static str,
    passdbs: u8,
    cost: Cost,
    cache: bool,
}

const CONFIGURATIONS: [Configuration; 6] = [
    Configuration {
        name: "Dovecot, 1 passdb, heavy hash",
        passdbs: 1,
        cost: HEAVY,
        cache: false,
    },
    Configuration {
        name: "Dovecot, 1 passdb, heavy hash, auth_cache",
        passdbs: 1,
        cost: HEAVY,
        cache: true,
    },
    Configuration {
        name: "Dovecot, 20 passdbs, heavy hash",
        passdbs: 20,
        cost: HEAVY,
        cache: false,
    },
    Configuration {
        name: "Dovecot, 20 passdbs, heavy hash, auth_cache",
        passdbs: 20,
        cost: HEAVY,
        cache: true,
    },
    Configuration {
        name: "Dovecot, 1 passdb, **light hash, as ours**",
        passdbs: 1,
        cost: LIGHT,
        cache: false,
    },
    Configuration {
        name: "Dovecot, 20 passdbs, **light hash, as ours**",
        passdbs: 20,
        cost: LIGHT,
        cache: false,
    },
];

/// Whom to ask, and what.
struct Asked<'a> {
    name: String,
    socket: PathBuf,
    /// The process below which everything happens.
    root: u32,
    good: Good<'a>,
    bad: &'a [LogIn],
    figures: [Figures; 2],
}

enum Good<'a> {
    Again(&'a [LogIn]),
    /// So many in each round, each for the first time.
    Once(std::slice::Chunks<'a, LogIn>),
}

#[derive(Default)]
struct Figures {
    rates: Vec<f64>,
    waits: Vec<f64>,
    costs: Vec<f64>,
}

/// Asks all of them, and prints the table.
pub fn compare(site: &Site, scale: &Scale) {
    let tree = Tree::Trixie;
    let machines: Vec<Machine> = match tree.unusable() {
        Some(reason) => {
            println!("\nBeside stock Dovecot: skipped ({reason}).");
            return;
        }
        None => CONFIGURATIONS
            .iter()
            .map(|configuration| Machine::start(tree, configuration))
            .collect(),
    };
    let daemon = Daemon::start(site, &site.unknown[0]);
    let (phones, once) = site.log_ins.split_at(site.log_ins.len() / 2);
    let phones = &phones[..phones.len().min(1_000)];
    let warm = Load {
        socket: &daemon.socket,
        connections: CONNECTIONS,
        depth: 1,
        until: Until::AllDecided,
    };
    warm.run(phones);

    let ours = |name: &str, good| Asked {
        name: name.to_owned(),
        socket: daemon.socket.clone(),
        root: daemon.process(),
        good,
        bad: &site.wrong,
        figures: Default::default(),
    };
    let mut asked: Vec<Asked<'_>> = (machines.iter().zip(&CONFIGURATIONS))
        .map(|(machine, configuration)| Asked {
            name: configuration.name.to_owned(),
            socket: machine.socket(),
            root: machine.process.id(),
            good: Good::Again(&machine.good),
            bad: &machine.bad,
            figures: Default::default(),
        })
        .collect();
    let rounds = scale.rounds.min(3);
    let each = (once.len() / rounds).min(5_000);
    asked.push(ours(
        "dovelatch, first log-in",
        Good::Once(once.chunks(each)),
    ));
    asked.push(ours("dovelatch, repeated log-in", Good::Again(phones)));
    for _ in 0..rounds {
        asked.iter_mut().for_each(|asked| asked.round(scale.round));
    }
    print(asked);
}

impl Asked<'_> {
    fn round(&mut self, time: Duration) {
        let (good, until) = match &mut self.good {
            Good::Again(log_ins) => (*log_ins, Until::Time(time)),
            Good::Once(rounds) => (rounds.next().expect("one each"), Until::AllDecided),
        };
        for (log_ins, until, figures) in [(good, until, 0), (self.bad, Until::Time(time), 1)] {
            let load = Load {
                socket: &self.socket,
                connections: CONNECTIONS,
                depth: 1,
                until,
            };
            let before = cpu::of_tree(self.root);
            let done = load.run(log_ins);
            let cpu = cpu::of_tree(self.root).saturating_sub(before);
            let figures = &mut self.figures[figures];
            figures.rates.push(done.rate());
            figures.waits.push(done.wait(50).as_secs_f64());
            figures.costs.push((cpu / done.decided).as_secs_f64());
        }
    }
}

fn print(asked: Vec<Asked<'_>>) {
    let heading = [
        "",
        "good/s",
        "p50",
        "CPU of one",
        "bad/s",
        "p50",
        "CPU of one",
    ];
    let rows: Vec<[String; 7]> = asked
        .into_iter()
        .map(|asked| {
            let [good, bad] = asked.figures.map(|figures| {
                let time = |figures| millis(Duration::from_secs_f64(median(figures)));
                (
                    count(median(figures.rates)),
                    time(figures.waits),
                    time(figures.costs),
                )
            });
            [asked.name, good.0, good.1, good.2, bad.0, bad.1, bad.2]
        })
        .collect();
    println!(
        "\nBeside stock Dovecot 2.4: auth service alone, sql passdb on SQLite, failure delay 0;\n\
         {CONNECTIONS} connections. By our library, a light hash ({LIGHT}) takes {} of CPU, a heavy one\n\
         ({HEAVY}) {}.\n",
        millis(hash::cpu_time(LIGHT, Duration::from_millis(500))),
        millis(hash::cpu_time(HEAVY, Duration::from_secs(1))),
    );
    table::print(&heading.map(str::to_owned), &rows);
}

/// Stock Dovecot with one configuration.
struct Machine {
    process: Child,
    directory: TempDir,
    good: Vec<LogIn>,
    bad: Vec<LogIn>,
}

impl Machine {
    fn start(tree: Tree, configuration: &Configuration) -> Self {
        let directory = tempfile::Builder::new().prefix("dl").tempdir();
        let directory = directory.expect("a temporary directory");
        let path = |name: &str| directory.path().join(name);
        for name in "state run spool vmail log mnt files/etc/dovecot".split(' ') {
            fs::create_dir_all(path(name)).expect("own directory");
        }
        fs::set_permissions(path(""), Permissions::from_mode(0o755)).expect("own directory");
        fs::write(path("files/etc/dovecot/dovecot.conf"), text(configuration))
            .expect("own directory");
        let (good, bad) = users(&path("files/etc/dovecot/users.db"), configuration.cost);

        let log = File::create(path("log/machine.log")).expect("own directory");
        let process = Command::new("unshare")
            .args(["--mount", "--pid", "--net", "--fork", "sh", BOOT])
            .args([tree.path(), path("")])
            .args([PROGRAM, "dovecot -F"])
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .spawn()
            .expect("unshare is a part of util-linux");
        let mut machine = Self {
            process,
            directory,
            good,
            bad,
        };
        let socket = machine.socket();
        until("stock Dovecot's socket", LONG, || {
            let exit = machine.process.try_wait().expect("our own child");
            assert_eq!(exit, None, "the machine did not boot");
            UnixStream::connect(&socket).ok()
        });
        machine
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("run/stock")
    }
}

/// The machine ends with its standard input; the directory must not go before it.
impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _status = self.process.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.directory.path().join("log/dovecot.log"));
            eprintln!("Dovecot's log: {}", log.unwrap_or_default());
        }
    }
}

/// The auth service alone, with as many workers as it likes: a limit of two makes it drop log-ins.
fn text(configuration: &Configuration) -> String {
    let mut text = format!(
        "dovecot_config_version = 2.4.0\n\
         dovecot_storage_version = 2.4.0\n\
         protocols =\n\
         log_path = /var/log/dovecot.log\n\
         auth_mechanisms = plain\n\
         auth_failure_delay = 0\n\
         auth_allow_cleartext = yes\n\
         auth_cache_size = {}\n\
         sql_driver = sqlite\n\
         sqlite_path = /etc/dovecot/users.db\n\
         service auth {{\n  unix_listener /run/dovelatch/stock {{\n    mode = 0666\n  }}\n}}\n\
         userdb static {{\n  fields {{\n    uid = vmail\n    gid = vmail\n  }}\n}}\n",
        if configuration.cache { "10M" } else { "0" },
    );
    for slot in SLOTS - configuration.passdbs..SLOTS {
        let query = format!(
            "SELECT name AS user, password FROM users WHERE name = '%{{user}}' AND slot = {slot}"
        );
        writeln!(
            text,
            "passdb slot{slot} {{\n  driver = sql\n  sql_query = {query}\n}}"
        )
        .expect("a string");
    }
    text
}

/// Makes Dovecot's database; who can log in, and who cannot.
fn users(path: &Path, cost: Cost) -> (Vec<LogIn>, Vec<LogIn>) {
    let hashed = || {
        let password = Password::generate().expect("random bytes");
        let hash = phc::hash(&password, cost, &mut Arena::default()).expect("a hash");
        let typed = String::from_utf8(password.canonical().to_vec()).expect("letters");
        (typed, format!("{{ARGON2ID}}{hash}"))
    };
    // Dovecot remembers no hash that it has computed, so one of each kind does for all.
    let ((right, right_hash), (wrong, _), (_, other_hash)) = (hashed(), hashed(), hashed());
    let mut database = Connection::open(path).expect("own directory");
    let rows = database.transaction().expect("own file");
    rows.execute_batch(
        "CREATE TABLE users (name TEXT, slot INTEGER, password TEXT, PRIMARY KEY (name, slot))",
    )
    .expect("own file");
    let names = (0..USERS).map(|number| format!("mailbox{number:03}@example.org"));
    let names: Vec<String> = names.collect();
    for name in &names {
        for slot in 0..SLOTS {
            let hash = if slot == SLOTS - 1 {
                &right_hash
            } else {
                &other_hash
            };
            rows.execute("INSERT INTO users VALUES (?1, ?2, ?3)", (name, slot, hash))
                .expect("own file");
        }
    }
    rows.commit().expect("own file");
    let good = names.iter().map(|name| LogIn::good(name, &right));
    let bad = names.iter().map(|name| LogIn::bad(name, &wrong));
    (good.collect(), bad.collect())
}
