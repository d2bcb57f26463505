//! Dovecot's anvil: which sessions there are, and the end of some.
//!
//! anvil is the process that counts everybody's sessions; it listens at `<base_dir>/anvil`, for root
//! alone. Since Dovecot 2.4 it can end them: all of a user, or all that carry a certain *alternative
//! user name*, a field `user_…` of the userdb reply, which is where device and access ids stand. The
//! anvil of 2.3 knows no such command and would hang up on it. It is told apart by its silence: 2.4's
//! greets as soon as somebody connects.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::command::Series;
use super::line::Lines;
use super::rounds::{Next, Rounds};
use super::{Key, Target, now, pause};
use crate::wire::escape::{escaped, field};

/// Longest line that anvil reads, in bytes, with its LF (`MAX_INBUF_SIZE`, src/anvil/anvil-connection.c).
const MAX_LINE: usize = 1_024;

/// How long anvil may take to greet. It does nothing but wait for this; 2.3's never will.
const GREETING: Duration = Duration::from_millis(500);

/// What is said to a greeting; the empty line: no channel for orders to us.
const HELLO: &[u8] = b"VERSION\tanvil-client\t2\t0\n\n";

/// Kicks that are sent before their answers are read. Neither side's buffers can fill up with so few, or
/// both would wait for each other.
const AT_ONCE: usize = 128;

/// How often the sessions that were told to end are looked for afterwards.
const LOOK: Duration = Duration::from_millis(100);

/// Columns of CONNECT-DUMP: pid, user, service, address, guid, our address, alternative names…
const USER: usize = 1;
const GUID: usize = 4;
const ALTERNATIVES: usize = 6;

/// Why anvil ended nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("cannot connect to Dovecot's anvil at {path:?}")]
    Connect { path: PathBuf, source: io::Error },
    /// Dovecot 2.3's, or it hangs.
    #[error("Dovecot's anvil at {path:?} does not greet as Dovecot 2.4's does")]
    Greeting { path: PathBuf, source: io::Error },
    #[error("Dovecot's anvil at {path:?} gave no answer")]
    Silent { path: PathBuf, source: io::Error },
}

impl Trouble {
    pub(super) fn source(&self) -> &io::Error {
        match self {
            Self::Connect { source, .. }
            | Self::Greeting { source, .. }
            | Self::Silent { source, .. } => source,
        }
    }

    /// What is known of Dovecot's version.
    pub(super) fn series(&self) -> Option<Series> {
        match self {
            Self::Connect { .. } | Self::Greeting { .. } => None,
            Self::Silent { .. } => Some(Series::V24),
        }
    }

    /// A socket, and nobody behind it: Dovecot is away.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Connect { source, .. } => source.kind() == io::ErrorKind::ConnectionRefused,
            Self::Greeting { .. } | Self::Silent { .. } => false,
        }
    }

    /// There is no anvil at all.
    pub(super) fn is_absence(&self) -> bool {
        match self {
            Self::Connect { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Greeting { .. } | Self::Silent { .. } => false,
        }
    }
}

/// What anvil's own list said before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) ended: usize,
    /// Were told to end, and have not yet.
    pub(super) open: usize,
}

/// An anvil of Dovecot 2.4.
pub(super) struct Anvil {
    lines: Lines,
    path: PathBuf,
}

