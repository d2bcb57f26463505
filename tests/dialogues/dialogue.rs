//! The text files. Each holds several dialogues, one connection each:
//!
//! ```text
//! === a true sentence: the name of the test
//! @minor 0                         the client's minor; 2 unless said; `@raw`: no handshake is made
//! @master                          over an auth-master socket; `@userdb`: over one for USER, PASS, LIST
//! C: AUTH\t1\tPLAIN\tservice=imap\tno-penalty\tresp={plain}
//! S: OK\t1\tuser={user}\tuser_device={device}\tevent_device={device}
//! # why: a reason stands above every line that is not for all servers
//! S-stock: <closed>
//! S-ours: FAIL\t1
//! ```
//!
//! - `C:` is sent, consecutive ones in one write; `S:` is expected, consecutive ones in any order,
//!   because answers to several requests go in any order. `<closed>` is the end of the connection.
//! - `C-ours:`, `S-stock:`, `S-2.3:`, `S-2.4:` … are for these servers only.
//! - `\t`, `\r`, `\0`, `\xNN` are bytes. `{user}` and `{password}` are those of the mailbox that
//!   exists, `{plain}` is base64 of its good PLAIN message, `{base64:…}` that of anything else,
//!   `{fill:N}` is N times `x`.
//! - In what is expected, `{device}` is a device id; `{number}` and `{cookie}` are those of a greeting.
//!   Fields of OK behind the first are compared in alphabetical order: stock's own order varies.
//! - Where a dialogue does not end with `<closed>`, the connection must be alive and silent at its end.

use std::fs;
use std::path::Path;

/// Which kind of socket it is held over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    Client,
    Master,
    Userdb,
}

/// Who is talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    Stock23,
    Stock24,
    Ours,
}

impl Server {
    /// As part of a test's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stock23 => "dovecot_2_3",
            Self::Stock24 => "dovecot_2_4",
            Self::Ours => "dovelatch",
        }
    }

    fn is_meant_by(self, selector: &str) -> bool {
        match selector {
            "stock" => self != Self::Ours,
            "2.3" => self == Self::Stock23,
            "2.4" => self == Self::Stock24,
            "ours" => self == Self::Ours,
            other => panic!("no server is called {other:?}"),
        }
    }
}

#[derive(Debug)]
pub struct Dialogue {
    pub title: String,
    pub socket: Socket,
    /// `None` without handshake.
    pub minor: Option<u32>,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    from_client: bool,
    selector: Option<String>,
    text: String,
}

/// Lines of one side, up to the next of the other.
#[derive(Debug)]
pub struct Turn<'a> {
    pub from_client: bool,
    pub lines: Vec<&'a str>,
}

impl Dialogue {
    /// The turns as they are with this server.
    pub fn with(&self, server: Server) -> Vec<Turn<'_>> {
        let mut turns: Vec<Turn<'_>> = Vec::new();
        for line in &self.lines {
            let selector = line.selector.as_deref();
            if selector.is_some_and(|selector| !server.is_meant_by(selector)) {
                continue;
            }
            match turns.last_mut() {
                Some(turn) if turn.from_client == line.from_client => turn.lines.push(&line.text),
                _ => turns.push(Turn {
                    from_client: line.from_client,
                    lines: vec![&line.text],
                }),
            }
        }
        turns
    }
}

/// Those of all the files here.
pub fn all() -> Vec<Dialogue> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let entries = fs::read_dir(directory).expect("this very directory");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("a readable directory").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    paths.iter().flat_map(|path| parsed(path)).collect()
}

fn parsed(path: &Path) -> Vec<Dialogue> {
    let text = fs::read_to_string(path).expect("a readable file");
    let mut dialogues: Vec<Dialogue> = Vec::new();
    let mut explained = false;
    for (number, line) in text.lines().enumerate() {
        let place = format!("{}:{}", path.display(), number + 1);
        if let Some(title) = line.strip_prefix("=== ") {
            let title = title.replace(' ', "_");
            explained = false;
            dialogues.push(Dialogue {
                title,
                socket: Socket::Client,
                minor: Some(2),
                lines: Vec::new(),
            });
            continue;
        }
        explained |= line.starts_with("# why: ");
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let dialogue = dialogues.last_mut();
        let dialogue = dialogue.unwrap_or_else(|| panic!("{place}: no title above"));
        if let Some(minor) = line.strip_prefix("@minor ") {
            dialogue.minor = Some(minor.parse().expect("a number"));
        } else if line == "@master" {
            dialogue.socket = Socket::Master;
        } else if line == "@userdb" {
            dialogue.socket = Socket::Userdb;
        } else if line == "@raw" {
            dialogue.minor = None;
        } else {
            let line = parsed_line(line).unwrap_or_else(|| panic!("{place}: {line:?}"));
            assert!(
                explained || line.selector.is_none(),
                "{place}: no `# why: ` in this dialogue"
            );
            dialogue.lines.push(line);
        }
    }
    dialogues
}

fn parsed_line(line: &str) -> Option<Line> {
    let (head, text) = line.split_once(':')?;
    let (side, selector) = match head.split_once('-') {
        Some((side, selector)) => (side, Some(selector.to_owned())),
        None => (head, None),
    };
    let from_client = match side {
        "C" => true,
        "S" => false,
        _ => return None,
    };
    Some(Line {
        from_client,
        selector,
        text: text.strip_prefix(' ').unwrap_or(text).to_owned(),
    })
}
