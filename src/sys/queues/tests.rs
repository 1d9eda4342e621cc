//! Queues of our own, walked over their ends.

use super::*;

const SQ: u32 = 4;
const CQ: u32 = 8;

fn queues() -> Queues {
    Queues::own(SQ, CQ, NARROW).unwrap()
}

fn cqe(number: u64) -> Cqe {
    Cqe { user_data: number, result: number as i32, flags: 0, extra: 0 }
}

/// What a context's plain path does with what is offered, until it may not go on.
fn peek_all(queues: &mut Queues) -> Vec<u64> {
    let mut seen = Vec::new();
    while queues.can_peek() {
        seen.push(queues.peek().user_data);
        queues.advance();
    }
    seen
}

#[test]
fn entries_are_taken_in_the_order_in_which_they_were_handed_out() {
    let mut queues = queues();
    // Just before the sums overflow.
    queues.walk_from(u32::MAX - 5, 0);
    queues.sq_taken = u32::MAX - 5;
    queues.block(false);
    let mut number = 0;
    for staged in (1..=SQ).cycle().take(40) {
        let first = number;
        for _ in 0..staged {
            assert!(queues.has_room() || queues.make_room());
            queues.claim().user_data = number;
            number += 1;
        }
        assert_eq!(queues.staged(), staged);
        let ids: Vec<u64> = queues.staged_ids().collect();
        assert_eq!(ids, (first..number).collect::<Vec<_>>());
        for id in first..number {
            assert_eq!(queues.take_staged().map(|entry| entry.user_data), Some(id));
        }
        assert!(queues.take_staged().is_none());
    }
}

#[test]
fn a_full_or_blocked_queue_has_no_room() {
    let mut queues = queues();
    for _ in 0..2 {
        queues.claim();
    }
    assert_eq!(queues.publish_plainly(), 2);
    queues.taken_plainly(2);
    for _ in 0..SQ {
        assert!(queues.has_room() || queues.make_room());
        queues.claim();
    }
    assert!(!queues.has_room() && !queues.make_room());
    queues.taken(1);
    assert!(queues.has_room());
    queues.block(true);
    assert!(!queues.has_room() && !queues.make_room());
    queues.push(&WideSqe::default());
    assert!(!queues.has_room() && !queues.make_room());
    queues.taken(SQ);
    queues.block(false);
    assert!(queues.has_room());
}

#[test]
fn completions_are_seen_in_order_and_once() {
    let mut queues = queues();
    // Just before the sums overflow.
    queues.walk_from(0, u32::MAX - 5);
    // SAFETY: in memory of our own.
    unsafe { (*queues.cq_tail_shared).store(u32::MAX - 5, Ordering::Relaxed) };
    assert_eq!(queues.ready(), 0);
    queues.offer(0);
    let (mut made, mut seen) = (0, Vec::new());
    for count in (1..=CQ).cycle().take(40) {
        for _ in 0..count {
            assert!(queues.complete(cqe(made)));
            made += 1;
        }
        assert!(count < CQ || !queues.complete(cqe(made)), "it is full");
        match made % 3 {
            0 => assert!(queues.offer_plainly(CQ).is_some()),
            1 => {
                assert!(queues.offer_plainly(count - 1).is_none());
                assert_eq!(queues.ready(), count);
                queues.offer(count);
            }
            _ => {
                queues.conceal(true);
                assert_eq!(queues.ready(), count);
                queues.offer(count);
                assert!(!queues.can_peek() && !queues.is_exhausted());
                seen.push(queues.pop_offered().unwrap().user_data);
                queues.conceal(false);
            }
        }
        seen.extend(peek_all(&mut queues));
        assert!(queues.is_exhausted() && queues.pop_offered().is_none());
        queues.publish();
    }
    assert_eq!(seen, (0..made).collect::<Vec<_>>());
}

#[test]
fn what_is_popped_is_not_offered_any_more() {
    let mut queues = queues();
    for first in (0..40).step_by(5) {
        (first..first + 5).for_each(|number| assert!(queues.complete(cqe(number))));
        assert_eq!(queues.ready(), 5);
        queues.offer(3);
        assert_eq!(queues.pop().map(|cqe| cqe.user_data), Some(first));
        assert_eq!(peek_all(&mut queues), [first + 1, first + 2]);
        assert!(queues.pop_offered().is_none());
        assert_eq!(queues.pop().map(|cqe| cqe.user_data), Some(first + 3));
        assert!(!queues.can_peek() && queues.is_exhausted());
        assert_eq!(queues.pop().map(|cqe| cqe.user_data), Some(first + 4));
        assert!(queues.pop().is_none());
    }
}
