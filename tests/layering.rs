//! Holds the source against the two tables of ARCHITECTURE.md: which module may use which, and what
//! belongs in one place only. The tables themselves are read, so they cannot say anything else than
//! the code.
//!
//! A path counts wherever it stands, in a `use` or in the middle of a line; comments, strings and
//! what is behind `#[cfg(test)]` do not.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed, as it should"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Open to every module: the vocabulary.
const VOCABULARY: [&str; 4] = ["model", "secret", "attempt", "query"];

#[test]
fn every_module_uses_only_what_its_row_allows() {
    assert_none(Tables::of_architecture().forbidden_uses(&sources()));
}

#[test]
fn what_belongs_in_one_place_is_nowhere_else() {
    assert_none(Tables::of_architecture().misplaced(&sources()));
}

#[test]
fn every_file_has_a_row_and_every_row_a_file() {
    assert_none(Tables::of_architecture().without_counterpart(&sources()));
}

#[test]
fn every_dependency_has_its_place() {
    let manifest = read("Cargo.toml");
    let dependencies = manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]");
    let dependencies = dependencies
        .skip(1)
        .take_while(|line| !line.starts_with('['));
    let tables = Tables::of_architecture();
    let missing = dependencies
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name.replace('-', "_"))
        .filter(|name| {
            !tables
                .places
                .iter()
                .any(|place| place.what == [name.as_str()])
        })
        .map(|name| format!("{name} is in no row of the table \"Only there\""))
        .collect::<Vec<_>>();
    assert_none(missing);
}

/// The reasons, one a line, and nothing if there are none.
fn assert_none(reasons: Vec<String>) {
    assert!(reasons.is_empty(), "\n{}", reasons.join("\n"));
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {path:?}: {error}"))
}

/// One file below `src/`.
struct Source {
    /// `verify/decide.rs`.
    file: String,
    /// `verify`, `decide`; nothing for lib.rs and main.rs.
    module: Vec<String>,
    /// Modules in files of their own that only tests have.
    tests: Vec<Vec<String>>,
    paths: BTreeSet<Vec<String>>,
}

impl Source {
    fn new(file: &str, text: &str) -> Self {
        let (module, tokens) = (module_of(file), tokens(text));
        let tests = tokens
            .windows(CFG_TEST.len() + 3)
            .filter(|part| part.starts_with(&test_mark()));
        let tests = tests.filter_map(|part| match &part[CFG_TEST.len()..] {
            [word, name, end] if word == "mod" && end == ";" => Some(name),
            _ => None,
        });
        Self {
            file: file.to_owned(),
            tests: tests
                .map(|name| [&module[..], std::slice::from_ref(name)].concat())
                .collect(),
            paths: paths(&without_tests(&tokens)),
            module,
        }
    }

    /// The path from the crate's root, if it leads into the crate.
    ///
    /// Inline modules are not followed: we have none outside of tests.
    fn resolve(&self, path: &[String]) -> Option<Vec<String>> {
        let (first, mut rest) = path.split_first()?;
        let mut base = match first.as_str() {
            "crate" | "dovelatch" => Vec::new(),
            "self" => self.module.clone(),
            "super" => parent(&self.module),
            _ => return None,
        };
        while let Some((next, after)) = rest.split_first().filter(|(next, _)| *next == "super") {
            let _super = next;
            (base, rest) = (parent(&base), after);
        }
        base.extend_from_slice(rest);
        Some(base)
    }
}

fn parent(module: &[String]) -> Vec<String> {
    module
        .split_last()
        .map_or_else(Vec::new, |(_, parent)| parent.to_vec())
}

fn sources() -> Vec<Source> {
    fn collect(directory: &Path, prefix: &str, sources: &mut Vec<Source>) {
        for entry in fs::read_dir(directory).expect("a directory of ours") {
            let entry = entry.expect("a directory of ours");
            let name = format!(
                "{prefix}{}",
                entry.file_name().to_str().expect("a name of ours")
            );
            if entry.path().is_dir() {
                collect(&entry.path(), &format!("{name}/"), sources);
            } else if name.ends_with(".rs") {
                sources.push(Source::new(&name, &read(&format!("src/{name}"))));
            }
        }
    }
    let mut sources = Vec::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        "",
        &mut sources,
    );
    let tests: Vec<_> = sources
        .iter()
        .flat_map(|source| source.tests.clone())
        .collect();
    let is_test = |source: &Source| tests.iter().any(|test| source.module.starts_with(test));
    sources.retain(|source| !is_test(source));
    sources
}

