//! PLAIN (RFC 4616): one message, `authzid NUL authcid NUL password`.

use super::{Credentials, Step};
use crate::secret::{Buffer, Secret};

/// Reads the one message that there is.
///
/// Exactly two NULs: a server that cuts at the third lets `password NUL anything` in (Dovecot before
/// 2.3.11). Whether the parts may be empty is not for the mechanism to say.
pub(super) fn message(message: &Secret) -> Step {
    let mut parts = message.expose().split(|&byte| byte == 0);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(authorization), Some(authentication), Some(password), None) => {
            Step::Credentials(Credentials {
                authorization: authorization.to_vec(),
                authentication: authentication.to_vec(),
                password: Secret::new(password.to_vec()),
            })
        }
        _ => Step::Malformed,
    }
}

/// The message of a client, without authorization identity. The inverse of [`message`] where neither
/// part has a NUL.
pub fn client_message(authentication: &str, password: &Secret) -> Secret {
    let password = password.expose();
    let mut message = Buffer::with_capacity(authentication.len() + password.len() + 2);
    message.extend(b"\0");
    message.extend(authentication.as_bytes());
    message.extend(b"\0");
    message.extend(password);
    message.into_secret()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn exactly_two_nuls_make_a_message() {
        // RFC 4616, section 4.
        let Step::Credentials(credentials) =
            message(&Secret::new(b"Ursel\0Kurt\0xipj3plmq".into()))
        else {
            panic!("the example of the RFC is no message");
        };
        assert_eq!(credentials.authorization, b"Ursel");
        assert_eq!(credentials.authentication, b"Kurt");
        assert_eq!(credentials.password, Secret::new(b"xipj3plmq".into()));
        for text in [
            &b""[..],
            b"tim",
            b"\0tim",
            b"\0tim\0tanstaaftanstaaf\0x",
            b"\0tim\0t\0",
        ] {
            assert_eq!(
                message(&Secret::new(text.into())),
                Step::Malformed,
                "{text:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_the_client_sends_is_what_the_server_reads(name in "[^\0]*", password in "[^\0]*") {
            let password = Secret::new(password.into_bytes());
            let expected = Credentials {
                authorization: Vec::new(),
                authentication: name.clone().into_bytes(),
                password: password.clone(),
            };
            let sent = client_message(&name, &password);
            prop_assert_eq!(message(&sent), Step::Credentials(expected));
        }
    }
}
