//! Control messages: written into and found in buffers of the caller's, of any alignment, and never
//! read or written outside of them.

use crate::sys::errno::Errno;
use std::mem::size_of;

/// What a control message is of.
pub(crate) type Kind = (i32, i32);

pub(crate) const SEGMENT_SIZE_OUT: Kind = (libc::SOL_UDP, libc::UDP_SEGMENT);
pub(crate) const SEGMENT_SIZE_IN: Kind = (libc::SOL_UDP, libc::UDP_GRO);
pub(crate) const DESCRIPTORS: Kind = (libc::SOL_SOCKET, libc::SCM_RIGHTS);
/// SO_TIMESTAMPNS and SO_TIMESTAMP; their 64-bit forms have the same layout here.
const STAMP_NS: [Kind; 2] = [(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS), (libc::SOL_SOCKET, 64)];
const STAMP_US: [Kind; 2] = [(libc::SOL_SOCKET, libc::SCM_TIMESTAMP), (libc::SOL_SOCKET, 63)];
/// SO_TIMESTAMPING: three of them: by the software, unused, by the hardware.
const STAMPS: [Kind; 2] = [(libc::SOL_SOCKET, libc::SCM_TIMESTAMPING), (libc::SOL_SOCKET, 65)];

/// The kernel's alignment of messages, and the bytes of a message's head.
const ALIGN: usize = size_of::<usize>();
const HEAD: usize = size_of::<libc::cmsghdr>();

const _: () = assert!(HEAD == 16 && HEAD.is_multiple_of(ALIGN));

/// Appends a message behind the first `*len` bytes of `control`.
pub(crate) fn put(
    control: &mut [u8], len: &mut usize, kind: Kind, data: &[u8],
) -> Result<(), Errno> {
    let begin = len.checked_next_multiple_of(ALIGN).ok_or(Errno::EINVAL)?;
    let end = begin.checked_add((HEAD + data.len()).next_multiple_of(ALIGN));
    let end = end.filter(|&end| end <= control.len()).ok_or(Errno::ENOBUFS)?;
    let message = &mut control[begin..end];
    message.fill(0);
    message[..8].copy_from_slice(&((HEAD + data.len()) as u64).to_ne_bytes());
    message[8..12].copy_from_slice(&kind.0.to_ne_bytes());
    message[12..16].copy_from_slice(&kind.1.to_ne_bytes());
    message[HEAD..HEAD + data.len()].copy_from_slice(data);
    *len = end;
    Ok(())
}

/// The messages in `control`: kinds and data. Ends at the first that is not sound.
fn messages(mut control: &[u8]) -> impl Iterator<Item = (Kind, &[u8])> {
    std::iter::from_fn(move || {
        let head = control.get(..HEAD)?;
        let len = u64::from_ne_bytes(head[..8].try_into().ok()?) as usize;
        let level = i32::from_ne_bytes(head[8..12].try_into().ok()?);
        let kind = i32::from_ne_bytes(head[12..16].try_into().ok()?);
        let data = control.get(HEAD..len)?;
        // The last one may lack its padding.
        control = control.get(len.checked_next_multiple_of(ALIGN)?..).unwrap_or_default();
        Some(((level, kind), data))
    })
}

/// The data of the first message of one of these kinds.
fn find<'a>(control: &'a [u8], kinds: &[Kind]) -> Option<&'a [u8]> {
    messages(control).find(|(kind, _)| kinds.contains(kind)).map(|(_, data)| data)
}

fn word<T: Copy>(data: &[u8], at: usize, from: fn([u8; 8]) -> T) -> Option<T> {
    data.get(at * 8..at * 8 + 8)?.try_into().ok().map(from)
}

/// The number in a segment size message; the kernel gives an int, and takes a u16.
pub(crate) fn segment_size(control: &[u8]) -> Option<i32> {
    let data = find(control, &[SEGMENT_SIZE_IN])?;
    Some(i32::from_ne_bytes(data.get(..4)?.try_into().ok()?))
}

