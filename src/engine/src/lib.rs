//! claw's doing half: observe, apply, retry, journal, lock. Knows no vendor.
