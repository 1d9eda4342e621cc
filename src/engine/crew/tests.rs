//! Crews: how they grow and shrink, and that each task is run or given back, and never both. The
//! latter is explored by shuttle: RUSTFLAGS="--cfg shuttle" cargo test --lib shuttle.

use super::*;
use std::sync::Mutex as StdMutex;

/// What became of tasks, by name. Not among what is explored.
#[derive(Default)]
pub(crate) struct Log {
    pub run: StdMutex<Vec<u64>>,
    pub ended: StdMutex<Vec<(u64, i32)>>,
}

/// A task that notes what becomes of it; it runs until its gate opens, if it has one.
pub(crate) struct Toy {
    pub name: u64,
    pub log: Arc<Log>,
    pub gate: Option<Arc<(Mutex<bool>, Condvar)>>,
}

impl Task for Toy {
    type Sink = ();
    const INTERRUPTIBLE: bool = false;

    fn name(&self) -> u64 {
        self.name
    }

    fn perform(&self, _: &mut Own, _: &dyn Fn() -> bool) -> i32 {
        self.log.run.lock().unwrap().push(self.name);
        if let Some(gate) = &self.gate {
            let mut is_open = gate.0.lock().unwrap();
            while !*is_open {
                is_open = gate.1.wait(is_open).unwrap();
            }
        }
        self.name as i32
    }

    fn end(self, result: i32, _: &()) {
        self.log.ended.lock().unwrap().push((self.name, result));
    }
}

/// Each name that was given out was removed, left or run and ended, exactly one of them.
#[cfg(shuttle)]
pub(crate) fn check_fates(log: &Log, names: &[u64], removed: &[u64], left: &[u64]) {
    let run = log.run.lock().unwrap();
    let ended = log.ended.lock().unwrap();
    for &name in names {
        let times = |list: &[u64]| list.iter().filter(|&&other| other == name).count();
        let ends = ended.iter().filter(|&&end| end == (name, name as i32)).count();
        assert_eq!(times(&run), ends, "task {name} ran and did not end, or the reverse");
        assert_eq!(times(removed) + times(left) + ends, 1, "task {name} had no fate, or two");
    }
    assert_eq!(removed.len() + left.len() + ended.len(), names.len());
}

pub(crate) fn limits(threads_max: usize, queue_max: usize) -> Limits {
    Limits {
        name: "crew-test".into(),
        threads_min: 0,
        threads_max,
        threads_eager: threads_max,
        queue_max,
        idle: Duration::from_millis(20),
        stack_bytes: 128 * 1024,
        cpus: None,
    }
}

#[cfg(shuttle)]
mod shuttle_tests {
    use super::*;
    use shuttle::thread;

    #[test]
    fn shuttle_each_task_runs_or_is_given_back() {
        let who = Credentials::of_caller();
        let explore = move || {
            let log = Arc::new(Log::default());
            let crew = Arc::new(Crew::<Toy>::new(limits(2, 8), ()));
            let submit = |crew: &Crew<Toy>| {
                let log = log.clone();
                match crew.submit(who, |name| Toy { name, log, gate: None }) {
                    Submitted::Taken(name) => name,
                    other => panic!("{other:?}"),
                }
            };
            let names: Vec<u64> = (0..3).map(|_| submit(&crew)).collect();
            let canceller = {
                let (crew, names) = (crew.clone(), names.clone());
                thread::spawn(move || {
                    let removed = |name: &u64| crew.cancel(*name) == Cancel::Removed;
                    names.into_iter().rev().filter(removed).collect::<Vec<_>>()
                })
            };
            let more = submit(&crew);
            let mut removed: Vec<u64> = Some(more)
                .into_iter()
                .filter(|&name| crew.cancel(name) == Cancel::Removed)
                .collect();
            let left: Vec<u64> = crew.stop().iter().map(Task::name).collect();
            removed.extend(canceller.join().unwrap());
            let names: Vec<u64> = names.into_iter().chain([more]).collect();
            check_fates(&log, &names, &removed, &left);
        };
        shuttle::check_random(explore, 100_000);
    }

