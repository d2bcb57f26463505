//! The cache of a stock auth process, emptied for a mailbox.
//!
//! Where Dovecot's own auth stands in front of us with `auth_cache_size` above 0, it keeps letting a
//! revoked password in for an hour. It forgets a mailbox by order, on its master socket. In direct mode
//! our own daemon answers there, which has no such cache and says so.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::line::Lines;
use super::now;
use crate::model::Mailbox;
use crate::wire::auth_master::{Command, MasterId, NoReply, Reply};

/// How long this may take: it is done before the first kick, so that nobody comes back in by the cache.
const PATIENCE: Duration = Duration::from_millis(500);

/// Orders in one round: 64 of 280 bytes at most are 18 KB, which a socket takes with its answers unread.
const AT_ONCE: usize = 64;

/// Empties the cache for these mailboxes. No socket there, or nobody who answers: nothing to empty.
pub(super) fn flush(base_dir: &Path, mailboxes: &BTreeSet<&Mailbox>, deadline: Instant) {
    let until = deadline.min(now() + PATIENCE);
    // Nothing hangs on it: the cache should be off, and the sessions are ended either way.
    let _ = try_flush(&base_dir.join("auth-master"), mailboxes, until);
}

fn try_flush(path: &Path, mailboxes: &BTreeSet<&Mailbox>, until: Instant) -> io::Result<()> {
    let mut lines = Lines::connect(path, until)?;
    lines.send(Command::hello().encode().expose(), until)?;
    let mailboxes: Vec<&Mailbox> = mailboxes.iter().copied().collect();
    for some in mailboxes.chunks(AT_ONCE) {
        let orders: Vec<u8> = (1..).zip(some).flat_map(order).collect();
        lines.send(&orders, until)?;
        let mut open = some.len();
        while open > 0 {
            match Reply::parse(lines.next(until)?.expose()) {
                Ok(Reply::Flushed { .. } | Reply::Fail { .. }) => open -= 1,
                // Nobody asked.
                Ok(
                    Reply::User { .. }
                    | Reply::Pass { .. }
                    | Reply::NotFound { .. }
                    | Reply::Name { .. }
                    | Reply::Done { .. },
                ) => {}
                // The greeting.
                Err(NoReply) => {}
            }
        }
    }
    Ok(())
}

fn order((id, mailbox): (u32, &&Mailbox)) -> Vec<u8> {
    let order = Command::CacheFlush {
        id: MasterId(id),
        users: vec![mailbox.as_str().as_bytes().to_vec()],
    };
    order.encode().expose().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_names_the_mailbox() {
        let mailbox = "ana@example.org".parse().unwrap();
        assert_eq!(order((7, &&mailbox)), b"CACHE-FLUSH\t7\tana@example.org\n");
    }
}
