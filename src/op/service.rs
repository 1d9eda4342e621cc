//! The operations that no kernel knows: the engine's own timers, and those of services. They count
//! down from 255, above the kernel's numbers; an operation is known by its number in dumps and
//! statistics.

pub(crate) const INTERVAL: u8 = 255;
pub(crate) const TIMER: u8 = 254;
pub(crate) const NOTIFIER_WAIT: u8 = 253;
pub(crate) const CHANNEL_RECEIVE: u8 = 252;

/// By number, from 255 down.
const NAMES: [&str; 4] = ["interval", "timer", "notifier_wait", "channel_receive"];

/// The name in dumps; None for what the kernel knows.
pub(crate) fn name(opcode: u8) -> Option<&'static str> {
    NAMES.get(usize::from(u8::MAX - opcode)).copied()
}