    #[test]
    fn shuttle_no_task_is_refused_while_others_start_the_last_thread() {
        let who = Credentials::of_caller();
        let explore = move || {
            let log = Arc::new(Log::default());
            let crew = Arc::new(Crew::<Toy>::new(limits(1, 8), ()));
            let submit = |_| {
                let (crew, log) = (crew.clone(), log.clone());
                thread::spawn(move || crew.submit(who, |name| Toy { name, log, gate: None }))
            };
            let submitters: Vec<_> = (0..3).map(submit).collect();
            let taken = |thread: thread::JoinHandle<Submitted>| match thread.join().unwrap() {
                Submitted::Taken(name) => name,
                other => panic!("{other:?}"),
            };
            let names: Vec<u64> = submitters.into_iter().map(taken).collect();
            let left: Vec<u64> = crew.stop().iter().map(Task::name).collect();
            check_fates(&log, &names, &[], &left);
        };
        shuttle::check_random(explore, 100_000);
    }
}

#[cfg(not(shuttle))]
mod usual {
    use super::*;
    use crate::sys::clock;

    type Gate = Arc<(Mutex<bool>, Condvar)>;

    fn open(gate: &Gate) {
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
    }

    fn submit(crew: &Crew<Toy>, log: &Arc<Log>, gate: Option<&Gate>) -> Submitted {
        let (log, gate) = (log.clone(), gate.cloned());
        crew.submit(Credentials::of_caller(), |name| Toy { name, log, gate })
    }

    fn wait_until(what: impl Fn() -> bool) {
        while !what() {
            clock::sleep_ns(1_000_000);
        }
    }

    #[test]
    fn a_crew_grows_while_work_waits_and_shrinks_when_it_idles() {
        let (log, gate) = (Arc::new(Log::default()), Gate::default());
        let crew = Crew::new(Limits { threads_min: 1, ..limits(3, 2) }, ());
        assert_eq!(crew.head().threads, 0);
        for name in 1..=5 {
            assert_eq!(submit(&crew, &log, Some(&gate)), Submitted::Taken(name));
        }
        // Three threads and two places: one more is too many.
        assert_eq!(submit(&crew, &log, None), Submitted::Full);
        wait_until(|| crew.head().running == 3);
        assert_eq!((crew.head().threads, crew.head().queued), (3, 2));
        assert_eq!(submit(&crew, &log, None), Submitted::Full);
        assert_eq!(crew.cancel(5), Cancel::Removed);
        assert_eq!(crew.cancel(1), Cancel::Running);
        assert_eq!(crew.cancel(6), Cancel::Unknown);
        open(&gate);
        wait_until(|| log.ended.lock().unwrap().len() == 4);
        wait_until(|| crew.head().threads == 1);
        assert_eq!(crew.stop().len(), 0);
        assert_eq!(crew.head().threads, 0);
        assert_eq!(submit(&crew, &log, None), Submitted::Full);
    }

    #[test]
    fn stopping_gives_back_what_has_not_begun_and_waits_for_what_runs() {
        let (log, gate) = (Arc::new(Log::default()), Gate::default());
        let crew = Crew::new(limits(1, 8), ());
        for name in 1..=4 {
            assert_eq!(submit(&crew, &log, Some(&gate)), Submitted::Taken(name));
        }
        wait_until(|| crew.head().running == 1);
        let opener = std::thread::spawn(move || {
            clock::sleep_ns(20_000_000);
            open(&gate);
        });
        let left: Vec<u64> = crew.stop().iter().map(Task::name).collect();
        assert_eq!((left, log.ended.lock().unwrap().clone()), (vec![2, 3, 4], vec![(1, 1)]));
        opener.join().unwrap();
    }
}
