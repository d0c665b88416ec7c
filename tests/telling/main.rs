//! Telling people: what arrives, what waits, and what a notifier that is dead, slow or hostile changes (nothing).

#[path = "../site/mod.rs"]
mod site;

mod at_the_desk;
mod at_the_door;
mod ear;
