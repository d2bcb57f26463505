//! The auth-master side: for each event the exact list of what must be said.

use dovelatch::model::{Entry, Mailbox};
use dovelatch::query::{Answer, Begin};
use dovelatch::session::auth_master::{Kind, MAX_ASKING, Peer, Settings};
use dovelatch::wire::auth_master::{Command, Fields, MAX_REPLY, MasterId, Reply};

/// What must be said. Questions are numbered in the order in which they are asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Send(Reply),
    AskHome(u32, Mailbox),
    AskNames(u32, Option<Mailbox>),
    PickUp(u32),
    Warn,
    Close,
}

#[derive(Debug)]
pub struct Model {
    settings: Settings,
    peer: Peer,
    stage: Stage,
    /// By number; `None` once it is answered.
    asked: Vec<Option<(u32, Question)>>,
    open: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Version,
    Open,
    Closed,
}

#[derive(Debug, Clone)]
enum Question {
    PickUp { wants_token: bool },
    User,
    Pass,
    List(Vec<u8>),
}

impl Model {
    pub fn new(settings: Settings, peer: Peer) -> Self {
        Self {
            settings,
            peer,
            stage: Stage::Version,
            asked: Vec::new(),
            open: 0,
        }
    }

    pub fn is_asking(&self) -> bool {
        self.open > 0
    }

    pub fn wants_input(&self) -> bool {
        // A LIST is the last that was asked: nothing is read behind it.
        let listing = matches!(self.asked.last(), Some(Some((_, Question::List(_)))));
        self.stage != Stage::Closed && self.open < MAX_ASKING && !listing
    }

    /// What a question was about, while nobody has answered it.
    pub fn is_open(&self, number: usize) -> bool {
        self.asked.get(number).is_some_and(Option::is_some)
    }

    pub fn line(&mut self, line: &[u8]) -> Vec<Said> {
        let command = match (self.stage, Command::parse(line)) {
            (Stage::Closed, _) => return Vec::new(),
            (_, Ok(command)) => command,
            (_, Err(_)) => return self.close(),
        };
        let is_master = self.settings.kind == Kind::Master;
        match (self.stage, command) {
            (Stage::Version, Command::Version { major: 1, .. }) => {
                self.stage = Stage::Open;
                Vec::new()
            }
            (Stage::Open, Command::PickUp(by)) if is_master => {
                let MasterId(id) = by.id;
                let known = [self.peer.pid, self.peer.inner_pid];
                if self.peer.pid.is_some()
                    && (by.session_pid.is_none() || !known.contains(&by.session_pid))
                {
                    return vec![Said::Warn, Said::Send(Reply::Fail { id: by.id })];
                }
                let wants_token = by.wants_token;
                self.ask(id, Question::PickUp { wants_token }, Said::PickUp(id))
            }
            (Stage::Open, Command::CacheFlush { id, .. }) if is_master => {
                vec![Said::Send(Reply::Flushed { id, count: 0 })]
            }
            (Stage::Open, Command::User(of)) => self.name(of.id, &of.name, Question::User),
            (Stage::Open, Command::Pass(of)) if self.peer.only_uid.is_some() => {
                vec![Said::Send(Reply::Fail { id: of.id })]
            }
            (Stage::Open, Command::Pass(of)) => self.name(of.id, &of.name, Question::Pass),
            (Stage::Open, Command::List { id, .. }) if self.peer.only_uid.is_some() => {
                vec![Said::Send(Reply::Done { id, failed: true })]
            }
            (
                Stage::Open,
                Command::List {
                    id: MasterId(id),
                    mask,
                },
            ) => self.ask(id, Question::List(mask), Said::AskNames(id, None)),
            _ => self.close(),
        }
    }

