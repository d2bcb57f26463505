//! From what a peer said to an [`Attempt`]: which mailbox, which person, and what may be repeated.

use std::net::IpAddr;

use crate::attempt::Attempt;
use crate::model::{ClientText, Domain, Mailbox, Mechanism, Person, Separator, Service};
use crate::sasl::Credentials;
use crate::secret::Secret;

/// Longest name that a reply repeats, in bytes: that of the longest mailbox. With it no reply
/// reaches 1,024 bytes, which is all that Radicale reads.
const MAX_REPEATED: usize = 254;

/// Longest password that is looked at, in bytes; no password has so many. Sixty-five thousand attempts may wait.
const MAX_PASSWORD: usize = 1024;

/// What stands for a longer one: as it, nobody's password, and refused with the same work as any other.
const NO_PASSWORD: &[u8] = b"\0";

/// What an AUTH line says about a request, besides the credentials.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) service: Service,
    pub(super) origin: Option<IpAddr>,
    pub(super) local: Option<IpAddr>,
}

/// How names are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    /// Added to a name without one.
    pub(super) domain: Option<&'a Domain>,
    /// Between mailbox and person, in a log-in name that has both.
    pub(super) separator: Option<Separator>,
}

/// Who wants in, as far as the replies need it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Claim {
    /// What was typed, for the log.
    pub(super) claimed: ClientText,
    /// For `user=` of a refusal: the normalised name of whoever signs in, else what was typed, and
    /// nothing where that cannot be repeated.
    pub(super) user: Option<Vec<u8>>,
    /// What was typed, where it is a name but not the normalised one: for `original_user=`.
    pub(super) original: Option<Vec<u8>>,
}

/// Whom an authentication identity names.
#[derive(Debug, PartialEq, Eq)]
enum Typed {
    /// A mailbox; the one who signs in is its owner, or somebody who was given a password for it.
    Mailbox(Mailbox),
    /// `mailbox*person`: what each of them is, if it is a name.
    Both(Option<Mailbox>, Option<Mailbox>),
    Neither,
}

impl Claim {
    /// Of a name as typed.
    pub(super) fn of(typed: &[u8], names: Names<'_>) -> Self {
        names.claimed(typed).0
    }
}

impl Names<'_> {
    fn claimed(self, typed: &[u8]) -> (Claim, Typed) {
        let whom = self.whom(typed);
        let normal = match &whom {
            Typed::Mailbox(who) | Typed::Both(_, Some(who)) => Some(who.as_str().as_bytes()),
            Typed::Both(_, None) | Typed::Neither => None,
        };
        let claim = Claim {
            claimed: ClientText::new(typed),
            user: normal.map_or_else(|| repeatable(typed), |normal| Some(normal.to_vec())),
            original: normal
                .filter(|normal| *normal != typed)
                .and_then(|_| repeatable(typed)),
        };
        (claim, whom)
    }

    fn whom(self, typed: &[u8]) -> Typed {
        let split = self.separator.and_then(|separator| {
            let text = std::str::from_utf8(typed).ok()?;
            separator.split(text)
        });
        if let Some((wanted, person)) = split {
            let [wanted, person] = [wanted, person].map(|part| self.mailbox(part.as_bytes()));
            return Typed::Both(wanted, person);
        }
        self.mailbox(typed).map_or(Typed::Neither, Typed::Mailbox)
    }

    pub(super) fn mailbox(self, typed: &[u8]) -> Option<Mailbox> {
        let mailbox: Mailbox = std::str::from_utf8(typed).ok()?.parse().ok()?;
        mailbox.in_domain(self.domain).ok()
    }

    /// Whose mailbox, and by whom if that is somebody else.
    ///
    /// An authorization identity that says the same as the authentication identity, as doveadm 2.3 and
    /// chasquid always send it, says nothing. One that says something else than `mailbox*person` does
    /// makes no sense, and opens nothing.
    fn wanted(
        self,
        authorization: &[u8],
        authentication: &[u8],
        whom: Typed,
    ) -> (Option<Mailbox>, Option<Person>) {
        let says_more =
            !authorization.is_empty() && !authorization.eq_ignore_ascii_case(authentication);
        let other = says_more.then(|| self.mailbox(authorization));
        match (whom, other) {
            (Typed::Mailbox(own), None) => (Some(own), None),
            (Typed::Mailbox(own), Some(wanted)) => delegated(wanted, own),
            (Typed::Both(wanted, Some(person)), None) => delegated(wanted, person),
            (Typed::Both(wanted, Some(person)), Some(other)) if wanted == other => {
                delegated(wanted, person)
            }
            // Without a person's name nobody opens another mailbox, least of all as its owner.
            (Typed::Both(..) | Typed::Neither, _) => (None, None),
        }
    }
}

