//! Taking turns: a value that several workers change in a fixed order.
//!
//! A large file's pieces are made by different workers, but its SHA-256 takes its bytes in order; the names of one
//! inode are stored by different workers, but the first that can be read carries the content. Frames are claimed in
//! order of their numbers, so whoever waits here waits for work that somebody has already claimed: no deadlock. If
//! that somebody dies, `Halt` is raised and all waiting ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Raised once, when the pipeline cannot go on. Everybody who waits looks at it.
#[derive(Clone, Debug, Default)]
pub struct Halt(Arc<AtomicBool>);

impl Halt {
    /// Raises it.
    pub fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it is raised.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The pipeline halted while a turn was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halted;

/// A value of which turn `n` is taken before turn `n + 1`.
#[derive(Debug)]
pub struct Turns<T> {
    state: Mutex<(u64, T)>,
    moved: Condvar,
}

/// How often a waiter looks whether the pipeline has halted; it is woken at once when its turn comes.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl<T> Turns<T> {
    /// Turn 0 is next.
    pub fn new(value: T) -> Self {
        Self { state: Mutex::new((0, value)), moved: Condvar::new() }
    }

    /// Looks at the value out of turn.
    pub fn peek<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.state.lock().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// Waits for turn `number`, then changes the value.
    ///
    /// # Errors
    /// [`Halted`] if the pipeline halts first.
    pub fn take<R>(&self, number: u64, halt: &Halt, change: impl FnOnce(&mut T) -> R) -> Result<R, Halted> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.0 != number {
            if halt.is_raised() {
                return Err(Halted);
            }
            state = self.moved.wait_timeout(state, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner).0;
        }
        let result = change(&mut state.1);
        state.0 += 1;
        self.moved.notify_all();
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::{Halt, Halted, Turns};

    #[test]
    fn turns_are_taken_in_order_whoever_comes_first() {
        let turns = Turns::new(Vec::new());
        let halt = Halt::default();
        std::thread::scope(|scope| {
            for number in (0..20).rev() {
                let (turns, halt) = (&turns, &halt);
                scope.spawn(move || turns.take(number, halt, |seen| seen.push(number)));
            }
        });
        let seen = turns.take(20, &halt, |seen| seen.clone()).expect("nobody halted");
        assert_eq!(seen, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn waiting_for_a_turn_that_never_comes_ends_when_the_pipeline_halts() {
        let turns = Turns::new(());
        let halt = Halt::default();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| turns.take(1, &halt, |()| ()));
            halt.raise();
            assert_eq!(waiter.join().expect("no panic"), Err(Halted));
        });
    }
}
