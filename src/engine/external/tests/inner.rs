//! Toy services of inner operations: nobody sees these but their hook, and nothing of a hook goes
//! before they have ended.

use super::*;
use crate::engine::Fires;
use crate::op::fs::Read;
use crate::sys::descriptor::EventFd;

pub(super) fn host<H: External>(handle: &Handle, hook: H) -> Result<u64, Errno> {
    engine(handle).begin_host(handle, hook)
}

/// A timer, and a read of a counter into memory of its own, to which the timer adds.
struct Duo {
    seen: Shared,
    counter: EventFd,
    buffer: Box<[u8; 8]>,
    after_ns: u64,
    timer: u64,
    read: u64,
    /// Ends when the timer fires, whatever the read does.
    is_hasty: bool,
    /// Ends when asked to once its inner operations have said so.
    answer: Answer,
    told: Arc<Mutex<Vec<(&'static str, i32)>>>,
}

impl Duo {
    fn new(after_ns: u64) -> Duo {
        Duo {
            seen: Shared::default(),
            counter: EventFd::create().unwrap(),
            buffer: Box::default(),
            after_ns,
            timer: 0,
            read: 0,
            is_hasty: false,
            answer: Answer::Removed,
            told: Arc::default(),
        }
    }
}

impl External for Duo {
    fn kind(&self) -> Kind {
        Kind { opcode: 200, ..Kind::default() }
    }

    fn start(&mut self, scope: &mut Scope<'_>) -> Result<(), Errno> {
        self.seen.lock().unwrap().completer = Some(scope.completer().clone());
        self.timer = scope.timer(Fires::After(self.after_ns))?;
        let (buf, len) = (self.buffer.as_mut_ptr().cast(), self.buffer.len());
        let read = Read { fd: self.counter.raw(), buf, len, offset: u64::MAX };
        self.read = scope.submit(&read, &SubmitOptions::default())?;
        Ok(())
    }

    fn cancel(&mut self, scope: &mut Scope<'_>) -> Answer {
        self.seen.lock().unwrap().cancels += 1;
        if self.answer == Answer::Coming {
            scope.completer().end(ECANCELED, 0, None);
        }
        self.answer
    }

