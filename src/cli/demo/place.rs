//! A directory that vanishes with the demonstration, whatever ends it.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::failed;
use crate::cli::error::Error;
use crate::model::ALPHABET;
use crate::random;

/// Longest path of the directory in bytes. A socket's path has 107 (`sun_path` in unix(7)), and the
/// private Dovecot's longest below its base, `run/token-login/…`, takes about forty.
const MAX_PATH: usize = 60;

/// The directory. Removed with all that is in it when dropped.
#[derive(Debug)]
pub(super) struct Place(PathBuf);

impl Place {
    /// Below `TMPDIR`; below `/tmp` where that would make a socket's path too long.
    ///
    /// # Errors
    ///
    /// [`Error::DemoPlace`] if it cannot be made, [`Error::Demo`] if no name can be drawn.
    pub(super) fn new() -> Result<Self, Error> {
        let letters: [u8; 8] =
            random::letters(ALPHABET).map_err(|error| failed("draw a name", &error))?;
        let name: String = "dovelatch-"
            .chars()
            .chain(letters.map(char::from))
            .collect();
        let mut parent = std::env::temp_dir();
        if parent.join(&name).as_os_str().len() > MAX_PATH || !parent.is_absolute() {
            parent = PathBuf::from("/tmp");
        }
        let path = parent.join(&name);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(Error::DemoPlace {
                path: parent,
                source,
            }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Place {
    /// Nothing can be done where this fails.
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_behind() {
        let place = Place::new().unwrap();
        let path = place.path().to_owned();
        std::fs::write(path.join("file"), "x").unwrap();
        assert!(path.as_os_str().len() <= MAX_PATH);
        drop(place);
        assert!(!path.exists());
    }
}
