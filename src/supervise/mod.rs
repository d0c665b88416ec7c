//! A run as a child process, watched from outside.
//!
//! The danger here is a server that does not answer: on a hard mount its writers sit in state D, where not even
//! SIGKILL removes them, and everything that shares their descriptors hangs as well. So the parent never touches the
//! store or the source, gives the child nothing but three pipes, has a deadline on the child's progress, and when it
//! passes tells the truth, leaves the child behind and goes on.
//!
//! The child reads one `Order` from its standard input and writes `Message`s to its standard output, a line each. Where the
//! job has hooks, it asks for them, and reads an `Answer`; they run here, so that they run whatever becomes of the child.
//! What comes back is read as if a stranger wrote it. This room does not know how a run is made.

mod order;
mod parent;
mod pipe;

pub use order::{Order, StoreOrder};
pub use parent::{Child, Ended, HookPlan, cut_off, inherit_nothing, supervise};
pub use pipe::{Answer, Message, PipeObserver, Turn};
