//! What a session answers, word by word.
//!
//! Fields of an OK have teeth (`nologin`, `proxy`, `host`, `pass`, …), and `reason=` is shown to the
//! remote user; so every reply is made here, and those to a refusal all look the same.

use crate::attempt::Allowed;
use crate::session::credentials::Claim;
use crate::wire::auth_client::{Fields, Reply, RequestId};

/// Which response was no base64.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    Initial,
    Continued,
}

/// Few fields, short ones, and none that a login process would act upon.
///
/// Six at most; three names of 254 bytes and three ids keep it below 1,024 bytes. `user=` is the first:
/// Dovecot's clients forget at it what other names they heard.
pub(super) fn ok(id: RequestId, allowed: &Allowed, claim: &Claim) -> Reply {
    let device = allowed.device.as_str();
    let fields = Fields::default()
        .with("user", allowed.mailbox.as_str())
        .with("user_device", device)
        .with("event_device", device);
    let fields = match &allowed.person {
        Some((person, access)) => fields
            .with("auth_user", person.as_str())
            .with("user_access", access.as_str()),
        None => fields,
    };
    let fields = fields.with_some("original_user", claim.original.as_ref());
    Reply::Ok { id, fields }
}

pub(super) fn fail(id: RequestId, claim: &Claim) -> Reply {
    let fields = named(claim);
    Reply::Fail { id, fields }
}

/// Dovecot reads `code=`, Prosody the bare word, and each ignores the other's.
pub(super) fn try_later(id: RequestId, claim: &Claim) -> Reply {
    let fields = named(claim).with("code", "temp_fail").with_word("temp");
    Reply::Fail { id, fields }
}

/// In the words of stock Dovecot; they depend on the bytes alone and tell nothing else.
pub(super) fn not_base64(id: RequestId, which: Which, claim: &Claim) -> Reply {
    let reason = match which {
        Which::Initial => "Invalid base64 data in initial response",
        Which::Continued => "Invalid base64 data in continued response",
    };
    let fields = named(claim).with("code", "invalid_base64");
    let fields = fields.with("reason", reason);
    Reply::Fail { id, fields }
}

/// A response to a request that is not known, or not any more.
pub(super) fn timed_out(id: RequestId) -> Reply {
    let fields = Fields::default().with("reason", "Authentication request timed out");
    Reply::Fail { id, fields }
}

/// A response that nobody asked for.
pub(super) fn unexpected(id: RequestId) -> Reply {
    let fields = Fields::default().with("reason", "Unexpected continuation");
    Reply::Fail { id, fields }
}

fn named(claim: &Claim) -> Fields {
    Fields::default().with_some("user", claim.user.as_ref())
}
