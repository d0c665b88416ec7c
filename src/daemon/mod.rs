//! The loop that runs all day: what is due, runs as children, signals, notices, and the HTTP door.
//!
//! The danger here is to stop without anybody noticing, or to say that all is well because nothing was asked. What is due
//! is decided by `schedule`, what is shown by `page`, what is told by `notify`: this room only connects them with time.
