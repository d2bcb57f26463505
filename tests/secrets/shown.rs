//! What `Debug` shows of whatever holds a secret.

use std::fmt::Debug;

use dovelatch::attempt::Attempt;
use dovelatch::model::{Mechanism, Service};
use dovelatch::password::generate::Password;
use dovelatch::sasl::{Credentials, Exchange, base64, plain};
use dovelatch::secret::{Buffer, Secret};
use dovelatch::wire::auth_client::Command;
use dovelatch::wire::line::LineBuffer;
use libtest_mimic::Trial;

use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("debug_shows_no_secret_of_whatever_holds_one", debug)]
}

const PASSWORD: &str = "kqtm-whzr-nbfa-yxcd-peug";

/// In letters, and as a list of numbers, in both layouts.
fn shows_nothing(what: &impl Debug) {
    for text in [format!("{what:?}"), format!("{what:#?}")] {
        let encoded = base64::encode(&secret(PASSWORD));
        let encoded = std::str::from_utf8(encoded.expose()).unwrap();
        let canonical = PASSWORD.replace('-', "");
        for form in [PASSWORD, &canonical, &encoded[..12], "107", "0x6b"] {
            assert!(!text.contains(form), "{text}");
        }
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

fn debug() {
    let password = secret(PASSWORD);
    shows_nothing(&password);
    shows_nothing(&Some(&password));
    shows_nothing(&Password::from_typed(&password));
    let mut buffer = Buffer::default();
    buffer.extend(PASSWORD.as_bytes());
    shows_nothing(&buffer);
    let mut lines = LineBuffer::default();
    lines.push(PASSWORD.as_bytes());
    shows_nothing(&lines);

    let message = plain::client_message("ana", &password);
    shows_nothing(&Exchange::start(Mechanism::Plain, Some(&message)));
    let mut login = Exchange::start(Mechanism::Login, Some(&secret("ana"))).0;
    shows_nothing(&login.respond(&password));
    shows_nothing(&login);
    shows_nothing(&Credentials {
        authorization: Vec::new(),
        authentication: b"ana".to_vec(),
        password: password.clone(),
    });
    shows_nothing(&Attempt {
        mailbox: "ana@example.org".parse().ok(),
        person: None,
        claimed: Default::default(),
        secret: password.clone(),
        mechanism: Mechanism::Plain,
        service: Service::Imap,
        origin: None,
        local: None,
    });
    let response = base64::encode(&message);
    let response = std::str::from_utf8(response.expose()).unwrap();
    for line in [
        format!("AUTH\t1\tPLAIN\tservice=imap\tresp={response}"),
        format!("CONT\t1\t{PASSWORD}"),
    ] {
        let command = Command::parse(line.as_bytes());
        assert!(command.is_ok());
        shows_nothing(&command);
    }
    // A line that is no command is not repeated.
    shows_nothing(&Command::parse(PASSWORD.as_bytes()));
}