/// A row of the map: whose it is, and what they may use.
struct Row {
    /// `wire/`, or `verify/mod.rs`.
    files: Vec<String>,
    uses: Vec<Vec<String>>,
    /// "all but …": `uses` is what is forbidden.
    all_but: bool,
}

/// A row of "only there".
struct Place {
    /// `std`, `fs`; or `println!`.
    what: Vec<String>,
    files: Vec<String>,
    everywhere: bool,
}

struct Tables {
    rows: Vec<Row>,
    places: Vec<Place>,
}

impl Tables {
    fn of_architecture() -> Self {
        Self::parse(&read("ARCHITECTURE.md"))
    }

    fn parse(text: &str) -> Self {
        let rows = table(text, "In `src/`").map(|cells| Row {
            files: code(cells[0]),
            uses: code(cells[2]).iter().map(|path| segments(path)).collect(),
            all_but: cells[2].trim().starts_with("all but"),
        });
        let places = table(text, "Only there").flat_map(|cells| {
            let files = code(cells[1]);
            let everywhere = cells[1].trim().starts_with("everywhere");
            assert!(everywhere || !files.is_empty(), "no place in {cells:?}");
            code(cells[0]).into_iter().map(move |what| Place {
                what: segments(&what),
                files: files.clone(),
                everywhere,
            })
        });
        Self {
            rows: rows.collect(),
            places: places.collect(),
        }
    }

    /// The row of a file: the one that names the most of its path.
    fn row(&self, file: &str) -> Option<&Row> {
        let length = |row: &Row| {
            let matching = row.files.iter().filter(|name| covers(name, file));
            matching.map(String::len).max()
        };
        let rows = self.rows.iter().filter(|row| length(row).is_some());
        rows.max_by_key(|row| length(row))
    }

    fn forbidden_uses(&self, sources: &[Source]) -> Vec<String> {
        let mut found = Vec::new();
        // lib.rs names every module, and that is all it does.
        for source in sources.iter().filter(|source| source.file != "lib.rs") {
            let Some(row) = self.row(&source.file) else {
                continue;
            };
            let mut own: Vec<_> = row.files.iter().map(|name| module_of(name)).collect();
            own.push(source.module.clone());
            for path in source.paths.iter().filter_map(|path| source.resolve(path)) {
                let within = |module: &[String]| !module.is_empty() && path.starts_with(module);
                let open = VOCABULARY.iter().any(|word| within(&[(*word).to_owned()]));
                let named = row.uses.iter().any(|module| within(module));
                if !open && named == row.all_but && !own.iter().any(|module| within(module)) {
                    found.push(format!("src/{} uses {}", source.file, path.join("::")));
                }
            }
        }
        found
    }

    fn misplaced(&self, sources: &[Source]) -> Vec<String> {
        let mut found = Vec::new();
        for source in sources {
            for place in self.places.iter().filter(|place| !place.everywhere) {
                if place.files.iter().any(|name| covers(name, &source.file)) {
                    continue;
                }
                for path in source.paths.iter().filter(|path| place.is_in(path)) {
                    found.push(format!("src/{} uses {}", source.file, path.join("::")));
                }
            }
        }
        found
    }

    fn without_counterpart(&self, sources: &[Source]) -> Vec<String> {
        let files = sources
            .iter()
            .filter(|source| self.row(&source.file).is_none());
        let files = files.map(|source| format!("src/{} has no row", source.file));
        let rows = self.rows.iter().map(|row| &row.files);
        let names = rows
            .chain(self.places.iter().map(|place| &place.files))
            .flatten();
        let names = names.filter(|name| !sources.iter().any(|source| covers(name, &source.file)));
        files
            .chain(names.map(|name| format!("there is no src/{name}")))
            .collect()
    }
}

impl Place {
    /// A crate is the first word of a path; `std::fs`, `Instant::now` and `println!` may stand
    /// anywhere in it.
    fn is_in(&self, path: &[String]) -> bool {
        match &self.what[..] {
            [name] if !name.ends_with('!') => path.first() == Some(name),
            words => path.windows(words.len()).any(|part| part == words),
        }
    }
}

/// Whether a name in a table, `wire/` or `wire/line.rs`, means this file.
fn covers(name: &str, file: &str) -> bool {
    name == file || (name.ends_with('/') && file.starts_with(name))
}

fn segments(path: &str) -> Vec<String> {
    path.split("::").map(str::to_owned).collect()
}

/// `verify/decide.rs` and `verify/` as modules. None for lib.rs and main.rs.
fn module_of(file: &str) -> Vec<String> {
    let parts = file.trim_end_matches(".rs").split('/');
    let parts = parts.filter(|part| !["", "lib", "main", "mod"].contains(part));
    parts.map(str::to_owned).collect()
}

