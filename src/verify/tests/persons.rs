//! Several persons on one mailbox, and who may open what.

use super::*;
use crate::session::auth_client::{Action, Session, Settings as SessionSettings};
use crate::store::DeviceRow;

const SERVICES: [&str; 5] = ["imap", "pop3", "smtp", "sieve", "xmpp"];
const INSIDE: &str = "192.0.2.7";
const ORIGINS: [Option<&str>; 3] = [None, Some(INSIDE), Some("198.51.100.1")];

fn limits(services: Option<u8>, networks: Option<&str>) -> Limits {
    Limits {
        services: services.map(|bits| Services::from_bits(bits).unwrap()),
        networks: networks.map(|networks| networks.parse().unwrap()),
        ..Limits::default()
    }
}

/// Bob, cid and dan share the office; bob has the shop too, and cid has bob's own mailbox. Dan is
/// removed in the end. `(what, password)` of each device password there is.
fn shared_office(site: &mut Site) -> Vec<(&'static str, Secret)> {
    site.add_mailboxes(&["office", "shop", "bob", "dan"]);
    site.add_persons(&["bob", "cid", "dan"]);
    for (to, whom) in [
        ("office", "bob"),
        ("office", "cid"),
        ("office", "dan"),
        ("shop", "bob"),
        ("bob", "cid"),
    ] {
        site.give(to, whom);
    }
    let everything = Limits::default;
    let at_home = || limits(Some(1), Some("192.0.2.0/24"));
    let devices = [
        ("the office's own", "office", None, everything()),
        ("bob at the office", "office", Some("bob"), at_home()),
        (
            "cid at the office",
            "office",
            Some("cid"),
            limits(Some(4), None),
        ),
        ("dan at the office", "office", Some("dan"), everything()),
        ("bob at the shop", "shop", Some("bob"), everything()),
        ("bob's own", "bob", None, limits(Some(1 | 4), None)),
        ("cid at bob's", "bob", Some("cid"), everything()),
        ("dan's own", "dan", None, everything()),
    ];
    let passwords = devices
        .into_iter()
        .map(|(what, on, whom, limits)| {
            // All of them call it the same.
            let whom = whom.map(person);
            let now = clock::now();
            let issued = site.issue_on(&mailbox(on), whom.as_ref(), "tablet", &limits, now);
            (what, issued.password)
        })
        .collect();
    let revoked: Vec<DeviceRow> = (site.admin.store)
        .remove_person(&person("dan"), &site.admin.actor, clock::now())
        .unwrap();
    assert_eq!(revoked.len(), 1, "{revoked:?}");
    assert_eq!(revoked[0].mailbox, mailbox("office"));
    passwords
}

/// The whole list of what opens what; everything else must be refused.
fn may(what: &str, by: Option<&str>, on: &str, service: &str, origin: Option<&str>) -> bool {
    match (what, by, on) {
        ("the office's own", None, "office") | ("bob at the shop", None, "shop") => true,
        ("bob at the office", None, "office") => service == "imap" && origin == Some(INSIDE),
        ("cid at the office", None, "office") => service == "smtp",
        ("bob's own", None, "bob") | ("bob's own", Some("bob"), "office" | "shop") => {
            service == "imap" || service == "smtp"
        }
        ("cid at bob's", None, "bob") | ("dan's own", None, "dan") => true,
        _ => false,
    }
}

#[test]
fn of_all_combinations_on_a_shared_mailbox_only_the_allowed_ones_pass() {
    let mut site = Site::new();
    let passwords = shared_office(&mut site);
    let mut checker = site.checker();
    let (now, mut allowed) = (now(), 0);
    for (what, password) in &passwords {
        for on in ["office", "shop", "bob", "dan", "cid", "ana@example.org"] {
            for by in [None, Some("bob"), Some("cid"), Some("dan"), Some("eve")] {
                for (service, origin) in SERVICES
                    .into_iter()
                    .flat_map(|service| ORIGINS.map(|origin| (service, origin)))
                {
                    let attempt = Attempt {
                        person: by.map(person),
                        service: Service::from_wire(service.as_bytes()),
                        origin: origin.map(|origin| origin.parse().unwrap()),
                        ..attempt(on, password)
                    };
                    let outcome = outcome(&mut checker, &attempt, now);
                    let case = format!("{what} on {on} by {by:?}: {service} from {origin:?}");
                    if !may(what, by, on, service, origin) {
                        assert_eq!(outcome.verdict(), Verdict::Deny, "{case}: {outcome:?}");
                        continue;
                    }
                    let Outcome::Allow(let_in) = outcome else {
                        panic!("{case}: {outcome:?}");
                    };
                    assert_eq!(let_in.mailbox, mailbox(on), "{case}");
                    let whose = let_in.person.map(|(person, _)| person.to_string());
                    let carried = ["bob at", "cid at"]
                        .into_iter()
                        .find(|carried| what.starts_with(carried))
                        .and_then(|carried| carried.get(..3));
                    assert_eq!(whose.as_deref(), by.or(carried), "{case}");
                    allowed += 1;
                }
            }
        }
    }
    // Of the lines above: 15 + 15 + 1 + 3 + 3 × 6 + 15 + 15.
    assert_eq!(allowed, 82);
}

