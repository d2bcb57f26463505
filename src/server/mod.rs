//! The daemon: puts the parts together; start, reload, drain, stop.
//!
//! Sockets are bound (or taken from systemd) first, as the user that started the daemon. If that is
//! root it then becomes, for good, the owner of the database; until there is one, every log-in is
//! answered *try later* and nothing but that path is looked at. One task accepts for each socket
//! ([`listener`]), one serves each connection ([`auth_client`], [`auth_master`]); they share handles and nothing else.
//! [`serve`] is the whole of `dovelatch serve`; [`Running`] is the same for the demo and tests.

mod auth_client;
mod auth_master;
mod bells;
mod channel;
mod claim;
mod conversation;
mod database;
mod error;
mod handover;
mod heartbeat;
mod listener;
mod mailroom;
mod os;
mod output;
mod rated;
mod room;
mod runtime;
mod signals;
mod watchdog;

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Runtime};
use tokio::select;
use tokio::sync::{Notify, mpsc, watch};
use tracing::{info, warn};

pub use error::{Error, Kind};

use crate::config::{Config, Environment, Listener, ListenerType};
use crate::session::finished::Table;
use crate::session::{auth_client as client, auth_master as master};
use crate::store::{Identity, Keep};
use crate::verify::{self, Verifier};
use bells::Bells;
use database::Database;
use handover::Handed;
use heartbeat::Heartbeat;
use listener::{Service, Socket};
use rated::Rated;
use room::{Bounds, Room};
use signals::{Event, Signals};

/// How long a stop waits for what is in flight. Longer than any refusal is put off (4 s).
const DRAIN: Duration = Duration::from_secs(5);

/// How long the end waits for the verifier's threads, which have answered everything by then as a rule, and
/// write down the last uses. One that hangs on the database is left behind.
const THREADS_END: Duration = Duration::from_secs(2);

/// Connections to the database beside those of the threads that answer at once and those that hash: two that look
/// up, one that looks into what was refused, one that writes uses, one that writes the log back, and one that
/// brings the database up to date.
const OTHER_READERS: usize = 6;

/// Threads that tokio starts later: one that brings the database up to date, one that waits for the
/// verifier's to end. Where they are refused it panics.
const BLOCKING: usize = 2;

/// Runs the daemon in the foreground until SIGTERM or SIGINT; a second one ends it at once. SIGHUP
/// lets it take a database that was put in the place of another. The whole of `dovelatch serve`.
///
/// To be called while the process has no other thread that reads the environment; the caller has set
/// up telemetry.
///
/// # Errors
///
/// See [`Error::kind`]. Nothing that happens after the start is an error.
pub fn serve(config: &Config, environment: &Environment) -> Result<(), Error> {
    os::forbid_dumps();
    let handed = handover::take(&environment.listen_fd_names)?;
    if let Err(error) = os::raise_descriptor_limit() {
        warn!(error = %error, "cannot raise the limit on descriptors");
    }
    let runtime = runtime::start()?;
    let served = runtime.block_on(async {
        let mut signals = Signals::new().map_err(|source| Error::Signals { source })?;
        let server = Server::start(config, handed, Root::BecomesOwner).await?;
        notified(handover::ready(server.sockets));
        if let Some(limit) = handover::watchdog() {
            tokio::spawn(watchdog::feed(Arc::clone(&server.shared), limit));
        }
        while let Event::Reload = signals.next().await {
            server.reload();
        }
        notified(handover::stopping());
        select! {
            () = server.stop() => {}
            () = signals.next_stop() => warn!("stopping at once"),
        }
        Ok(())
    });
    // Not dropped: that would wait for a blocking thread that waits for the database.
    runtime.shutdown_background();
    served
}

/// A daemon in this process, for `demo` and tests: the same code as [`serve`], without signals,
/// without systemd and without changing user.
#[derive(Debug)]
pub struct Running {
    runtime: Runtime,
    server: Server,
}

impl Running {
    /// Returns once the sockets answer. Not to be called from a tokio task.
    ///
    /// # Errors
    ///
    /// As [`serve`].
    pub fn start(config: &Config) -> Result<Self, Error> {
        let runtime = runtime::start()?;
        let server = runtime.block_on(Server::start(config, Handed::new(), Root::StaysRoot))?;
        Ok(Self { runtime, server })
    }

    /// How many hashes have been computed since the start: for tests that count instead of timing.
    pub fn hashes(&self) -> u64 {
        self.server
            .shared
            .verifier
            .get()
            .map_or(0, Verifier::hashes)
    }

    /// What SIGHUP does.
    pub fn reload(&self) {
        self.server.reload();
    }

    /// What SIGTERM does: answers what is in flight, then closes.
    pub fn stop(self) {
        self.runtime.block_on(self.server.stop());
        self.runtime.shutdown_background();
    }
}