impl Anvil {
    /// Connects and waits for the greeting.
    ///
    /// # Errors
    ///
    /// [`Trouble::Connect`], [`Trouble::Greeting`].
    pub(super) fn reach(base_dir: &Path, deadline: Instant) -> Result<Self, Trouble> {
        let path = base_dir.join("anvil");
        let until = deadline.min(now() + GREETING);
        let mut lines = match Lines::connect(&path, until) {
            Ok(lines) => lines,
            Err(source) => return Err(Trouble::Connect { path, source }),
        };
        let greeted = lines.next(until).and_then(|line| {
            if is_greeting(line.expose()) {
                return lines.send(HELLO, until);
            }
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it says something else",
            ))
        });
        match greeted {
            Ok(()) => Ok(Self { lines, path }),
            Err(source) => Err(Trouble::Greeting { path, source }),
        }
    }

    /// Kicks in rounds, then waits for the end of what was told to end.
    ///
    /// Sessions are counted by anvil's list of connections: the answer to a kick is 0 where one process
    /// serves several sessions, though they end.
    ///
    /// # Errors
    ///
    /// [`Trouble::Silent`].
    pub(super) fn end(mut self, targets: &[Target], rounds: Rounds) -> Result<Count, Trouble> {
        self.rounds(targets, rounds)
            .map_err(|source| Trouble::Silent {
                path: self.path,
                source,
            })
    }

    fn rounds(&mut self, targets: &[Target], mut rounds: Rounds) -> io::Result<Count> {
        let wanted = Wanted::new(targets);
        let lines: Vec<Vec<u8>> = targets.iter().map(kick_line).collect::<Result<_, _>>()?;
        let until = rounds.deadline();
        let mut seen = BTreeSet::new();
        while let Next::After(time) = rounds.next(now()) {
            pause(time);
            rounds.begin(now());
            seen.append(&mut self.sessions(&wanted, until)?);
            for some in lines.chunks(AT_ONCE) {
                self.lines.send(&some.concat(), until)?;
                for _ in some {
                    count(self.lines.next(until)?.expose())?;
                }
            }
        }
        loop {
            let open = self.sessions(&wanted, until)?;
            let open = open.intersection(&seen).count();
            if open == 0 || now() + LOOK * 2 >= until {
                let ended = seen.len() - open;
                return Ok(Count { ended, open });
            }
            pause(LOOK);
        }
    }

    /// The guids of the sessions that are meant. Nothing else of the list is kept.
    fn sessions(&mut self, wanted: &Wanted<'_>, until: Instant) -> io::Result<BTreeSet<Vec<u8>>> {
        self.lines.send(b"CONNECT-DUMP\n", until)?;
        let names = columns(self.lines.next(until)?.expose());
        let mut found = BTreeSet::new();
        loop {
            let line = self.lines.next(until)?;
            if line.expose().is_empty() {
                return Ok(found);
            }
            found.extend(wanted.guid(&names, &columns(line.expose())));
        }
    }
}

/// The targets, so that a line of the list is compared once, however many there are.
struct Wanted<'a> {
    users: HashSet<&'a [u8]>,
    /// Values by the names of their fields.
    alternatives: HashMap<&'a [u8], HashSet<&'a [u8]>>,
}

impl<'a> Wanted<'a> {
    fn new(targets: &'a [Target]) -> Self {
        let mut wanted = Self {
            users: HashSet::new(),
            alternatives: HashMap::new(),
        };
        for target in targets {
            match target.key() {
                Key::Alternative(name, value) => {
                    let values = wanted.alternatives.entry(name.as_bytes()).or_default();
                    values.insert(value.as_bytes());
                }
                Key::User(mailbox) => {
                    wanted.users.insert(mailbox.as_str().as_bytes());
                }
            }
        }
        wanted
    }

    /// The guid of this session, if it is meant.
    fn guid(&self, names: &[Vec<u8>], session: &[Vec<u8>]) -> Option<Vec<u8>> {
        let alternatives = session.get(ALTERNATIVES..).unwrap_or_default();
        let by_name = names.iter().zip(alternatives).any(|(name, value)| {
            let values = self.alternatives.get(&**name);
            values.is_some_and(|values| values.contains(&**value))
        });
        let user = session.get(USER)?;
        (by_name || self.users.contains(&**user))
            .then(|| session.get(GUID).cloned())
            .flatten()
    }
}

/// The line that ends a target's sessions.
///
/// # Errors
///
/// Of one that anvil would not read. Ids and names are too short for that by far.
fn kick_line(target: &Target) -> io::Result<Vec<u8>> {
    let words = match target.key() {
        Key::Alternative(name, value) => vec!["KICK-ALT-USER", name, value],
        Key::User(mailbox) => vec!["KICK-USER", mailbox.as_str()],
    };
    let words: Vec<Vec<u8>> = (words.iter())
        .map(|word| escaped(word.as_bytes()).flatten().copied().collect())
        .collect();
    let mut line = words.join(&b'\t');
    line.push(b'\n');
    if line.len() > MAX_LINE {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the name is too long for it",
        ));
    }
    Ok(line)
}

/// Whether this is how an anvil of Dovecot 2.4 greets: the major number is the protocol.
fn is_greeting(line: &[u8]) -> bool {
    matches!(
        columns(line).as_slice(),
        [version, name, major, ..] if version == b"VERSION" && name == b"anvil-server" && major == b"2"
    )
}

