//! The classes of refusals, by what was shown.

use std::time::Duration;

use data_encoding::BASE64;
use dovelatch::clock;
use dovelatch::model::{Limits, Mechanism, Person};
use dovelatch::store::IfThere;

use crate::site::{Site, name, text};

/// What a client shows.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// Whose mailbox, where it is not that of `name`.
    pub(crate) authorization: String,
    pub(crate) name: String,
    pub(crate) password: String,
}

impl Shown {
    /// The message of PLAIN.
    pub(crate) fn message(&self) -> String {
        let parts = [&self.authorization[..], &self.name, &self.password];
        BASE64.encode(parts.join("\0").as_bytes())
    }
}

/// A class of refusals.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) what: &'static str,
    authorization: String,
    name: String,
    password: Given,
}

#[derive(Debug)]
enum Given {
    This(String),
    /// Another one each time, of that shape.
    Any(Shape),
}

/// What an attacker can see of a password by himself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Twenty letters in groups of four.
    Device,
    /// As people choose them: it has no tag.
    Chosen,
    /// Beyond what is looked at.
    Long,
}

/// Classes that must look alike, the first of them that of an unknown mailbox.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) what: &'static str,
    pub(crate) mechanism: Mechanism,
    pub(crate) cases: Vec<Case>,
    /// Classes that cost the daemon a hash before it answers: a cheap one and a dear one.
    pub(crate) hashes: Vec<Case>,
}

impl Case {
    fn new(what: &'static str, name: &str, password: Given) -> Self {
        Self {
            what,
            authorization: String::new(),
            name: name.to_owned(),
            password,
        }
    }

    /// The same for the mailbox of another.
    fn at(mut self, authorization: &str) -> Self {
        authorization.clone_into(&mut self.authorization);
        self
    }

    pub(crate) fn show(&self, site: &Site) -> Shown {
        let password = match &self.password {
            Given::This(password) => password.clone(),
            Given::Any(Shape::Device) => site.wrong(),
            Given::Any(Shape::Chosen) => format!("Summer{}!", &site.wrong()[..4]),
            Given::Any(Shape::Long) => site.wrong().repeat(40),
        };
        Shown {
            authorization: self.authorization.clone(),
            name: self.name.clone(),
            password,
        }
    }
}

/// The mailboxes, wherever they lie among the others.
const UNKNOWN: u32 = 1_001;
const UNKNOWN_TOO: u32 = 357;
const ONE: u32 = 1_612;
const NONE: u32 = 840;
const TWENTY: u32 = 122;
const REVOKED: u32 = 1_998;
const EXPIRED: u32 = 666;
const DISABLED: u32 = 1_234;
const OTHERS: u32 = 410;
const SERVICE: u32 = 1_100;
const NETWORK: u32 = 702;
const SHARED: u32 = 304;
const ROTATED: u32 = 1_500;
const ENDED: u32 = 58;
const DEARLY_HASHED: u32 = 1_776;

/// The class that takes the daemon longer than it puts any refusal off.
pub(crate) const DEAR: &str = "meets a tag, dear hash";

/// Fills the site. Each class, with each shape of password that it can have.
pub(crate) fn groups(site: &mut Site) -> Vec<Group> {
    let own = own(site);
    let delegated = delegated(site, &own.right);
    let mut groups = vec![delegated];
    for mechanism in Mechanism::ALL {
        groups.push(Group {
            what: "a device password",
            mechanism,
            cases: own.cases(),
            hashes: own.hashes(mechanism),
        });
        for (what, shape) in [("a chosen one", Shape::Chosen), ("a long one", Shape::Long)] {
            groups.push(Group {
                what,
                mechanism,
                cases: mailboxes(shape),
                hashes: Vec::new(),
            });
        }
    }
    groups
}

/// Mailboxes of every kind, with a wrong password.
fn mailboxes(shape: Shape) -> Vec<Case> {
    [
        ("unknown", UNKNOWN),
        ("unknown, another", UNKNOWN_TOO),
        ("one device", ONE),
        ("no device", NONE),
        ("twenty devices", TWENTY),
        ("disabled", DISABLED),
        ("a revoked device", REVOKED),
    ]
    .map(|(what, number)| Case::new(what, &name(number), Given::Any(shape)))
    .into()
}

/// Passwords that are, or were, right somewhere.
struct Own {
    /// What, whose mailbox, which password.
    known: Vec<(&'static str, u32, String)>,
    /// Of the mailbox with one device.
    right: String,
    /// Wrong, with the tag of that one.
    met: String,
    /// Wrong, with a tag for which a hash is computed that takes some ms.
    met_dear: String,
}

impl Own {
    fn cases(&self) -> Vec<Case> {
        let known = self.known.iter().map(|(what, number, password)| {
            Case::new(what, &name(*number), Given::This(password.clone()))
        });
        mailboxes(Shape::Device).into_iter().chain(known).collect()
    }

