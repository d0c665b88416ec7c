//! Exit codes, and the door's only error type.

use std::process::ExitCode;

use crate::catalog::CatalogError;
use crate::domain::{Advise, Outcome, Stop, StopReason, Trouble, Verdict};
use crate::restore::RestoreError;
use crate::store::StoreError;

/// How the program ends. Documented in README and `--help`; scripts treat any other code as failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is well.
    Ok = 0,
    /// It failed.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// A snapshot was made, but something of the source is missing in it.
    Partial = 3,
    /// Damage was found.
    Damage = 4,
    /// Another run holds the lease.
    Leased = 5,
    /// The store is not there.
    StoreAbsent = 6,
    /// SIGINT.
    Interrupted = 130,
    /// SIGTERM.
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<&Outcome> for Exit {
    fn from(outcome: &Outcome) -> Self {
        match (outcome.verdict(), outcome.failure.as_ref().map(|(reason, _)| *reason)) {
            (Verdict::Ok, _) => Self::Ok,
            (Verdict::Partial, _) => Self::Partial,
            (_, Some(StopReason::Leased)) => Self::Leased,
            (_, Some(StopReason::StoreAbsent)) => Self::StoreAbsent,
            (_, Some(StopReason::Interrupted)) => Self::Interrupted,
            (_, Some(StopReason::Terminated)) => Self::Terminated,
            (
                _,
                Some(
                    StopReason::Source
                    | StopReason::Store
                    | StopReason::StoreFull
                    | StopReason::Hook
                    | StopReason::Program,
                )
                | None,
            ) => Self::Failed,
        }
    }
}

/// Why a command ended early.
#[derive(Debug)]
pub struct Failure {
    /// With which code.
    pub exit: Exit,
    /// In words.
    pub trouble: Trouble,
}

impl Failure {
    /// The command line is wrong.
    pub fn usage(what: impl Into<String>, advice: impl Into<String>) -> Self {
        let trouble = Trouble { what: what.into(), causes: Vec::new(), advice: advice.into() };
        Self { exit: Exit::Usage, trouble }
    }

    /// Of any error that advises.
    pub fn of<E: Advise + 'static>(exit: Exit, error: &E) -> Self {
        Self { exit, trouble: Trouble::from(error) }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = if error.is_absent() { Exit::StoreAbsent } else { Exit::Failed };
        Self::of(exit, &error)
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        let exit = match error {
            RestoreError::Catalog(error) => return error.into(),
            RestoreError::StoreGone { .. } => Exit::StoreAbsent,
            RestoreError::Archive { .. } | RestoreError::Damaged { .. } | RestoreError::Contradiction { .. } => {
                Exit::Damage
            }
            RestoreError::NotEmpty { .. }
            | RestoreError::OtherUnfinished { .. }
            | RestoreError::BegunToReplace { .. } => Exit::Usage,
            RestoreError::Stopped(Stop::Interrupted) => Exit::Interrupted,
            RestoreError::Stopped(Stop::Terminated) => Exit::Terminated,
            RestoreError::Output(_)
            | RestoreError::Target { .. }
            | RestoreError::TooSmall { .. }
            | RestoreError::Nothing { .. } => Exit::Failed,
        };
        Self::of(exit, &error)
    }
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        let exit = match &error {
            CatalogError::Store(store) if store.is_absent() => Exit::StoreAbsent,
            CatalogError::Damaged { .. } | CatalogError::TrashDamaged { .. } => Exit::Damage,
            CatalogError::Leased { .. } => Exit::Leased,
            CatalogError::NoSnapshot { .. } => Exit::Usage,
            _ => Exit::Failed,
        };
        Self::of(exit, &error)
    }
}
