//! Tests that not everybody can run.

use libtest_mimic::Trial;

/// The test, or, where there is a reason against it, the same skipped with that reason.
pub(crate) fn skipped_if(reason: Option<&str>, test: Trial) -> Trial {
    match reason {
        None => test,
        Some(reason) => test
            .with_kind(format!("skipped: {reason}"))
            .with_ignored_flag(true),
    }
}

/// Why only root's tests cannot run, if so.
pub(crate) fn not_root() -> Option<&'static str> {
    (!nix::unistd::geteuid().is_root()).then_some("not root")
}
