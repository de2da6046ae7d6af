//! Pretends to be the world: host and engine models for the sandbox.