/// What becomes of a PLAIN message, from its bytes on.
fn spelled(
    checker: &mut Checker,
    authorization: &str,
    authentication: &str,
    password: &Secret,
) -> Option<Outcome> {
    let settings = SessionSettings {
        kind: crate::session::auth_client::Kind::Client,
        mechanisms: Mechanism::ALL.to_vec(),
        default_domain: Some("example.org".parse().unwrap()),
        separator: Some("*".parse().unwrap()),
    };
    let mut session = Session::new(Arc::new(settings));
    let mut message = format!("{authorization}\0{authentication}\0").into_bytes();
    message.extend(password.expose());
    let message = data_encoding::BASE64.encode(&message);
    let mut actions = Vec::new();
    for line in [
        "VERSION\t1\t2".to_owned(),
        "CPID\t1".to_owned(),
        format!("AUTH\t1\tPLAIN\tservice=imap\tresp={message}"),
    ] {
        session.on_line(&Secret::new(line.into_bytes()), instant(), &mut actions);
    }
    actions.into_iter().find_map(|action| match action {
        Action::Verify(_, attempt) => Some(outcome(checker, &attempt, now())),
        Action::Send(_)
        | Action::Finish { .. }
        | Action::Forget(_)
        | Action::Refuse { .. }
        | Action::Close(_) => None,
    })
}

#[test]
fn who_was_given_bobs_mailbox_reaches_nothing_that_bob_may_open_by_any_spelling() {
    let mut site = Site::new();
    site.add_mailboxes(&["office@example.org", "bob@example.org", "cid@example.org"]);
    site.add_persons(&["bob@example.org", "cid@example.org"]);
    site.give("office@example.org", "bob@example.org");
    site.give("bob@example.org", "cid@example.org");
    let (bob, cid) = (mailbox("bob@example.org"), person("cid@example.org"));
    let everything = Limits::default();
    let now = clock::now();
    let bobs = site
        .issue_on(&bob, None, "phone", &everything, now)
        .password;
    let cids = site
        .issue_on(&bob, Some(&cid), "phone", &everything, now)
        .password;
    let mut checker = site.checker();

    let names = ["office", "bob", "cid", "Bob@Example.org", "BOB@example.org"];
    let mut spellings: Vec<String> = names.map(str::to_owned).to_vec();
    for (left, right) in names
        .into_iter()
        .flat_map(|left| names.map(|right| (left, right)))
    {
        spellings.push(format!("{left}*{right}"));
        spellings.extend(names.map(|third| format!("{left}*{right}*{third}")));
    }
    spellings.extend(["", "*", "office*", "*bob", "office**bob"].map(str::to_owned));
    let (mut opened, mut delegated) = (0, 0);
    for authorization in &spellings {
        for authentication in &spellings {
            let case = format!("{authorization:?} {authentication:?}");
            let outcome = spelled(&mut checker, authorization, authentication, &cids);
            if let Some(Outcome::Allow(let_in)) = outcome {
                assert_eq!(let_in.mailbox, bob, "{case}");
                opened += 1;
            }
            let outcome = spelled(&mut checker, authorization, authentication, &bobs);
            if let Some(Outcome::Allow(let_in)) = outcome {
                delegated += usize::from(let_in.mailbox == mailbox("office@example.org"));
            }
        }
    }
    assert!(opened > 0, "cid may open bob's mailbox as it is");
    assert!(delegated > 0, "bob may open the office");
}

#[test]
fn a_delegated_refusal_costs_no_hash_and_a_good_one_costs_one() {
    let mut site = Site::new();
    let passwords = shared_office(&mut site);
    let password = |wanted| {
        let mut all = passwords.iter();
        all.find(|(what, _)| *what == wanted).unwrap().1.clone()
    };
    let verifier = site.verifier();
    let by_bob = |password: Secret, on: &str| Attempt {
        person: Some(person("bob")),
        ..attempt(on, &password)
    };
    let good = ask(&verifier, by_bob(password("bob's own"), "office"));
    assert!(is_allowed(&good), "{good:?}");
    assert_eq!(verifier.hashes(), 1);
    for (what, on) in [
        ("cid at bob's", "office"),
        ("bob at the office", "office"),
        ("the office's own", "office"),
        ("bob's own", "dan"),
        ("bob's own", "nowhere"),
    ] {
        let refused = ask(&verifier, by_bob(password(what), on));
        assert_eq!(refused.verdict(), Verdict::Deny, "{what} on {on}");
    }
    assert_eq!(verifier.hashes(), 1);
}
