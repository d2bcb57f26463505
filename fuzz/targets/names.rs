//! Every text that becomes a value of the vocabulary: names, labels, ids, services, networks, and hostile text.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use dovelatch::model::{
    AccessId, ClientText, DeviceId, Domain, FieldName, Label, Mailbox, Networks, Person, Separator,
    Service, Services, Template,
};

use crate::random::Random;
use crate::signature::Signature;
use crate::target::Target;

pub const TARGET: Target = Target {
    name: "names",
    run,
    piece,
    words: &[
        b"@",
        b".",
        b"..",
        b"/",
        b"\\",
        b"%",
        b"*",
        b":",
        b"<",
        b">",
        b"\"",
        b"%{user}",
        b"%{local}",
        b"%{domain}",
        b"%{",
        b"dp-kqtmwhzrnb",
        b"ac-kqtmwhzrnb",
        b",",
        b"192.0.2.0/24",
        b"2001:db8::/32",
        b"::ffff:192.0.2.1/96",
        b"imap",
        b"managesieve",
        b"\xe2\x80\xae",
        b"\xc2\x9b",
        b"\xef\xbb\xbf",
        b"\xe2\x80\xa8",
        b"\x1b[2J",
        b"\xff",
        b"user_device",
        b"proxy",
    ],
    longest: 1_200,
    is_script: false,
    short: 20_000,
};

fn run(input: &[u8], seen: &mut Signature) {
    // What a peer typed is shown as one word of ASCII, whatever it is.
    let shown = ClientText::new(input).escaped().to_string();
    assert!(
        shown
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"<>".contains(&byte)),
        "{shown:?}"
    );
    assert!(shown.len() <= 4 * 128, "a log line stays a line");
    let service = Service::from_wire(input).to_string();
    assert!(
        service
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"<>".contains(&byte)),
        "{service:?}"
    );

    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Some(mailbox) = survives::<Mailbox>(text, seen, "mailbox") {
        clean_name(mailbox.as_str());
        assert_eq!(
            mailbox.as_str(),
            text.to_ascii_lowercase(),
            "folded, and nothing else"
        );
        let domain: Domain = "example.org".parse().expect("a domain");
        match mailbox.clone().in_domain(Some(&domain)) {
            Ok(whole) => {
                clean_name(whole.as_str());
                assert!(
                    whole.as_str().starts_with(mailbox.as_str()) && whole.as_str().contains('@')
                );
                assert_eq!(
                    whole.clone().in_domain(Some(&domain)),
                    Ok(whole),
                    "a domain is added once"
                );
            }
            Err(_) => assert!(
                mailbox.as_str().len() > 254 - 12,
                "too long only where it is"
            ),
        }
    }
    if let Some(person) = survives::<Person>(text, seen, "person") {
        clean_name(person.as_str());
    }
    if let Some(domain) =
        survives_by::<Domain>(text, seen, "domain", |domain| domain.as_str().to_owned())
    {
        clean_name(domain.as_str());
        assert!(!domain.as_str().contains('@'));
    }
    if let Some(label) = survives::<Label>(text, seen, "label") {
        assert!((1..=64).contains(&label.as_str().chars().count()));
        assert!(!label.as_str().chars().any(steers) && label.as_str().trim() == text);
    }
    survives::<DeviceId>(text, seen, "device");
    survives::<AccessId>(text, seen, "access");
    survives::<Networks>(text, seen, "networks");
    let names = |services: &Services| services.names().collect::<Vec<_>>().join(",");
    if let Some(services) = survives_by::<Services>(text, seen, "services", names) {
        assert_eq!(
            Services::from_bits(services.bits()),
            Some(services),
            "it survives the database"
        );
    }
    if let Some(separator) =
        survives_by::<Separator>(text, seen, "separator", |one| one.as_char().to_string())
    {
        assert!(
            Mailbox::from_str(text).is_err(),
            "{separator:?} may stand in a name"
        );
    }
    if let Some(name) = survives::<FieldName>(text, seen, "field") {
        let name = name.as_str();
        assert!(
            name.len() <= 64 && !name.starts_with("user_") && !name.starts_with("proxy"),
            "{name}"
        );
        assert!(
            ![
                "nologin",
                "pass",
                "host",
                "user",
                "master_user",
                "auth_user"
            ]
            .contains(&name),
            "{name}"
        );
    }
    if let Some(template) =
        survives_by::<Template>(text, seen, "template", |text| text.as_str().to_owned())
    {
        let long: Mailbox = format!("{}@{}", "l".repeat(126), "d".repeat(127))
            .parse()
            .expect("a mailbox");
        assert!(
            template.fill(&long).len() <= 1_024,
            "too long once it is filled in"
        );
    }
}

/// The value of a text, if it has one; it must be that of what it is written as, too.
fn survives<T>(text: &str, seen: &mut Signature, what: &str) -> Option<T>
where
    T: FromStr<Err: Debug> + PartialEq + Debug + Display,
{
    survives_by(text, seen, what, T::to_string)
}

fn survives_by<T>(
    text: &str,
    seen: &mut Signature,
    what: &str,
    write: impl Fn(&T) -> String,
) -> Option<T>
where
    T: FromStr<Err: Debug> + PartialEq + Debug,
{
    match text.parse::<T>() {
        Ok(value) => {
            let written = write(&value);
            let again = written.parse::<T>();
            assert!(
                again.is_ok_and(|again| again == value),
                "{what} {value:?}, written {written:?}"
            );
            seen.count(what, written.len());
            Some(value)
        }
        Err(error) => {
            // Which kind it is, and not the text in it.
            let kind: String = format!("{error:?}")
                .chars()
                .take_while(|c| c.is_alphabetic())
                .collect();
            seen.note((what, kind));
            None
        }
    }
}

/// Nothing in it builds a path, a template, a log line, or another view of itself.
fn clean_name(name: &str) {
    assert!((1..=254).contains(&name.len()), "{name:?}");
    assert!(
        !name.chars().any(|c| steers(c) || c.is_whitespace()),
        "{name:?}"
    );
    assert!(!name.chars().any(|c| "/\\%*:<>\"".contains(c)), "{name:?}");
    assert!(
        name.split('@').all(|part| !["", ".", ".."].contains(&part)),
        "{name:?}"
    );
    assert!(name.matches('@').count() <= 1, "{name:?}");
}

/// Control characters and marks of direction.
fn steers(c: char) -> bool {
    c.is_control()
        || ('\u{202a}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c)
}

fn piece(random: &mut Random) -> Vec<u8> {
    let texts = [
        "bob@example.org",
        "Office",
        "Bob's tablet",
        "dp-kqtmwhzrnb",
        "ac-abcdefghij",
        "imap,smtp,sieve",
        "192.0.2.0/24,2001:db8::1",
        "/var/vmail/%{domain}/%{local}",
        "quota_rule",
        "mail_location",
        "ünï@çødé",
        "a@b@c",
        "../..",
        "*",
        "%",
    ];
    let mut text = (random.pick(&texts)).to_owned();
    if random.one_in(8) {
        text = text.repeat(1 + random.below(40));
    }
    text.into_bytes()
}
