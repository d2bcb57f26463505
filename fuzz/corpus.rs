//! The committed inputs, `fuzz/corpus/TARGET/*`, and what is found, `target/fuzz/`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::campaign::Failure;
use crate::target::Target;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Where a target's inputs are.
pub fn directory() -> PathBuf {
    Path::new(ROOT).join("fuzz/corpus")
}

/// A target's inputs by the names of their files, in that order.
///
/// # Errors
///
/// If there are none, or they cannot be read.
pub fn of(target: &Target) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(directory().join(target.name))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        inputs.push((name, fs::read(entry.path())?));
    }
    inputs.sort();
    Ok(inputs)
}

/// Writes a failing input where it can be looked at, and says where.
///
/// # Errors
///
/// If it cannot be written.
pub fn keep(target: &Target, failure: &Failure) -> io::Result<PathBuf> {
    let directory = Path::new(ROOT).join("target/fuzz");
    fs::create_dir_all(&directory)?;
    let sum = failure.input.iter().fold(0_u32, |sum, &byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    let path = directory.join(format!("{}-{sum:08x}", target.name));
    fs::write(&path, &failure.input)?;
    Ok(path)
}