    fn completed(&mut self, scope: &mut Scope<'_>, inner: Inner) {
        let name = if inner.id == self.timer { "timer" } else { "read" };
        self.told.lock().unwrap().push((name, inner.result));
        if inner.id == self.timer && inner.result == 0 && !self.is_hasty {
            return self.counter.signal();
        }
        if self.answer == Answer::Removed {
            scope.completer().end(inner.result, self.buffer[0].into(), None);
        }
    }
}

impl Drop for Duo {
    fn drop(&mut self) {
        self.seen.lock().unwrap().drops += 1;
    }
}

fn start_duo(handle: &Handle, duo: Duo, user_data: usize) -> u64 {
    begin(handle, duo, &SubmitOptions::default(), calls(user_data)).unwrap()
}

#[test]
fn a_service_of_two_inner_operations_looks_like_one() {
    on_both(|handle| {
        let duo = Duo::new(2 * MS);
        let (seen, inner) = (duo.seen.clone(), duo.told.clone());
        let id = start_duo(handle, duo, 1);
        assert_eq!(engine(handle).in_flight(), 1);
        let dump = engine(handle).dump(handle);
        assert!(dump.contains("read fd") && dump.contains(", a service's own"), "{dump}");
        run_all(handle);
        assert_eq!(told(), [(1, 8, 0)]);
        assert_eq!(*inner.lock().unwrap(), [("timer", 0), ("read", 8)]);
        assert_eq!(seen.lock().unwrap().drops, 1);
        assert_eq!(engine(handle).cancel(id), Err(Errno::ENOENT));
        handle.destroy().unwrap();
    });
}

#[test]
fn inner_operations_are_cancelled_with_theirs() {
    on_both(|handle| {
        for answer in [Answer::Removed, Answer::Coming] {
            let mut duo = Duo::new(u64::MAX);
            duo.answer = answer;
            let (seen, inner) = (duo.seen.clone(), duo.told.clone());
            let id = start_duo(handle, duo, 1);
            handle.run_with(|handle| run_once(handle, 0)).unwrap();
            engine(handle).cancel(id).unwrap();
            assert_eq!(engine(handle).cancel(id), Err(Errno::EALREADY));
            run_all(handle);
            assert_eq!(told(), [(1, ECANCELED, 0)]);
            assert_eq!(*inner.lock().unwrap(), [], "an ending hook is told of none");
            assert_eq!((seen.lock().unwrap().drops, engine(handle).total()), (1, 0));
        }
        handle.destroy().unwrap();
    });
}

#[test]
fn an_end_waits_for_inner_operations() {
    on_both(|handle| {
        let mut duo = Duo::new(2 * MS);
        duo.is_hasty = true;
        let (seen, inner) = (duo.seen.clone(), duo.told.clone());
        start_duo(handle, duo, 1);
        run_all(handle);
        // The read was cancelled, and its completion told to nobody, before the hook went.
        assert_eq!(told(), [(1, 0, 0)]);
        assert_eq!(*inner.lock().unwrap(), [("timer", 0)]);
        assert_eq!((seen.lock().unwrap().drops, engine(handle).total()), (1, 0));
        handle.destroy().unwrap();
    });
}

#[test]
fn cancel_wait_lets_services_go_on() {
    on_both(|handle| {
        engine(handle).submit_carefully(&Nop, &SubmitOptions::default(), calls(7)).unwrap();
        for answer in [Answer::Removed, Answer::Coming] {
            let mut duo = Duo::new(u64::MAX);
            duo.answer = answer;
            let seen = duo.seen.clone();
            let id = start_duo(handle, duo, 1);
            assert!(engine(handle).cancel_wait(&handle.mailbox, id).is_ok());
            assert_eq!((seen.lock().unwrap().drops, engine(handle).in_flight()), (1, 1));
        }
        run_all(handle);
        assert_eq!(told(), [(7, 0, 0)]);
        handle.destroy().unwrap();
    });
}

#[test]
fn destroy_waits_for_inner_operations() {
    on_both(|handle| {
        for (user_data, answer) in [(1, Answer::Removed), (2, Answer::Coming)] {
            let mut duo = Duo::new(u64::MAX);
            duo.answer = answer;
            start_duo(handle, duo, user_data);
        }
        let host_duo = Duo::new(u64::MAX);
        let seen = host_duo.seen.clone();
        host(handle, host_duo).unwrap();
        handle.run_with(|handle| run_once(handle, 0)).unwrap();
        handle.destroy().unwrap();
        let mut ends = told();
        ends.sort_unstable();
        assert_eq!(ends, [(1, ECANCELED, ABORTED), (2, ECANCELED, ABORTED)]);
        assert_eq!(seen.lock().unwrap().drops, 1);
    });
}

#[test]
fn an_orphans_inner_operations_end_and_their_memory_stays() {
    on_both(|handle| {
        let duo = Duo::new(u64::MAX);
        let seen = duo.seen.clone();
        // Joined with its thread-local destructors, by which it orphans the context.
        let owner = thread::spawn(move || {
            start_duo(handle, duo, 1);
            handle.run_with(|handle| run_once(handle, 0)).unwrap();
        });
        owner.join().unwrap();
        assert!(matches!(handle.destroy(), Err(Refusal::Orphaned)));
        assert_eq!(told(), [(1, ECANCELED, ABORTED)]);
        assert_eq!(seen.lock().unwrap().drops, 0);
    });
}

#[test]
fn a_host_is_not_in_flight_to_the_program() {
    on_both(|handle| {
        let duo = Duo::new(2 * MS);
        let (seen, inner) = (duo.seen.clone(), duo.told.clone());
        let id = host(handle, duo).unwrap();
        assert_eq!(engine(handle).in_flight(), 0);
        run_all(handle); // Nothing to wait for.
        assert_eq!(engine(handle).cancel_all(), 0);
        // No barrier waits for it, nor for its inner operations.
        let barrier = flags(submit_flags::BARRIER);
        engine(handle).submit_carefully(&Nop, &barrier, calls(1)).unwrap();
        run_all(handle);
        assert_eq!(told(), [(1, 0, 0)]);
        while seen.lock().unwrap().drops == 0 {
            handle.run_with(|handle| run_once(handle, MS as i64)).unwrap();
        }
        assert_eq!(*inner.lock().unwrap(), [("timer", 0), ("read", 8)]);
        assert_eq!((engine(handle).slots.find(id), engine(handle).total()), (None, 0));
        handle.destroy().unwrap();
    });
}

/// Begins another external operation, and submits while the program has a chain open.
struct Nest {
    seen: Shared,
    nop: u64,
}

impl External for Nest {
    fn kind(&self) -> Kind {
        Kind { opcode: 200, ..Kind::default() }
    }

