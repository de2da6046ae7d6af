//! Thinks: from a fleet file and what was observed to a plan. No I/O, clock, async runtime or randomness.

pub mod compile;
pub mod desired;
pub mod fleet;
pub mod graph;
pub mod machine;
pub mod mask;
pub mod money;
pub mod name;
pub mod observed;
pub mod operate;
pub mod plan;
pub mod problem;
pub mod provider;
pub mod secret;
pub mod ssh;
pub mod text;
pub mod value;
