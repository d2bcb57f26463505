//! Dovecot's configuration in a test: Debian's own, in which an administrator has done what the files
//! of contrib/dovecot say, and which keeps mail where the test can find it.

use std::fs;

use crate::site::{Site, shipped};
use crate::tree::Tree;

pub const COMMAND: &str = "dovecot -F";
pub const PORTS: [u16; 2] = [143, 110];
pub const DIRECT_PORTS: [u16; 4] = [143, 110, LMTP, SIEVE];
pub const LMTP: u16 = 24;
pub const SIEVE: u16 = 4190;

/// Debian's line for its system accounts, in 10-auth.conf.
const SYSTEM: &str = "!include auth-system.conf.ext";

/// Device passwords only; mailboxes are virtual, so Debian's passdb and userdb have gone.
pub fn install(site: &Site) {
    install_with(site, "!include auth-virtual.conf.ext");
    let userdb = match site.tree {
        Tree::Bookworm => VIRTUAL_2_3,
        Tree::Trixie => VIRTUAL_2_4,
    };
    site.file("/etc/dovecot/conf.d/auth-virtual.conf.ext", userdb);
}

/// And delegation, as contrib/dovecot has it; with the acl plugin, which knows no ACLs here: the owner
/// may do everything and nobody else anything.
pub fn install_with_delegation(site: &Site) {
    install_delegation(site, &delegation(site));
}

/// The same without the line that gives owner's rights: what that line is good for.
pub fn install_with_delegation_by_acls(site: &Site) {
    const RIGHTS: &str = "userdb_master_user";
    let shipped = delegation(site);
    let without: Vec<_> = shipped
        .lines()
        .filter(|line| !line.contains(RIGHTS))
        .collect();
    assert_eq!(without.len() + 1, shipped.lines().count(), "one such line");
    install_delegation(site, &without.join("\n"));
}

/// Which of contrib's drop-ins for direct mode.
#[derive(Debug, Clone, Copy)]
pub enum Chroot {
    GivenUp,
    Kept,
}

/// What makes ManageSieve's link, and the directory of the socket that is seen from the chroot.
pub const TMPFILES: [&str; 2] = ["dovelatch-managesieve", "dovelatch-chroot"];

/// In direct mode, as contrib/dovecot has it, with LMTP and ManageSieve. Debian's passdb and userdb are
/// still there: nobody asks them.
pub fn install_direct(site: &Site, chroot: Chroot) {
    let name = match chroot {
        Chroot::GivenUp => "06-dovelatch-direct.conf",
        Chroot::Kept => "06-dovelatch-direct-chroot.conf",
    };
    let drop_in = shipped(&format!("contrib/dovecot/{}/{name}", version(site)));
    site.file(&format!("/etc/dovecot/conf.d/{name}"), drop_in);
    for name in TMPFILES {
        let lines = shipped(&format!("contrib/dovecot/{name}.tmpfiles"));
        site.file(&format!("/etc/tmpfiles.d/{name}.conf"), lines);
    }
    let settings = format!("{}{DIRECT}", common(site, "imap pop3 lmtp sieve"));
    site.file("/etc/dovecot/conf.d/99-test.conf", settings);
}

/// More of Dovecot's configuration, read last.
pub fn add_settings(site: &Site, settings: &str) {
    site.file("/etc/dovecot/conf.d/99-test-more.conf", settings);
}

fn delegation(site: &Site) -> String {
    shipped(&format!(
        "contrib/dovecot/{}/04-dovelatch-delegation.conf",
        version(site)
    ))
}

fn install_delegation(site: &Site, delegation: &str) {
    install(site);
    site.file(
        "/etc/dovecot/conf.d/04-dovelatch-delegation.conf",
        delegation,
    );
    let acl = match site.tree {
        Tree::Bookworm => ACL_2_3,
        Tree::Trixie => ACL_2_4,
    };
    site.file("/etc/dovecot/conf.d/98-acl.conf", acl);
}

/// Device passwords, and the cache that the recipe switches off: it takes a revoked one for an hour.
pub fn install_with_cache(site: &Site) {
    install(site);
    add_settings(site, "auth_cache_size = 1M\n");
}

/// Device passwords, and from the webmail's address the passwords of Debian's system accounts.
pub fn install_with_main_password(site: &Site) {
    install_with(site, "!include auth-main-password.conf.ext");
    let recipe = shipped(&format!(
        "contrib/dovecot/{}/auth-main-password.conf.ext",
        version(site)
    ));
    site.file("/etc/dovecot/conf.d/auth-main-password.conf.ext", recipe);
}

fn install_with(site: &Site, passdb: &str) {
    let auth = site.tree.path().join("etc/dovecot/conf.d/10-auth.conf");
    let auth = fs::read_to_string(auth).expect("Debian's");
    assert!(
        auth.contains(&format!("\n{SYSTEM}\n")),
        "another 10-auth.conf than expected"
    );
    site.file(
        "/etc/dovecot/conf.d/10-auth.conf",
        auth.replace(SYSTEM, passdb),
    );

    let ours = shipped(&format!(
        "contrib/dovecot/{}/05-dovelatch.conf",
        version(site)
    ));
    site.file("/etc/dovecot/conf.d/05-dovelatch.conf", ours);
    site.file(
        "/etc/dovecot/dovelatch.lua",
        shipped("contrib/dovecot/dovelatch.lua"),
    );

    site.file(
        "/etc/dovecot/conf.d/99-test.conf",
        common(site, "imap pop3"),
    );
}

fn common(site: &Site, protocols: &str) -> String {
    let (clear_text, mail) = match site.tree {
        Tree::Bookworm => (
            "disable_plaintext_auth = no",
            "mail_location = maildir:~/Maildir",
        ),
        Tree::Trixie => ("auth_allow_cleartext = yes", MAILDIR_2_4),
    };
    format!("protocols = {protocols}\n{COMMON}{clear_text}\n{mail}\n")
}

/// Name of the directory in contrib/dovecot.
fn version(site: &Site) -> &'static str {
    match site.tree {
        Tree::Bookworm => "2.3",
        Tree::Trixie => "2.4",
    }
}

/// Without the penalty that makes an address wait longer after each failure: all the tests' clients
/// come from one or two. Without Dovecot's own submission service, because Postfix's is tested.
const COMMON: &str = "\
listen = 127.0.0.1
ssl = no
log_path = /var/log/dovecot.log
auth_verbose = yes
auth_mechanisms = plain login
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
";

/// LMTP over TCP, so that a test can speak to it.
const DIRECT: &str = "\
service lmtp {
  inet_listener lmtp {
    port = 24
  }
}
";

const MAILDIR_2_4: &str = "\
mail_driver = maildir
mail_path = ~/Maildir
mail_inbox_path = ~/Maildir";

const VIRTUAL_2_3: &str = "\
userdb {
  driver = static
  args = uid=vmail gid=vmail home=/var/vmail/%u allow_all_users=yes
}
";

const VIRTUAL_2_4: &str = "\
userdb static {
  static_allow_all_users = yes
  fields {
    uid = vmail
    gid = vmail
    home = /var/vmail/%{user}
  }
}
";

const ACL_2_3: &str = "\
mail_plugins = acl
plugin {
  acl = vfile
}
";

/// 2.4.1 leaves `%{master_user}`, the default of `acl_user`, empty, and so makes an owner of everybody;
/// what the userdb said is in the other variable.
const ACL_2_4: &str = "\
acl_driver = vfile
acl_user = %{userdb:master_user | default(user)}
mail_plugins {
  acl = yes
}
";