    fn start(&mut self, scope: &mut Scope<'_>) -> Result<(), Errno> {
        let (toy, seen) = Toy::new(Answer::Removed);
        self.seen = seen;
        scope.begin(toy)?;
        Ok(())
    }

    fn cancel(&mut self, _: &mut Scope<'_>) -> Answer {
        Answer::Removed
    }

    fn completed(&mut self, scope: &mut Scope<'_>, inner: Inner) {
        if self.nop == 0 {
            assert_eq!(inner.result, 3);
            self.nop = scope.submit(&Nop, &SubmitOptions::default()).unwrap();
            return;
        }
        scope.completer().end(inner.result, 0, None);
    }
}

#[test]
fn a_services_operations_are_of_no_chain() {
    on_both(|handle| {
        let id = start_nest(handle);
        let index = engine(handle).slots.find(id).unwrap();
        let inner = engine(handle).hooked(index).unwrap().0.inners[0];
        let link = flags(submit_flags::LINK);
        engine(handle).submit_carefully(&Nop, &link, calls(2)).unwrap();
        // As if it had come in the turn in which a callback is putting the chain together.
        let index = engine(handle).slots.find(inner).unwrap();
        let completer = engine(handle).hooked(index).unwrap().0.completer.clone();
        let end = End { id: completer.id(), result: 3, is_last: true, extra: 4, payload: None };
        let delivery = engine(handle).take_end(end).unwrap();
        engine(handle).deliver_inner(delivery);
        engine(handle).submit_carefully(&Nop, &SubmitOptions::default(), calls(3)).unwrap();
        run_all(handle);
        let mut ends = told();
        ends.sort_unstable();
        assert_eq!(ends, [(1, 0, 0), (2, 0, 0), (3, 0, 0)]);
        handle.destroy().unwrap();
    });
}

fn start_nest(handle: &Handle) -> u64 {
    let nest = Nest { seen: Shared::default(), nop: 0 };
    begin(handle, nest, &SubmitOptions::default(), calls(1)).unwrap()
}

#[test]
fn a_hook_that_panics_is_left_alone_and_waited_for() {
    struct Panics(Duo);
    impl External for Panics {
        fn kind(&self) -> Kind {
            self.0.kind()
        }
        fn start(&mut self, scope: &mut Scope<'_>) -> Result<(), Errno> {
            self.0.start(scope)
        }
        fn cancel(&mut self, _: &mut Scope<'_>) -> Answer {
            panic!("on purpose")
        }
    }
    on_both(|handle| {
        let duo = Duo::new(u64::MAX);
        let seen = duo.seen.clone();
        let id = begin(handle, Panics(duo), &SubmitOptions::default(), calls(1)).unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| engine(handle).cancel(id)));
        assert!(panicked.is_err());
        handle.poison(); // As the boundary does.
        handle.destroy().unwrap();
        assert_eq!(seen.lock().unwrap().drops, 1);
    });
}
