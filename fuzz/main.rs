//! A fuzzer for the stable toolchain: README.md beside this file says what each target proves, and how to
//! run one for long.
//!
//! Without `--campaign` this is a test program as the others are: each target's corpus is replayed, and a
//! short campaign is run with the same seed each time, so that a build fails for what it changed and not for
//! chance. `fuzz/run` is the long form.

#![allow(
    unreachable_pub,
    reason = "nothing is reachable from outside a test program"
)]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what panics here has failed, as it should; a campaign is timed, and tells how far it is"
)]

mod campaign;
mod corpus;
mod models;
mod mutate;
mod options;
mod random;
mod script;
mod signature;
mod target;
mod targets;

use std::process::ExitCode;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

use campaign::{Current, Failure, Report};
use options::Options;
use target::Target;

/// Of every short campaign.
const SHORT_SEED: u64 = 1;

/// Most memory that this process may have had, whatever was executed: the pool takes a tenth of it.
const MOST_MEMORY_KIB: u64 = 512 * 1024;

/// How long one execution may go on before the whole program is ended for it.
const HANGS: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    campaign::hush_panics();
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "--campaign") {
        words.remove(0);
        return match Options::parse(&words) {
            Ok(options) => long(&options),
            Err(usage) => {
                eprintln!("{usage}");
                ExitCode::from(64)
            }
        };
    }
    let trials = target::all().iter().flat_map(|target| {
        [
            Trial::test(format!("{}::corpus_is_replayed", target.name), || {
                replay(target)
            }),
            Trial::test(
                format!("{}::short_campaign_finds_nothing", target.name),
                || short(target),
            ),
        ]
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn replay(target: &Target) -> Result<(), Failed> {
    let inputs = corpus::of(target)?;
    let mut signature = signature::Signature::default();
    for (name, input) in &inputs {
        campaign::execute(target, input, &mut signature)
            .map_err(|why| format!("fuzz/corpus/{}/{name}: {why}", target.name))?;
    }
    if inputs.is_empty() {
        return Err("there is nothing to begin with".into());
    }
    Ok(())
}

fn short(target: &Target) -> Result<(), Failed> {
    let inputs: Vec<_> = corpus::of(target)?
        .into_iter()
        .map(|(_, input)| input)
        .collect();
    let current = Current::default();
    let done = campaign::run(target, &inputs, target.short, SHORT_SEED, &current, |_| {});
    done.map_err(|failure| found(target, &failure))?;
    Ok(())
}

/// Campaigns, or the replay of files. Ends with the first failure.
fn long(options: &Options) -> ExitCode {
    for target in &options.targets {
        let done = if options.files.is_empty() {
            campaign(target, options)
        } else {
            options.files.iter().try_for_each(|file| {
                let input = std::fs::read(file).map_err(|error| format!("{file:?}: {error}"))?;
                let took = campaign::execute(target, &input, &mut signature::Signature::default())
                    .map_err(|why| format!("{file:?}: {why}"))?;
                println!("{file:?}: holds, in {took:?}");
                Ok(())
            })
        };
        if let Err(why) = done {
            eprintln!("{}: {why}", target.name);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn campaign(target: &'static Target, options: &Options) -> Result<(), String> {
    let inputs = corpus::of(target).map_err(|error| error.to_string())?;
    let inputs: Vec<_> = inputs.into_iter().map(|(_, input)| input).collect();
    let tell = |report: &Report| {
        let Report {
            executions,
            facts,
            pool,
            took,
            slowest,
        } = report;
        println!(
            "{}: seed {}, {executions} executions in {:.0} s, {facts} facts, {pool} inputs kept, slowest {slowest:?}, \
             {} MiB at most",
            target.name,
            options.seed,
            took.as_secs_f64(),
            most_memory_kib() / 1024,
        );
    };
    let current = Current::default();
    watch_over(target, Arc::clone(&current));
    let report = campaign::run(
        target,
        &inputs,
        options.executions,
        options.seed,
        &current,
        tell,
    )
    .map_err(|failure| found(target, &failure))?;
    tell(&report);
    if most_memory_kib() > MOST_MEMORY_KIB {
        return Err(format!(
            "more than {MOST_MEMORY_KIB} KiB of memory were taken"
        ));
    }
    println!("{}: done", target.name);
    Ok(())
}

/// Ends the program where one execution does not end.
fn watch_over(target: &'static Target, current: Current) {
    std::thread::spawn(move || {
        let (mut last, mut since) = (0, Duration::ZERO);
        loop {
            std::thread::sleep(Duration::from_secs(1));
            // The campaign has ended.
            if Arc::strong_count(&current) == 1 {
                return;
            }
            let (number, input) = {
                let current = current.lock().unwrap_or_else(PoisonError::into_inner);
                (current.0, current.1.clone())
            };
            // Not by the wall's clock: others may have the processor.
            let now = campaign::process_time();
            if number != last {
                (last, since) = (number, now);
            } else if now.saturating_sub(since) > HANGS {
                let why = format!("it does not end within {HANGS:?}");
                eprintln!("{}", found(target, &Failure { input, why }));
                std::process::abort();
            }
        }
    });
}

/// What is said of a failure, once its input is written down.
fn found(target: &Target, failure: &Failure) -> String {
    let place = match corpus::keep(target, failure) {
        Ok(path) => format!("{path:?}"),
        Err(error) => format!("nowhere ({error})"),
    };
    let shown = failure.input.escape_ascii();
    format!(
        "{}\n  with the input \"{shown}\"\n  kept in {place}",
        failure.why
    )
}

/// The most resident memory so far, as the kernel says it.
fn most_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or_default()
}
