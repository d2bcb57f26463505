//! Direct mode over sockets: a log-in on a login socket, taken over on a master socket, and what mail
//! processes and LMTP are told. The peers of all sockets are this one process.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::BASE64;
use dovelatch::admin::Issued;
use dovelatch::clock;
use dovelatch::config::{Listener, ListenerType};
use dovelatch::model::{Limits, Mailbox, Userdb};
use dovelatch::store::IfThere;
use libtest_mimic::Trial;

use crate::log_ins::now;
use crate::peer::Peer;
use crate::site::{Site, shown};
use crate::trial;

/// By when a database that came back must be asked again.
const SOON: Duration = Duration::from_secs(4);

const HOME: &str = "uid=5000\tgid=5000\thome=/var/vmail/ana@example.org\tquota_rule=*:storage=1M";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_log_in_is_taken_over_once", taken_over),
        trial(
            "a_delegated_log_in_is_taken_over_with_person_and_access",
            delegated,
        ),
        trial("nobody_takes_over_with_another_name", other_names),
        trial("what_was_cancelled_is_not_taken_over", cancelled),
        trial(
            "what_a_login_process_left_behind_is_not_taken_over",
            disconnected,
        ),
        trial("a_log_in_without_a_session_is_not_kept", nologin),
        trial("what_was_revoked_meanwhile_is_not_taken_over", revoked),
        trial("what_was_replaced_meanwhile_is_not_taken_over", rotated),
        trial("what_was_disabled_meanwhile_is_not_taken_over", disabled),
        trial(
            "whose_access_was_taken_away_meanwhile_takes_nothing_over",
            access_taken,
        ),
        trial(
            "the_mail_of_a_disabled_mailbox_is_delivered",
            disabled_delivers,
        ),
        trial(
            "without_a_database_nobody_is_told_that_a_mailbox_is_not_there",
            no_database,
        ),
        trial("a_list_comes_page_by_page_as_it_is_read", list),
        trial("a_half_closed_mail_process_gets_its_answer", half_closed),
        trial("a_stop_answers_what_a_mail_process_has_asked", stop),
    ]
}

/// A site with sockets for login processes, mail processes and LMTP.
struct Direct {
    site: Site,
    phone: Issued,
}

impl Direct {
    fn new() -> Self {
        let mut site = Site::new();
        let listener = |kind: ListenerType, name: &str| Listener {
            name: name.to_owned(),
            kind,
            path: site.path().join(name),
            ..site.config.listeners[0].clone()
        };
        let listeners = vec![
            listener(ListenerType::Login, "login"),
            listener(ListenerType::Master, "master"),
            listener(ListenerType::Userdb, "userdb"),
        ];
        site.config.listeners = listeners;
        site.config.userdb = Some(Userdb {
            uid: 5000,
            gid: 5000,
            home: Some("/var/vmail/%{user}".parse().unwrap()),
            fields: "quota_rule=*:storage=1M".parse().unwrap(),
        });
        let phone = site.issue("phone");
        Self { site, phone }
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.site.path().join(name)
    }

    fn login_process(&self) -> LoginProcess {
        LoginProcess::connect(&self.socket("login"))
    }

    fn mail_process(&self) -> Peer {
        Peer::mail_process(&self.socket("master"))
    }

    fn lmtp(&self) -> Peer {
        Peer::mail_process(&self.socket("userdb"))
    }

    fn sign_in(&self, login: &mut LoginProcess, id: u32) {
        let answer = login.sign_in(id, "\0ana@example.org", &shown(&self.phone), "");
        let device = self.phone.device.id.as_str();
        assert_eq!(
            answer,
            format!("OK\t{id}\tuser=ana@example.org\tuser_device={device}\tevent_device={device}")
        );
    }

    /// What a mail process hears that wants to take over a log-in which began before `change`.
    fn after(&self, change: impl FnOnce(&Site)) -> String {
        let running = self.site.start();
        let mut login = self.login_process();
        self.sign_in(&mut login, 1);
        change(&self.site);
        let mut mail = self.mail_process();
        mail.say(&login.request(9, 1));
        let heard = mail.line();
        running.stop();
        heard
    }
}

/// A login process, which knows its cookie.
struct LoginProcess {
    peer: Peer,
    cookie: String,
}

