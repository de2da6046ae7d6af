//! Hetzner Cloud: machines, who reaches them, and the names that lead to them. What runs on a machine is others' work.

mod catalog;
mod names;
mod rules;

pub use rules::HetznerRules;
