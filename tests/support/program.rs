//! Programs that a test writes and then runs.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes an executable file. A shell does it: were the file open in this process, another test's child
/// could inherit it before its exec, and until then nobody can run the program (ETXTBSY).
pub(crate) fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut shell = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()?;
    let written = shell
        .stdin
        .take()
        .map(|mut pipe| pipe.write_all(text.as_bytes()));
    if !shell.wait()?.success() {
        return Err(std::io::Error::other("the shell failed"));
    }
    written.unwrap_or(Ok(()))
}
