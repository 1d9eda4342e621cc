//! loom's models of what threads share: every interleaving, up to a number of preemptions, of the
//! mailbox, of notifiers and channels upon it, and of destroy against those who send. Run by
//! `tools/loom`. The owner's loop is written out here as `turn.rs` and `destroy.rs` go
//! about it; what is modelled is the code itself, with an eventfd that a loom thread can sleep on.
//! A wake-up that is lost shows as a deadlock, a missing order as a race on what was sent.

use crate::engine::bell::{Bell, Claim, Listener, Occurrences};
use crate::engine::mailbox::{Batch, Mailbox, Message, Posted, Prepared};
use crate::engine::record_queue::{RecordQueue, Refused, Room};
use crate::sys::errno::Errno;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use std::ffi::c_void;
use std::ptr::NonNull;

/// In place of the kernel's.
pub(crate) struct EventFd {
    signalled: Mutex<bool>,
    changed: Condvar,
}

impl EventFd {
    pub(crate) fn create() -> Result<EventFd, Errno> {
        Ok(EventFd { signalled: Mutex::new(false), changed: Condvar::new() })
    }

    pub(crate) fn raw(&self) -> i32 {
        -1
    }

    pub(crate) fn signal(&self) {
        *self.signalled.lock().unwrap() = true;
        self.changed.notify_one();
    }

    /// Sleeps in the kernel until it is signalled.
    fn sleep(&self) {
        let mut signalled = self.signalled.lock().unwrap();
        while !*signalled {
            signalled = self.changed.wait(signalled).unwrap();
        }
        *signalled = false;
    }
}

/// Explores; says how far. LOOM_MAX_PREEMPTIONS says otherwise; 0 there: as far as there is.
fn explore(name: &str, preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    let bound = builder.preemption_bound.unwrap_or(preemptions);
    builder.preemption_bound = (bound != 0).then_some(bound);
    builder.max_branches = 100_000;
    let started = std::time::Instant::now();
    builder.check(model);
    let spent = started.elapsed().as_secs_f64();
    println!("{name}: preemption bound: {:?}, {spent:.1} s", builder.preemption_bound);
}

/// A posted function, known by its argument.
fn post(number: usize) -> Message {
    unsafe extern "C-unwind" fn nothing(_: *mut c_void) {}
    Message::Run(Posted(nothing, std::ptr::without_provenance_mut(number)))
}

fn number(message: Message) -> usize {
    match message {
        Message::Run(Posted(_, arg)) => arg.addr(),
        Message::Rung(id) => id as usize,
        _ => panic!("nobody sends such"),
    }
}

/// A turn of the owner's that has nothing to do but wait for mail; stays awake if there is some.
fn wait_for_mail(mailbox: &Mailbox) -> Batch {
    // A plain turn does not announce its sleep.
    if mailbox.is_calm() || mailbox.prepare_sleep(false) {
        mailbox.sleep_in_model(EventFd::sleep);
        mailbox.awake();
    }
    mailbox.take()
}