/// Whether a daemon that root started goes on as the owner of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    BecomesOwner,
    StaysRoot,
}

/// What all tasks share.
#[derive(Debug)]
struct Shared {
    /// Empty while the daemon is root still, and waits for a database to see whom it should become.
    verifier: OnceLock<Verifier>,
    /// A place for each connection, whichever its listener.
    room: Arc<Room>,
    connections: AtomicU64,
    bells: Bells,
    /// Log-ins that were let in on a login socket, until a mail process takes them over.
    finished: Mutex<Table>,
    /// Connections that we closed over what the peer sent, for the log.
    closed: Rated,
    accept_failures: Rated,
    /// Connections that we closed because their user has too many.
    crowds: Rated,
    /// Mail processes that named no log-in of theirs.
    odd_pick_ups: Rated,
}

impl Shared {
    fn new(room: Arc<Room>, bells: Bells) -> Self {
        Self {
            verifier: OnceLock::new(),
            room,
            connections: AtomicU64::new(1),
            bells,
            finished: Mutex::default(),
            closed: Rated::default(),
            accept_failures: Rated::default(),
            crowds: Rated::default(),
            odd_pick_ups: Rated::default(),
        }
    }

    fn finished(&self) -> MutexGuard<'_, Table> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That a connection is closed by us, and why: not more often than the log bears.
    fn tell_closed(&self, listener: &str, why: &'static str, now: Instant) {
        if let Some(more) = self.closed.pass(now) {
            warn!(listener = %listener, reason = why, more, "connection closed by us");
        }
    }

    /// The number of the next connection: never 0, and never the same again. (With 32 bits it would be, after
    /// weeks of log-ins without a restart.)
    fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }
}

/// Tells a task when to drain, and the server when the task has ended.
#[derive(Debug, Clone)]
struct Drain {
    begun: watch::Receiver<bool>,
    _alive: mpsc::Sender<Infallible>,
}

impl Drain {
    async fn begun(&mut self) {
        // An error means that the server is gone: then it is high time.
        let _ = self.begun.wait_for(|begun| *begun).await;
    }
}

/// A daemon that serves.
#[derive(Debug)]
struct Server {
    shared: Arc<Shared>,
    database: Arc<Database>,
    sockets: usize,
    drain: watch::Sender<bool>,
    /// Yields nothing, and ends when the last task has.
    ended: mpsc::Receiver<Infallible>,
    _heartbeat: Heartbeat,
}

impl Server {
    async fn start(config: &Config, handed: Handed, root: Root) -> Result<Self, Error> {
        let sockets = sockets(config, handed).await?;
        // One fewer than the runtime has threads: where the disk does not answer, that one still serves.
        let workers = Handle::current().metrics().num_workers();
        let desks = workers.saturating_sub(1);
        let room = Room::new(bounds(config, sockets.len(), desks));
        let bells = Bells::new().map_err(|source| Error::Timer { source })?;
        let shared = Arc::new(Shared::new(Arc::new(room), bells));
        let ringing = Arc::clone(&shared);
        tokio::spawn(async move { ringing.bells.ring().await });
        let identity = Identity::default();
        let settings = verify::Settings {
            database: config.database.clone(),
            desks,
            threads: config.hash.threads,
            uses: config.keep.uses,
            keep: Keep {
                tombstones: config.keep.tombstones,
                events: config.keep.events,
            },
        };
        let database = Database {
            shared: Arc::clone(&shared),
            settings,
            identity,
            reload: Notify::new(),
        };
        if root == Root::StaysRoot || !os::is_root() {
            database
                .verify()
                .map_err(|source| Error::Start { source })?;
        } else {
            // Now, so that the first log-in is answered; `prepare` tells of trouble and tries again. But for
            // want of threads nothing would.
            if let Err(database::Trouble::Threads { source }) = database.verify_as_owner() {
                return Err(Error::Start { source });
            }
        }
        runtime::can_start(BLOCKING).map_err(|source| Error::Start { source })?;
        let database = Arc::new(database);
        tokio::spawn(Arc::clone(&database).keep_prepared());

        let heartbeat = Heartbeat::start(Handle::current());
        let (drain, begun) = watch::channel(false);
        let (alive, ended) = mpsc::channel(1);
        let count = sockets.len();
        for (listener, socket) in sockets {
            let service = service(config, listener, &socket, &shared)?;
            let drain = Drain {
                begun: begun.clone(),
                _alive: alive.clone(),
            };
            tokio::spawn(socket.accept(service, drain));
        }
        info!(sockets = count, database = ?config.database, "serving");
        Ok(Self {
            shared,
            database,
            sockets: count,
            drain,
            ended,
            _heartbeat: heartbeat.map_err(|source| Error::Start { source })?,
        })
    }

