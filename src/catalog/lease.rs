//! The lease: the right to write to a job's folder.
//!
//! Shares are often mounted `nolock`, so no lock of the kernel's protects anything between hosts. The lease is a
//! file created exclusively and touched while the run lives. It is stale only when that has stopped for longer than
//! its term *by the store's own clock*: the mtime the server gives, against the mtime the server gives a new file
//! now. A pid proves nothing on another host and is only told to people. One thing else ends a lease: whoever started
//! its run has waited for the run's process and seen its end (`dead`).
//!
//! The danger is two runs that both see a stale lease. Whoever takes over first creates, exclusively, a file whose
//! name the dead holder alone decides; only its creator may remove the stale lease. A run that slept through all this
//! finds at its commit that the lease is no longer its own, and publishes nothing. Even without all of that no
//! snapshot could be damaged: two runs write under different names.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::CatalogError;
use super::layout::GIVEN_UP;
use super::list::Catalog;
use crate::domain::{Host, RunId};
use crate::store::{Key, Store, StoreError, create_whole};

const LEASE_BYTES_MAX: u64 = 64 << 10;

/// How often an acquisition starts anew when others move at the same time.
const TRIES: usize = 5;

/// Who asks for the lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The run.
    pub run: RunId,
    /// Where it runs.
    pub host: Host,
    /// As which process there. For people.
    pub pid: u32,
    /// When it began, by its own clock. For people.
    pub started: Timestamp,
    /// After how many seconds of silence others may take over.
    pub term_s: u64,
}

/// Who holds it, as far as that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A run.
    Run(Claim),
    /// The file is there and does not say: it is being written at this moment, or was cut by a crash.
    Unreadable,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Run(claim) => write!(
                f,
                "run {} on {} (pid {}, since {})",
                &claim.run.as_str()[..8],
                claim.host,
                claim.pid,
                claim.started.strftime("%Y-%m-%d %H:%M:%S UTC")
            ),
            Self::Unreadable => f.write_str("a run that does not give its name"),
        }
    }
}

/// The state of a job's lease, for `unlock` and `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseState {
    /// Who has it.
    pub holder: Holder,
    /// How long ago it was last renewed, by the store's clock.
    pub silent: Duration,
    /// After how long a silence it may be taken over.
    pub term: Duration,
}

impl LeaseState {
    /// Whether its term is over.
    pub fn is_stale(&self) -> bool {
        self.silent > self.term
    }

    /// Whether it may be taken over: its term is over, or its holder is among those known to be `dead`.
    fn is_over(&self, dead: &[RunId]) -> bool {
        self.is_stale() || matches!(&self.holder, Holder::Run(claim) if dead.contains(&claim.run))
    }
}

/// A lease that this process holds. Ends with [`Lease::release`]; if that never happens, it turns stale.
#[derive(Clone, Debug)]
pub struct Lease {
    catalog: Catalog,
    claim: Claim,
    taken_over_from: Option<Holder>,
}

impl Lease {
    /// Takes the lease, or takes a stale one over.
    ///
    /// # Errors
    /// [`CatalogError::Leased`] if another run holds it.
    pub fn acquire(catalog: &Catalog, claim: Claim) -> Result<Self, CatalogError> {
        Self::acquire_after(catalog, claim, &[])
    }