/// The person's own mailbox is no other's, however it was spelled.
fn delegated(wanted: Option<Mailbox>, own: Mailbox) -> (Option<Mailbox>, Option<Person>) {
    if wanted.as_ref() == Some(&own) {
        return (wanted, None);
    }
    match own.as_str().parse() {
        Ok(person) => (wanted, Some(person)),
        Err(_) => (None, None),
    }
}

/// The attempt, or `None` where the bytes alone forbid one: empty name or password, control
/// characters. Refusing these at once tells nobody anything.
///
/// A name that can be no mailbox's (`../..@x`, broken UTF-8) does give an attempt, so that its
/// refusal takes the same work and the same time as any other.
pub(super) fn attempt(
    credentials: Credentials,
    mechanism: Mechanism,
    from: &Origin,
    names: Names<'_>,
) -> (Claim, Option<Attempt>) {
    let Credentials {
        authorization,
        authentication,
        password,
    } = credentials;
    let (claim, whom) = names.claimed(&authentication);
    let empty = authentication.is_empty() || password.is_empty();
    let controls = has_control(&authentication)
        || has_control(&authorization)
        || password.expose().iter().any(u8::is_ascii_control);
    if empty || controls {
        return (claim, None);
    }
    let secret = if password.expose().len() > MAX_PASSWORD {
        Secret::new(NO_PASSWORD.to_vec())
    } else {
        password
    };
    let (mailbox, person) = names.wanted(&authorization, &authentication, whom);
    let attempt = Attempt {
        mailbox,
        person,
        claimed: ClientText::new(&authentication),
        secret,
        mechanism,
        service: from.service.clone(),
        origin: from.origin,
        local: from.local,
    };
    (claim, Some(attempt))
}

/// A typed name as a reply may repeat it: Postfix and Exim unescape nothing and log what they get.
fn repeatable(typed: &[u8]) -> Option<Vec<u8>> {
    if typed.is_empty() || has_control(typed) {
        return None;
    }
    Some(typed.get(..MAX_REPEATED).unwrap_or(typed).to_vec())
}

