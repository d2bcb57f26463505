//! The parsers of the auth-master protocol: ours as a server, and ours as a client (`kick` talks to stock auth).

use dovelatch::secret::Secret;
use dovelatch::wire::auth_master::{Command, Cookie, Malformed, MasterId, Of, PickUp, Reply};

use super::auth_client::number;
use super::escape::reference as unescaped;
use crate::random::Random;
use crate::signature::Signature;
use crate::target::Target;

pub const COMMANDS: Target = Target {
    name: "auth-master-commands",
    run: commands,
    piece: command,
    words: &[
        b"VERSION\t1\t1",
        b"REQUEST\t",
        b"USER\t",
        b"PASS\t",
        b"LIST\t",
        b"CACHE-FLUSH\t",
        b"\tservice=",
        b"\tprotocol=",
        b"\tuser=",
        b"\tsession_pid=",
        b"\trequest_auth_token",
        b"*",
        b"=",
        b"\x01t",
        b"\x01",
        b"\t\t",
        b"00112233445566778899aabbccddeeff",
        b"00112233445566778899AABBCCDDEEFF",
    ],
    longest: 400,
    is_script: false,
    short: 50_000,
};

pub const REPLIES: Target = Target {
    name: "auth-master-replies",
    run: replies,
    piece: reply,
    words: &[
        b"USER\t",
        b"PASS\t",
        b"NOTFOUND\t",
        b"FAIL\t",
        b"LIST\t",
        b"DONE\t",
        b"OK\t",
        b"\tuid=",
        b"\tfail",
        b"\treason=",
        b"\thome=",
        b"=",
        b"\x01t",
        b"\x01",
        b"\t\t",
        b"\xff",
    ],
    longest: 400,
    is_script: false,
    short: 50_000,
};

fn commands(input: &[u8], seen: &mut Signature) {
    let parsed = Command::parse(input);
    assert_eq!(parsed, reference(input), "not as read by hand");
    let command = match parsed {
        Ok(command) => command,
        Err(malformed) => return seen.note(malformed.as_str()),
    };
    let line = command.encode();
    let (end, line) = line.expose().split_last().expect("a line");
    assert!(
        *end == b'\n' && !line.contains(&b'\n'),
        "a command is one line"
    );
    assert_eq!(
        Command::parse(line),
        Ok(command.clone()),
        "it survives the wire"
    );
    match command {
        Command::Version { .. } => seen.note("version"),
        Command::PickUp(by) => seen.note((by.session_pid.is_some(), by.wants_token)),
        Command::User(of) => seen.note(("user", of.name.is_empty(), of.service.is_empty())),
        Command::Pass(of) => seen.note(("pass", of.name.is_empty(), of.service.is_empty())),
        Command::List { mask, .. } => seen.count("mask", mask.len()),
        Command::CacheFlush { users, .. } => seen.count("flushed", users.len()),
    }
    seen.cells(input);
}

