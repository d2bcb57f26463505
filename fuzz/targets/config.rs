//! The configuration: any text is one that cannot be wrong, or a mistake with its place inside the file.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use dovelatch::config::{Config, Error};

use crate::random::Random;
use crate::signature::Signature;
use crate::target::Target;

pub const TARGET: Target = Target {
    name: "configuration",
    run,
    piece,
    words: &[
        b"[[listen]]\n",
        b"[userdb]\n",
        b"[userdb.fields]\n",
        b"[hash]\n",
        b"[keep]\n",
        b"[dovecot]\n",
        b"[delegation]\n",
        b"type = \"auth\"\n",
        b"path = \"/run/x\"\n",
        b" = ",
        b"\"",
        b"'",
        b"\"\"\"",
        b"'''",
        b"#",
        b"\\u0000",
        b"\\u202e",
        b"[",
        b"]",
        b"{",
        b"}",
        b".",
        b",",
        b"\r\n",
        b"1979-05-27",
        b"nan",
        b"true",
        b"0x1",
        b"\xef\xbb\xbf",
    ],
    longest: 1_500,
    is_script: true,
    short: 20_000,
};

fn run(input: &[u8], seen: &mut Signature) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match Config::parse(Path::new("/etc/dovelatch/dovelatch.toml"), text) {
        Ok(config) => {
            cannot_be_wrong(&config);
            seen.count("listeners", config.listeners.len());
            seen.note((
                config.userdb.is_some(),
                config.default_domain.is_some(),
                config.separator.is_some(),
            ));
            seen.note((
                config.dovecot.kick.as_str(),
                config.dovecot.config.is_some(),
            ));
        }
        Err(error) => {
            let place = match &error {
                Error::Read { .. } => panic!("nothing was read"),
                Error::Syntax { place, .. } => place,
                Error::Value { place, key, .. } => {
                    seen.note(key.get(..4));
                    place
                }
            };
            // Behind the last line break there is one more line, even if nothing is in it.
            let lines: Vec<&str> = text.split('\n').collect();
            assert!(
                (1..=lines.len()).contains(&place.line),
                "{error}: there is no such line"
            );
            let columns = lines[place.line - 1].chars().count() + 1;
            assert!(
                (1..=columns).contains(&place.column),
                "{error}: there is no such column"
            );
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            for said in [
                error.to_string(),
                cause.clone(),
                error.hint().unwrap_or_default().to_owned(),
            ] {
                assert!(!said.contains('\n'), "a mistake is one line: {said:?}");
                assert!(
                    said.len() < 4_096,
                    "a mistake is short: {} bytes",
                    said.len()
                );
            }
            assert!(
                !cause.is_empty() && error.hint().is_some(),
                "{error}: and why?"
            );
            let kind: String = cause
                .chars()
                .take_while(|&c| c != '`' && c != '"')
                .take(40)
                .collect();
            seen.note(kind);
        }
    }
}

