//! The operations that no kernel knows: the engine's own timers, and those of services. They count
//! down from 255, above the kernel's numbers; an operation is known by its number in dumps and
//! statistics.

pub(crate) const INTERVAL: u8 = 255;
pub(crate) const TIMER: u8 = 254;
pub(crate) const RECEIVE: u8 = 253;
pub(crate) const RECEIVE_FD: u8 = 252;
pub(crate) const WORK: u8 = 251;
pub(crate) const POLL_UNTIL: u8 = 250;
pub(crate) const SIGNAL: u8 = 249;
pub(crate) const SPAWN: u8 = 248;
pub(crate) const WATCH: u8 = 247;
pub(crate) const GETADDRINFO: u8 = 246;
pub(crate) const GETNAMEINFO: u8 = 245;
pub(crate) const RESOLVE: u8 = 244;
pub(crate) const NOTIFIER_WAIT: u8 = 243;
pub(crate) const CHANNEL_RECEIVE: u8 = 242;

/// By number, from 255 down.
const NAMES: [&str; 14] = [
    "interval",
    "timer",
    "msg_receive",
    "msg_receive_fd",
    "work",
    "poll_until",
    "signal",
    "spawn",
    "watch",
    "getaddrinfo",
    "getnameinfo",
    "resolve",
    "notifier_wait",
    "channel_receive",
];

/// The name in dumps; None for what the kernel knows.
pub(crate) fn name(opcode: u8) -> Option<&'static str> {
    NAMES.get(usize::from(u8::MAX - opcode)).copied()
}

/// Whether an operation waits for messages of other contexts.
pub(crate) fn is_receive(opcode: u8) -> bool {
    opcode == RECEIVE || opcode == RECEIVE_FD
}
