//! `dovelatch serve`: the daemon, in the foreground.

use super::context::Context;
use super::error::Error;
use crate::{server, telemetry};

/// Run the daemon in the foreground until SIGTERM or SIGINT
#[derive(Debug, clap::Args)]
pub(crate) struct Serve {}

impl Serve {
    pub(crate) fn run(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let config = context.config()?;
        let log =
            telemetry::start(context.environment()).map_err(|source| Error::Log { source })?;
        let served = server::serve(&config, context.environment());
        // Whatever the log still holds comes before the error on the same stream.
        drop(log);
        Ok(served?)
    }
}
