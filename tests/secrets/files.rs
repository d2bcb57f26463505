//! Arguments, environment, and what is written to the disk.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

use libtest_mimic::Trial;

use crate::child::KilledOnDrop;
use crate::forms::Forms;
use crate::peer::Peer;
use crate::site::Site;
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("no_password_is_in_arguments_or_environment", seen_by_ps),
        trial("no_password_is_in_the_files_of_the_site", on_the_disk),
    ]
}

const ANA: &str = "ana@example.org";

/// How many device passwords are issued under observation.
const ISSUED: usize = 60;

/// What ps(1) sees of a process from its start to its end.
fn watched(mut process: KilledOnDrop, seen: &mut BTreeSet<Vec<u8>>) -> (bool, String) {
    let of = |name: &str| format!("/proc/{}/{name}", process.id());
    let (arguments, environment) = (of("cmdline"), of("environ"));
    let status = loop {
        for file in [&arguments, &environment] {
            // Another user than root may not read it, nor may anybody once the process has ended.
            seen.insert(fs::read(file).unwrap_or_default());
        }
        if let Some(status) = process.try_wait().unwrap() {
            break status;
        }
    };
    let mut said = String::new();
    let mut out = process.stdout.take().unwrap();
    std::io::Read::read_to_string(&mut out, &mut said).unwrap();
    (status.success(), said.trim_end().to_owned())
}

fn seen_by_ps() {
    let site = Site::new();
    let daemon = site.serve();
    let (mut seen, mut forms) = (BTreeSet::new(), Forms::default());
    for number in 0..ISSUED {
        let label = format!("device {number}");
        let mut add = site.command(&["add", ANA, &label]);
        let add = add.stdout(Stdio::piped()).stderr(Stdio::null());
        let (success, password) = watched(KilledOnDrop(add.spawn().unwrap()), &mut seen);
        assert!(success);
        assert_eq!(password.len(), 24, "a device password");
        forms.add(ANA, &password);
        if number % 10 == 0 {
            for command in ["test", "explain"] {
                let process = site.given(&[command, ANA], &password);
                let (success, said) = watched(process, &mut seen);
                assert!(success, "{command}: {said}");
                assert!(forms.search(said.as_bytes()).is_empty(), "{command}");
            }
        }
    }
    for name in ["cmdline", "environ"] {
        let file = format!("/proc/{}/{name}", daemon.id());
        seen.insert(fs::read(file).unwrap_or_default());
    }
    let seen = Vec::from_iter(seen).join(&0);
    // It was looked at the right ones.
    let last = format!("device {}\0", ISSUED - 1);
    let has = |text: &[u8]| seen.windows(text.len()).any(|part| part == text);
    assert!(has(last.as_bytes()), "no arguments were seen");
    assert!(has(b"serve\0"), "no arguments of the daemon were seen");
    assert_eq!(forms.search(&seen), []);
}

fn on_the_disk() {
    let site = Site::new();
    let daemon = site.serve();
    let mut forms = Forms::default();
    let passwords: Vec<String> = (0..5)
        .map(|number| site.issue(ANA, &format!("device {number}")))
        .collect();
    let mut peer = Peer::connect(&site.socket());
    for (password, id) in passwords.iter().zip(1..) {
        forms.add(ANA, password);
        assert!(peer.plain(id, ANA, password).starts_with("OK\t"));
        assert!(
            peer.login(id, "ben@example.org", password)
                .starts_with("FAIL\t")
        );
    }
    site.done(&["revoke", ANA, "device 0", "--yes"]);
    peer.plain(9, ANA, &passwords[0]);
    site.wait_for_log("reason=revoked");
    site.done(&[
        "db",
        "backup",
        site.path().join("backup.db").to_str().unwrap(),
    ]);
    let mut files: Vec<_> = ["log", "backup.db"]
        .map(|name| site.path().join(name))
        .into();
    let data = fs::read_dir(site.path().join("data")).unwrap();
    files.extend(data.map(|file| file.unwrap().path()));
    let names: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    for end in ["log", "backup.db", "dovelatch.db", "dovelatch.db-wal"] {
        assert!(
            names.iter().any(|name| name.ends_with(end)),
            "{end}: {names:?}"
        );
    }
    for file in files {
        let bytes = fs::read(&file).unwrap();
        assert_eq!(forms.search(&bytes), [], "{}", file.display());
    }
    drop(daemon);
}