/// A receive time, in nanoseconds since 1970: the hardware's where there is one.
pub(crate) fn timestamp(control: &[u8]) -> Option<u64> {
    let read = |data: &[u8], first: usize, unit_ns: u64| {
        let seconds = word(data, first, i64::from_ne_bytes)?;
        let rest = word(data, first + 1, i64::from_ne_bytes)?;
        let is_set = seconds > 0 || rest > 0;
        is_set.then(|| seconds as u64 * 1_000_000_000 + rest as u64 * unit_ns)
    };
    if let Some(data) = find(control, &STAMPS) {
        return read(data, 4, 1).or_else(|| read(data, 0, 1));
    }
    if let Some(data) = find(control, &STAMP_NS) {
        return read(data, 0, 1);
    }
    read(find(control, &STAMP_US)?, 0, 1000)
}

/// The descriptors that messages bring, in their order.
pub(crate) fn descriptors(control: &[u8]) -> impl Iterator<Item = i32> {
    let rights = messages(control).filter(|(kind, _)| *kind == DESCRIPTORS);
    rights.flat_map(|(_, data)| {
        data.as_chunks::<4>().0.iter().map(|number| i32::from_ne_bytes(*number))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_found_at_any_alignment() {
        let mut buffer = [0xffu8; 200];
        for shift in 0..8 {
            let mut len = 0;
            let control = &mut buffer[shift..shift + 150];
            put(control, &mut len, SEGMENT_SIZE_IN, &1200i32.to_ne_bytes()).unwrap();
            assert_eq!(len, 24);
            let fds = [3i32.to_ne_bytes(), 4i32.to_ne_bytes(), 5i32.to_ne_bytes()].concat();
            put(control, &mut len, DESCRIPTORS, &fds).unwrap();
            assert_eq!(len, 56);
            put(control, &mut len, DESCRIPTORS, &9i32.to_ne_bytes()).unwrap();
            assert_eq!(segment_size(&control[..len]), Some(1200));
            assert_eq!(descriptors(&control[..len]).collect::<Vec<_>>(), [3, 4, 5, 9]);
            assert_eq!(timestamp(&control[..len]), None);
        }
    }

    #[test]
    fn there_is_room_or_nothing_is_written() {
        let mut buffer = [7u8; 24];
        let mut len = 0;
        assert_eq!(put(&mut buffer[..23], &mut len, DESCRIPTORS, &[0; 4]), Err(Errno::ENOBUFS));
        assert_eq!((len, buffer), (0, [7; 24]));
        len = usize::MAX;
        assert_eq!(put(&mut buffer, &mut len, DESCRIPTORS, &[0; 4]), Err(Errno::EINVAL));
        len = 0;
        assert_eq!(put(&mut buffer, &mut len, DESCRIPTORS, &[0; 4]), Ok(()));
    }

    #[test]
    fn unsound_messages_end_the_search() {
        let mut buffer = [0u8; 48];
        let mut len = 0;
        put(&mut buffer, &mut len, SEGMENT_SIZE_IN, &1i32.to_ne_bytes()).unwrap();
        put(&mut buffer, &mut len, DESCRIPTORS, &1i32.to_ne_bytes()).unwrap();
        for bad in [0u64, 15, 25 + 24, u64::MAX, u64::MAX - 6] {
            let mut copy = buffer;
            copy[24..32].copy_from_slice(&bad.to_ne_bytes());
            assert_eq!(descriptors(&copy).count(), 0);
            assert_eq!(segment_size(&copy), Some(1));
        }
        for end in 0..48 {
            assert_eq!(segment_size(&buffer[..end]).is_some(), end >= 20);
        }
    }

    #[test]
    fn timestamps_of_all_kinds_are_read() {
        let stamp = |kind, words: &[i64]| {
            let data: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let mut buffer = [0u8; 80];
            let mut len = 0;
            put(&mut buffer, &mut len, kind, &data).unwrap();
            timestamp(&buffer[..len])
        };
        assert_eq!(stamp(STAMP_NS[0], &[2, 5]), Some(2_000_000_005));
        assert_eq!(stamp(STAMP_NS[1], &[2, 5]), Some(2_000_000_005));
        assert_eq!(stamp(STAMP_US[0], &[2, 5]), Some(2_000_005_000));
        assert_eq!(stamp(STAMPS[0], &[2, 5, 0, 0, 0, 0]), Some(2_000_000_005));
        assert_eq!(stamp(STAMPS[1], &[2, 5, 0, 0, 3, 6]), Some(3_000_000_006));
        assert_eq!(stamp(STAMPS[0], &[0, 0, 0, 0, 0, 0]), None);
        assert_eq!(stamp(STAMP_NS[0], &[2]), None);
    }
}
