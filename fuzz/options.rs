//! What `fuzz/run` was told.

use std::path::PathBuf;

use crate::target::{self, Target};

const USAGE: &str = "\
usage: fuzz/run TARGET|--all [--executions NUMBER] [--seed NUMBER]
       fuzz/run TARGET FILE…     executes these inputs";

/// Executions where nothing else is said.
const EXECUTIONS: u64 = 1_000_000;

#[derive(Debug)]
pub struct Options {
    pub targets: Vec<&'static Target>,
    pub executions: u64,
    pub seed: u64,
    /// To be executed instead.
    pub files: Vec<PathBuf>,
}

impl Options {
    /// # Errors
    ///
    /// How to use it.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let mut options = Self {
            targets: Vec::new(),
            executions: EXECUTIONS,
            seed: 0,
            files: Vec::new(),
        };
        let mut seed = None;
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut number = || words.next()?.replace('_', "").parse().ok();
            match word.as_str() {
                "--all" => options.targets.extend(target::all()),
                "--executions" => options.executions = number().ok_or_else(usage)?,
                "--seed" => seed = Some(number().ok_or_else(usage)?),
                name if options.targets.is_empty() => {
                    options.targets.push(target::named(name).ok_or_else(usage)?);
                }
                file => options.files.push(PathBuf::from(file)),
            }
        }
        if options.targets.is_empty() || (options.targets.len() > 1 && !options.files.is_empty()) {
            return Err(usage());
        }
        // Each campaign a new one, and each can be had again.
        let clock = std::time::SystemTime::UNIX_EPOCH.elapsed();
        options.seed = seed.unwrap_or_else(|| clock.map_or(1, |since| since.as_secs()));
        Ok(options)
    }
}

fn usage() -> String {
    let names: Vec<_> = target::all().iter().map(|target| target.name).collect();
    format!("{USAGE}\ntargets: {}", names.join(", "))
}