    /// As [`Lease::acquire`], and takes over at once from a run among `dead`: whoever waited for those runs' processes
    /// has seen their end, so their leases need not grow old.
    ///
    /// # Errors
    /// [`CatalogError::Leased`] if another run holds it.
    pub fn acquire_after(catalog: &Catalog, claim: Claim, dead: &[RunId]) -> Result<Self, CatalogError> {
        let store = catalog.store();
        match store.create_folder(&catalog.layout().folder()) {
            Ok(()) => store.sync_folder(&Key::top())?,
            Err(StoreError::AlreadyThere { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let mut taken_over_from = None;
        for _ in 0..TRIES {
            match create_claim(store, &catalog.layout().lease(), &claim) {
                Ok(()) => {
                    let lease = Self { catalog: catalog.clone(), claim, taken_over_from };
                    let held = store.sync_folder(&catalog.layout().folder()).map_err(CatalogError::from);
                    if let Err(error) = held.and_then(|()| lease.check()) {
                        // nobody shall wait a whole term for a run that never began
                        let _ = lease.release();
                        return Err(error);
                    }
                    return Ok(lease);
                }
                Err(StoreError::AlreadyThere { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let Some(state) = catalog.lease_state(claim.term_s)? else { continue };
            if !state.is_over(dead) {
                return Err(CatalogError::Leased { holder: state.holder.to_string() });
            }
            if take_over(catalog, &claim, &state, dead)? {
                taken_over_from = Some(state.holder);
            }
        }
        Err(CatalogError::Leased { holder: "several runs that ask for it at the same time".to_owned() })
    }

    /// From whom it was taken over, if it was.
    pub fn taken_over_from(&self) -> Option<&Holder> {
        self.taken_over_from.as_ref()
    }

    /// How often it is to be renewed: several times within the term.
    pub fn renew_every(&self) -> Duration {
        Duration::from_secs((self.claim.term_s / 6).max(1))
    }

    /// Says that this run still lives.
    ///
    /// # Errors
    /// [`CatalogError::LeaseLost`] if somebody else has it now.
    pub fn renew(&self) -> Result<(), CatalogError> {
        self.check()?;
        Ok(self.catalog.store().touch(&self.catalog.layout().lease())?)
    }

    /// Whether it is still this run's.
    ///
    /// # Errors
    /// [`CatalogError::LeaseLost`] if it is not.
    pub fn check(&self) -> Result<(), CatalogError> {
        match self.catalog.read_claim(&self.catalog.layout().lease())? {
            Some(Holder::Run(claim)) if claim.run == self.claim.run => Ok(()),
            Some(other) => Err(CatalogError::LeaseLost { holder: other.to_string() }),
            None => Err(CatalogError::LeaseLost { holder: "nobody any more (it was removed)".to_owned() }),
        }
    }

    /// Gives it back.
    ///
    /// # Errors
    /// If the store refuses; the lease then turns stale by itself.
    pub fn release(self) -> Result<(), CatalogError> {
        match self.check() {
            Ok(()) => Ok(self.catalog.store().remove(&self.catalog.layout().lease())?),
            Err(CatalogError::LeaseLost { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Catalog {
    /// Who holds the lease; none if nobody does. `default_term_s` is for a holder that cannot be read.
    ///
    /// # Errors
    /// If the store fails.
    pub fn lease_state(&self, default_term_s: u64) -> Result<Option<LeaseState>, CatalogError> {
        let key = self.layout().lease();
        let Some(holder) = self.read_claim(&key)? else { return Ok(None) };
        let Some(listed) = self.store().stat(&key)? else { return Ok(None) };
        let term_s = match &holder {
            Holder::Run(claim) => claim.term_s,
            Holder::Unreadable => default_term_s,
        };
        let silent = age(self.store().now()?, listed.modified);
        Ok(Some(LeaseState { holder, silent, term: Duration::from_secs(term_s) }))
    }

    /// Ends a lease that was found `stale`, as a run does that takes it over: of all who try only one may, and only while
    /// its holder is the one of then, and silent still. False if it is not any more. `claim` says who is at it.
    ///
    /// # Errors
    /// [`CatalogError::Leased`] if a run is taking it over; otherwise if the store refuses.
    pub fn end_stale_lease(&self, stale: &LeaseState, claim: &Claim) -> Result<bool, CatalogError> {
        take_over(self, claim, stale, &[])
    }

    /// Removes the lease whoever holds it: a person decided so. Its holder will publish nothing, and its unfinished work is
    /// given up, so that the next run need not wait until it has grown old. Gives why that could not be.
    ///
    /// # Errors
    /// If the store refuses to remove the lease.
    pub fn break_lease(&self) -> Result<Option<StoreError>, CatalogError> {
        let key = self.layout().lease();
        let holder = self.read_claim(&key)?;
        // in this order: a holder that lives, and comes to its commit now, finds the lease gone
        self.store().remove(&key)?;
        holder.map_or(Ok(None), |holder| self.give_up_work(&holder))
    }

    /// Says for a run whose lease was ended that it is over. Gives why that could not be.
    ///
    /// # Errors
    /// If it left a name that no store takes.
    pub fn give_up_work(&self, of: &Holder) -> Result<Option<StoreError>, CatalogError> {
        let Holder::Run(claim) = of else { return Ok(None) };
        Ok(match create_whole(self.store(), &self.layout().partial(&claim.run).join(GIVEN_UP)?, b"") {
            // it left none, or has said so itself
            Ok(()) | Err(StoreError::NotThere { .. } | StoreError::AlreadyThere { .. }) => None,
            Err(error) => Some(error),
        })
    }

    fn read_claim(&self, key: &Key) -> Result<Option<Holder>, CatalogError> {
        let bytes = match self.read_small(key, LEASE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(CatalogError::Store(StoreError::NotThere { .. })) => return Ok(None),
            // it was being written while it was read
            Err(CatalogError::Store(StoreError::Short { .. })) => return Ok(Some(Holder::Unreadable)),
            Err(error) => return Err(error),
        };
        Ok(Some(serde_json::from_slice(&bytes).map_or(Holder::Unreadable, Holder::Run)))
    }
}

fn create_claim(store: &dyn Store, key: &Key, claim: &Claim) -> Result<(), StoreError> {
    let mut text = serde_json::to_string(claim).expect("a claim is plain text and numbers");
    text.push('\n');
    create_whole(store, key, text.as_bytes())
}

/// Removes the stale lease if this run is the one that may. False if another is at it.
fn take_over(catalog: &Catalog, claim: &Claim, stale: &LeaseState, dead: &[RunId]) -> Result<bool, CatalogError> {
    let store = catalog.store();
    let nobody = RunId::from_random([0; 16]);
    let marker = catalog.layout().takeover(match &stale.holder {
        Holder::Run(holder) => &holder.run,
        Holder::Unreadable => &nobody,
    });
    match create_claim(store, &marker, claim) {
        Ok(()) => {}
        Err(StoreError::AlreadyThere { .. }) => {
            // somebody is taking it over; if that one died as well, its marker grows as old as the lease's term
            let Some(listed) = store.stat(&marker)? else { return Ok(false) };
            if age(store.now()?, listed.modified) <= stale.term {
                return Err(CatalogError::Leased { holder: "a run that is taking over a stale lease".to_owned() });
            }
            store.remove(&marker)?;
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    }
    // between looking and creating the marker the holder may have woken up, or another may have come
    let now = catalog.lease_state(claim.term_s)?;
    let unchanged = now.is_some_and(|now| now.is_over(dead) && now.holder == stale.holder);
    if unchanged {
        store.remove(&catalog.layout().lease())?;
    }
    store.remove(&marker)?;
    Ok(unchanged)
}

fn age(now: Timestamp, then: Timestamp) -> Duration {
    // a file from the store's future is new, not old
    Duration::try_from(now.duration_since(then)).unwrap_or(Duration::ZERO)
}