/// The same by hand: cut at each TAB, then look at the cells.
fn reference(line: &[u8]) -> Result<Command, Malformed> {
    let cells: Vec<&[u8]> = line.split(|&byte| byte == b'\t').collect();
    let plain = |cell: &[u8]| unescaped(cell).0;
    let of = |cells: &[&[u8]]| {
        let [id, name, fields @ ..] = cells else {
            return Err(Malformed::Of);
        };
        Ok(Of {
            id: MasterId(number(id).ok_or(Malformed::Of)?),
            name: plain(name),
            service: last(fields, &["service", "protocol"]).ok_or(Malformed::Service)?,
        })
    };
    match (cells[0], &cells[1..]) {
        (b"VERSION", [major, minor]) => match (number(major), number(minor)) {
            (Some(major), Some(minor)) => Ok(Command::Version { major, minor }),
            _ => Err(Malformed::Version),
        },
        (b"VERSION", _) => Err(Malformed::Version),
        (b"USER", cells) => of(cells).map(Command::User),
        (b"PASS", cells) => of(cells).map(Command::Pass),
        (b"LIST", [id, fields @ ..]) => Ok(Command::List {
            id: MasterId(number(id).ok_or(Malformed::List)?),
            mask: last(fields, &["user"]).unwrap_or(b"*".to_vec()),
        }),
        (b"LIST", _) => Err(Malformed::List),
        (b"CACHE-FLUSH", [id, users @ ..]) => Ok(Command::CacheFlush {
            id: MasterId(number(id).ok_or(Malformed::CacheFlush)?),
            users: users.iter().map(|user| plain(user)).collect(),
        }),
        (b"CACHE-FLUSH", _) => Err(Malformed::CacheFlush),
        (b"REQUEST", [id, client_pid, auth_id, cookie, fields @ ..]) => {
            let all = number(id).zip(number(client_pid)).zip(number(auth_id));
            let ((id, client_pid), auth_id) = all.ok_or(Malformed::PickUp)?;
            let cookie = plain(cookie);
            if cookie.len() != 32 || !cookie.iter().all(u8::is_ascii_hexdigit) {
                return Err(Malformed::Cookie);
            }
            let fields: Vec<Vec<u8>> = fields.iter().map(|field| plain(field)).collect();
            let named = |field: &&Vec<u8>, key: &str| {
                field.as_slice() == key.as_bytes()
                    || field.starts_with(format!("{key}=").as_bytes())
            };
            let pid = fields
                .iter()
                .rev()
                .find(|field| named(field, "session_pid"));
            Ok(Command::PickUp(PickUp {
                id: MasterId(id),
                client_pid,
                auth_id,
                cookie: Cookie(Secret::new(cookie.to_ascii_lowercase())),
                session_pid: pid.and_then(|pid| number(pid.get("session_pid=".len()..)?)),
                wants_token: fields
                    .iter()
                    .any(|field| named(&field, "request_auth_token")),
            }))
        }
        (b"REQUEST", _) => Err(Malformed::PickUp),
        _ => Err(Malformed::Command),
    }
}

/// The value of the last field of one of these names that has one.
fn last(fields: &[&[u8]], keys: &[&str]) -> Option<Vec<u8>> {
    fields.iter().rev().find_map(|field| {
        let text = unescaped(field).0;
        let value = |key: &&str| text.strip_prefix(key.as_bytes())?.strip_prefix(b"=");
        keys.iter().find_map(value).map(<[u8]>::to_vec)
    })
}

fn replies(input: &[u8], seen: &mut Signature) {
    seen.cells(input);
    let Ok(reply) = Reply::parse(input) else {
        return;
    };
    let mut line = Vec::new();
    reply.encode(&mut line);
    let (end, line) = line.split_last().expect("a line");
    assert!(
        *end == b'\n' && !line.contains(&b'\n'),
        "a reply is one line"
    );
    assert_eq!(
        Reply::parse(line),
        Ok(reply.clone()),
        "it survives the wire"
    );
    match reply {
        Reply::User { fields, .. } => seen.note(("user", fields.get("uid").is_some())),
        Reply::Pass { fields, .. } => seen.note(("pass", fields.get("user").is_some())),
        Reply::NotFound { .. } => seen.note("not found"),
        Reply::Fail { .. } => seen.note("fail"),
        Reply::Name { mailbox, .. } => seen.count("name", mailbox.len()),
        Reply::Done { failed, .. } => seen.note(("done", failed)),
        Reply::Flushed { .. } => seen.note("flushed"),
    }
}

fn command(random: &mut Random) -> Vec<u8> {
    let id = random.below(6);
    let command = match random.below(7) {
        0 => "VERSION\t1\t1".to_owned(),
        1 => format!("USER\t{id}\tbob@example.org\tservice=lmtp\tlip=127.0.0.1"),
        2 => format!("PASS\t{id}\tbob\tservice=doveadm"),
        3 => format!("LIST\t{id}\tuser=b*\tservice=doveadm"),
        4 => format!("CACHE-FLUSH\t{id}\tbob@example.org\tana"),
        _ => format!(
            "REQUEST\t{id}\t77\t{id}\t00112233445566778899aabbccddeeff\tsession_pid={}\trequest_auth_token",
            random.below(100),
        ),
    };
    command.into_bytes()
}

fn reply(random: &mut Random) -> Vec<u8> {
    let id = random.below(6);
    let reply = match random.below(7) {
        0 => format!("USER\t{id}\tbob@example.org\tuid=5000\tgid=5000\thome=/var/vmail/bob"),
        1 => format!("PASS\t{id}\tuser=bob@example.org"),
        2 => format!("NOTFOUND\t{id}"),
        3 => format!("FAIL\t{id}\treason=x"),
        4 => format!("LIST\t{id}\tbob"),
        5 => format!("DONE\t{id}\tfail"),
        _ => format!("OK\t{id}\t0"),
    };
    reply.into_bytes()
}
