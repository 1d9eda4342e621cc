//! What the counters by opcode say of external operations: they are like any other.

use super::inner::host;
use super::*;

#[test]
fn operations_are_counted_by_opcode() {
    on_both(|handle| {
        let most_at_a_time = 2;
        for (user_data, result) in [(1, 5), (2, -5)] {
            let (toy, seen) = Toy::new(Answer::Coming);
            start(handle, toy, user_data);
            completer(&seen).end(result, 0, None);
        }
        let row = handle.counts.row(200);
        assert_eq!((row.in_flight, row.most, row.completed), (2, most_at_a_time, 0));
        run_all(handle);
        let (toy, _) = Toy::new(Answer::Removed);
        let id = start(handle, toy, 3);
        engine(handle).cancel(id).unwrap();
        let (toy, _) = Toy::new(Answer::Removed);
        start_with(handle, toy, 4, after(1));
        run_all(handle);
        // What does not begin was never submitted.
        let (mut toy, _) = Toy::new(Answer::Removed);
        toy.fails = Some(Errno::EIO);
        assert!(begin(handle, toy, &SubmitOptions::default(), calls(5)).is_err());
        // Nor are a service's own operations the program's.
        host(handle, Toy::new(Answer::Removed).0).unwrap();
        let row = handle.counts.row(200);
        assert_eq!((row.in_flight, row.most, row.submitted), (0, most_at_a_time, 4));
        assert_eq!((row.failed, row.cancelled, row.timed_out), (1, 1, 1));
        assert_eq!(handle.counts.total().completed, 4);
        assert_eq!(told().len(), 4);
        handle.destroy().unwrap();
    });
}
