//! Pretends to be the world: an engine that answers what claw asks, and remembers. Not a second operating system.

mod engine;
mod faults;
mod operate;
mod poke;
mod world;

pub use engine::SimEngine;
pub use faults::Faults;
pub use poke::{Poke, PokeError};
pub use world::{World, WorldError};
