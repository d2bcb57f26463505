//! Targets for the tests of this module.

use super::Target;

pub(super) fn device(id: &str, mailbox: &str) -> Target {
    Target::Device {
        id: id.parse().unwrap(),
        mailboxes: [mailbox.parse().unwrap()].into(),
    }
}

pub(super) fn access(id: &str, mailbox: &str) -> Target {
    Target::Access {
        id: id.parse().unwrap(),
        mailbox: mailbox.parse().unwrap(),
        own: None,
    }
}

pub(super) fn mailbox(mailbox: &str) -> Target {
    Target::Mailbox(mailbox.parse().unwrap())
}