/// Cells of the table whose first heading is `heading`.
fn table<'a>(text: &'a str, heading: &'a str) -> impl Iterator<Item = Vec<&'a str>> {
    let start = format!("| {heading} |");
    let lines = text
        .lines()
        .skip_while(move |line| !line.starts_with(&start));
    let mut lines = lines
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .peekable();
    assert!(
        lines.peek().is_some(),
        "ARCHITECTURE.md has no table {heading:?}"
    );
    lines.map(|line| line.trim_matches('|').split('|').collect())
}

/// What stands in backticks.
fn code(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Words and single signs of a source text, without comments, strings and characters. A word in
/// front of an exclamation mark is a macro and keeps it.
fn tokens(text: &str) -> Vec<String> {
    let text: Vec<char> = text.chars().collect();
    let at = |index: usize| text.get(index).copied().unwrap_or('\0');
    let find = |from: usize, wanted: &str| {
        let wanted: Vec<char> = wanted.chars().collect();
        let rest = text.get(from..).unwrap_or_default();
        let found = rest.windows(wanted.len()).position(|part| part == wanted);
        found.map_or(text.len(), |index| from + index + wanted.len())
    };
    let (mut tokens, mut index) = (Vec::new(), 0);
    while index < text.len() {
        let char = at(index);
        index = match (char, at(index + 1)) {
            ('/', '/') => find(index, "\n"),
            ('/', '*') => find(index, "*/"),
            ('"', _) => {
                let mut end = index + 1;
                while end < text.len() && at(end) != '"' {
                    end += if at(end) == '\\' { 2 } else { 1 };
                }
                end + 1
            }
            // A character; else it is a lifetime.
            ('\'', '\\') => find(index + 3, "'"),
            ('\'', _) if at(index + 2) == '\'' => index + 3,
            _ if char.is_alphanumeric() || char == '_' => {
                let is_word = |char: &char| char.is_alphanumeric() || *char == '_';
                let mut word: String = text[index..].iter().copied().take_while(is_word).collect();
                let end = index + word.chars().count();
                let hashes = text[end..].iter().take_while(|char| **char == '#').count();
                if ["r", "br"].contains(&word.as_str()) && at(end + hashes) == '"' {
                    find(end + hashes + 1, &format!("\"{}", "#".repeat(hashes)))
                } else {
                    let is_macro = at(end) == '!' && at(end + 1) != '=';
                    let _written = if is_macro {
                        word.write_char('!')
                    } else {
                        Ok(())
                    };
                    tokens.push(word);
                    end + usize::from(is_macro)
                }
            }
            _ => {
                tokens.extend((!char.is_whitespace()).then(|| char.to_string()));
                index + 1
            }
        };
    }
    tokens
}

const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];

fn test_mark() -> Vec<String> {
    CFG_TEST.map(str::to_owned).to_vec()
}

/// Leaves out what `#[cfg(test)]` stands before: up to a semicolon, or to the end of a block.
fn without_tests(tokens: &[String]) -> Vec<String> {
    let (mut kept, mut rest) = (Vec::new(), tokens);
    while let Some((token, after)) = rest.split_first() {
        if !rest.starts_with(&test_mark()) {
            kept.push(token.clone());
            rest = after;
            continue;
        }
        rest = &rest[CFG_TEST.len()..];
        let mut depth = 0;
        let ends = |token: &String| {
            match token.as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            depth == 0 && ["}", ";"].contains(&token.as_str())
        };
        let length = rest.iter().position(ends).map_or(rest.len(), |end| end + 1);
        rest = &rest[length..];
    }
    kept
}

/// All paths of two words or more, those in braces one by one, and all macros.
fn paths(tokens: &[String]) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    let mut rest = tokens;
    while !rest.is_empty() {
        rest = path(rest, &[], &mut found);
    }
    found
}

/// Reads one path, adds it to `found`, and returns what follows it.
fn path<'a>(
    tokens: &'a [String],
    prefix: &[String],
    found: &mut BTreeSet<Vec<String>>,
) -> &'a [String] {
    let Some((first, mut rest)) = tokens.split_first() else {
        return tokens;
    };
    if first == "as" {
        return rest.get(1..).unwrap_or_default();
    }
    let mut path = prefix.to_vec();
    path.push(first.clone());
    if !is_name(first) {
        return rest;
    }
    while let [colon, second, next, after @ ..] = rest {
        if [colon.as_str(), second] != [":", ":"] {
            break;
        }
        rest = after;
        if next == "{" {
            while rest.first().is_some_and(|token| token != "}") {
                rest = self::path(rest, &path, found);
            }
            return rest.get(1..).unwrap_or_default();
        }
        path.push(next.clone());
        if !is_name(next) {
            break;
        }
    }
    if path.len() > 1 || first.ends_with('!') {
        found.insert(path);
    }
    rest
}

