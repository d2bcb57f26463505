//! Every broken configuration, with the message that it must produce, so that it fails for the right
//! reason.
//!
//! A case is a pair of files: `NAME.toml`, and `NAME.expected` with the three parts that the command
//! line prints (`config check` shows the same). The path of the file reads `FILE` in them. Where there
//! is no `.expected`, the configuration must be accepted. `UPDATE_EXPECTED=1` writes the files anew;
//! read the difference before you commit it.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "../support/updating.rs"]
mod updating;

use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};

use dovelatch::config::Config;
use libtest_mimic::{Arguments, Failed, Trial};

use updating::updating;

fn main() {
    let arguments = Arguments::from_args();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    let trials = files.into_iter().map(|path| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        Trial::test(name, move || check(&path))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn check(path: &Path) -> Result<(), Failed> {
    let expected_path = path.with_extension("expected");
    let found = match Config::load(path) {
        Ok(_) => String::new(),
        Err(error) => {
            let cause = error.source().map(|cause| format!("cause: {cause}\n"));
            let hint = error.hint().map(|hint| format!("hint: {hint}\n"));
            let message = format!(
                "error: {error}\n{}{}",
                cause.unwrap_or_default(),
                hint.unwrap_or_default()
            );
            message.replace(&format!("{path:?}"), "FILE")
        }
    };
    if updating() && !found.is_empty() {
        fs::write(&expected_path, &found)?;
    }
    let expected = fs::read_to_string(&expected_path).unwrap_or_default();
    if found != expected {
        return Err(format!("expected:\n{expected}\nfound:\n{found}").into());
    }
    Ok(())
}
