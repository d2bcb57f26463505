//! About the repository as a whole: nothing in it belongs to one person's machine, and nothing lies
//! in contrib/ or packaging/ that no document mentions.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn no_file_names_a_home_directory() {
    let mut found = Vec::new();
    for file in files(Path::new(ROOT)) {
        // Not text: nothing to read in it.
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let lines = text.lines().filter(|line| names_home_directory(line));
        found.extend(lines.map(|line| format!("{}: {line}", file.display())));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn a_home_directory_is_recognised() {
    for home in [
        ["/ho", "me/ana/x"],
        ["/ro", "ot/.cargo"],
        ["/Us", "ers/ana/x"],
    ] {
        assert!(names_home_directory(&format!("see {}", home.concat())));
    }
    for other in [
        "home = /var/vmail/%{user}, or /home",
        "{base}/home/%u",
        "/var/home/ana/x",
    ] {
        assert!(!names_home_directory(other), "{other}");
    }
}

#[test]
fn every_file_for_administrators_is_in_a_document() {
    let mut missing = Vec::new();
    let documents = ["README.md", "ARCHITECTURE.md"].map(read).concat();
    for folder in ["contrib", "packaging"] {
        for file in files(&Path::new(ROOT).join(folder)) {
            let path = file
                .strip_prefix(ROOT)
                .expect("below it")
                .display()
                .to_string();
            let name = file
                .file_name()
                .and_then(|name| name.to_str())
                .expect("a name of ours");
            let beside = file.with_file_name("README.md");
            let beside = fs::read_to_string(beside).unwrap_or_default();
            if name != "README.md" && !documents.contains(&path) && !beside.contains(name) {
                missing.push(path);
            }
        }
    }
    assert!(
        missing.is_empty(),
        "in no document:\n{}",
        missing.join("\n")
    );
}

/// The daemon refuses a socket that its configuration does not name, and the two modes have different ones. A
/// drop-in cannot empty `Sockets=` (systemd.service(5)), and `Also=` would enable again what was disabled.
#[test]
fn socket_units_join_the_service_and_it_names_none() {
    let service = read("packaging/systemd/dovelatch.service");
    for key in ["Sockets=", "Also="] {
        assert!(!service.lines().any(|line| line.starts_with(key)), "{key}");
    }
    let units = files(&Path::new(ROOT).join("packaging/systemd"));
    let sockets = units
        .into_iter()
        .filter(|unit| unit.extension().is_some_and(|end| end == "socket"));
    let mut configurations = ["contrib/dovelatch.toml", "contrib/dovelatch-direct.toml"]
        .map(read)
        .concat();
    // A listener without a name has that of its type.
    configurations.extend(["login", "master", "userdb"].map(|kind| format!("name = {kind:?}")));
    for socket in sockets {
        let text = fs::read_to_string(&socket).expect("a unit of ours");
        let has = |wanted: &str| text.lines().any(|line| line == wanted);
        assert!(has("Service=dovelatch.service"), "{}", socket.display());
        assert!(
            has("WantedBy=sockets.target dovelatch.service"),
            "{}",
            socket.display()
        );
        let value = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key))
                .expect("set")
        };
        for wanted in [
            format!("name = {:?}", value("FileDescriptorName=")),
            format!("path = {:?}", value("ListenStream=")),
        ] {
            assert!(
                configurations.contains(&wanted),
                "{}: {wanted}",
                socket.display()
            );
        }
    }
}

#[test]
fn every_test_that_the_advisories_name_exists() {
    let sources = ["src", "tests"]
        .map(|folder| files(&Path::new(ROOT).join(folder)))
        .concat();
    let rust = sources
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "rs"));
    let code: String = rust
        .map(|file| fs::read_to_string(file).expect("a source of ours"))
        .collect();
    let advisories = read("tests/advisories.md");
    let cells = advisories
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").nth(2));
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    // A function, or a case that a harness of ours runs under this name.
    let exists = |name: &&str| {
        code.contains(&format!("fn {name}(")) || code.contains(&format!("\"{name}\""))
    };
    let missing: Vec<_> = names.filter(|name| !exists(name)).collect();
    assert!(
        missing.is_empty(),
        "there is no test\n{}",
        missing.join("\n")
    );
}