/// Control characters of ASCII, and those of Unicode (U+0080–U+009F), which steer terminals too.
fn has_control(text: &[u8]) -> bool {
    text.iter().any(u8::is_ascii_control)
        || text
            .windows(2)
            .any(|pair| matches!(pair, [0xc2, 0x80..=0x9f]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(authorization: &str, authentication: &[u8], password: &str) -> (Claim, Option<Attempt>) {
        ask_with(None, authorization, authentication, password)
    }

    #[test]
    fn a_password_that_nobody_has_takes_no_memory_and_the_same_work() {
        let longest = "x".repeat(MAX_PASSWORD);
        let kept = |password: &str| ask("", b"ana", password).1.unwrap().secret;
        assert_eq!(kept(&longest).expose(), longest.as_bytes());
        assert_eq!(kept(&format!("{longest}x")).expose(), NO_PASSWORD);
    }

    fn ask_with(
        separator: Option<&str>,
        authorization: &str,
        authentication: &[u8],
        password: &str,
    ) -> (Claim, Option<Attempt>) {
        let credentials = Credentials {
            authorization: authorization.into(),
            authentication: authentication.to_vec(),
            password: Secret::new(password.into()),
        };
        let from = Origin {
            service: Service::Imap,
            origin: None,
            local: None,
        };
        let domain: Domain = "example.org".parse().unwrap();
        let names = Names {
            domain: Some(&domain),
            separator: separator.map(|separator| separator.parse().unwrap()),
        };
        attempt(credentials, Mechanism::Plain, &from, names)
    }

    fn wants(authorization: &str, authentication: &str) -> (Option<String>, Option<String>) {
        wants_with(None, authorization, authentication)
    }

    fn wants_with(
        separator: Option<&str>,
        authorization: &str,
        authentication: &str,
    ) -> (Option<String>, Option<String>) {
        let (_, attempt) = ask_with(separator, authorization, authentication.as_bytes(), "pw");
        let attempt = attempt.unwrap();
        (
            attempt.mailbox.map(|mailbox| mailbox.to_string()),
            attempt.person.map(|person| person.to_string()),
        )
    }

    #[test]
    fn an_authorization_identity_of_the_same_mailbox_is_no_delegation() {
        for authorization in ["", "Bob@example.org", "bob@example.org", "bob", "BOB"] {
            let bob = (Some("bob@example.org".to_owned()), None);
            assert_eq!(
                wants(authorization, "Bob@Example.org"),
                bob,
                "{authorization:?}"
            );
        }
    }

    #[test]
    fn another_authorization_identity_is_the_mailbox_and_the_typed_one_the_person() {
        assert_eq!(
            wants("Shared", "bob"),
            (
                Some("shared@example.org".to_owned()),
                Some("bob@example.org".to_owned())
            )
        );
        let (claim, _) = ask("shared", b"bob", "pw");
        assert_eq!(claim.user.as_deref(), Some(&b"bob@example.org"[..]));
    }

    #[test]
    fn whoever_has_no_valid_name_opens_nobodys_mailbox() {
        assert_eq!(wants("shared", "../..@x"), (None, None));
        assert_eq!(
            wants("../..@x", "bob"),
            (None, Some("bob@example.org".to_owned()))
        );
        assert_eq!(wants("", "../..@x"), (None, None));
    }

    fn office_by_bob() -> (Option<String>, Option<String>) {
        let of = |name: &str| Some(format!("{name}@example.org"));
        (of("office"), of("bob"))
    }

    #[test]
    fn a_separator_takes_mailbox_and_person_apart() {
        for typed in [
            "office@example.org*bob@example.org",
            "Office@Example.org*BOB",
            "office*bob",
        ] {
            assert_eq!(wants_with(Some("*"), "", typed), office_by_bob(), "{typed}");
            // Doveadm 2.3 and chasquid say it twice.
            assert_eq!(wants_with(Some("*"), typed, typed), office_by_bob());
            assert_eq!(wants_with(None, "", typed), (None, None), "it is off");
            assert_eq!(wants_with(Some("%"), "", typed), (None, None), "another");
        }
        assert_eq!(wants_with(Some("%"), "", "office%bob"), office_by_bob());
        let (claim, _) = ask_with(Some("*"), "", b"office*Bob", "pw");
        assert_eq!(claim.user.as_deref(), Some(&b"bob@example.org"[..]));
        assert_eq!(claim.original.as_deref(), Some(&b"office*Bob"[..]));
    }

    #[test]
    fn a_separator_between_what_is_no_two_names_opens_nothing() {
        for typed in [
            "*",
            "*bob",
            "office*",
            "**",
            "office**bob",
            "office*bob*ana",
            "office*../..@x",
        ] {
            let (mailbox, person) = wants_with(Some("*"), "", typed);
            assert!(mailbox.is_none() || person.is_none(), "{typed}");
            assert!(mailbox.is_none(), "{typed}: nobody opens it as its owner");
        }
    }

    #[test]
    fn ones_own_mailbox_by_whatever_spelling_is_no_delegation() {
        let bob = (Some("bob@example.org".to_owned()), None);
        for (authorization, authentication) in [
            ("", "bob*bob"),
            ("", "BOB@example.org*bob"),
            ("bob", "bob*bob"),
            ("bob", "bob"),
        ] {
            assert_eq!(wants_with(Some("*"), authorization, authentication), bob);
        }
    }

    #[test]
    fn an_authorization_identity_and_a_separator_must_say_the_same() {
        let typed = "office*bob";
        assert_eq!(wants_with(Some("*"), "office", typed), office_by_bob());
        for authorization in ["bob", "ana", "office*ana", "../..@x", "office*bob*"] {
            let nothing = wants_with(Some("*"), authorization, typed);
            assert_eq!(nothing, (None, None), "{authorization}");
        }
        // In an authorization identity it separates nothing.
        let (mailbox, _) = wants_with(Some("*"), "office*bob", "bob");
        assert_eq!(mailbox, None);
    }

    #[test]
    fn bytes_that_no_attempt_may_hold_make_none() {
        for (authorization, authentication, password) in [
            ("", "", "pw"),
            ("", "bob", ""),
            ("", "b\tob", "pw"),
            ("", "b\u{85}ob", "pw"),
            ("", "bob", "p\tw"),
            ("", "bob", "p\u{1}w"),
            ("a\n", "bob", "pw"),
        ] {
            let (_, attempt) = ask(authorization, authentication.as_bytes(), password);
            assert!(
                attempt.is_none(),
                "{authorization:?} {authentication:?} {password:?}"
            );
        }
        let (_, attempt) = ask("", b"bob", "pässwörd = /%");
        assert!(attempt.is_some());
    }

    #[test]
    fn a_refusal_repeats_the_name_if_it_is_clean() {
        for (typed, user, original) in [
            (
                &b"Bob"[..],
                Some(&b"bob@example.org"[..]),
                Some(&b"Bob"[..]),
            ),
            (b"bob@example.org", Some(b"bob@example.org"), None),
            (b"../..@x", Some(b"../..@x"), None),
            (b"\xff\xfe", Some(b"\xff\xfe"), None),
            (b"b\x1bob", None, None),
            (b"b\xc2\x9bob", None, None),
            (b"", None, None),
        ] {
            let (claim, _) = ask("", typed, "pw");
            assert_eq!(claim.user.as_deref(), user, "{typed:?}");
            assert_eq!(claim.original.as_deref(), original, "{typed:?}");
        }
        let (claim, attempt) = ask("", &[b'x'; 9_000], "pw");
        assert_eq!(claim.user.unwrap().len(), MAX_REPEATED);
        assert!(attempt.unwrap().mailbox.is_none());
    }
}
