//! Who signs in, and judges the answers.

use std::time::{Duration, Instant};

use crate::host::{ANA, Host};
use crate::peer::Peer;

/// Twenty letters that open nothing, but for one guess in 25^20.
pub(crate) const WRONG: &str = "aaaa-aaaa-aaaa-aaaa-aaaa";

/// A second is promised, and mostly half of one is needed. The other one is for a busy machine that runs all tests
/// at once: so the promise is held to twice its length only.
const NORMAL_AGAIN: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Allow,
    Deny,
    Later,
}

use Answer::{Allow, Deny, Later};

/// Of a good password, a wrong one and a revoked one.
pub(crate) const RIGHT: [Answer; 3] = [Allow, Deny, Deny];

/// Somebody with a connection that stays open.
pub(crate) struct Client<'a> {
    host: &'a Host,
    open: Peer,
    ids: std::ops::RangeFrom<u32>,
}

impl<'a> Client<'a> {
    pub(crate) fn new(host: &'a Host) -> Self {
        Self {
            host,
            open: Peer::login_process(&host.socket()),
            ids: 1..,
        }
    }

    /// One password, on the connection that is open.
    pub(crate) fn sign_in(&mut self, password: &str) -> Answer {
        let id = self.ids.next().unwrap();
        answer(&self.open.sign_in(id, ANA, password))
    }

    /// A good, a wrong and a revoked password, on the open connection and on a new one.
    pub(crate) fn ask(&mut self) -> [[Answer; 3]; 2] {
        let passwords = [&self.host.good, WRONG, &self.host.revoked];
        let open = passwords.map(|password| self.sign_in(password));
        let mut new = Peer::login_process(&self.host.socket());
        let new = [1, 2, 3].map(|id| {
            let password = passwords[id - 1];
            answer(&new.sign_in(u32::try_from(id).unwrap(), ANA, password))
        });
        [open, new]
    }

    pub(crate) fn assert_right(&mut self) {
        assert_eq!(self.ask(), [RIGHT; 2]);
    }

    /// Each is right or *try later*. Whether one was *try later*.
    pub(crate) fn assert_not_wrong(&mut self) -> bool {
        let answers = self.ask();
        for found in answers {
            for (found, right) in found.iter().zip(RIGHT) {
                assert!([Later, right].contains(found), "{answers:?}");
            }
        }
        answers.concat().contains(&Later)
    }

    /// While the cause lasts: nothing is decided.
    pub(crate) fn assert_later(&mut self) {
        assert_eq!(self.ask(), [[Later; 3]; 2]);
    }

    /// The cause is gone.
    pub(crate) fn assert_right_again(&mut self) {
        let begun = now();
        while self.assert_not_wrong() {
            let elapsed = begun.elapsed();
            assert!(elapsed < NORMAL_AGAIN, "not normal after {elapsed:?}");
            std::thread::sleep(Duration::from_millis(20)); // Not to wait for: to ask less often.
        }
        self.assert_right();
    }
}

pub(crate) fn answer(line: &str) -> Answer {
    if line.starts_with("OK\t") {
        Allow
    } else if line.contains("code=temp_fail") {
        Later
    } else {
        assert!(line.starts_with("FAIL\t"), "{line:?}");
        Deny
    }
}

#[expect(clippy::disallowed_methods, reason = "a bound is measured")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
