//! External operations, line by line of the contract, on both backends: a hook that does as a test
//! says, and toy services made of inner operations.

mod counts;
mod inner;

use super::*;
use crate::engine::mailbox::Message;
use crate::engine::{Choice, ContextOptions, run, run_once};
use crate::op::misc::Nop;
use crate::sys::clock;
use std::cell::RefCell;
use std::ffi::c_void;
use std::sync::{Arc, Mutex};
use std::thread;

const MS: u64 = 1_000_000;
const MORE: u32 = cqe_flags::MORE;
const DEADLINE: u32 = crate::engine::completion::DEADLINE;
const ABORTED: u32 = crate::engine::completion::ABORTED;
const ECANCELED: i32 = Errno::ECANCELED.status();
const ETIMEDOUT: i32 = Errno::ETIMEDOUT.status();

thread_local! {
    /// What callbacks on this thread were told: user data, result, flags.
    static TOLD: RefCell<Vec<(usize, i32, u32)>> = const { RefCell::new(Vec::new()) };
}

extern "C-unwind" fn on_call(user_data: *mut c_void, result: i32, flags: u32) {
    TOLD.with_borrow_mut(|told| told.push((user_data as usize, result, flags)));
}

fn told() -> Vec<(usize, i32, u32)> {
    TOLD.take()
}

fn calls(user_data: usize) -> Done {
    Done { callback: on_call as *const () as usize, user_data }
}

