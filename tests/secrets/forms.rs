//! The forms in which a password may lie about, and the search for them.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use libtest_mimic::Trial;

use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("every_form_is_found_wherever_it_lies", found)]
}

/// Bytes of a piece. An allocator writes over the first bytes of what is given back to it, so a copy that was
/// not wiped may lack them. Twelve letters of a password are 55 bits: no chance hit.
const PIECE: usize = 12;

/// What to search for: pieces of all forms, by their first two bytes.
#[derive(Default)]
pub(crate) struct Forms(BTreeMap<[u8; 2], Vec<(Vec<u8>, &'static str)>>);

impl Forms {
    /// A device password as shown, or whatever was typed for this mailbox.
    pub(crate) fn add(&mut self, mailbox: &str, password: &str) {
        let message = BASE64.encode(format!("\0{mailbox}\0{password}").as_bytes());
        // What is in front of the password in the message is no secret; its base64 mixes the two in one group.
        let public = (mailbox.len() + 2).div_ceil(3) * 4;
        self.add_pieces(password.as_bytes(), "clear text");
        self.add_pieces(password.replace('-', "").as_bytes(), "canonical form");
        self.add_pieces(BASE64.encode(password.as_bytes()).as_bytes(), "base64");
        self.add_pieces(&message.as_bytes()[public..], "base64 of the message");
    }

    fn add_pieces(&mut self, text: &[u8], what: &'static str) {
        let last = &text[text.len().saturating_sub(PIECE)..];
        let pieces = text.chunks_exact(PIECE).chain([last]);
        for piece in pieces.filter(|piece| piece.len() == PIECE) {
            let of_start = self.0.entry([piece[0], piece[1]]).or_default();
            of_start.push((piece.to_vec(), what));
        }
    }

    /// Where they are, and which.
    pub(crate) fn search(&self, bytes: &[u8]) -> Vec<(usize, &'static str)> {
        let mut starts = vec![false; 1 << 16];
        for start in self.0.keys() {
            starts[usize::from(u16::from_be_bytes(*start))] = true;
        }
        let mut found = Vec::new();
        for (at, pair) in bytes.windows(2).enumerate() {
            let start = [pair[0], pair[1]];
            if !starts[usize::from(u16::from_be_bytes(start))] {
                continue;
            }
            let here = self.0[&start].iter();
            let here = here.filter(|(piece, _)| bytes[at..].starts_with(piece));
            found.extend(here.map(|(_, what)| (at, *what)));
        }
        found
    }
}

fn found() {
    let (mailbox, password) = ("ana@example.org", "kqtm-whzr-nbfa-yxcd-peug");
    let mut forms = Forms::default();
    forms.add(mailbox, password);
    let message = BASE64.encode(format!("\0{mailbox}\0{password}").as_bytes());
    for (text, what) in [
        (password.to_owned(), "clear text"),
        (password.replace('-', ""), "canonical form"),
        (BASE64.encode(password.as_bytes()), "base64"),
        (message, "base64 of the message"),
    ] {
        let around = [b"\0\xffkq", text.as_bytes(), b"\xff\0"].concat();
        let found = forms.search(&around);
        assert!(found.iter().any(|(_, found)| *found == what), "{what}");
        // Its first sixteen bytes were written over.
        let rest = &text.as_bytes()[text.len() - PIECE..];
        assert!(!forms.search(rest).is_empty(), "the end of the {what}");
    }
    assert!(forms.search(b"ana@example.org and nothing else").is_empty());
}
