//! No password reaches the log, at any level, in any form.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use data_encoding::BASE64;
use dovelatch::telemetry::{Format, subscriber};
use libtest_mimic::Trial;
use tracing::level_filters::LevelFilter;

use crate::peer::Peer;
use crate::site::{Site, shown};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial(
        "no_password_is_logged_at_any_level",
        nothing_is_logged,
    )]
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The subscriber is the whole process's: the daemon logs from threads of its own. What other tests
/// log at the same time does no harm: they have no password of this one.
fn nothing_is_logged() {
    let sink = Sink::default();
    let (all, guard) = subscriber(Format::Plain, LevelFilter::TRACE, sink.clone()).unwrap();
    tracing::subscriber::set_global_default(all).unwrap();

    let site = Site::new();
    let phone = shown(&site.issue("phone"));
    let typo = phone.replacen(|_| true, "q", 1).replacen('-', "", 2);
    let running = site.start();
    let mut peer = Peer::login_process(&site.socket());
    assert!(
        peer.sign_in(1, "ana@example.org", &phone)
            .starts_with("OK\t1\t")
    );
    peer.sign_in(2, "ben@example.org", &phone);
    peer.sign_in(3, "ana@example.org", &typo);
    let encoded = BASE64.encode(phone.as_bytes());
    peer.say(&format!(
        "AUTH\t4\tLOGIN\tservice=imap\tresp={}",
        BASE64.encode(b"ana@example.org")
    ));
    assert!(peer.line().starts_with("CONT\t4\t"));
    peer.say(&format!("CONT\t4\t{encoded}"));
    assert!(peer.line().starts_with("OK\t4\t"));
    // A line break inside a request must not make its rest appear.
    peer.say(&format!("AUTH\t5\tPLAIN\tservice=imap\tresp=\n{encoded}"));
    while !peer.is_closed() {}
    running.stop();
    drop(guard);

    let log = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("auth ok: user=<ana@example.org>"), "{log}");
    assert!(log.contains("auth failed: user=<ben@example.org>"), "{log}");
    let plain = |user: &str| BASE64.encode(format!("\0{user}\0{phone}").as_bytes());
    let canonical = phone.replace('-', "");
    for secret in [
        &phone,
        &typo,
        &canonical,
        &encoded,
        &plain("ana@example.org"),
        &plain("ben@example.org"),
    ] {
        assert!(!log.contains(secret.as_str()), "a password is in the log");
        // Nor half of it: base64 shifts, and lines may be cut.
        assert!(
            !log.contains(&secret[secret.len() / 2..]),
            "half a password is in the log"
        );
    }
}