impl LoginProcess {
    fn connect(socket: &Path) -> Self {
        let mut peer = Peer::bare(socket);
        peer.say("VERSION\t1\t2\nCPID\t42");
        let mut cookie = None;
        loop {
            let line = peer.line();
            if line == "DONE" {
                let cookie = cookie.expect("a cookie before the end of the greeting");
                return Self { peer, cookie };
            }
            if let Some(pid) = line.strip_prefix("SPID\t") {
                assert_eq!(pid, std::process::id().to_string());
            }
            cookie = cookie.or(line.strip_prefix("COOKIE\t").map(str::to_owned));
        }
    }

    /// `names`: authorization and authentication identity.
    fn sign_in(&mut self, id: u32, names: &str, password: &str, field: &str) -> String {
        let response = BASE64.encode(format!("{names}\0{password}").as_bytes());
        self.peer.say(&format!(
            "AUTH\t{id}\tPLAIN\tservice=imap\trip=203.0.113.7{field}\tresp={response}"
        ));
        self.peer.line()
    }

    /// What the mail process says that is to take over.
    fn request(&self, master_id: u32, id: u32) -> String {
        let (cookie, pid) = (&self.cookie, std::process::id());
        format!("REQUEST\t{master_id}\t42\t{id}\t{cookie}\tsession_pid={pid}")
    }
}

fn taken_over() {
    let direct = Direct::new();
    let running = direct.site.start();
    let mut login = direct.login_process();
    direct.sign_in(&mut login, 7);
    let mut mail = direct.mail_process();
    mail.say(&format!(
        "{}\trequest_auth_token",
        login.request(2_411_200_513, 7)
    ));
    let heard = mail.line();
    let device = direct.phone.device.id.as_str();
    let (known, token) = heard.split_once("\tauth_token=").unwrap();
    assert_eq!(
        known,
        format!(
            "USER\t2411200513\tana@example.org\t{HOME}\tuser_device={device}\
             \tevent_device={device}\tauth_mech=PLAIN"
        )
    );
    assert!(token.len() == 40 && token.bytes().all(|b| b.is_ascii_hexdigit()));
    mail.say(&login.request(2, 7));
    assert_eq!(mail.line(), "FAIL\t2", "it was given out twice");
    assert_eq!(running.hashes(), 1);
    running.stop();
}

fn delegated() {
    let direct = Direct::new();
    let access = access_to_ana(&direct.site);
    let running = direct.site.start();
    let mut login = direct.login_process();
    let password = bens_password(&direct.site);
    let answer = login.sign_in(1, "ana@example.org\0ben@example.org", &password, "");
    assert!(
        answer.starts_with("OK\t1\tuser=ana@example.org"),
        "{answer}"
    );
    let mut mail = direct.mail_process();
    mail.say(&login.request(1, 1));
    let heard = mail.line();
    let person = format!("\tuser_access={access}\tauth_user=ben@example.org\t");
    assert!(heard.contains(&person), "{heard}");
    assert!(heard.starts_with(&format!("USER\t1\tana@example.org\t{HOME}\t")));
    running.stop();
}

fn other_names() {
    let direct = Direct::new();
    let running = direct.site.start();
    let mut login = direct.login_process();
    direct.sign_in(&mut login, 1);
    let mut mail = direct.mail_process();
    let (right, pid) = (login.request(1, 1), std::process::id());
    for wrong in [
        right.replace(&login.cookie, &"0".repeat(32)),
        right.replace("\t42\t", "\t43\t"),
        right.replace("\t42\t1\t", "\t42\t2\t"),
        right.replace(&format!("session_pid={pid}"), "session_pid=1"),
        right.replace(&format!("\tsession_pid={pid}"), ""),
    ] {
        assert_ne!(wrong, right);
        mail.say(&wrong);
        assert_eq!(mail.line(), "FAIL\t1", "{wrong}");
    }
    // None of them has taken it away.
    mail.say(&right);
    assert!(mail.line().starts_with("USER\t1\tana@example.org\t"));
    running.stop();
}

