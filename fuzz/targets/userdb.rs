//! Where a mailbox's mail lives: no name and no field leads out of its place, or into a line that Dovecot refuses.
//!
//! Events: `m NAME` the mailbox, `h HOME` the home of the template, `t name=value` a field of the template,
//! `o name=value` one of the mailbox's own, `d name` takes an own one away.

use dovelatch::model::{Field, FieldName, Fields, Mailbox, Template, Userdb};

use crate::random::Random;
use crate::script;
use crate::signature::Signature;
use crate::target::Target;

pub const TARGET: Target = Target {
    name: "userdb",
    run,
    piece,
    words: &[
        b"m ",
        b"h ",
        b"t ",
        b"o ",
        b"%{user}",
        b"%{local}",
        b"%{domain}",
        b"uid=",
        b"gid=",
        b"home=",
        b"/",
        b"..",
        b"=",
        b"4294967295",
        b"quota_rule=*:storage=1G",
        b"user_x=",
        b"@",
        b".",
    ],
    longest: 4_096,
    is_script: true,
    short: 20_000,
};

fn run(input: &[u8], seen: &mut Signature) {
    let mut mailbox: Mailbox = "bob@example.org".parse().expect("a mailbox");
    let mut userdb = Userdb {
        uid: 5_000,
        gid: 5_000,
        home: None,
        fields: Fields::default(),
    };
    let mut own = Fields::default();
    for (sign, rest) in script::events(input) {
        let Ok(text) = std::str::from_utf8(rest) else {
            continue;
        };
        match sign {
            b'm' => mailbox = text.parse().unwrap_or(mailbox),
            b'h' => {
                let home = text.parse().ok().filter(Template::is_absolute);
                userdb.home = home.or(userdb.home);
            }
            // These stand above the fields in a configuration.
            b't' if !["uid=", "gid=", "home="]
                .iter()
                .any(|key| text.starts_with(key)) =>
            {
                set(&mut userdb.fields, text, seen);
            }
            b'o' => set(&mut own, text, seen),
            b'd' => {
                if let Ok(name) = text.parse::<FieldName>() {
                    let was_there = own.get(&name).is_some();
                    assert_eq!(own.remove(&name), was_there);
                    assert!(
                        own.get(&name).is_none(),
                        "what was taken away is still there"
                    );
                }
            }
            _ => {}
        }
    }
    let written = own.to_string();
    assert_eq!(
        written.parse().as_ref(),
        Ok(&own),
        "fields survive the database, as {written:?}"
    );

    let entry = userdb.entry(&mailbox, &own);
    assert!(
        entry.uid != 0 && entry.uid != u32::MAX && entry.gid != u32::MAX,
        "{entry:?}"
    );
    let mut bytes = 0;
    for (index, (name, value)) in entry.fields.iter().enumerate() {
        assert!(
            !entry.fields[..index].iter().any(|(other, _)| other == name),
            "{name} stands there twice"
        );
        assert!(
            !["uid", "gid", "user", "nologin", "proxy", "pass"].contains(&name.as_str()),
            "{name}"
        );
        assert!(!value.chars().any(char::is_control), "{value:?} is no cell");
        let key = name.parse().expect("a name");
        let own = own.get(&key).or(userdb.fields.get(&key));
        let template = if name == "home" {
            own.or(userdb.home.as_ref())
        } else {
            own
        };
        stays(
            template.expect("it comes from somewhere").as_str(),
            value,
            &mailbox,
        );
        assert!(
            name != "home" || value.starts_with('/'),
            "a home is absolute: {value:?}"
        );
        bytes += name.len() + value.len() + 2;
    }
    assert!(bytes <= 6_150, "{bytes} bytes of fields");
    seen.count("fields", entry.fields.len());
    seen.count("bytes", bytes);
    seen.note((
        entry.uid == 5_000,
        entry.gid == 5_000,
        userdb.home.is_some(),
        mailbox.as_str().contains('@'),
    ));
}

fn set(fields: &mut Fields, text: &str, seen: &mut Signature) {
    let before = fields.clone();
    let field: Field = match text.parse() {
        Ok(field) => field,
        Err(error) => return seen.note(std::mem::discriminant(&error)),
    };
    match fields.set(field.name.clone(), field.value.clone()) {
        Ok(()) => {
            assert_eq!(fields.get(&field.name), Some(&field.value));
            let grown = fields.iter().count() - before.iter().count();
            assert_eq!(
                grown,
                usize::from(before.get(&field.name).is_none()),
                "each name once"
            );
        }
        Err(error) => {
            seen.note(("set", std::mem::discriminant(&error)));
            assert_eq!(*fields, before, "what is refused changes nothing");
        }
    }
    assert!(fields.iter().count() <= 64);
    let long: Mailbox = format!("{}@{}", "l".repeat(126), "d".repeat(127))
        .parse()
        .expect("a mailbox");
    let bytes = fields
        .iter()
        .map(|(name, value)| name.as_str().len() + value.fill(&long).len() + 2);
    assert!(
        bytes.sum::<usize>() <= 2_560,
        "no room for the rest of a line"
    );
}

/// No mailbox's name adds a step to a path, or makes one of its steps a way up.
fn stays(template: &str, value: &str, mailbox: &Mailbox) {
    assert_eq!(
        template.matches('/').count(),
        value.matches('/').count(),
        "{template:?} became {value:?}"
    );
    for (step, filled) in template.split('/').zip(value.split('/')) {
        let (local, domain) = mailbox
            .as_str()
            .split_once('@')
            .unwrap_or((mailbox.as_str(), ""));
        match step {
            "%{user}" => assert_eq!(filled, mailbox.as_str()),
            "%{local}" => assert_eq!(filled, local),
            "%{domain}" => assert_eq!(filled, domain),
            _ => continue,
        }
        assert!(
            ![".", ".."].contains(&filled),
            "{mailbox} leads elsewhere by {template:?}"
        );
    }
}

fn piece(random: &mut Random) -> Vec<u8> {
    let value = random.pick(&[
        "x",
        "/srv/%{user}",
        "maildir:~/%{local}",
        "5001",
        "0",
        "%{domain}",
        "%{nobody}",
        "",
    ]);
    let name = random.pick(&[
        "uid",
        "gid",
        "home",
        "mail",
        "quota_rule",
        "a",
        "b1",
        "acl/x",
        "user_x",
        "system_groups_user",
    ]);
    let piece = match random.below(6) {
        0 => format!(
            "m {}",
            random.pick(&["bob", "bob@example.org", "..@x", ".x@y", "a.b@c.d", "@"])
        ),
        1 => format!(
            "h {}",
            random.pick(&["/var/vmail/%{domain}/%{local}", "/%{user}", "relative", "/"])
        ),
        2 => format!("t {name}={value}"),
        3 => format!(
            "o {name}{}={}",
            random.below(70),
            value.repeat(1 + random.below(90))
        ),
        4 => format!("d {name}"),
        _ => format!("o {name}={value}"),
    };
    piece.into_bytes()
}
