//! File systems that fail on purpose, in a mount namespace that ends with this process.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::skipped::not_root;

/// Set for the process that is in the namespace.
const INSIDE: &str = "DOVELATCH_TEST_HOST_INSIDE";

/// Runs this program again where its mounts are its own, if that can be done; then it has ended.
#[expect(clippy::disallowed_methods, reason = "the switch of this test program")]
pub(crate) fn in_a_namespace_of_its_own() -> Option<ExitCode> {
    if std::env::var_os(INSIDE).is_some() || refused().is_some() {
        return None;
    }
    let program = std::env::current_exe().unwrap();
    let mut again = unshare();
    again
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1");
    let code = again.status().unwrap().code().unwrap_or(1);
    Some(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

fn unshare() -> Command {
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private"]);
    unshare
}

/// Why nothing can be mounted here, if so.
pub(crate) fn refused() -> Option<&'static str> {
    if let Some(reason) = not_root() {
        return Some(reason);
    }
    // A container may give out root without it.
    let tried = unshare()
        .args(["sh", "-c", "mount -t tmpfs none /mnt"])
        .stderr(Stdio::null())
        .status();
    (!tried.is_ok_and(|status| status.success())).then_some("this root may not mount")
}

/// What is mounted on a directory, for as long as this lives.
pub(crate) struct Mount {
    at: PathBuf,
}

impl Mount {
    /// In memory, with room for so many KiB.
    pub(crate) fn in_memory(at: &Path, kib: u32) -> Self {
        run(
            "mount",
            &[
                "-t",
                "tmpfs",
                "-o",
                &format!("size={kib}k,mode=0700"),
                "none",
            ],
            at,
        );
        Self { at: at.to_owned() }
    }

    /// Of an ext4 of its own, in the file `image`.
    pub(crate) fn ext4(at: &Path, image: &Path) -> Self {
        std::fs::File::create(image)
            .unwrap()
            .set_len(16 << 20)
            .unwrap();
        run("mkfs.ext4", &["-q", "-F"], image);
        let mount = Self::image(at, image);
        std::fs::set_permissions(at, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        mount
    }

    /// Of the file system in `image`, as after a restart of the host: the kernel would go on with the one
    /// that has failed, for somebody has files on it open.
    pub(crate) fn repaired(at: &Path, image: &Path) -> Self {
        let copy = image.with_extension("copy");
        std::fs::copy(image, &copy).unwrap();
        let mut check = Command::new("e2fsck");
        // 1: there was something to repair.
        let code = check
            .args(["-fy"])
            .arg(&copy)
            .output()
            .unwrap()
            .status
            .code();
        assert!(matches!(code, Some(0 | 1)), "{code:?}");
        Self::image(at, &copy)
    }

    fn image(at: &Path, image: &Path) -> Self {
        let image = image.to_str().unwrap();
        run("mount", &["-o", "loop,errors=remount-ro", image], at);
        Self { at: at.to_owned() }
    }

    /// What the kernel does after an error of the disk: whatever is open stays open, and nothing can be
    /// written any more.
    pub(crate) fn fail(&self) {
        run("mount", &["-o", "remount,abort"], &self.at);
        std::fs::write(self.at.join("probe"), "").expect_err("it must be read-only");
    }

    /// As an administrator makes it read-only, which nobody who writes must have open.
    pub(crate) fn read_only(&self) {
        run("mount", &["-o", "remount,ro"], &self.at);
    }

    pub(crate) fn writable(&self) {
        run("mount", &["-o", "remount,rw"], &self.at);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        let _ = umount.arg("--lazy").arg(&self.at).status();
    }
}

fn run(program: &str, arguments: &[&str], at: &Path) {
    let mut command = Command::new(program);
    let output = command.args(arguments).arg(at).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
}
