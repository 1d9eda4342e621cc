//! Where a context is in its life; see `engine/mod.rs`.

pub(crate) const NEW: u32 = 0;
pub(crate) const OPEN: u32 = 1;
pub(crate) const DESTROYING: u32 = 2;
pub(crate) const CLOSED: u32 = 3;
pub(crate) const STUCK: u32 = 4;
pub(crate) const ORPHANED: u32 = 5;
pub(crate) const POISONED: u32 = 6;
/// Between NEW and OPEN: one thread has begun.
pub(crate) const ADOPTING: u32 = 7;

pub(crate) fn name(life: u32) -> &'static str {
    const NAMES: [&str; 8] = [
        "new",
        "open",
        "being destroyed",
        "closed",
        "stuck",
        "orphaned",
        "poisoned",
        "being adopted",
    ];
    NAMES[life as usize]
}