fn is_name(token: &str) -> bool {
    token.starts_with(|char: char| char.is_alphabetic() || char == '_')
}

const SAMPLE: &str = "
| In `src/` | Its one job | May use |
| --- | --- | --- |
| `a/` | first | `b`, `c::inner` |
| `a/strict.rs` | second | – |
| `b.rs` | third | all but `a` |
| `c/` | fourth | – |

| Only there | Where |
| --- | --- |
| `tokio`, `std::fs` | `b.rs` |
| `println!` | `b.rs` |
| `thiserror` | everywhere |
";

#[test]
fn a_use_against_the_table_is_found() {
    let found = |file: &str, text: &str| {
        let source = Source::new(file, text);
        Tables::parse(SAMPLE).forbidden_uses(&[source]).join(", ")
    };
    assert_eq!(
        found("a/mod.rs", "use crate::b::B; use crate::c::inner::C;"),
        ""
    );
    assert_eq!(found("a/mod.rs", "use crate::c;"), "src/a/mod.rs uses c");
    assert_eq!(
        found("a/mod.rs", "use crate::{b::{self, B}, c::C};"),
        "src/a/mod.rs uses c::C"
    );
    assert_eq!(
        found("a/mod.rs", "fn f() -> crate::d::D {}"),
        "src/a/mod.rs uses d::D"
    );
    assert_eq!(
        found("a/deep/x.rs", "use super::super::super::d;"),
        "src/a/deep/x.rs uses d"
    );
    assert_eq!(
        found("a/deep/x.rs", "use super::y; use super::super::z;"),
        ""
    );
    assert_eq!(
        found("a/strict.rs", "use super::other;"),
        "src/a/strict.rs uses a::other"
    );
    assert_eq!(found("a/strict.rs", "use crate::model::Name;"), "");
    assert_eq!(
        found("b.rs", "use crate::c; use crate::a::A;"),
        "src/b.rs uses a::A"
    );
}

#[test]
fn a_thing_out_of_its_place_is_found() {
    let found = |file: &str, text: &str| {
        let source = Source::new(file, text);
        Tables::parse(SAMPLE).misplaced(&[source]).join(", ")
    };
    assert_eq!(
        found(
            "b.rs",
            "use tokio::net; fn f() { println!(); std::fs::read(); }"
        ),
        ""
    );
    assert_eq!(
        found("c/mod.rs", "use tokio::net;"),
        "src/c/mod.rs uses tokio::net"
    );
    assert_eq!(
        found("c/mod.rs", "use std::{fs, io};"),
        "src/c/mod.rs uses std::fs"
    );
    assert_eq!(
        found("c/mod.rs", "fn f() { println!() }"),
        "src/c/mod.rs uses println!"
    );
    assert_eq!(
        found("c/mod.rs", "#[derive(thiserror::Error)] enum E {}"),
        ""
    );
}

#[test]
fn comments_strings_and_tests_do_not_count() {
    let text = r##"
        // crate::a /* */
        /* crate::b */ /// crate::c
        const TEXT: &str = "crate::d \" crate::e"; const RAW: &[u8] = br#"crate::f " crate::g"#;
        const QUOTE: char = '"'; fn f<'a>(_: &'a str) -> crate::seen::S {}
        #[cfg(test)] use crate::h;
        #[cfg(test)] #[expect(dead_code)] mod tests { fn f() { crate::i() } }
        use crate::last;
    "##;
    let paths = Source::new("x.rs", text).paths;
    let paths: Vec<_> = paths.iter().map(|path| path.join("::")).collect();
    assert_eq!(paths, ["crate::last", "crate::seen::S"]);
    let tests = Source::new("x/mod.rs", "#[cfg(test)] mod tests; mod real;").tests;
    assert_eq!(tests, [["x", "tests"]]);
}

#[test]
fn a_file_without_a_row_and_a_row_without_a_file_are_found() {
    let files = ["a/mod.rs", "a/strict.rs", "b.rs", "new.rs"];
    let sources: Vec<_> = files.iter().map(|file| Source::new(file, "")).collect();
    assert_eq!(
        Tables::parse(SAMPLE).without_counterpart(&sources),
        ["src/new.rs has no row", "there is no src/c/"]
    );
}