/// The answer to a kick. The number is of no use (see [`Anvil::end`]), but it has to be one.
fn count(line: &[u8]) -> io::Result<u32> {
    let text = std::str::from_utf8(line).unwrap_or_default();
    text.parse().map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it says {:?}", String::from_utf8_lossy(line)),
        )
    })
}

/// The fields of a line; of an empty one none.
fn columns(line: &[u8]) -> Vec<Vec<u8>> {
    if line.is_empty() {
        return Vec::new();
    }
    line.split(|&byte| byte == b'\t')
        .map(|part| {
            // Never fails; see there.
            field(part).map_or_else(|_| Vec::new(), |(_, field)| field.expose().to_vec())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::stand_in::{device, mailbox};
    use super::*;

    /// As Dovecot 2.4.1 answered CONNECT-DUMP, with ids in place of "phone" and "laptop".
    const NAMES: &[u8] = b"user_device";
    const PHONE: &[u8] = b"17864\tbob@example.org\timap\t127.0.0.1\t692abd0fe707046bc845000083ecc375\t\tdp-aaaaaaaaaa";
    const LAPTOP: &[u8] = b"17869\tbob@example.org\timap\t127.0.0.1\t16fb4511e707046bcd45000083ecc375\t\tdp-bbbbbbbbbb";

    fn guid(targets: &[Target], names: &[u8], session: &[u8]) -> Option<Vec<u8>> {
        Wanted::new(targets).guid(&columns(names), &columns(session))
    }

    #[test]
    fn greeting_of_dovecot_2_4_is_told_from_anything_else() {
        assert!(is_greeting(b"VERSION\tanvil-server\t2\t0"));
        for other in [
            &b"VERSION\tanvil\t1\t0"[..],
            b"VERSION\tanvil-server\t1\t0",
            b"VERSION\tanvil-server\t20\t0",
            b"VERSION\tanvil-server",
            b"",
        ] {
            assert!(!is_greeting(other), "{other:?}");
        }
    }

    #[test]
    fn kick_of_a_device_names_the_whole_field() {
        let line = kick_line(&device("dp-aaaaaaaaaa", "bob@example.org")).unwrap();
        assert_eq!(line, b"KICK-ALT-USER\tuser_device\tdp-aaaaaaaaaa\n");
        let line = kick_line(&mailbox("bob?@example.org")).unwrap();
        assert_eq!(
            line, b"KICK-USER\tbob?@example.org\n",
            "no mask in this protocol"
        );
    }

    #[test]
    fn longest_name_fits_into_a_line() {
        let line = kick_line(&mailbox(&"n".repeat(254))).unwrap();
        assert!(line.len() <= MAX_LINE);
    }

    #[test]
    fn session_is_found_by_its_alternative_name_alone() {
        let phone = [device("dp-aaaaaaaaaa", "bob@example.org")];
        let found = guid(&phone, NAMES, PHONE).unwrap();
        assert_eq!(found, b"692abd0fe707046bc845000083ecc375");
        assert_eq!(guid(&phone, NAMES, LAPTOP), None);
        assert_eq!(
            guid(&phone, b"user_access", PHONE),
            None,
            "another field's value"
        );
        assert_eq!(guid(&phone, b"", PHONE), None);
        let bob = [mailbox("bob@example.org")];
        assert!(guid(&bob, NAMES, PHONE).is_some() && guid(&bob, NAMES, LAPTOP).is_some());
    }

    #[test]
    fn second_of_two_alternative_names_is_found_beside_an_empty_first() {
        let names = b"user_access\tuser_device";
        let session = b"1\tbob@example.org\timap\t::1\tguid\t\t\tdp-aaaaaaaaaa";
        let phone = [device("dp-aaaaaaaaaa", "bob@example.org")];
        assert_eq!(guid(&phone, names, session).unwrap(), b"guid");
    }

    #[test]
    fn line_that_is_cut_short_is_nobodys_session() {
        let bob = [mailbox("bob@example.org")];
        assert_eq!(guid(&bob, NAMES, b"17864\tbob@example.org\timap"), None);
        assert_eq!(guid(&bob, NAMES, b"17864"), None);
    }

    #[test]
    fn answer_that_is_no_number_is_no_answer() {
        assert_eq!(count(b"2").unwrap(), 2);
        assert!(count(b"").is_err() && count(b"-1").is_err() && count(b"ERROR").is_err());
    }
}
