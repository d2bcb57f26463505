//! Which names a LIST wants.

/// A mask: `*` stands for any bytes, `?` for one, as in Dovecot (`lib/wildcard-match.c`).
///
/// ASCII in either case, as names are in lower case. Each run of `*` counts as one, and a mask with more
/// other bytes than a name has does not match it: so at most 254 × 509 steps are spent on a name,
/// whatever the peer sends.
#[derive(Debug)]
pub(super) struct Mask {
    bytes: Vec<u8>,
    /// How many of them are no `*`.
    fixed: usize,
}

impl Mask {
    pub(super) fn new(text: &[u8]) -> Self {
        let mut bytes = text.to_ascii_lowercase();
        bytes.dedup_by(|next, byte| *next == b'*' && *byte == b'*');
        let fixed = bytes.iter().filter(|&&byte| byte != b'*').count();
        Self { bytes, fixed }
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        if self.fixed > name.len() {
            return false;
        }
        let (mut mask, mut name) = (self.bytes.as_slice(), name.as_bytes());
        // Behind the last `*`, and where in the name that was tried. What earlier ones stand for never
        // needs to be tried again: the shortest way to reach the last one leaves it the most.
        let mut last = None;
        loop {
            match (mask.split_first(), name.split_first()) {
                (None, None) => return true,
                (Some((b'*', behind)), _) => {
                    last = Some((behind, name));
                    mask = behind;
                }
                (Some((wanted, more)), Some((byte, rest))) if *wanted == b'?' || wanted == byte => {
                    (mask, name) = (more, rest);
                }
                _ => {
                    let Some((behind, [_, later @ ..])) = last else {
                        return false;
                    };
                    last = Some((behind, later));
                    (mask, name) = (behind, later);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What it means, word for word, and too slow to use.
    fn means(mask: &[u8], name: &[u8]) -> bool {
        match (mask.split_first(), name.split_first()) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some((b'*', more)), _) => (0..=name.len()).any(|n| means(more, &name[n..])),
            (Some(_), None) => false,
            (Some((b'?', more)), Some((_, rest))) => means(more, rest),
            (Some((wanted, more)), Some((byte, rest))) => wanted == byte && means(more, rest),
        }
    }

    #[test]
    fn a_mask_matches_as_in_dovecot() {
        for (mask, matching, other) in [
            ("*", "bob@example.org", None),
            ("**", "", None),
            ("bob@example.org", "bob@example.org", Some("bob")),
            ("BOB*", "bob@example.org", Some("ana@example.org")),
            ("*@example.org", "bob@example.org", Some("bob@example.net")),
            ("b?b*", "bob", Some("bb")),
            ("?", "b", Some("")),
            ("*o*o*", "foo", Some("fo")),
            ("", "", Some("bob")),
        ] {
            assert!(Mask::new(mask.as_bytes()).matches(matching), "{mask:?}");
            if let Some(other) = other {
                assert!(!Mask::new(mask.as_bytes()).matches(other), "{mask:?}");
            }
        }
    }

    #[test]
    fn a_mask_that_is_made_to_take_long_does_not() {
        let mask = Mask::new(&b"*a".repeat(8_000));
        assert!(!mask.matches(&"a".repeat(254)));
        let mask = Mask::new(&[&b"*a".repeat(200)[..], b"b"].concat());
        assert!(!mask.matches(&"a".repeat(254)));
    }

    proptest! {
        #[test]
        fn a_mask_matches_what_it_means(mask in "[ab?*]{0,8}", name in "[ab]{0,10}") {
            let meant = means(mask.as_bytes(), name.as_bytes());
            prop_assert_eq!(Mask::new(mask.as_bytes()).matches(&name), meant);
        }
    }
}