#[test]
fn posts_wake_the_owner_in_order() {
    explore("posts_wake_the_owner_in_order", 3, || {
        let mailbox = Arc::new(Mailbox::create().unwrap());
        let senders = [10, 20].map(|first| {
            let mailbox = mailbox.clone();
            thread::spawn(move || {
                for number in first..first + 2 {
                    assert!(mailbox.send(post(number)));
                    mailbox.wake();
                }
            })
        });
        let mut got = Vec::new();
        while got.len() < 4 {
            got.extend(wait_for_mail(&mailbox).map(number));
        }
        for first in [10, 20] {
            let of_one: Vec<_> = got.iter().filter(|&&it| it / 10 == first / 10).collect();
            assert_eq!(of_one, [&first, &(first + 1)]);
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
}

#[test]
fn a_stop_ends_a_sleep() {
    explore("a_stop_ends_a_sleep", 4, || {
        let mailbox = Arc::new(Mailbox::create().unwrap());
        let other = mailbox.clone();
        let stopper = thread::spawn(move || other.request_stop());
        while !mailbox.consume_stop() {
            drop(wait_for_mail(&mailbox));
        }
        stopper.join().unwrap();
    });
}

/// Destroy in two steps, as in `destroy.rs`: what is accepted is found, nothing else is.
#[test]
fn destroy_takes_what_was_accepted_and_refuses_the_rest() {
    explore("destroy_takes_what_was_accepted_and_refuses_the_rest", 3, || {
        let mailbox = Arc::new(Mailbox::create().unwrap());
        let senders = [1, 2].map(|number| {
            let mailbox = mailbox.clone();
            thread::spawn(move || {
                let accepted = mailbox.send(post(number));
                if accepted {
                    mailbox.wake();
                }
                (accepted, mailbox.send_prepared(Prepared::new(post(number + 10))).is_ok())
            })
        });
        let mut got: Vec<_> = mailbox.take().map(number).collect();
        got.extend(mailbox.close_to_posts().map(number));
        assert!(mailbox.take().next().is_none()); // Only ends would come now.
        drop(mailbox.close());
        let mut accepted = Vec::new();
        for (sender, number) in senders.into_iter().zip([1, 2]) {
            let (first, second) = sender.join().unwrap();
            assert!(first || !second); // The second is not before the first.
            accepted.extend(first.then_some(number));
            accepted.extend(second.then_some(number + 10));
        }
        got.sort();
        accepted.sort();
        assert_eq!(got, accepted);
    });
}

/// A context, as a bell knows it.
impl Listener for Arc<Mailbox> {
    fn call(&self, message: Prepared) -> Result<(), Prepared> {
        self.send_prepared(message)?;
        self.wake();
        Ok(())
    }

    fn call_here(&self, message: Prepared) -> Result<(), Prepared> {
        self.send_prepared(message)
    }
}

struct Notifier {
    signals: Occurrences,
    bell: Bell<Arc<Mailbox>>,
}

impl Notifier {
    fn new() -> Arc<Notifier> {
        Arc::new(Notifier { signals: Occurrences::new(), bell: Bell::new() })
    }

    fn signal(&self) -> bool {
        let counted = self.signals.add();
        self.bell.ring();
        counted
    }

    fn listen(&self, claim: &Claim, mailbox: &Arc<Mailbox>) {
        self.bell.listen(claim, mailbox.clone(), Message::Rung(1), || self.signals.is_due());
    }
}

#[test]
fn signals_are_counted_and_none_is_slept_through() {
    explore("signals_are_counted_and_none_is_slept_through", 3, || {
        let (mailbox, notifier) = (Arc::new(Mailbox::create().unwrap()), Notifier::new());
        let senders = [2, 1].map(|signals| {
            let notifier = notifier.clone();
            thread::spawn(move || (0..signals).for_each(|_| assert!(notifier.signal())))
        });
        let claim = notifier.bell.claim().unwrap();
        assert!(notifier.bell.claim().is_none());
        let mut counted = 0;
        notifier.listen(&claim, &mailbox);
        while counted < 3 {
            for message in wait_for_mail(&mailbox) {
                assert_eq!(number(message), 1);
                counted += notifier.signals.take().unwrap();
                notifier.listen(&claim, &mailbox);
            }
        }
        notifier.bell.stop_listening(&claim);
        notifier.bell.release(claim);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        assert_eq!((counted, notifier.signals.take()), (3, Some(0)));
    });
}

/// One wait is given up while somebody signals; the next one is told, whoever was rung for.
#[test]
fn a_signal_is_not_lost_with_a_wait_that_was_given_up() {
    explore("a_signal_is_not_lost_with_a_wait_that_was_given_up", 4, || {
        let (mailbox, notifier) = (Arc::new(Mailbox::create().unwrap()), Notifier::new());
        let other = notifier.clone();
        let sender = thread::spawn(move || assert!(other.signal()));
        let claim = notifier.bell.claim().unwrap();
        notifier.listen(&claim, &mailbox);
        notifier.bell.stop_listening(&claim);
        notifier.bell.release(claim);
        let claim = notifier.bell.claim().unwrap();
        notifier.listen(&claim, &mailbox);
        let mut counted = 0;
        while counted == 0 {
            wait_for_mail(&mailbox).for_each(drop);
            counted = notifier.signals.take().unwrap();
        }
        assert_eq!(counted, 1);
        sender.join().unwrap();
    });
}

#[test]
fn closing_a_notifier_is_told_after_its_signals() {
    explore("closing_a_notifier_is_told_after_its_signals", 3, || {
        let (mailbox, notifier) = (Arc::new(Mailbox::create().unwrap()), Notifier::new());
        let other = notifier.clone();
        let sender = thread::spawn(move || other.signal());
        let other = notifier.clone();
        let closer = thread::spawn(move || {
            other.signals.close();
            other.bell.ring();
        });
        let claim = notifier.bell.claim().unwrap();
        notifier.listen(&claim, &mailbox);
        let mut counted = 0;
        'told: loop {
            for _ in wait_for_mail(&mailbox) {
                let Some(count) = notifier.signals.take() else { break 'told };
                counted += count;
                notifier.listen(&claim, &mailbox);
            }
        }
        assert_eq!(counted, u64::from(sender.join().unwrap()));
        closer.join().unwrap();
    });
}

/// The memory of a context goes while somebody signals what one of its operations waited for.
#[test]
fn destroy_of_a_context_that_waits_races_with_a_signal() {
    explore("destroy_of_a_context_that_waits_races_with_a_signal", 4, || {
        let (mailbox, notifier) = (Arc::new(Mailbox::create().unwrap()), Notifier::new());
        let other = notifier.clone();
        let sender = thread::spawn(move || assert!(other.signal()));
        let claim = notifier.bell.claim().unwrap();
        notifier.listen(&claim, &mailbox);
        drop(mailbox.close_to_posts());
        notifier.bell.stop_listening(&claim);
        notifier.bell.release(claim);
        drop(mailbox.close());
        drop(mailbox);
        sender.join().unwrap();
        assert_eq!(notifier.signals.take(), Some(1));
    });
}

struct Channel {
    queue: RecordQueue,
    bell: Bell<Arc<Mailbox>>,
}

impl Channel {
    fn new(capacity: usize) -> Arc<Channel> {
        let queue = RecordQueue::create(capacity, 8).unwrap();
        Arc::new(Channel { queue, bell: Bell::new() })
    }

    fn send(&self, number: u64) -> Result<(), Refused> {
        self.queue.push(&number.to_ne_bytes())?;
        self.bell.ring();
        Ok(())
    }

    fn listen(&self, claim: &Claim, mailbox: &Arc<Mailbox>) {
        self.bell.listen(claim, mailbox.clone(), Message::Rung(1), || self.queue.is_due());
    }

    fn take(&self, claim: &Claim) -> Vec<u64> {
        let mut records = [0u64; 2];
        // SAFETY: room for two.
        let room = unsafe { Room::new(NonNull::from(&mut records).cast(), 2) };
        records[..self.queue.pop(claim, &room) as usize].to_vec()
    }
}

#[test]
fn a_channel_brings_everything_in_order_and_once() {
    explore("a_channel_brings_everything_in_order_and_once", 2, || {
        let (mailbox, channel) = (Arc::new(Mailbox::create().unwrap()), Channel::new(2));
        let senders = [10, 20].map(|first| {
            let channel = channel.clone();
            thread::spawn(move || {
                let sent = [channel.send(first), channel.send(first + 1)];
                sent.iter().filter(|sent| sent.is_ok()).count()
            })
        });
        let claim = channel.bell.claim().unwrap();
        channel.listen(&claim, &mailbox);
        let mut got = Vec::new();
        // Two fit in any case.
        while got.len() < 2 {
            for _ in wait_for_mail(&mailbox) {
                got.extend(channel.take(&claim));
                channel.listen(&claim, &mailbox);
            }
        }
        let sent: usize = senders.map(|sender| sender.join().unwrap()).iter().sum();
        while got.len() < sent {
            let more = channel.take(&claim);
            assert_ne!(more.len(), 0);
            got.extend(more);
        }
        assert_eq!(channel.take(&claim), []);
        for sender in [1, 2] {
            let of_one: Vec<_> = got.iter().filter(|&&it| it / 10 == sender).collect();
            assert!(of_one.is_sorted());
        }
    });
}

#[test]
fn what_was_sent_before_a_close_is_received() {
    explore("what_was_sent_before_a_close_is_received", 3, || {
        let (mailbox, channel) = (Arc::new(Mailbox::create().unwrap()), Channel::new(2));
        let other = channel.clone();
        let sender = thread::spawn(move || [other.send(1), other.send(2)]);
        let other = channel.clone();
        let closer = thread::spawn(move || {
            other.queue.close();
            other.bell.ring();
        });
        let claim = channel.bell.claim().unwrap();
        channel.listen(&claim, &mailbox);
        let mut got = Vec::new();
        'open: loop {
            for _ in wait_for_mail(&mailbox) {
                got.extend(channel.take(&claim));
                if channel.queue.has_ended() {
                    break 'open;
                }
                channel.listen(&claim, &mailbox);
            }
        }
        let sent = sender.join().unwrap();
        let accepted = [1, 2].into_iter().zip(sent).filter_map(|(it, sent)| sent.ok().map(|()| it));
        assert_eq!(got, accepted.collect::<Vec<_>>());
        assert!(sent.iter().all(|sent| !matches!(sent, Err(Refused::Full))));
        assert_eq!(channel.send(3), Err(Refused::Closed));
        closer.join().unwrap();
    });
}

#[test]
fn a_single_place_is_used_again_and_again() {
    explore("a_single_place_is_used_again_and_again", 3, || {
        let (mailbox, channel) = (Arc::new(Mailbox::create().unwrap()), Channel::new(1));
        let other = channel.clone();
        let sender = thread::spawn(move || [1, 2].map(|number| other.send(number).is_ok()));
        let claim = channel.bell.claim().unwrap();
        channel.listen(&claim, &mailbox);
        let mut got = Vec::new();
        while got.is_empty() {
            for _ in wait_for_mail(&mailbox) {
                got.extend(channel.take(&claim));
                channel.listen(&claim, &mailbox);
            }
        }
        let sent = sender.join().unwrap();
        got.extend(channel.take(&claim));
        let accepted = [1, 2].into_iter().zip(sent).filter_map(|(it, sent)| sent.then_some(it));
        assert_eq!(got, accepted.collect::<Vec<_>>());
    });
}