    /// Takes whatever database is there next. Connections live on.
    fn reload(&self) {
        self.database.reload();
        info!("reloaded: whatever database is there now is served");
    }

    /// Stops accepting, answers what is in flight, closes; writes down what was used.
    async fn stop(mut self) {
        info!("stopping");
        let _ = self.drain.send(true);
        let ended = tokio::time::timeout(DRAIN, self.ended.recv()).await;
        if ended.is_err() {
            warn!("connections are closed with requests in flight");
        }
        if let Some(verifier) = self.shared.verifier.get().cloned() {
            // It waits for threads: not on one that must see the next signal.
            let stop = tokio::task::spawn_blocking(move || verifier.stop());
            if tokio::time::timeout(THREADS_END, stop).await.is_err() {
                warn!("threads that wait for the database are left behind");
            }
        }
        info!("stopped");
    }
}

/// How many connections there may be, as far as descriptors go.
fn bounds(config: &Config, sockets: usize, desks: usize) -> Bounds {
    let hashing = match config.hash.threads {
        0 => desks,
        threads => threads,
    };
    let descriptors = os::descriptor_limit();
    let bounds = Bounds::within(descriptors, sockets, desks + hashing + OTHER_READERS);
    if bounds.are_lowered() {
        warn!(
            descriptors,
            connections = bounds.connections,
            "few connections: the limit on descriptors allows no more, see LimitNOFILE= and ulimit -n",
        );
    }
    bounds
}

/// The sockets of each listener: those handed over under its name, else one that we bind.
async fn sockets(config: &Config, mut handed: Handed) -> Result<Vec<(&Listener, Socket)>, Error> {
    let unknown = |(name, _): &&(String, _)| {
        !config
            .listeners
            .iter()
            .any(|listener| listener.name == *name)
    };
    if let Some((name, _)) = handed.iter().find(unknown) {
        return Err(Error::UnknownDescriptor { name: name.clone() });
    }
    if config.listeners.is_empty() {
        return Err(Error::NoListener);
    }
    let mut sockets = Vec::new();
    for listener in &config.listeners {
        let (ours, rest) = handed
            .into_iter()
            .partition::<Handed, _>(|(name, _)| *name == listener.name);
        handed = rest;
        if ours.is_empty() {
            sockets.push((listener, Socket::bind(listener).await?));
            info!(listener = %listener.name, path = ?listener.path, "socket bound");
            continue;
        }
        for (name, socket) in ours {
            let socket =
                Socket::handed_over(socket).map_err(|source| Error::Descriptor { name, source })?;
            sockets.push((listener, socket));
            info!(listener = %listener.name, "socket taken over from systemd");
        }
    }
    Ok(sockets)
}

/// What is spoken on a socket.
fn service(
    config: &Config,
    listener: &Listener,
    socket: &Socket,
    shared: &Arc<Shared>,
) -> Result<Service, Error> {
    let (name, shared) = (Arc::from(listener.name.as_str()), Arc::clone(shared));
    let on_client = |kind, name, shared| {
        let settings = client::Settings {
            kind,
            mechanisms: listener.mechanisms.clone(),
            default_domain: config.default_domain.clone(),
            separator: config.separator,
        };
        Service::Client(Arc::new(auth_client::Context {
            name,
            mechanisms: listener.mechanisms.clone(),
            failure_delay: listener.failure_delay.max(auth_client::LEAST_DELAY),
            settings: Arc::new(settings),
            shared,
        }))
    };
    let on_master = |kind, name, shared| {
        // The configuration is refused without it.
        let userdb = config.userdb.clone().ok_or(Error::NoUserdb)?;
        let settings = master::Settings {
            kind,
            userdb,
            default_domain: config.default_domain.clone(),
        };
        Ok(Service::Master(Arc::new(auth_master::Context {
            name,
            open_to_all: match kind {
                master::Kind::Userdb => socket.open_to_all(&listener.name),
                master::Kind::Master => None,
            },
            settings: Arc::new(settings),
            shared,
        })))
    };
    match listener.kind {
        ListenerType::Auth => Ok(on_client(client::Kind::Client, name, shared)),
        ListenerType::Login => Ok(on_client(client::Kind::Login, name, shared)),
        ListenerType::Master => on_master(master::Kind::Master, name, shared),
        ListenerType::Userdb => on_master(master::Kind::Userdb, name, shared),
    }
}

/// A service manager that does not listen is no reason not to serve.
fn notified(result: io::Result<()>) {
    if let Err(error) = result {
        warn!(error = %error, "cannot notify systemd");
    }
}

/// The clock that never jumps: here, and nowhere else in the daemon.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the monotonic clock"
)]
fn now() -> Instant {
    Instant::now()
}
