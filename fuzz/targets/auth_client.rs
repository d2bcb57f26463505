//! The parsers of the auth-client protocol: our own as a server, and our own as a client (`dovelatch test`).

use std::net::IpAddr;

use dovelatch::secret::Secret;
use dovelatch::wire::auth_client::{Auth, Command, GreetingLine, Malformed, Reply, RequestId};

use super::escape::reference as unescaped;
use crate::random::Random;
use crate::signature::Signature;
use crate::target::Target;

pub const COMMANDS: Target = Target {
    name: "auth-client-commands",
    run: commands,
    piece: command,
    words: &[
        b"VERSION\t1\t2",
        b"CPID\t",
        b"AUTH\t",
        b"CONT\t",
        b"CANCEL\t",
        b"PLAIN",
        b"LOGIN",
        b"\tservice=",
        b"\tprotocol=",
        b"\trip=",
        b"\tlip=",
        b"\tnologin",
        b"\tresp=",
        b"\tresp",
        b"\tno-penalty",
        b"=",
        b"\x01t",
        b"\x01",
        b"\t\t",
        b"::1",
        b"192.0.2.1",
        b"[::1]",
        b"\tsecured=tls",
        b"\tsession=",
    ],
    longest: 400,
    is_script: false,
    short: 50_000,
};

pub const REPLIES: Target = Target {
    name: "auth-client-replies",
    run: replies,
    piece: reply,
    words: &[
        b"OK\t",
        b"FAIL\t",
        b"CONT\t",
        b"CANCELLED\t",
        b"VERSION\t1\t2",
        b"MECH\t",
        b"SPID\t",
        b"CUID\t",
        b"COOKIE\t",
        b"DONE",
        b"\tuser=",
        b"\tcode=temp_fail",
        b"\ttemp",
        b"\tplaintext",
        b"=",
        b"\x01t",
        b"\x01",
        b"\treason=",
        b"VXNlcm5hbWU6",
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
        Command::Cpid(_) => seen.note("cpid"),
        Command::Auth(auth) => {
            let response = auth
                .response
                .as_ref()
                .map(|text| text.expose().len().min(2));
            seen.note((
                auth.nologin,
                response,
                auth.origin.is_some(),
                auth.local.is_some(),
            ));
            seen.note((auth.mechanism.is_empty(), auth.service.is_empty()));
        }
        Command::Continue { data, extra, .. } => seen.note(("cont", data.is_empty(), extra)),
        Command::Cancel(_) => seen.note("cancel"),
    }
    seen.cells(input);
}

/// The same by hand: cut at each TAB, then look at the cells.
fn reference(line: &[u8]) -> Result<Command, Malformed> {
    let cells: Vec<&[u8]> = line.split(|&byte| byte == b'\t').collect();
    match (cells[0], &cells[1..]) {
        (b"VERSION", [major, minor]) => Some((number(major), number(minor)))
            .and_then(|(major, minor)| {
                let (major, minor) = (major?, minor?);
                Some(Command::Version { major, minor })
            })
            .ok_or(Malformed::Version),
        (b"VERSION", _) => Err(Malformed::Version),
        (b"CPID", [pid]) => match number(pid) {
            None | Some(0) => Err(Malformed::Cpid),
            Some(pid) => Ok(Command::Cpid(pid)),
        },
        (b"CPID", _) => Err(Malformed::Cpid),
        (b"CANCEL", [id]) => self::id(id).map(Command::Cancel).ok_or(Malformed::Cancel),
        (b"CANCEL", _) => Err(Malformed::Cancel),
        (b"CONT", [id, data, more @ ..]) => match self::id(id) {
            None => Err(Malformed::Continue),
            Some(id) => Ok(Command::Continue {
                id,
                data: Secret::new(unescaped(data).0),
                extra: !more.is_empty(),
            }),
        },
        (b"CONT", _) => Err(Malformed::Continue),
        (b"AUTH", [id, mechanism, fields @ ..]) => match self::id(id) {
            None => Err(Malformed::Auth),
            Some(id) => auth(id, mechanism, fields),
        },
        (b"AUTH", _) => Err(Malformed::Auth),
        _ => Err(Malformed::Command),
    }
}