fn on_both(test: impl Fn(&'static Handle)) {
    on_both_with(ContextOptions::default(), test);
}

fn on_both_with(options: ContextOptions, test: impl Fn(&'static Handle)) {
    for backend in [Choice::Epoll, Choice::Uring] {
        // A machine without rings tests the other.
        if let Ok(handle) = Handle::create(&ContextOptions { backend, ..options }) {
            test(Box::leak(handle));
            assert_eq!(told(), []);
        }
    }
}

fn engine(handle: &Handle) -> &mut Engine {
    handle.enter_while_destroying().unwrap()
}

fn run_all(handle: &Handle) {
    handle.run_with(run).unwrap();
}

/// What became of a hook.
#[derive(Default)]
struct Seen {
    completer: Option<Completer>,
    starts: u32,
    cancels: u32,
    drops: u32,
}

type Shared = Arc<Mutex<Seen>>;

struct Toy {
    seen: Shared,
    kind: Kind,
    answer: Answer,
    fails: Option<Errno>,
}

impl Toy {
    fn new(answer: Answer) -> (Toy, Shared) {
        let seen = Shared::default();
        let kind = Kind { opcode: 200, may_keep_result: true, ..Kind::default() };
        (Toy { seen: seen.clone(), kind, answer, fails: None }, seen)
    }

    fn multishot() -> (Toy, Shared) {
        let (mut toy, seen) = Toy::new(Answer::Removed);
        toy.kind.traits = traits::MULTISHOT;
        (toy, seen)
    }
}

impl External for Toy {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn start(&mut self, scope: &mut Scope<'_>) -> Result<(), Errno> {
        let mut seen = self.seen.lock().unwrap();
        seen.starts += 1;
        seen.completer = Some(scope.completer().clone());
        self.fails.map_or(Ok(()), Err)
    }

    fn cancel(&mut self, _: &mut Scope<'_>) -> Answer {
        self.seen.lock().unwrap().cancels += 1;
        self.answer
    }

    fn place(&self) -> &'static str {
        "in a toy"
    }
}

impl Drop for Toy {
    fn drop(&mut self) {
        self.seen.lock().unwrap().drops += 1;
    }
}

fn completer(seen: &Shared) -> Completer {
    seen.lock().unwrap().completer.clone().expect("it has started")
}

fn counts(seen: &Shared) -> (u32, u32, u32) {
    let seen = seen.lock().unwrap();
    (seen.starts, seen.cancels, seen.drops)
}

fn start(handle: &Handle, toy: Toy, user_data: usize) -> u64 {
    begin(handle, toy, &SubmitOptions::default(), calls(user_data)).unwrap()
}

fn start_with(handle: &Handle, toy: Toy, user_data: usize, options: SubmitOptions) -> u64 {
    begin(handle, toy, &options, calls(user_data)).unwrap()
}

fn flags(flags: u32) -> SubmitOptions {
    SubmitOptions { flags, ..SubmitOptions::default() }
}

fn after(timeout_ns: u64) -> SubmitOptions {
    SubmitOptions { timeout_ns, ..SubmitOptions::default() }
}

/// Ends an operation from another thread, in a while.
fn end_soon(seen: &Shared, result: i32) -> thread::JoinHandle<()> {
    let completer = completer(seen);
    thread::spawn(move || {
        clock::sleep_ns(10 * MS);
        completer.end(result, 0, None);
    })
}

#[test]
fn an_end_from_another_thread_wakes_the_context() {
    on_both(|handle| {
        let (toy, seen) = Toy::new(Answer::Coming);
        start(handle, toy, 1);
        assert_eq!(engine(handle).in_flight(), 1);
        let ender = end_soon(&seen, 7);
        run_all(handle); // Until nothing is in flight.
        assert_eq!(told(), [(1, 7, 0)]);
        assert_eq!(counts(&seen), (1, 0, 1));
        ender.join().unwrap();
        handle.destroy().unwrap();
    });
}

#[test]
fn an_end_on_the_contexts_own_thread_comes_in_a_later_turn() {
    on_both(|handle| {
        let (toy, seen) = Toy::new(Answer::Coming);
        start(handle, toy, 1);
        completer(&seen).end(-5, 0, None);
        assert_eq!(told(), []);
        run_all(handle);
        assert_eq!(told(), [(1, -5, 0)]);
        handle.destroy().unwrap();
    });
}

#[test]
fn a_multishot_brings_results_in_order_and_one_last() {
    on_both(|handle| {
        let (toy, seen) = Toy::multishot();
        start(handle, toy, 1);
        let completer = completer(&seen);
        let sender = thread::spawn(move || {
            for result in 0..500 {
                completer.more(result, 0, None);
            }
            completer.end(500, 0, None);
            completer.more(501, 0, None); // Nobody's: it has ended.
        });
        run_all(handle);
        sender.join().unwrap();
        let expected: Vec<_> =
            (0..=500).map(|result| (1, result, if result < 500 { MORE } else { 0 })).collect();
        assert_eq!(told(), expected);
        handle.destroy().unwrap();
    });
}

#[test]
fn quiet_ones_tell_of_failure_only() {
    on_both(|handle| {
        for (user_data, result) in [(1, 0), (2, -5)] {
            let (toy, seen) = Toy::new(Answer::Coming);
            start_with(handle, toy, user_data, flags(submit_flags::QUIET));
            completer(&seen).end(result, 0, None);
        }
        run_all(handle);
        assert_eq!(told(), [(2, -5, 0)]);
        handle.destroy().unwrap();
    });
}

#[test]
fn a_record_carries_the_extra_word() {
    on_both(|handle| {
        let (toy, seen) = Toy::multishot();
        let done = Done { callback: crate::engine::completion::REAP, user_data: 9 };
        let id = begin(handle, toy, &SubmitOptions::default(), done).unwrap();
        completer(&seen).more(1, 1 << 40, None);
        completer(&seen).end(2, 77, None);
        run_all(handle);
        let records: Vec<_> = engine(handle).take_records(9).collect();
        let words = records.iter().map(|r| (r.user_data, r.id, r.result, r.flags, r.extra));
        let words: Vec<_> = words.collect();
        assert_eq!(words, [(9, id, 1, MORE, 1 << 40), (9, id, 2, 0, 77)]);
        handle.destroy().unwrap();
    });
}

/// Counts what becomes of it.
struct Parcel(Arc<Mutex<(u32, u32)>>);

impl Payload for Parcel {
    fn deliver(&mut self) {
        self.0.lock().unwrap().0 += 1;
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        self.0.lock().unwrap().1 += 1;
    }
}

#[test]
fn a_payload_is_delivered_or_dropped_and_always_freed() {
    on_both(|handle| {
        let parcel = Arc::new(Mutex::new((0, 0)));
        let payload = || -> Option<Box<dyn Payload>> { Some(Box::new(Parcel(parcel.clone()))) };
        let (toy, seen) = Toy::new(Answer::Coming);
        start(handle, toy, 1);
        completer(&seen).end(0, 0, payload());
        run_all(handle);
        assert_eq!((told().len(), *parcel.lock().unwrap()), (1, (1, 1)));
        // Nobody wants it: detached, overruled by the cancel, too late, and without a context.
        let (toy, seen) = Toy::new(Answer::Coming);
        let id = start(handle, toy, 2);
        engine(handle).detach(id).unwrap();
        completer(&seen).end(0, 0, payload());
        run_all(handle);
        assert_eq!((told().len(), *parcel.lock().unwrap()), (0, (1, 2)));
        let (toy, seen) = Toy::new(Answer::Coming);
        let id = start(handle, toy, 3);
        engine(handle).cancel(id).unwrap();
        completer(&seen).end(0, 0, payload());
        completer(&seen).end(0, 0, payload());
        run_all(handle);
        assert_eq!((told(), *parcel.lock().unwrap()), (vec![(3, ECANCELED, 0)], (1, 4)));
        let completer = completer(&seen);
        handle.destroy().unwrap();
        completer.end(0, 0, payload());
        assert_eq!(*parcel.lock().unwrap(), (1, 5));
    });
}

#[test]
fn a_cancel_ends_it_at_once_or_when_it_lets_go() {
    on_both(|handle| {
        let (toy, removed) = Toy::new(Answer::Removed);
        let first = start(handle, toy, 1);
        let (toy, coming) = Toy::new(Answer::Coming);
        let second = start(handle, toy, 2);
        let (toy, kept) = Toy::new(Answer::Coming);
        let third = start_with(handle, toy, 3, flags(submit_flags::KEEP_RESULT));
        let (toy, late) = Toy::new(Answer::Ended);
        let fourth = start(handle, toy, 4);
        completer(&late).end(44, 0, None);
        assert_eq!(engine(handle).cancel(first), Ok(()));
        assert_eq!(engine(handle).cancel(first), Err(Errno::EALREADY));
        assert_eq!(engine(handle).cancel(second), Ok(()));
        assert_eq!(engine(handle).cancel(second), Err(Errno::EALREADY));
        assert_eq!(engine(handle).cancel(third), Ok(()));
        assert_eq!(engine(handle).cancel(fourth), Err(Errno::EALREADY));
        handle.run_with(|handle| run_once(handle, 0)).unwrap();
        assert_eq!(told(), [(1, ECANCELED, 0), (4, 44, 0)]);
        completer(&coming).end(22, 0, None);
        completer(&kept).end(33, 0, None);
        run_all(handle);
        assert_eq!(told(), [(2, ECANCELED, 0), (3, 33, 0)]);
        for seen in [removed, coming, kept, late] {
            assert_eq!(counts(&seen), (1, 1, 1));
        }
        assert_eq!(engine(handle).cancel(first), Err(Errno::ENOENT));
        handle.destroy().unwrap();
    });
}

#[test]
fn a_late_end_is_nobodys() {
    on_both(|handle| {
        let (toy, seen) = Toy::new(Answer::Removed);
        let id = start(handle, toy, 1);
        engine(handle).cancel(id).unwrap();
        completer(&seen).end(5, 0, None); // Its end is due already.
        run_all(handle);
        assert_eq!(told(), [(1, ECANCELED, 0)]);
        let (toy, next) = Toy::new(Answer::Coming);
        start(handle, toy, 2); // In the same slot.
        completer(&seen).end(6, 0, None);
        handle.run_with(|handle| run_once(handle, 0)).unwrap();
        assert_eq!(told(), []);
        completer(&next).end(7, 0, None);
        run_all(handle);
        assert_eq!(told(), [(2, 7, 0)]);
        handle.destroy().unwrap();
    });
}

#[test]
fn a_cancel_from_another_thread_is_posted() {
    on_both(|handle| {
        let (toy, seen) = Toy::new(Answer::Removed);
        let id = start(handle, toy, 1);
        thread::scope(|scope| {
            scope.spawn(|| handle.send(Message::Cancel(id)).unwrap());
            run_all(handle);
        });
        assert_eq!(told(), [(1, ECANCELED, 0)]);
        assert_eq!(counts(&seen), (1, 1, 1));
        handle.destroy().unwrap();
    });
}

#[test]
fn all_of_a_group_or_of_the_context_can_be_cancelled() {
    on_both(|handle| {
        for (user_data, group) in [(1, 5), (2, 6), (3, 0)] {
            let options = SubmitOptions { group, ..SubmitOptions::default() };
            start_with(handle, Toy::new(Answer::Removed).0, user_data, options);
        }
        assert_eq!(engine(handle).cancel_group(6), 1);
        run_all_until(handle, 2);
        assert_eq!(told(), [(2, ECANCELED, 0)]);
        assert_eq!(engine(handle).cancel_all(), 2);
        run_all(handle);
        assert_eq!(told(), [(1, ECANCELED, 0), (3, ECANCELED, 0)]);
        handle.destroy().unwrap();
    });
}

fn run_all_until(handle: &Handle, in_flight: u32) {
    while engine(handle).in_flight() != in_flight {
        handle.run_with(|handle| run_once(handle, -1)).unwrap();
    }
}

#[test]
fn a_deadline_asks_and_waits() {
    on_both(|handle| {
        let (toy, removed) = Toy::new(Answer::Removed);
        start_with(handle, toy, 1, after(5 * MS));
        run_all(handle);
        assert_eq!(told(), [(1, ETIMEDOUT, DEADLINE)]);
        assert_eq!(counts(&removed), (1, 1, 1));
        let (toy, coming) = Toy::new(Answer::Coming);
        start_with(handle, toy, 2, after(MS));
        let ended = Toy::new(Answer::Ended);
        start_with(handle, ended.0, 3, after(MS));
        while counts(&coming).1 + counts(&ended.1).1 != 2 {
            handle.run_with(|handle| run_once(handle, MS as i64)).unwrap();
        }
        assert_eq!(told(), []);
        completer(&coming).end(9, 0, None);
        completer(&ended.1).end(10, 0, None); // It had succeeded.
        run_all(handle);
        assert_eq!(told(), [(2, ETIMEDOUT, DEADLINE), (3, 10, 0)]);
        handle.destroy().unwrap();
    });
}

#[test]
fn an_idle_deadline_starts_anew_at_each_result() {
    on_both(|handle| {
        let (toy, seen) = Toy::multishot();
        let idle = SubmitOptions { flags: submit_flags::TIMEOUT_IDLE, ..after(250 * MS) };
        start_with(handle, toy, 1, idle);
        let completer = completer(&seen);
        let sender = thread::spawn(move || {
            for result in 0..3 {
                clock::sleep_ns(100 * MS);
                completer.more(result, 0, None);
            }
        });
        run_all(handle);
        sender.join().unwrap();
        assert_eq!(told(), [(1, 0, MORE), (1, 1, MORE), (1, 2, MORE), (1, ETIMEDOUT, DEADLINE)]);
        handle.destroy().unwrap();
    });
}

#[test]
fn cancel_wait_waits_for_one_alone() {
    on_both(|handle| {
        let (toy, other) = Toy::new(Answer::Coming);
        start(handle, toy, 1);
        completer(&other).end(11, 0, None);
        let (toy, seen) = Toy::new(Answer::Coming);
        let id = start(handle, toy, 2);
        let ender = end_soon(&seen, 5);
        handle.mailbox.request_stop(); // Must not turn the wait into a busy one.
        assert!(engine(handle).cancel_wait(&handle.mailbox, id).is_ok());
        assert_eq!(counts(&seen), (1, 1, 1));
        assert_eq!((told(), engine(handle).in_flight()), (vec![], 1));
        assert!(handle.mailbox.consume_stop());
        run_all(handle);
        assert_eq!(told(), [(1, 11, 0)]);
        ender.join().unwrap();
        // One whose end has been sent, and one that is removed.
        for answer in [Answer::Ended, Answer::Removed] {
            let (toy, seen) = Toy::new(answer);
            let id = start(handle, toy, 3);
            if answer == Answer::Ended {
                completer(&seen).end(1, 0, None);
            }
            assert!(engine(handle).cancel_wait(&handle.mailbox, id).is_ok());
            assert_eq!(engine(handle).in_flight(), 0);
        }
        run_all(handle);
        handle.destroy().unwrap();
    });
}

#[test]
fn detaching_is_for_what_uses_no_memory_of_the_callers() {
    on_both(|handle| {
        let (mut toy, seen) = Toy::new(Answer::Coming);
        toy.kind.traits = traits::CALLER_MEMORY;
        let id = start(handle, toy, 1);
        assert_eq!(engine(handle).detach(id), Err(Errno::EBUSY));
        completer(&seen).end(0, 0, None);
        let id = start(handle, Toy::new(Answer::Removed).0, 2);
        assert_eq!(engine(handle).detach(id), Ok(()));
        run_all(handle);
        assert_eq!(told(), [(1, 0, 0)]);
        handle.destroy().unwrap();
    });
}

#[test]
fn barriers_hold_them_and_wait_for_them() {
    on_both(|handle| {
        let (toy, first) = Toy::new(Answer::Coming);
        start(handle, toy, 1);
        let barrier = flags(submit_flags::BARRIER);
        engine(handle).submit_carefully(&Nop, &barrier, calls(2)).unwrap();
        let (toy, second) = Toy::new(Answer::Removed);
        start_with(handle, toy, 3, barrier);
        let (mut toy, failing) = Toy::new(Answer::Removed);
        toy.fails = Some(Errno::EMFILE);
        start_with(handle, toy, 4, barrier);
        let (toy, cancelled) = Toy::new(Answer::Removed);
        let id = start_with(handle, toy, 5, barrier);
        engine(handle).cancel(id).unwrap();
        handle.run_with(|handle| run_once(handle, 0)).unwrap();
        assert_eq!(told(), [(5, ECANCELED, 0)]);
        assert_eq!((counts(&second).0, counts(&failing).0), (0, 0));
        assert_eq!(counts(&cancelled), (0, 0, 1)); // It was never asked: it had not begun.
        completer(&first).end(0, 0, None);
        run_all_until(handle, 2);
        assert_eq!(told(), [(1, 0, 0), (2, 0, 0)]);
        while counts(&second).0 == 0 {
            handle.run_with(|handle| run_once(handle, 0)).unwrap();
        }
        completer(&second).end(0, 0, None);
        run_all(handle);
        assert_eq!(told(), [(3, 0, 0), (4, Errno::EMFILE.status(), 0)]);
        handle.destroy().unwrap();
    });
}

#[test]
fn what_means_nothing_to_them_is_refused() {
    on_both(|handle| {
        let refused = |options: SubmitOptions, kind: Kind| {
            let mut toy = Toy::new(Answer::Removed).0;
            toy.kind = kind;
            let refusal = begin(handle, toy, &options, calls(1)).err();
            let Some(Refusal::Kernel(errno)) = refusal else { panic!("not refused") };
            assert_eq!(errno.status(), Errno::EINVAL.status());
        };
        use submit_flags::*;
        for bit in [LINK, HARDLINK, ASYNC, FIXED_FILE, DIRECT, INHERIT, SIGPIPE, KEEP_RESULT] {
            refused(flags(bit), Kind::default());
        }
        refused(SubmitOptions { flags: TIMEOUT_IDLE, ..after(1) }, Kind::default());
        refused(flags(QUIET), Kind { brings: true, ..Kind::default() });
        refused(SubmitOptions { ioprio: 1, ..SubmitOptions::default() }, Kind::default());
        // Nor can it stand in a chain, or end one.
        engine(handle).submit_carefully(&Nop, &flags(LINK), calls(1)).unwrap();
        refused(SubmitOptions::default(), Kind::default());
        engine(handle).submit_carefully(&Nop, &SubmitOptions::default(), calls(2)).unwrap();
        run_all(handle);
        assert_eq!(told(), [(1, 0, 0), (2, 0, 0)]);
        handle.destroy().unwrap();
    });
}

#[test]
fn one_that_cannot_begin_was_never_submitted() {
    on_both(|handle| {
        let (mut toy, seen) = Toy::new(Answer::Removed);
        toy.fails = Some(Errno::EAGAIN);
        let refusal = begin(handle, toy, &after(MS), calls(1)).err();
        assert!(matches!(refusal, Some(Refusal::Kernel(Errno::EAGAIN))));
        assert_eq!((counts(&seen), engine(handle).in_flight()), ((1, 0, 1), 0));
        run_all(handle);
        handle.destroy().unwrap();
    });
}

#[test]
fn destroy_asks_and_waits() {
    on_both(|handle| {
        let (toy, removed) = Toy::new(Answer::Removed);
        start(handle, toy, 1);
        let (toy, coming) = Toy::new(Answer::Coming);
        start(handle, toy, 2);
        let ender = end_soon(&coming, 5);
        handle.mailbox.request_stop();
        handle.destroy().unwrap();
        assert_eq!(told(), [(1, ECANCELED, ABORTED), (2, ECANCELED, ABORTED)]);
        assert_eq!((counts(&removed), counts(&coming)), ((1, 1, 1), (1, 1, 1)));
        ender.join().unwrap();
    });
}

#[test]
fn a_grace_period_ends_the_waiting_and_names_what_is_stuck() {
    let options = ContextOptions { destroy_grace_ns: 5 * MS, ..ContextOptions::default() };
    on_both_with(options, |handle| {
        let (toy, seen) = Toy::new(Answer::Coming);
        start(handle, toy, 1);
        assert!(matches!(handle.destroy(), Err(Refusal::Stuck)));
        let dump = handle.inspect().ok().flatten().unwrap().dump(handle);
        assert!(dump.contains(" raw ") && dump.contains("in a toy, aborted"), "{dump}");
        completer(&seen).end(5, 0, None); // Nobody's.
        assert_eq!(counts(&seen), (1, 1, 0));
    });
}

#[test]
fn an_orphans_operations_end_where_it_is_destroyed() {
    on_both(|handle| {
        let (removed, coming) = (Toy::new(Answer::Removed), Toy::new(Answer::Coming));
        let seen = coming.1.clone();
        // Joined with its thread-local destructors, by which it orphans the context.
        let owner = thread::spawn(move || {
            start(handle, removed.0, 1);
            start(handle, coming.0, 2);
        });
        owner.join().unwrap();
        let ender = end_soon(&seen, 5);
        assert!(matches!(handle.destroy(), Err(Refusal::Orphaned)));
        assert_eq!(told(), [(1, ECANCELED, ABORTED), (2, ECANCELED, ABORTED)]);
        assert_eq!(counts(&seen), (1, 1, 1));
        ender.join().unwrap();
    });
}

#[test]
fn a_failed_context_waits_for_them_and_tells_nobody() {
    on_both(|handle| {
        let (toy, seen) = Toy::new(Answer::Coming);
        start(handle, toy, 1);
        handle.poison();
        let ender = end_soon(&seen, 5);
        handle.destroy().unwrap();
        assert_eq!(counts(&seen), (1, 1, 1));
        ender.join().unwrap();
    });
}