fn cancelled() {
    let direct = Direct::new();
    let running = direct.site.start();
    let mut login = direct.login_process();
    direct.sign_in(&mut login, 1);
    direct.sign_in(&mut login, 2);
    login.peer.say("CANCEL\t1");
    // Its answer says that what came before was done.
    direct.sign_in(&mut login, 3);
    let mut mail = direct.mail_process();
    for (id, word) in [(1, "FAIL"), (2, "USER"), (3, "USER")] {
        mail.say(&login.request(id, id));
        let heard = mail.line();
        assert!(heard.starts_with(&format!("{word}\t{id}")), "{heard}");
    }
    running.stop();
}

fn disconnected() {
    let direct = Direct::new();
    let running = direct.site.start();
    let mut login = direct.login_process();
    direct.sign_in(&mut login, 1);
    let request = login.request(1, 1);
    login.peer.end();
    assert!(login.peer.is_closed());
    let mut mail = direct.mail_process();
    mail.say(&request);
    assert_eq!(mail.line(), "FAIL\t1");
    running.stop();
}

fn nologin() {
    let direct = Direct::new();
    let running = direct.site.start();
    let mut login = direct.login_process();
    let password = shown(&direct.phone);
    let answer = login.sign_in(1, "\0ana@example.org", &password, "\tnologin");
    assert!(answer.starts_with("OK\t1"), "{answer}");
    let mut mail = direct.mail_process();
    mail.say(&login.request(1, 1));
    assert_eq!(mail.line(), "FAIL\t1");
    running.stop();
}

fn revoked() {
    let direct = Direct::new();
    let heard = direct.after(|site| {
        let mut admin = site.admin();
        let (id, by) = (direct.phone.device.id.clone(), admin.actor.clone());
        admin.store.revoke(&[id], &by, clock::now()).unwrap();
    });
    assert_eq!(heard, "FAIL\t9");
}

fn rotated() {
    let direct = Direct::new();
    let heard = direct.after(|site| {
        let mut admin = site.admin();
        let id = &direct.phone.device.id;
        let issued = admin.begin_rotation(id, clock::now()).unwrap();
        admin.finish_rotation(&issued, None, clock::now()).unwrap();
    });
    assert_eq!(heard, "FAIL\t9");
}

fn disabled() {
    let direct = Direct::new();
    assert_eq!(direct.after(disable_ana), "FAIL\t9");
}

fn access_taken() {
    let direct = Direct::new();
    access_to_ana(&direct.site);
    let running = direct.site.start();
    let password = bens_password(&direct.site);
    let mut login = direct.login_process();
    login.sign_in(1, "ana@example.org\0ben@example.org", &password, "");
    let own = login.sign_in(2, "\0ben@example.org", &password, "");
    assert!(own.starts_with("OK\t2"), "{own}");
    let mut admin = direct.site.admin();
    let by = admin.actor.clone();
    let ben = "ben@example.org".parse().unwrap();
    admin
        .store
        .take_access(&ana(), &ben, &by, clock::now())
        .unwrap();
    let mut mail = direct.mail_process();
    mail.say(&login.request(1, 1));
    assert_eq!(mail.line(), "FAIL\t1");
    mail.say(&login.request(2, 2));
    assert!(mail.line().starts_with("USER\t2\tben@example.org\t"));
    running.stop();
}

fn disabled_delivers() {
    let direct = Direct::new();
    disable_ana(&direct.site);
    let running = direct.site.start();
    let mut lmtp = direct.lmtp();
    lmtp.say("USER\t1\tAna@Example.ORG\tservice=lmtp");
    assert_eq!(lmtp.line(), format!("USER\t1\tana@example.org\t{HOME}"));
    lmtp.say("PASS\t2\tana@example.org\tservice=lmtp");
    assert_eq!(lmtp.line(), "PASS\t2\tuser=ana@example.org");
    lmtp.say("USER\t3\tnobody@example.org\tservice=lmtp");
    assert_eq!(lmtp.line(), "NOTFOUND\t3");
    running.stop();
}

