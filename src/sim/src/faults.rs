//! Bad luck by seed: the same seed gives the same misfortunes in the same order.

use std::sync::Mutex;

/// What goes wrong, and how often.
#[derive(Debug, Default)]
pub struct Faults {
    /// The generator's state; a fault plan without faults never draws.
    state: Mutex<u64>,
    /// Out of 1000 changes, how many fail before they take effect.
    pub before_permille: u64,
    /// Out of 1000 changes, how many fail after they took effect.
    pub after_permille: u64,
    /// Out of 1000 looks, how many are cut short.
    pub cut_permille: u64,
}

impl Faults {
    /// Returns a fault plan in which each misfortune strikes `permille` times out of 1000.
    pub fn new(seed: u64, permille: u64) -> Self {
        let state = Mutex::new(seed.wrapping_mul(2).wrapping_add(1));
        Self { state, before_permille: permille, after_permille: permille, cut_permille: permille }
    }

    /// Whether something that happens `permille` times out of 1000 happens now.
    pub(crate) fn strikes(&self, permille: u64) -> bool {
        if permille == 0 {
            return false;
        }
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // xorshift64*: short, and good enough to choose victims
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % 1000 < permille
    }
}
