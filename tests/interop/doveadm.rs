//! `doveadm auth test`, a client of the protocol like Dovecot's login processes, on dovelatch's own
//! socket: no Dovecot server runs here.

use libtest_mimic::Trial;

use crate::case;
use crate::daemon::Daemon;
use crate::dovecot;
use crate::machine::Machine;
use crate::site::Site;
use crate::tree::Tree;

const ANA: &str = "ana@example.org";

pub fn tests(tree: Tree) -> Vec<Trial> {
    vec![case(
        tree,
        tree.dovecot(),
        "doveadm_auth_test_tells_good_from_bad",
        auth_test,
    )]
}

fn auth_test(tree: Tree) {
    let site = Site::new(tree, &[ANA]);
    dovecot::install(&site);
    let _daemon = Daemon::start(&site);
    let password = site.add(ANA, "phone");

    let good = ask(&site, &password);
    assert!(good.contains(&format!("{ANA} auth succeeded")), "{good}");
    assert!(good.ends_with("exit code 0\n"), "{good}");

    let bad = ask(&site, "aaaa-bbbb-cccc-dddd-eeee");
    assert!(bad.contains(&format!("{ANA} auth failed")), "{bad}");
    assert!(bad.ends_with("exit code 77\n"), "{bad}");

    site.revoke(ANA, "phone");
    let revoked = ask(&site, &password);
    assert!(revoked.ends_with("exit code 77\n"), "{revoked}");
}

fn ask(site: &Site, password: &str) -> String {
    Machine::run(
        site,
        &format!("doveadm auth test -a /run/dovelatch/lua {ANA} {password}"),
    )
}
