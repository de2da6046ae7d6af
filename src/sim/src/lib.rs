//! Pretends to be the world: an engine that answers what claw asks, and remembers; and cloud APIs on the wire, for
//! claw and for other clients. Not a second operating system.

mod engine;
mod faults;
pub mod hetzner;
mod operate;
mod poke;
mod world;

pub use engine::{Machine, SimEngine};
pub use faults::Faults;
pub use poke::{Poke, PokeError};
pub use world::{World, WorldError};
