//! The line for each verdict: an interface.
//!
//! ```text
//! auth ok: user=<ana@example.org> device=dp-kqtmwhzrnb method=PLAIN service=imap rip=203.0.113.9 lip=192.0.2.1 listener=lua
//! auth failed: user=<ana@example.org> method=PLAIN service=imap rip=203.0.113.7 listener=postfix reason=unknown-password
//! ```
//!
//! The order is fixed. Unknown are `method=-`, `service=-` and `rip=-`; an unknown `lip` and an unknown
//! device are left out. fail2ban filters read it: a change of it changes its test and goes into the
//! changelog.

use std::net::IpAddr;

use tracing::field::display;
use tracing::info;

use crate::attempt::{Attempt, Outcome, Reason};
use crate::model::{ClientText, DeviceId, Mechanism, Service};
use crate::session::auth_client::Refusal;

/// What was asked, as the line needs it. It outlives the attempt, which carries the password.
#[derive(Debug)]
pub struct Asked {
    claimed: ClientText,
    mechanism: Option<Mechanism>,
    service: Service,
    origin: Option<IpAddr>,
    local: Option<IpAddr>,
}

impl From<&Attempt> for Asked {
    fn from(attempt: &Attempt) -> Self {
        Self {
            claimed: attempt.claimed.clone(),
            mechanism: Some(attempt.mechanism),
            service: attempt.service.clone(),
            origin: attempt.origin,
            local: attempt.local,
        }
    }
}

impl Asked {
    /// Writes the line for the outcome of an attempt.
    pub fn log(&self, listener: &str, outcome: &Outcome) {
        match outcome {
            Outcome::Allow(allowed) => self.log_ok(
                listener,
                &ClientText::new(allowed.mailbox.as_str().as_bytes()),
                &allowed.device,
            ),
            Outcome::Deny { reason, device } => {
                self.log_failed(listener, *reason, device.as_ref());
            }
            Outcome::TryLater { reason } => self.log_failed(listener, *reason, None),
        }
    }

    /// Writes the line for a request that was refused before it became an attempt.
    pub fn log_refusal(listener: &str, refusal: Refusal) {
        let asked = Self {
            claimed: refusal.claimed,
            mechanism: refusal.mechanism,
            service: refusal.service,
            origin: refusal.origin,
            local: refusal.local,
        };
        asked.log_failed(listener, refusal.reason, None);
    }

    fn log_ok(&self, listener: &str, mailbox: &ClientText, device: &DeviceId) {
        info!(
            user = %format_args!("<{}>", mailbox.escaped()),
            %device,
            method = self.method(),
            service = %self.service(),
            rip = %self.rip(),
            lip = self.local.map(display),
            listener = %listener,
            "auth ok:",
        );
    }

    fn log_failed(&self, listener: &str, reason: Reason, device: Option<&DeviceId>) {
        info!(
            user = %format_args!("<{}>", self.claimed.escaped()),
            method = self.method(),
            service = %self.service(),
            rip = %self.rip(),
            lip = self.local.map(display),
            listener = %listener,
            reason = %reason.as_str(),
            device = device.map(display),
            "auth failed:",
        );
    }

    fn method(&self) -> impl tracing::Value {
        display(self.mechanism.map_or("-", Mechanism::as_str))
    }

    /// Never empty: the peer chooses the word, and may choose none.
    fn service(&self) -> String {
        let service = self.service.to_string();
        if service.is_empty() {
            "-".to_owned()
        } else {
            service
        }
    }

