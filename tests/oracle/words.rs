//! The words of a refusal.

use libtest_mimic::Trial;

use crate::cases::groups;
use crate::site::Site;
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("every_refusal_says_the_same", the_same)]
}

/// But for the id and the name that was typed.
fn the_same() {
    let mut site = Site::new();
    let groups = groups(&mut site);
    let daemon = site.serve("0s");
    let mut peer = daemon.peer();
    for group in &groups {
        for case in group.cases.iter().chain(&group.hashes) {
            let shown = case.show(&site);
            let said = peer.refused(group.mechanism, &shown);
            let expected = format!("FAIL\tID\tuser={}\n", shown.name);
            assert_eq!(said, expected, "{}: {}", group.what, case.what);
        }
    }
}
