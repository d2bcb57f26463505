//! The switch for whoever writes the cases: what was said becomes what is expected.

/// Whether `UPDATE_EXPECTED` is set; the difference is to be read before it is committed.
#[expect(
    clippy::disallowed_methods,
    reason = "a switch for whoever writes the cases"
)]
pub(crate) fn updating() -> bool {
    std::env::var_os("UPDATE_EXPECTED").is_some()
}