fn auth(id: RequestId, mechanism: &[u8], fields: &[&[u8]]) -> Result<Command, Malformed> {
    let fields: Vec<Vec<u8>> = fields.iter().map(|field| unescaped(field).0).collect();
    let response = fields.iter().position(|field| field.starts_with(b"resp="));
    if response.is_some_and(|at| at + 1 < fields.len()) {
        return Err(Malformed::AfterResponse);
    }
    // Of several of one name the last one counts.
    let last = |keys: &[&str]| {
        fields.iter().rev().find_map(|field| {
            let text = field.as_slice();
            keys.iter()
                .find_map(|key| text.strip_prefix(key.as_bytes())?.strip_prefix(b"="))
        })
    };
    let address = |key: &str| -> Option<IpAddr> {
        let bare = |field: &&Vec<u8>| {
            field.as_slice() == key.as_bytes() || field.starts_with(format!("{key}=").as_bytes())
        };
        let field = fields.iter().rev().find(bare)?;
        std::str::from_utf8(field.get(key.len() + 1..)?)
            .ok()?
            .parse()
            .ok()
    };
    let nologin =
        |field: &Vec<u8>| field.as_slice() == b"nologin" || field.starts_with(b"nologin=");
    Ok(Command::Auth(Auth {
        id,
        mechanism: unescaped(mechanism).0,
        service: last(&["service", "protocol"])
            .ok_or(Malformed::Service)?
            .to_vec(),
        origin: address("rip"),
        local: address("lip"),
        nologin: fields.iter().any(nologin),
        response: response.map(|at| Secret::new(fields[at][b"resp=".len()..].to_vec())),
    }))
}

/// Digits alone, and no more than 32 bits of them.
pub fn number(text: &[u8]) -> Option<u32> {
    let mut number = 0_u32;
    for byte in text {
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
        number = number.checked_mul(10)?.checked_add(digit)?;
    }
    (!text.is_empty()).then_some(number)
}

fn id(text: &[u8]) -> Option<RequestId> {
    RequestId::new(number(text)?)
}

fn replies(input: &[u8], seen: &mut Signature) {
    if let Ok(reply) = Reply::parse(input) {
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
            Reply::Continue { challenge, .. } => seen.note(("cont", challenge.is_empty())),
            Reply::Ok { fields, .. } => seen.note(("ok", fields.get("user").is_some())),
            Reply::Fail { fields, .. } => seen.note(("fail", fields.get("code").is_some())),
            Reply::Cancelled { .. } => seen.note("cancelled"),
        }
    }
    if let Ok(greeting) = GreetingLine::parse(input) {
        let mut line = Vec::new();
        greeting.encode(&mut line);
        let (end, line) = line.split_last().expect("a line");
        assert!(
            *end == b'\n' && !line.contains(&b'\n'),
            "a greeting's line is one line"
        );
        assert_eq!(
            GreetingLine::parse(line),
            Ok(greeting.clone()),
            "it survives the wire"
        );
        match greeting {
            GreetingLine::Version { .. } => seen.note("version"),
            GreetingLine::Mechanism { flags, .. } => seen.count("flags", flags.len()),
            GreetingLine::Spid(_) => seen.note("spid"),
            GreetingLine::Cuid(_) => seen.note("cuid"),
            GreetingLine::Cookie(cookie) => seen.count("cookie", cookie.expose().len()),
            GreetingLine::Done => seen.note("done"),
        }
    }
    seen.cells(input);
}

fn command(random: &mut Random) -> Vec<u8> {
    let id = random.below(6);
    let service = random.pick(&["imap", "smtp", "pop3", "sieve", "", "xmpp"]);
    let extra = random.pick(&[
        "",
        "\tnologin",
        "\trip=192.0.2.7",
        "\tlip=::1\trip=",
        "\tsession=x\tno-penalty",
    ]);
    let command = match random.below(8) {
        0 => "VERSION\t1\t2".to_owned(),
        1 => "CPID\t77".to_owned(),
        2 => format!("CANCEL\t{id}"),
        3 => format!("CONT\t{id}\tAGJvYgBwdw=="),
        4 => format!("AUTH\t{id}\tLOGIN\tservice={service}{extra}"),
        5 => format!("AUTH\t{id}\tPLAIN\tservice={service}{extra}\tresp="),
        _ => format!("AUTH\t{id}\tPLAIN\tprotocol={service}{extra}\tresp=AGJvYgBwdw=="),
    };
    command.into_bytes()
}

fn reply(random: &mut Random) -> Vec<u8> {
    let id = 1 + random.below(6);
    let reply = match random.below(7) {
        0 => format!("OK\t{id}\tuser=bob@example.org\tuser_device=dp-kqtmwhzrnb"),
        1 => format!("FAIL\t{id}\tuser=bob@example.org\tcode=temp_fail\ttemp"),
        2 => format!("CONT\t{id}\tVXNlcm5hbWU6"),
        3 => format!("CANCELLED\t{id}"),
        4 => "MECH\tPLAIN\tplaintext".to_owned(),
        5 => "COOKIE\t00112233445566778899aabbccddeeff".to_owned(),
        _ => format!("SPID\t{id}"),
    };
    reply.into_bytes()
}