    pub fn answer(&mut self, number: usize, answer: &Answer) -> Vec<Said> {
        let Some((id, question)) = self.asked[number].take() else {
            return Vec::new();
        };
        self.open -= 1;
        let (id, number) = (MasterId(id), id);
        let reply = match (question, answer) {
            (Question::PickUp { wants_token }, Answer::Begins(begin)) => {
                self.begins(id, begin, wants_token)
            }
            (Question::User, Answer::Home(mailbox, own)) => {
                let entry = self.settings.userdb.entry(mailbox, own);
                match self.peer.only_uid {
                    Some(uid) if uid != entry.uid => Reply::Fail { id },
                    _ => short_enough(id, mailbox, home(entry)),
                }
            }
            (Question::Pass, Answer::Home(mailbox, _)) => Reply::Pass {
                id,
                fields: Fields::default().with("user", mailbox.as_str()),
            },
            // Mail is bounced for it: nothing else may become it.
            (Question::User | Question::Pass, Answer::No) => Reply::NotFound { id },
            (Question::List(mask), Answer::Names(names)) => {
                let Some(last) = names.last() else {
                    return vec![Said::Send(Reply::Done { id, failed: false })];
                };
                let wanted = names
                    .iter()
                    .filter(|name| matches(&mask.to_ascii_lowercase(), name.as_str().as_bytes()));
                let name = |name: &Mailbox| {
                    Said::Send(Reply::Name {
                        id,
                        mailbox: name.to_string(),
                    })
                };
                let mut said: Vec<Said> = wanted.map(name).collect();
                let next = Said::AskNames(number, Some(last.clone()));
                said.extend(self.ask(number, Question::List(mask), next));
                return said;
            }
            (Question::List(_), _) => Reply::Done { id, failed: true },
            _ => Reply::Fail { id },
        };
        vec![Said::Send(reply)]
    }

    fn name(&mut self, id: MasterId, name: &[u8], question: Question) -> Vec<Said> {
        let mailbox = std::str::from_utf8(name).ok().and_then(|text| {
            let mailbox: Mailbox = text.parse().ok()?;
            mailbox
                .in_domain(self.settings.default_domain.as_ref())
                .ok()
        });
        match mailbox {
            None => vec![Said::Send(Reply::NotFound { id })],
            Some(mailbox) => self.ask(id.0, question, Said::AskHome(id.0, mailbox)),
        }
    }

    fn ask(&mut self, id: u32, question: Question, said: Said) -> Vec<Said> {
        self.asked.push(Some((id, question)));
        self.open += 1;
        vec![said]
    }

    fn close(&mut self) -> Vec<Said> {
        self.stage = Stage::Closed;
        self.asked.iter_mut().for_each(|asked| *asked = None);
        self.open = 0;
        vec![Said::Close]
    }

    fn begins(&self, id: MasterId, begin: &Begin, wants_token: bool) -> Reply {
        let allowed = &begin.allowed;
        let device = allowed.device.as_str();
        let mut fields = home(self.settings.userdb.entry(&allowed.mailbox, &begin.fields));
        fields = fields
            .with("user_device", device)
            .with("event_device", device);
        if let Some((person, access)) = &allowed.person {
            fields = fields
                .with("user_access", access.as_str())
                .with("auth_user", person.as_str());
        }
        fields = fields.with("auth_mech", begin.mechanism.as_str());
        if wants_token {
            let hex: Vec<String> = begin
                .token
                .expose()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            fields = fields.with("auth_token", hex.concat());
        }
        short_enough(id, &allowed.mailbox, fields)
    }
}

fn home(entry: Entry) -> Fields {
    let mut fields = Fields::default()
        .with("uid", entry.uid.to_string())
        .with("gid", entry.gid.to_string());
    for (name, value) in entry.fields {
        fields = fields.with(&name, value);
    }
    fields
}

fn short_enough(id: MasterId, mailbox: &Mailbox, fields: Fields) -> Reply {
    let reply = Reply::User {
        id,
        mailbox: mailbox.to_string(),
        fields,
    };
    let mut line = Vec::new();
    reply.encode(&mut line);
    if line.len() > MAX_REPLY {
        Reply::Fail { id }
    } else {
        reply
    }
}

/// A mask by hand, a table of "the first so many bytes of it match the first so many of the name".
fn matches(mask: &[u8], name: &[u8]) -> bool {
    let mut row: Vec<bool> = std::iter::once(true)
        .chain(std::iter::repeat_n(false, name.len()))
        .collect();
    for &byte in mask {
        let mut next = vec![byte == b'*' && row[0]];
        for at in 0..name.len() {
            let fits = byte == b'?' || byte == name[at];
            next.push(if byte == b'*' {
                row[at + 1] || next[at]
            } else {
                fits && row[at]
            });
        }
        row = next;
    }
    row[name.len()]
}
