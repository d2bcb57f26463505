//! Postfix's configuration in a test: Debian's own master.cf, to which an administrator has added the
//! services of contrib/postfix. smtpd is chrooted there, as always in Debian.

use std::fs;

use crate::site::{Site, shipped};

pub const COMMAND: &str = "postfix start-fg";
pub const SUBMISSION: u16 = 587;
pub const WEBMAIL: u16 = 10587;

/// Public submission, which asks dovelatch.
pub fn install(site: &Site) {
    write(site, "");
}

/// And a service for the webmail alone, which asks Dovecot.
pub fn install_with_webmail(site: &Site) {
    write(site, &shipped("contrib/postfix/master-webmail.cf"));
}

fn write(site: &Site, webmail: &str) {
    // The tests' clients do no TLS.
    const ENCRYPT: &str = "smtpd_tls_security_level=encrypt";
    let submission = shipped("contrib/postfix/master.cf");
    assert!(submission.contains(ENCRYPT), "submission without TLS");
    let submission = submission.replace(ENCRYPT, "smtpd_tls_security_level=none");

    let debian = site.tree.path().join("etc/postfix/master.cf");
    let debian = fs::read_to_string(debian).expect("Debian's");
    site.file(
        "/etc/postfix/master.cf",
        format!("{debian}{submission}{webmail}"),
    );
    site.file(
        "/etc/postfix/main.cf",
        format!("{MAIN}{}", shipped("contrib/postfix/main.cf")),
    );
}

const MAIN: &str = "\
compatibility_level = 3.6
inet_protocols = ipv4
myhostname = mx.example.org
mydestination =
alias_maps =
maillog_file = /var/log/mail.log
";
