//! The HTTP door: the page, health, metrics, the API, and what is in snapshots for those who have the token.
//!
//! It runs in threads of its own and asks the loop nothing but for a run: it shows what the loop showed last, so it
//! answers while a child hangs in a dead server's call. That the loop itself hangs, it sees by the time of its last round,
//! measured by a clock that does not step.
//!
//! The dangers: a token that is guessed byte by byte (compared in constant time), a page that a name from the source
//! writes into (the room `page` makes text of everything), and somebody who holds every connection (each has deadlines,
//! their number has a bound).

mod guard;
mod listen;
mod routes;
mod stored;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::Sender;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;

use super::live::Live;
use super::news::News;
use crate::config::Settings;
use crate::domain::{Clock, SystemClock};
use crate::page::View;

pub(super) use guard::Guard;

/// Children that read snapshots for somebody at the door; one that hangs keeps its place until it is gone.
const READERS_MAX: usize = 4;

/// The file for `backup status` is written at most so seldom, when nothing has changed.
const LIVE_EVERY: Duration = Duration::from_secs(10);

/// What the loop and the door share.
pub(super) struct Shared {
    program: PathBuf,
    state_dir: PathBuf,
    tell: Sender<News>,
    clock: SystemClock,
    showing: Mutex<Showing>,
    settings: Mutex<Option<Arc<Settings>>>,
    guard: Guard,
    readers: Arc<Semaphore>,
    refused: Mutex<TokensRefused>,
}

/// Tokens that were given and are not the one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TokensRefused {
    /// How many, since the daemon began.
    pub(super) count: u64,
    /// Who gave the last, if it is known.
    pub(super) peer: Option<std::net::IpAddr>,
}

#[derive(Default)]
struct Showing {
    view: Option<Arc<View>>,
    /// When the loop went round, by a clock that does not step.
    ticked: Duration,
    live: Option<Live>,
    live_at: Duration,
}

impl Shared {
    pub(super) fn new(program: PathBuf, state_dir: PathBuf, tell: Sender<News>) -> Self {
        Self {
            program,
            state_dir,
            tell,
            clock: SystemClock::new(),
            showing: Mutex::default(),
            settings: Mutex::default(),
            guard: Guard::new(),
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            refused: Mutex::default(),
        }
    }

    /// The loop has taken these settings.
    pub(super) fn settle(&self, settings: &Settings) {
        self.guard.settle(settings.web.token.clone());
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(settings.clone()));
    }

    /// What was tried with wrong tokens.
    pub(super) fn refused(&self) -> TokensRefused {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, peer: Option<std::net::IpAddr>) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused = TokensRefused { count: refused.count + 1, peer };
    }

    /// The loop shows how things are.
    pub(super) fn show(&self, view: View) {
        let mut showing = self.showing();
        showing.ticked = self.clock.since_start();
        showing.view = Some(Arc::new(view));
    }

    /// The loop has gone round, and nothing is new.
    pub(super) fn ticked(&self) {
        self.showing().ticked = self.clock.since_start();
    }

    /// The text for `backup status`, if it is time to write it.
    pub(super) fn live_changed(&self, live: Live) -> Option<Vec<u8>> {
        let mut showing = self.showing();
        let now = self.clock.since_start();
        let is_new = showing.live.as_ref().is_none_or(|last| live.differs_from(last));
        if !is_new && now.saturating_sub(showing.live_at) < LIVE_EVERY {
            return None;
        }
        showing.live_at = now;
        let text = live.encode();
        showing.live = Some(live);
        Some(text)
    }

    /// How things are at this moment; none before the loop's first round.
    fn view(&self) -> Option<View> {
        let (view, ticked) = {
            let showing = self.showing();
            (showing.view.clone()?, showing.ticked)
        };
        let now: Timestamp = self.clock.now();
        let silent = self.clock.since_start().saturating_sub(ticked);
        let silent = SignedDuration::try_from(silent).unwrap_or(SignedDuration::MAX);
        let token_refusals = self.refused().count;
        Some(View { now, ticked: now.checked_sub(silent).unwrap_or(now), token_refusals, ..View::clone(&view) })
    }

    fn settings(&self) -> Option<Arc<Settings>> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn showing(&self) -> std::sync::MutexGuard<'_, Showing> {
        self.showing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the door at `address` and answers from then on, in threads of its own, for as long as the process lives. Gives
/// the address: the port is a free one if 0 was asked for.
///
/// # Errors
/// If it cannot be opened.
pub(super) fn open(address: SocketAddr, shared: Arc<Shared>) -> std::io::Result<SocketAddr> {
    // before any thread is started, so that a port that is taken is told at once
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_name("door")
        .enable_all()
        .build()?;
    std::thread::Builder::new().name("door".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            let listener = listen::Bounded::new(listener);
            let router = routes::router(shared, bound.ip().is_loopback());
            // it ends with the process
            let _ = axum::serve(listener, router.into_make_service_with_connect_info::<listen::Peer>()).await;
        });
    })?;
    Ok(bound)
}
