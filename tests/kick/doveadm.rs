//! A `doveadm` that writes down what it was told.

use std::fs;
use std::path::{Path, PathBuf};

use super::program;

pub(crate) struct Doveadm {
    directory: PathBuf,
}

impl Doveadm {
    pub(crate) fn of_version(directory: &Path, version: &str) -> Self {
        Self::new(directory, version, "")
    }

    /// Says its version, and never comes to an end of anything else.
    pub(crate) fn that_hangs(directory: &Path, version: &str) -> Self {
        Self::new(
            directory,
            version,
            "echo $$ > \"$here/process\"; exec sleep 60",
        )
    }

    /// Takes so many seconds for each kick.
    pub(crate) fn that_takes(directory: &Path, version: &str, seconds: &str) -> Self {
        Self::new(directory, version, &format!("exec sleep {seconds}"))
    }

    fn new(directory: &Path, version: &str, then: &str) -> Self {
        let path = directory.join("doveadm");
        let here = directory.display();
        let script = format!(
            "#!/bin/sh\nhere='{here}'\n[ \"$*\" != --version ] || {{ echo '{version}'; exit; }}\n\
             echo \"$*\" >> \"$here/ran\"\n{then}\n"
        );
        program::write(&path, &script).unwrap();
        Self {
            directory: directory.to_owned(),
        }
    }

    /// What it was told, beside for its version, one command a line.
    pub(crate) fn ran(&self) -> Vec<String> {
        let ran = fs::read_to_string(self.directory.join("ran")).unwrap_or_default();
        ran.lines().map(str::to_owned).collect()
    }

    /// Its process id, of one that hangs.
    pub(crate) fn process(&self) -> String {
        let id = fs::read_to_string(self.directory.join("process")).unwrap();
        id.trim().to_owned()
    }
}