/// What only follows another crate of its family (`serde`, `serde_json`) shares its reason.
#[test]
fn every_dependency_has_a_reason_and_no_default_features() {
    let manifest = read("Cargo.toml");
    let name = |line: &str| line.split(" = ").next().unwrap_or_default().to_owned();
    let (mut in_table, mut before) = (false, "");
    let (mut count, mut wrong) = (0, Vec::new());
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_table = line.ends_with("dependencies]");
        } else if in_table && line.contains(" = ") && !line.starts_with('#') {
            count += 1;
            let family = before.contains(" = ") && name(line).starts_with(&name(before));
            let has_reason = before.starts_with("# ") || family;
            if !has_reason || !line.contains("default-features = false") {
                wrong.push(line);
            }
        }
        before = line;
    }
    assert!(count > 20, "they are not recognised any more");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_second_version_another_registry_or_any_version_at_all_is_refused() {
    let deny = read("deny.toml");
    for rule in [
        "multiple-versions = \"deny\"",
        "wildcards = \"deny\"",
        "unknown-registry = \"deny\"",
        "unknown-git = \"deny\"",
        "unused-allowed-license = \"deny\"",
    ] {
        assert!(deny.lines().any(|line| line == rule), "{rule}");
    }
    let checked = "check bans licenses sources";
    assert!(read(".ci/run").contains(checked), "CI does not ask");
}

#[test]
fn no_document_waits_for_a_text() {
    // In two parts, for this file is a document of ours too.
    let marks = [["<!-- OUT", "PUT"], ["LOG", "LINE"]].map(|parts| parts.concat());
    assert_nowhere(&marks.each_ref().map(String::as_str));
}

#[test]
fn every_source_that_is_cited_can_be_read() {
    // Papers that lie elsewhere, and a directory that never came.
    let papers = [
        ["DESIGN", ".md"],
        ["PROTOCOL", ".md"],
        ["STYLE", ".md"],
        ["`fac", "ts`"],
        ["fac", "ts/"],
        ["contrib/fail", "2ban"],
    ];
    let papers = papers.map(|parts| parts.concat());
    assert_nowhere(&papers.each_ref().map(String::as_str));
}

/// All others start the program by `tests/support/tested.rs`, which takes what the environment of whoever runs
/// the tests would have them change; the command line's own tests take all of the environment.
#[test]
fn the_tests_start_the_program_by_one_helper() {
    let mut found = Vec::new();
    let word = ["CARGO_BIN", "_EXE"].concat();
    for file in files(&Path::new(ROOT).join("tests")) {
        // Not text: nothing to read in it.
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        if text.contains(&word) {
            let path = file.strip_prefix(ROOT).expect("below it");
            found.push(path.display().to_string());
        }
    }
    found.sort();
    assert_eq!(found, ["tests/cli/sandbox.rs", "tests/support/tested.rs"]);
}

/// None of these words is in any file.
fn assert_nowhere(words: &[&str]) {
    let mut found = Vec::new();
    for file in files(Path::new(ROOT)) {
        // Not text: nothing to read in it.
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let lines = text
            .lines()
            .filter(|line| words.iter().any(|word| line.contains(word)));
        found.extend(lines.map(|line| format!("{}: {line}", file.display())));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// Whether an absolute path into one is in it; `{base}` with such a path behind it is none.
fn names_home_directory(line: &str) -> bool {
    // In two parts each, for this file is read too.
    let homes = [["/ho", "me/"], ["/ro", "ot/"], ["/Us", "ers/"]].map(|parts| parts.concat());
    let ends_a_word =
        |before: &str| before.ends_with(|c: char| c.is_alphanumeric() || "}.-_~".contains(c));
    homes.iter().any(|home| {
        let mut found = line.match_indices(home.as_str());
        found.any(|(index, _)| !ends_a_word(&line[..index]))
    })
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(name)).expect("a document of ours")
}

/// All files below, without what git and cargo keep there.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory of ours");
    let paths = entries.map(|entry| entry.expect("a directory of ours").path());
    let ours = paths.filter(|path| !path.ends_with(".git") && !path.ends_with("target"));
    ours.flat_map(|path| {
        if path.is_dir() {
            files(&path)
        } else {
            vec![path]
        }
    })
    .collect()
}
