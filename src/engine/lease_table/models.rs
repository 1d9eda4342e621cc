//! Every interleaving of the owner of a lease table with threads that release, explored by loom in
//! a build with `--cfg loom` (`tools/loom`). At most three preemptions in a run, unless
//! LOOM_MAX_PREEMPTIONS says otherwise; 0 there: as many as there are.

use super::*;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

const PREEMPTIONS_MAX: usize = 3;

fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    let bound = builder.preemption_bound.unwrap_or(PREEMPTIONS_MAX);
    builder.preemption_bound = (bound != 0).then_some(bound);
    println!("preemption bound: {:?}", builder.preemption_bound);
    builder.check(model);
}

fn piece(buffer: u32) -> Piece {
    Piece { data: NonNull::dangling(), len: 1, buffer }
}

/// A table with so many leases issued, of buffers with their numbers; their ids.
fn leased(count: u32) -> (Arc<LeaseTable>, Vec<i64>) {
    let leases = LeaseTable::new(1);
    let numbers = leases.grow().unwrap();
    let ids = numbers.take(count as usize).map(|number| leases.issue(number, piece(number)));
    let ids = ids.map(|id| id.unwrap()).collect();
    (Arc::new(leases), ids)
}

/// Ends a lease and gives its number back. True: the owner is to be told.
fn release(leases: &LeaseTable, id: i64) -> bool {
    leases.push(leases.end(id).unwrap())
}

fn take(leases: &LeaseTable) -> Vec<u32> {
    let mut taken = Vec::new();
    leases.take_released(|number, piece| {
        assert_eq!(number, piece.buffer);
        taken.push(number);
    });
    taken
}

#[test]
fn whoever_used_a_buffer_is_done_when_it_comes_back() {
    explore(|| {
        let (leases, ids) = leased(1);
        let buffer = Arc::new(UnsafeCell::new(1));
        let user = {
            let (leases, buffer) = (leases.clone(), buffer.clone());
            thread::spawn(move || {
                // SAFETY: loom finds out whether somebody writes meanwhile.
                assert_eq!(buffer.with(|byte| unsafe { *byte }), 1);
                release(&leases, ids[0]);
            })
        };
        if take(&leases) == [0] {
            // SAFETY: as above.
            buffer.with_mut(|byte| unsafe { *byte = 2 });
        }
        user.join().unwrap();
    });
}

#[test]
fn a_lease_that_two_release_ends_once() {
    explore(|| {
        let (leases, ids) = leased(1);
        let users = [(); 2].map(|()| {
            let (leases, id) = (leases.clone(), ids[0]);
            thread::spawn(move || leases.end(id).map(|number| leases.push(number)).is_ok())
        });
        let ended = users.map(|user| user.join().unwrap());
        assert_ne!(ended[0], ended[1]);
        assert_eq!(take(&leases), [0]);
    });
}

#[test]
fn an_owner_that_waits_sees_a_release_or_is_told() {
    explore(|| {
        let (leases, ids) = leased(2);
        let users = [ids[0], ids[1]].map(|id| {
            let leases = leases.clone();
            thread::spawn(move || release(&leases, id))
        });
        leases.set_thirsty(true);
        let seen = take(&leases).len();
        let told = users.map(|user| user.join().unwrap());
        assert!(seen > 0 || told[0] || told[1]);
        assert!(!(told[0] && told[1]), "one message is enough");
        assert_eq!(seen + take(&leases).len(), 2);
    });
}

#[test]
fn what_is_released_while_the_owner_takes_is_taken_once() {
    explore(|| {
        let (leases, ids) = leased(3);
        let users = [vec![ids[0], ids[1]], vec![ids[2]]].map(|ids| {
            let leases = leases.clone();
            thread::spawn(move || {
                for id in ids {
                    release(&leases, id);
                }
            })
        });
        let mut taken = take(&leases);
        taken.extend(take(&leases));
        users.into_iter().for_each(|user| user.join().unwrap());
        taken.extend(take(&leases));
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2]);
    });
}

#[test]
fn an_old_id_does_not_end_the_next_lease_of_its_number() {
    explore(|| {
        let (leases, ids) = leased(1);
        let old = ids[0];
        let users = [(); 2].map(|()| {
            let leases = leases.clone();
            thread::spawn(move || leases.end(old).map(|number| leases.push(number)).is_ok())
        });
        let new = (take(&leases) == [0]).then(|| leases.issue(0, piece(0)).unwrap());
        let ended = users.map(|user| user.join().unwrap());
        assert_ne!(ended[0], ended[1]);
        if let Some(new) = new {
            assert_eq!(leases.find(new).map(|piece| piece.buffer), Ok(0));
            assert_eq!(leases.end(new), Ok(0));
        }
    });
}
