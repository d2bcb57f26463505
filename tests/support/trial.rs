//! Tests that `libtest_mimic` runs.

use libtest_mimic::Trial;

/// A test that has failed if it panics.
pub(crate) fn trial(name: &str, test: fn()) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}
