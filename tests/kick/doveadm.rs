//! A `doveadm` that writes down what it was told.

use std::fs;
use std::path::{Path, PathBuf};

use super::program;

/// What 2.4.1 says of its kick, in the list of its commands.
pub(crate) const V24: &str = "  kick         [-a <anvil socket path>] [-f <passdb field>] [-h <dest host>] <user mask>[|]<ip/bits>";

/// The same of 2.3.19.
pub(crate) const V23: &str = "  kick         [-a <anvil socket path>] <user mask>[|]<ip/bits>";

pub(crate) struct Doveadm {
    directory: PathBuf,
}

impl Doveadm {
    pub(crate) fn with_usage(directory: &Path, usage: &str) -> Self {
        Self::new(directory, usage, "")
    }

    /// Says its usage, and never comes to an end of anything else.
    pub(crate) fn that_hangs(directory: &Path, usage: &str) -> Self {
        Self::new(
            directory,
            usage,
            "echo $$ > \"$here/process\"; exec sleep 60",
        )
    }

    /// Takes so many seconds for each kick.
    pub(crate) fn that_takes(directory: &Path, usage: &str, seconds: &str) -> Self {
        Self::new(directory, usage, &format!("exec sleep {seconds}"))
    }

    fn new(directory: &Path, usage: &str, then: &str) -> Self {
        let path = directory.join("doveadm");
        let here = directory.display();
        let script = format!(
            "#!/bin/sh\nhere='{here}'\n[ $# != 0 ] || {{ echo '{usage}' >&2; exit 64; }}\n\
             echo \"$*\" >> \"$here/ran\"\n{then}\n"
        );
        program::write(&path, &script).unwrap();
        Self {
            directory: directory.to_owned(),
        }
    }

    /// What it was told, beside for its usage, one command a line.
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