fn no_database() {
    let direct = Direct::new();
    let running = direct.site.start();
    let mut login = direct.login_process();
    direct.sign_in(&mut login, 1);
    let database = direct.site.config.database.clone();
    let away = database.with_extension("away");
    fs::rename(&database, &away).unwrap();
    let mut mail = direct.mail_process();
    for (asked, heard) in [
        ("USER\t1\tana@example.org\tservice=lmtp", "FAIL\t1"),
        ("USER\t2\tnobody@example.org\tservice=lmtp", "FAIL\t2"),
        ("PASS\t3\tnobody@example.org\tservice=lmtp", "FAIL\t3"),
        ("LIST\t4\tuser=*\tservice=lmtp", "DONE\t4\tfail"),
        (&login.request(5, 1), "FAIL\t5"),
    ] {
        mail.say(asked);
        assert_eq!(mail.line(), heard, "{asked}");
    }
    fs::rename(&away, &database).unwrap();
    // It is tried again twice a second.
    let begun = now();
    loop {
        mail.say("USER\t6\tana@example.org\tservice=lmtp");
        match mail.line().as_str() {
            "FAIL\t6" => assert!(begun.elapsed() < SOON, "it is there again"),
            heard => break assert_eq!(heard, format!("USER\t6\tana@example.org\t{HOME}")),
        }
    }
    running.stop();
}

fn list() {
    const MORE: usize = 10_000;
    let direct = Direct::new();
    let mut admin = direct.site.admin();
    let by = admin.actor.clone();
    let names: Vec<Mailbox> = (0..MORE)
        .map(|number| format!("m{number:05}@example.org").parse().unwrap())
        .collect();
    admin
        .store
        .add_mailboxes(&names, IfThere::Refuse, &by, clock::now())
        .unwrap();
    let running = direct.site.start();
    let mut stalled = direct.lmtp();
    let mut reading = direct.lmtp();
    // 300 KB: more than the sockets and the daemon hold for a peer that does not read.
    stalled.say("LIST\t1\tuser=*\tservice=doveadm");
    reading.say("LIST\t2\tuser=m*7@example.org\tservice=doveadm\nUSER\t3\tx\tservice=lmtp");
    let mut listed = 0;
    loop {
        match reading.line().as_str() {
            "DONE\t2\t" => break,
            line => {
                assert!(line.starts_with("LIST\t2\tm") && line.ends_with("7@example.org"));
                listed += 1;
            }
        }
    }
    assert_eq!(listed, MORE / 10);
    assert_eq!(reading.line(), "NOTFOUND\t3");
    let mut all = 0;
    while stalled.line() != "DONE\t1\t" {
        all += 1;
    }
    assert_eq!(all, MORE + 2);
    running.stop();
}

fn half_closed() {
    let direct = Direct::new();
    let running = direct.site.start();
    let mut lmtp = direct.lmtp();
    lmtp.say("USER\t1\tana@example.org\tservice=lmtp");
    lmtp.end();
    assert_eq!(lmtp.line(), format!("USER\t1\tana@example.org\t{HOME}"));
    assert!(lmtp.is_closed());
    running.stop();
}

fn stop() {
    let direct = Direct::new();
    let running = direct.site.start();
    let mut lmtp = direct.lmtp();
    let questions: String = (1..=200)
        .map(|id| format!("USER\t{id}\tana@example.org\tservice=lmtp\n"))
        .collect();
    lmtp.say(questions.trim_end());
    running.stop();
    for _ in 1..=200 {
        assert!(lmtp.line().starts_with("USER\t"), "it was asked in time");
    }
    assert!(lmtp.is_closed());
}

fn ana() -> Mailbox {
    "ana@example.org".parse().unwrap()
}

fn disable_ana(site: &Site) {
    let mut admin = site.admin();
    let by = admin.actor.clone();
    admin
        .store
        .set_mailbox_enabled(&ana(), false, &by, clock::now())
        .unwrap();
}

/// Ben may open ana's mailbox; through which access.
fn access_to_ana(site: &Site) -> String {
    let mut admin = site.admin();
    let (by, now) = (admin.actor.clone(), clock::now());
    let ben = "ben@example.org".parse().unwrap();
    let store = &mut admin.store;
    store
        .add_persons(std::slice::from_ref(&ben), IfThere::Refuse, &by, now)
        .unwrap();
    let access = store.give_access(&ana(), &ben, &by, now).unwrap();
    access.to_string()
}

fn bens_password(site: &Site) -> String {
    let (own, label) = ("ben@example.org".parse().unwrap(), "phone".parse().unwrap());
    let issued = (site.admin()).issue(&own, None, &label, &Limits::default(), clock::now());
    shown(&issued.unwrap())
}
