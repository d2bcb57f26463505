//! From a path to a database that can be asked: becoming its owner, and bringing it up to date.
//!
//! The daemon never makes a database, and none of this keeps it from serving: whatever is wrong with
//! the file, log-ins are answered *try later*, and it is looked at again twice a second.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::{Shared, os};
use crate::store::{self, Identity};
use crate::verify::{Settings, Verifier};

/// How often a database that is missing, or in trouble, is looked at: a second after the end of the trouble all
/// must be as before.
const LOOK: Duration = Duration::from_millis(500);

/// The database of this daemon.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) shared: Arc<Shared>,
    pub(super) settings: Settings,
    pub(super) identity: Identity,
    /// Rung by a reload, for [`Self::keep_prepared`].
    pub(super) reload: Notify,
}

impl Database {
    /// Lets log-ins ask it from now on. Opens nothing itself.
    pub(super) fn verify(&self) -> io::Result<()> {
        let verifier = Verifier::start(self.settings.clone(), self.identity.clone())?;
        // It is set once: by the start, or by the one task that becomes the owner.
        let _ = self.shared.verifier.set(verifier);
        Ok(())
    }

    /// Becomes its owner and lets log-ins ask it, unless that was done before.
    pub(super) fn verify_as_owner(&self) -> Result<(), Trouble> {
        if self.shared.verifier.get().is_some() {
            return Ok(());
        }
        let file = std::fs::metadata(&self.settings.database);
        let file = file.map_err(|source| Trouble::Missing { source })?;
        os::become_owner(&file).map_err(|source| Trouble::Owner { source })?;
        self.verify()
            .map_err(|source| Trouble::Threads { source })?;
        info!(
            user = file.uid(),
            group = file.gid(),
            "serving as the owner of the database"
        );
        Ok(())
    }

    /// Takes whatever database is there next.
    pub(super) fn reload(&self) {
        self.identity.forget();
        self.reload.notify_one();
    }

    /// Brings it up to date now and after each reload. The one task that does, for as long as the daemon
    /// runs.
    pub(super) async fn keep_prepared(self: Arc<Self>) {
        loop {
            self.prepare().await;
            self.reload.notified().await;
        }
    }

    /// Brings it up to date, as its owner if this process is root still. Ends when that is done.
    async fn prepare(self: &Arc<Self>) {
        let mut said = None;
        loop {
            let database = Arc::clone(self);
            // It may wait for a lock or for a dead disk: not on a thread that serves.
            let done = tokio::task::spawn_blocking(move || database.try_to_prepare()).await;
            let trouble = match done {
                Ok(Ok(())) => return,
                Ok(Err(trouble)) => trouble,
                Err(error) if error.is_panic() => Trouble::Panicked,
                Err(_) => return, // The daemon stops.
            };
            let text = trouble.to_string();
            if said.as_ref() != Some(&text) {
                let error: &dyn std::error::Error = &trouble;
                let hint = trouble.hint();
                error!(error, hint, "log-ins get \"try later\"");
                said = Some(text);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn try_to_prepare(&self) -> Result<(), Trouble> {
        self.verify_as_owner()?;
        store::migrate(&self.settings.database)?;
        self.warn_of_wide_modes();
        Ok(())
    }

    /// A database that others may read is a mistake, but no reason to lock everybody out.
    fn warn_of_wide_modes(&self) {
        for exposed in store::exposed(&self.settings.database).unwrap_or_default() {
            let (path, wanted): (&Path, _) = (&exposed.path, exposed.wanted);
            let (mode, wanted) = (format!("{:04o}", exposed.mode), format!("{wanted:04o}"));
            warn!(?path, %mode, %wanted, "others than its owner can open it");
        }
    }
}

/// Why the database cannot be asked yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("there is no database to be seen")]
    Missing { source: io::Error },
    #[error("cannot become the owner of the database")]
    Owner { source: io::Error },
    #[error("cannot start the threads that verify")]
    Threads { source: io::Error },
    #[error("bringing the database up to date panicked: this is a bug of dovelatch")]
    Panicked,
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Trouble {
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing { .. } => {
                Some("`dovelatch mailbox add` makes one; is its file system mounted?")
            }
            Self::Owner { .. } => Some("start the daemon as root, or as that user"),
            Self::Threads { .. } => Some("raise the limit on threads"),
            Self::Panicked => None,
            Self::Store(error) => error.hint(),
        }
    }
}