    fn hashes(&self, mechanism: Mechanism) -> Vec<Case> {
        let met = Case::new("meets a tag", &name(ONE), Given::This(self.met.clone()));
        let dear = Given::This(self.met_dear.clone());
        let dear = Case::new(DEAR, &name(DEARLY_HASHED), dear);
        match mechanism {
            Mechanism::Plain => vec![met, dear],
            Mechanism::Login => vec![met],
        }
    }
}

fn own(site: &mut Site) -> Own {
    let all = Limits::default();
    let one = site.issue(&name(ONE), "phone", &all);
    let dear = site.issue_dearly(&name(DEARLY_HASHED), "phone");
    for number in 0..20 {
        site.issue(&name(TWENTY), &format!("device {number}"), &all);
    }
    let now = clock::now();
    let revoked = site.issue(&name(REVOKED), "phone", &all);
    let expired = Limits {
        expires: Some(now.minus(Duration::from_secs(86_400))),
        ..all.clone()
    };
    let expired = site.issue(&name(EXPIRED), "phone", &expired);
    let disabled = site.issue(&name(DISABLED), "phone", &all);
    let others = site.issue(&name(OTHERS), "phone", &all);
    let service = Limits {
        services: Some("smtp".parse().unwrap()),
        ..all.clone()
    };
    let service = site.issue(&name(SERVICE), "phone", &service);
    let network = Limits {
        networks: Some("192.0.2.0/24".parse().unwrap()),
        ..all.clone()
    };
    let network = site.issue(&name(NETWORK), "phone", &network);
    let rotated = site.issue(&name(ROTATED), "phone", &all);
    let person: Person = "paula@example.com".parse().unwrap();
    let (mailbox, ended) = (name(SHARED).parse().unwrap(), name(ENDED).parse().unwrap());
    let (store, by) = site.store();
    let persons = std::slice::from_ref(&person);
    store
        .add_persons(persons, IfThere::Refuse, &by, now)
        .unwrap();
    store.give_access(&mailbox, &person, &by, now).unwrap();
    store.give_access(&ended, &person, &by, now).unwrap();
    let persons = site.issue_to(&name(SHARED), Some(&person), "phone", &all);
    let taken = site.issue_to(&name(ENDED), Some(&person), "phone", &all);
    site.rotate(&rotated);
    let (store, by) = site.store();
    store.take_access(&ended, &person, &by, now).unwrap();
    store.revoke(&[revoked.device.id], &by, now).unwrap();
    let mailbox = name(DISABLED).parse().unwrap();
    store
        .set_mailbox_enabled(&mailbox, false, &by, now)
        .unwrap();
    let known = [
        ("revoked", REVOKED, &revoked.password),
        ("expired", EXPIRED, &expired.password),
        ("disabled, right password", DISABLED, &disabled.password),
        ("another mailbox's", ONE, &others.password),
        ("another person's", ONE, &persons.password),
        ("another's at nobody's", UNKNOWN, &others.password),
        ("wrong service", SERVICE, &service.password),
        ("wrong network", NETWORK, &network.password),
        ("replaced", ROTATED, &rotated.password),
        ("access taken away", ENDED, &taken.password),
    ];
    Own {
        known: known
            .map(|(what, number, password)| (what, number, text(password)))
            .into(),
        met: site.wrong_of_tag(&one),
        met_dear: site.wrong_of_tag(&dear),
        right: text(&one.password),
    }
}

/// Somebody's own, right password for the mailbox of another: there is another query for that.
fn delegated(site: &mut Site, right: &str) -> Group {
    let now = clock::now();
    let person: Person = name(ONE).parse().unwrap();
    let (wanted, disabled) = (
        name(TWENTY).parse().unwrap(),
        name(DISABLED).parse().unwrap(),
    );
    let (store, by) = site.store();
    let persons = std::slice::from_ref(&person);
    store
        .add_persons(persons, IfThere::Refuse, &by, now)
        .unwrap();
    store.give_access(&wanted, &person, &by, now).unwrap();
    store.give_access(&disabled, &person, &by, now).unwrap();
    store.take_access(&wanted, &person, &by, now).unwrap();
    let own =
        |what, number| Case::new(what, &name(ONE), Given::This(right.to_owned())).at(&name(number));
    let wrong = |what, number, wanted| {
        Case::new(what, &name(number), Given::Any(Shape::Device)).at(&name(wanted))
    };
    Group {
        what: "for another mailbox",
        mechanism: Mechanism::Plain,
        cases: vec![
            own("unknown", UNKNOWN),
            own("unknown, another", UNKNOWN_TOO),
            own("no device", NONE),
            own("access taken away", TWENTY),
            own("disabled", DISABLED),
            wrong("wrong password", ONE, UNKNOWN),
            wrong("wrong password, access", ONE, DISABLED),
            wrong("nobody", UNKNOWN_TOO, UNKNOWN),
            wrong("nobody, known mailbox", UNKNOWN_TOO, NONE),
        ],
        hashes: Vec::new(),
    }
}