    fn rip(&self) -> String {
        self.origin
            .map_or_else(|| "-".to_owned(), |address| address.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use std::time::Instant;

    use proptest::prelude::*;
    use tracing::level_filters::LevelFilter;

    use super::*;
    use crate::attempt::Allowed;
    use crate::secret::Secret;
    use crate::session::auth_client::{Action, Kind, Session, Settings};
    use crate::telemetry::{Format, subscriber};

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

    fn logged(act: impl FnOnce()) -> String {
        let sink = Sink::default();
        let (subscriber, guard) =
            subscriber(Format::Journal, LevelFilter::INFO, sink.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, act);
        drop(guard);
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    fn asked(claimed: &[u8]) -> Asked {
        Asked {
            claimed: ClientText::new(claimed),
            mechanism: Some(Mechanism::Plain),
            service: Service::Imap,
            origin: Some("203.0.113.7".parse().unwrap()),
            local: Some("2001:db8::1".parse().unwrap()),
        }
    }

    #[test]
    fn the_line_of_a_good_log_in() {
        let allowed = Allowed {
            mailbox: "ana@example.org".parse().unwrap(),
            device: "dp-kqtmwhzrnb".parse().unwrap(),
            secret: crate::model::SecretId(1),
            person: None,
        };
        assert_eq!(
            logged(|| asked(b"Ana").log("lua", &Outcome::Allow(allowed))),
            "<6>auth ok: user=<ana@example.org> device=dp-kqtmwhzrnb method=PLAIN service=imap \
             rip=203.0.113.7 lip=2001:db8::1 listener=lua\n"
        );
    }

    #[test]
    fn the_line_of_a_refusal_ends_with_reason_and_device() {
        let outcome = Outcome::Deny {
            reason: Reason::Revoked,
            device: Some("dp-kqtmwhzrnb".parse().unwrap()),
        };
        assert_eq!(
            logged(|| asked(b"ana@example.org").log("postfix", &outcome)),
            "<6>auth failed: user=<ana@example.org> method=PLAIN service=imap rip=203.0.113.7 \
             lip=2001:db8::1 listener=postfix reason=revoked device=dp-kqtmwhzrnb\n"
        );
    }

    #[test]
    fn what_is_unknown_is_a_dash_or_left_out_and_no_name_forges_a_field() {
        let refusal = Refusal {
            reason: Reason::Mechanism,
            claimed: ClientText::new(b"x> rip=192.0.2.1\nauth ok: user=<y"),
            mechanism: None,
            service: Service::from_wire(b""),
            origin: None,
            local: None,
        };
        assert_eq!(
            logged(|| Asked::log_refusal("postfix", refusal)),
            "<6>auth failed: \
             user=<x\\x3e\\x20rip=192.0.2.1\\x0aauth\\x20ok:\\x20user=\\x3cy> \
             method=- service=- rip=- listener=postfix reason=mechanism\n"
        );
    }

    #[test]
    fn try_later_is_a_line_too() {
        let outcome = Outcome::TryLater {
            reason: Reason::Overload,
        };
        let line = logged(|| asked(b"ana").log("lua", &outcome));
        assert!(line.ends_with("listener=lua reason=overload\n"), "{line}");
    }

    /// A field of an AUTH line with any bytes in it, escaped as a peer must, or not at all.
    fn any_field() -> impl Strategy<Value = Vec<u8>> {
        let hostile = prop_oneof![
            Just("\u{202e}\u{2066}".as_bytes().to_vec()),
            Just(b"\xff\xfe\xc2\x85".to_vec()),
            Just(b"a> rip=192.0.2.1 reason=revoked <b".to_vec()),
            Just(b"x\nauth ok: user=<y>".to_vec()),
            Just(b"\x1b[2J\\x3e".to_vec()),
        ];
        let bytes = prop::collection::vec(any::<u8>(), 0..300);
        prop_oneof![bytes, hostile].prop_flat_map(|field| {
            let escaped = crate::wire::escape::escaped(&field)
                .flatten()
                .copied()
                .collect::<Vec<u8>>();
            let raw = field
                .into_iter()
                .filter(|byte| *byte != b'\n')
                .collect::<Vec<u8>>();
            prop_oneof![Just(escaped), Just(raw)]
        })
    }

    /// What a session makes of such a line, and what the log then says of it.
    fn line_of(auth: Vec<u8>) -> Option<String> {
        let settings = Settings {
            kind: Kind::Client,
            mechanisms: Mechanism::ALL.to_vec(),
            default_domain: None,
            separator: None,
        };
        #[expect(clippy::disallowed_methods, reason = "any point in time will do")]
        let now = Instant::now();
        let (mut session, mut actions) = (Session::new(Arc::new(settings)), Vec::new());
        for line in [b"VERSION\t1\t2".to_vec(), b"CPID\t1".to_vec(), auth] {
            session.on_line(&Secret::new(line), now, &mut actions);
        }
        match actions.into_iter().next()? {
            Action::Refuse { refusal, .. } => {
                Some(logged(|| Asked::log_refusal("postfix", refusal)))
            }
            Action::Verify(_, attempt) => {
                let outcome = Outcome::Deny {
                    reason: Reason::UnknownPassword,
                    device: None,
                };
                Some(logged(|| Asked::from(&*attempt).log("postfix", &outcome)))
            }
            Action::Send(_) | Action::Finish { .. } | Action::Forget(_) | Action::Close(_) => None,
        }
    }

    proptest! {
        #[test]
        fn whatever_a_peer_sends_the_line_is_printable_and_has_its_own_fields_only(
            mechanism in prop_oneof![Just(b"PLAIN".to_vec()), any_field()],
            fields in prop::collection::vec(any_field(), 3),
            user in any_field(),
        ) {
            let message = [&b"\0"[..], &user, b"\0password"].concat();
            let response = crate::sasl::base64::encode(&Secret::new(message));
            let [service, remote, local] = [&fields[0], &fields[1], &fields[2]];
            let auth = [
                b"AUTH\t1\t", &mechanism[..], b"\tservice=", service, b"\trip=", remote, b"\tlip=", local,
                b"\tresp=", response.expose(),
            ];
            if let Some(line) = line_of(auth.concat()) {
                let text = line.strip_suffix('\n').unwrap();
                prop_assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{}", text);
                let names: Vec<&str> = text
                    .strip_prefix("<6>auth failed: ")
                    .unwrap()
                    .split(' ')
                    .map(|field| field.split_once('=').unwrap().0)
                    .filter(|name| *name != "lip")
                    .collect();
                prop_assert_eq!(&names[..], ["user", "method", "service", "rip", "listener", "reason"]);
                prop_assert!(text.len() < 1_400, "{}", text.len());
            }
        }
    }
}
