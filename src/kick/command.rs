//! What `doveadm` is told, as arguments and as a line for people to run.
//!
//! The two versions of Dovecot take the same letter for different things: `-f` of `doveadm kick` is the
//! name of a field on 2.4, and *force* on 2.3, where sessions are known by mailbox and address only.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use super::{Key, Target};
use crate::model::Mailbox;

/// Which of the two forms a Dovecot understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Series {
    V23,
    V24,
}

/// Arguments of `doveadm`, behind its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kick(Vec<String>);

impl Kick {
    pub(super) fn arguments(&self) -> &[String] {
        &self.0
    }
}

/// Why a name must not be handed to doveadm: it would end sessions of others.
pub(super) const MASK: &str = "doveadm takes \"?\" in a name for any character, a leading \"-\" for an option, and an address for \
     everybody from there";

/// The kicks that end a target's sessions: all of them, on Dovecot 2.3 those from `addresses`.
pub(super) fn kicks(
    series: Series,
    target: &Target,
    addresses: &BTreeSet<IpAddr>,
) -> BTreeSet<Kick> {
    match (series, target.key()) {
        (Series::V24, Key::Alternative(name, value)) => one(["-f", name, value]),
        (Series::V24, Key::User(mailbox)) => one([mailbox.as_str()]),
        (Series::V23, Key::User(mailbox)) => one(["-f", mailbox.as_str()]),
        (Series::V23, Key::Alternative(..)) => {
            let each = |mailbox: &Mailbox| {
                let from = |address: &IpAddr| kick(["-f", mailbox.as_str(), &address.to_string()]);
                addresses.iter().map(from).collect::<Vec<_>>()
            };
            target.mailboxes().into_iter().flat_map(each).collect()
        }
    }
}

/// Whether doveadm would take the name of one of the target's mailboxes for something else. Ids are
/// letters.
pub(super) fn is_mask(series: Series, target: &Target) -> bool {
    match (series, target.key()) {
        (Series::V24, Key::Alternative(..)) => false,
        (Series::V24, Key::User(_)) | (Series::V23, _) => target
            .mailboxes()
            .iter()
            .any(|mailbox| is_misread(mailbox.as_str())),
    }
}

fn is_misread(name: &str) -> bool {
    name.contains('?') || name.starts_with('-') || name.parse::<IpAddr>().is_ok()
}

/// Lines for people: what ends the target's sessions on a Dovecot of this version, or of either. Where
/// no address is known, the whole mailbox's.
pub(super) fn lines(
    series: Option<Series>,
    target: &Target,
    addresses: &BTreeSet<IpAddr>,
) -> Vec<String> {
    let of = |series| {
        let mut kicks = kicks(series, target, addresses);
        if kicks.is_empty() {
            let whole = |mailbox: &Mailbox| kick(["-f", mailbox.as_str()]);
            kicks = target.mailboxes().into_iter().map(whole).collect();
        }
        kicks.into_iter().map(|kick| kick.to_string())
    };
    match series {
        Some(series) => of(series).collect(),
        None => of(Series::V24)
            .map(|line| format!("{line}  # Dovecot 2.4"))
            .chain(of(Series::V23).map(|line| format!("{line}  # Dovecot 2.3")))
            .collect(),
    }
}

fn one<const N: usize>(arguments: [&str; N]) -> BTreeSet<Kick> {
    BTreeSet::from([kick(arguments)])
}

fn kick<const N: usize>(arguments: [&str; N]) -> Kick {
    Kick(
        std::iter::once("kick")
            .chain(arguments)
            .map(str::to_owned)
            .collect(),
    )
}

/// For a shell.
impl fmt::Display for Kick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("doveadm")?;
        for argument in &self.0 {
            let plain = |c: char| c.is_ascii_alphanumeric() || "@.-_+:=".contains(c);
            if argument.chars().all(plain) {
                write!(f, " {argument}")?;
            } else {
                write!(f, " '{}'", argument.replace('\'', r"'\''"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::stand_in::{access, device, mailbox};
    use super::*;

    fn addresses() -> BTreeSet<IpAddr> {
        ["192.0.2.7", "2001:db8::7"]
            .map(|address| address.parse().unwrap())
            .into()
    }

    fn said(series: Option<Series>, target: &Target) -> Vec<String> {
        lines(series, target, &addresses())
    }

    #[test]
    fn dovecot_2_4_is_told_ids() {
        let v24 = Some(Series::V24);
        assert_eq!(
            said(v24, &device("dp-aaaaaaaaaa", "ana@example.org")),
            ["doveadm kick -f user_device dp-aaaaaaaaaa"]
        );
        assert_eq!(
            said(v24, &access("ac-aaaaaaaaaa", "ana@example.org")),
            ["doveadm kick -f user_access ac-aaaaaaaaaa"]
        );
        assert_eq!(
            said(v24, &mailbox("ana@example.org")),
            ["doveadm kick ana@example.org"]
        );
    }

    #[test]
    fn dovecot_2_3_never_hears_of_a_field() {
        let v23 = Some(Series::V23);
        let by_address = [
            "doveadm kick -f ana@example.org 192.0.2.7",
            "doveadm kick -f ana@example.org 2001:db8::7",
        ];
        let device = device("dp-aaaaaaaaaa", "ana@example.org");
        assert_eq!(said(v23, &device), by_address);
        let access = access("ac-aaaaaaaaaa", "ana@example.org");
        assert_eq!(said(v23, &access), by_address);
        let whole = ["doveadm kick -f ana@example.org"];
        assert_eq!(said(v23, &mailbox("ana@example.org")), whole);
        assert_eq!(
            lines(v23, &device, &BTreeSet::new()),
            whole,
            "for people to decide"
        );
        assert!(kicks(Series::V23, &device, &BTreeSet::new()).is_empty());
    }

    #[test]
    fn where_the_version_is_unknown_both_forms_are_named() {
        assert_eq!(
            lines(
                None,
                &device("dp-aaaaaaaaaa", "ana@example.org"),
                &BTreeSet::new()
            ),
            [
                "doveadm kick -f user_device dp-aaaaaaaaaa  # Dovecot 2.4",
                "doveadm kick -f ana@example.org  # Dovecot 2.3",
            ]
        );
    }

    #[test]
    fn name_that_is_a_mask_is_noticed_wherever_it_would_be_sent() {
        for name in ["a?a@example.org", "-ana@example.org"] {
            let device = device("dp-aaaaaaaaaa", name);
            assert!(is_mask(Series::V23, &device) && !is_mask(Series::V24, &device));
            assert!(is_mask(Series::V23, &mailbox(name)) && is_mask(Series::V24, &mailbox(name)));
        }
        assert!(!is_mask(Series::V23, &mailbox("an-a@example.org")));
    }

    #[test]
    fn line_can_be_pasted_into_a_shell() {
        assert_eq!(
            said(Some(Series::V24), &mailbox("o'neil;x?@example.org")),
            [r"doveadm kick 'o'\''neil;x?@example.org'"]
        );
    }
}
