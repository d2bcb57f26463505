//! LOGIN (draft-murchison-sasl-login-00): two prompts, a name and a password.

use super::{Credentials, Step};
use crate::secret::Secret;

const NAME_PROMPT: &str = "Username:";
const PASSWORD_PROMPT: &str = "Password:";

/// Bytes of a name that are kept while its password is awaited: more than mailbox, separator and person come
/// to. A longer one is nobody's, and what is left of it is nobody's either.
const MAX_NAME: usize = 1024;

/// Which prompt was sent last.
#[derive(Debug)]
pub enum Login {
    Name,
    Password {
        name: Vec<u8>,
    },
    /// Both were answered; nothing more may come.
    Over,
}

impl Login {
    /// A non-empty initial response is the name. An empty one is none: Dovecot sends its first prompt.
    pub(super) fn start(initial: Option<&Secret>) -> (Self, Step) {
        let mut login = Self::Name;
        let step = match initial {
            Some(name) if !name.is_empty() => login.respond(name),
            Some(_) | None => Step::Challenge(NAME_PROMPT),
        };
        (login, step)
    }

    pub(super) fn respond(&mut self, response: &Secret) -> Step {
        match std::mem::replace(self, Self::Over) {
            Self::Name => {
                let name = response.expose();
                // Stock Dovecot too asks no password for what can be no name.
                if name.is_empty() || name.iter().any(u8::is_ascii_control) {
                    return Step::Malformed;
                }
                let name = name.get(..MAX_NAME).unwrap_or(name).to_vec();
                *self = Self::Password { name };
                Step::Challenge(PASSWORD_PROMPT)
            }
            Self::Password { name } => Step::Credentials(Credentials {
                authorization: Vec::new(),
                authentication: name,
                password: response.clone(),
            }),
            Self::Over => Step::Malformed,
        }
    }

    pub(super) fn name(&self) -> Option<&[u8]> {
        match self {
            Self::Password { name } => Some(name),
            Self::Name | Self::Over => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Mechanism;
    use crate::sasl::Exchange;

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
    }

    fn ana() -> Step {
        Step::Credentials(Credentials {
            authorization: Vec::new(),
            authentication: b"ana".to_vec(),
            password: secret("pw\0x"),
        })
    }

    #[test]
    fn two_prompts_are_answered() {
        for initial in [None, Some(secret(""))] {
            let (mut login, step) = Exchange::start(Mechanism::Login, initial.as_ref());
            assert_eq!(step, Step::Challenge("Username:"));
            assert_eq!(login.respond(&secret("ana")), Step::Challenge("Password:"));
            assert_eq!(login.authentication(), Some(&b"ana"[..]));
            assert_eq!(login.respond(&secret("pw\0x")), ana());
            assert_eq!(login.respond(&secret("more")), Step::Malformed);
        }
    }

    #[test]
    fn an_initial_response_is_the_name() {
        let (mut login, step) = Exchange::start(Mechanism::Login, Some(&secret("ana")));
        assert_eq!(step, Step::Challenge("Password:"));
        assert_eq!(login.respond(&secret("pw\0x")), ana());
    }

    #[test]
    fn of_a_name_that_nobody_has_a_little_is_kept() {
        let (mut login, _) = Exchange::start(Mechanism::Login, None);
        login.respond(&secret(&"x".repeat(12_000)));
        assert_eq!(login.authentication().unwrap().len(), MAX_NAME);
    }

    #[test]
    fn no_password_is_asked_for_what_can_be_no_name() {
        for name in ["", "ana\0x", "ana\n"] {
            let (mut login, _) = Exchange::start(Mechanism::Login, None);
            assert_eq!(login.respond(&secret(name)), Step::Malformed, "{name:?}");
            assert_eq!(login.respond(&secret("pw")), Step::Malformed, "{name:?}");
        }
    }

    #[test]
    fn plain_asks_with_an_empty_challenge() {
        let (mut plain, step) = Exchange::start(Mechanism::Plain, None);
        assert_eq!(step, Step::Challenge(""));
        assert_eq!(plain.respond(&secret("")), Step::Malformed);
    }
}