fn cannot_be_wrong(config: &Config) {
    assert!(config.database.is_absolute(), "{config:?}");
    for (index, listener) in config.listeners.iter().enumerate() {
        let others = &config.listeners[..index];
        assert!(
            !others
                .iter()
                .any(|other| other.name == listener.name || other.path == listener.path)
        );
        assert!(
            listener.path.is_absolute() && listener.path.as_os_str().len() <= 107,
            "{listener:?}"
        );
        assert!(
            (1..=64).contains(&listener.name.len()) && listener.name.is_ascii(),
            "{listener:?}"
        );
        assert!(
            listener.mode <= 0o777
                && listener.owner != Some(u32::MAX)
                && listener.group != Some(u32::MAX)
        );
        assert!(
            listener.failure_delay <= Duration::from_secs(4),
            "{listener:?}"
        );
        assert_eq!(
            listener.mechanisms.is_empty(),
            !listener.kind.has_log_ins(),
            "{listener:?}"
        );
        assert!(listener.mechanisms.len() <= 2);
        assert!(
            config.userdb.is_some() || !listener.kind.needs_userdb(),
            "{listener:?}"
        );
    }
    let cost = config.hash.generated;
    assert!(
        (8..=262_144).contains(&cost.memory_kib)
            && (1..=10).contains(&cost.passes)
            && cost.lanes == 1
    );
    assert!(config.hash.threads <= 256);
    let days = Duration::from_secs(24 * 60 * 60)..=Duration::from_secs(36_500 * 24 * 60 * 60);
    assert!(days.contains(&config.keep.tombstones) && days.contains(&config.keep.events));
    assert!((1..=10_000).contains(&config.keep.uses));
    if let Some(userdb) = &config.userdb {
        assert!(
            userdb.uid != 0 && userdb.uid != u32::MAX && userdb.gid != u32::MAX,
            "{userdb:?}"
        );
        assert!(
            userdb.home.as_ref().is_none_or(|home| home.is_absolute()),
            "{userdb:?}"
        );
        for (name, _) in userdb.fields.iter() {
            assert!(
                !["uid", "gid", "home"].contains(&name.as_str()),
                "{userdb:?}"
            );
        }
    }
    assert!(config.dovecot.base_dir.is_absolute());
    assert!(
        config
            .dovecot
            .config
            .as_ref()
            .is_none_or(|path| path.is_absolute())
    );
    let doveadm = &config.dovecot.doveadm;
    assert!(
        doveadm.is_absolute() || doveadm.components().count() == 1,
        "{doveadm:?}"
    );
}

fn piece(random: &mut Random) -> Vec<u8> {
    let tables = [
        "[[listen]]",
        "[userdb]",
        "[userdb.fields]",
        "[hash]",
        "[keep]",
        "[dovecot]",
        "[delegation]",
    ];
    let keys = [
        "database",
        "default_domain",
        "name",
        "type",
        "path",
        "owner",
        "group",
        "mode",
        "failure_delay",
        "mechanisms",
        "generated",
        "threads",
        "separator",
        "tombstones",
        "events",
        "uses",
        "uid",
        "gid",
        "home",
        "quota_rule",
        "kick",
        "base_dir",
        "doveadm",
        "config",
        "unknown",
    ];
    let values = [
        "\"auth\"",
        "\"login\"",
        "\"master\"",
        "\"userdb\"",
        "\"/run/dovelatch/a\"",
        "\"/run/dovelatch/b\"",
        "\"0660\"",
        "\"2s\"",
        "\"1500ms\"",
        "[\"PLAIN\", \"LOGIN\"]",
        "[\"PLAIN\"]",
        "[]",
        "\"m=1024,t=1,p=1\"",
        "0",
        "2",
        "5000",
        "\"*\"",
        "\"365d\"",
        "100",
        "\"/var/vmail/%{domain}/%{local}\"",
        "\"auto\"",
        "\"doveadm\"",
        "\"\"",
        "true",
        "\"example.org\"",
        "\"postgresql://u:secret@h/d\"",
        "-1",
        "1.5",
        "{ a = 1 }",
        "\"root\"",
        "\"4294967295\"",
        "\"0777\"",
        "\"1777\"",
        "\"4s\"",
        "\"4001ms\"",
        "256",
        "257",
        "\"36500d\"",
        "\"36501d\"",
        "10000",
        "10001",
    ];
    match random.below(6) {
        0 => random.pick(&tables).as_bytes().to_vec(),
        1 => format!(
            "[[listen]]\nname = \"n{}\"\ntype = {}\npath = \"/run/{}\"",
            random.below(4),
            random.pick(&values[..4]),
            random.below(4)
        )
        .into_bytes(),
        2 => b"[userdb]\nuid = 5000\ngid = 5000".to_vec(),
        _ => format!("{} = {}", random.pick(&keys), random.pick(&values)).into_bytes(),
    }
}
