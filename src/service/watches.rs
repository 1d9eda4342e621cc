//! Watching files and directories. The watches of a context share one inotify instance, of which a
//! user may have few (128), and which is there while there are watches: its *host* reads it. Two
//! operations that watch the same file have one watch of the kernel's between them, which tells
//! what either wants; here each gets what it has asked for.

use crate::engine::external::{Answer, Completer, External, Inner, Kind, Payload, Scope, begin};
use crate::engine::handle::Handle;
use crate::engine::{Done, Refusal, SubmitOptions};
use crate::op::poll::Poll;
use crate::op::{service, traits};
use crate::sys::errno::Errno;
use crate::sys::inotify::{ALL_EVENTS, Event, FLAGS, IGNORED, Inotify, OVERFLOW, UNASKED};
use crate::sys::poller::events;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::rc::Rc;

/// Batches that are read at once before a watch joins others of the same file.
const CATCH_UP: usize = 64;

/// What a callback is about.
pub(crate) struct Change {
    pub(crate) mask: u32,
    pub(crate) cookie: u32,
    pub(crate) name: CString,
}

impl Payload for Change {}

/// The instance of a context and who watches.
struct Station {
    inotify: Inotify,
    watchers: BTreeMap<i32, Vec<Watcher>>,
    /// Ends the host.
    host: Option<Completer>,
}

struct Watcher {
    completer: Completer,
    mask: u32,
}

/// What came of a look at the instance.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    All,
    /// The kernel has had no room for more.
    Lost,
}

type Shared = Rc<RefCell<Station>>;

/// What a context keeps: its station, while there are watches.
#[derive(Default)]
struct Place(RefCell<Option<Shared>>);

impl Watcher {
    fn tell(&self, event: &Event) {
        if event.mask & (self.mask & ALL_EVENTS | UNASKED) == 0 {
            return;
        }
        let Event { mask, cookie, ref name, .. } = *event;
        let change = Change { mask, cookie, name: name.clone() };
        self.completer.more(mask as i32, cookie.into(), Some(Box::new(change)));
    }
}

impl Station {
    /// Tells some of what has happened; whether there was anything.
    fn serve(&mut self) -> Result<bool, Errno> {
        let mut told = self.tell()?;
        let anything = told != Told::Nothing;
        if told == Told::Lost {
            for _ in 0..CATCH_UP {
                if told == Told::Nothing {
                    break;
                }
                told = self.tell()?;
            }
            self.end_unwatched();
        }
        Ok(anything)
    }

    fn tell(&mut self) -> Result<Told, Errno> {
        let events = self.inotify.read()?;
        let mut told = if events.is_empty() { Told::Nothing } else { Told::All };
        for event in &events {
            if event.mask & OVERFLOW != 0 {
                told = Told::Lost;
                self.watchers.values().flatten().for_each(|watcher| watcher.tell(event));
            }
            let Some(watchers) = self.watchers.get(&event.watch) else { continue };
            watchers.iter().for_each(|watcher| watcher.tell(event));
            if event.mask & IGNORED != 0 {
                self.end(event.watch);
            }
        }
        Ok(told)
    }

    /// What is watched is gone.
    fn end(&mut self, watch: i32) {
        for watcher in self.watchers.remove(&watch).into_iter().flatten() {
            watcher.completer.end(IGNORED as i32, 0, None);
        }
    }

    /// Among the events that were lost can be some that say that something is gone.
    fn end_unwatched(&mut self) {
        let Some(living) = self.inotify.living() else { return };
        let gone = self.watchers.keys().filter(|watch| !living.contains(watch));
        for watch in gone.copied().collect::<Vec<_>>() {
            self.end(watch);
        }
    }

    /// Somebody watches no longer; whether they did.
    fn remove(&mut self, watch: i32, id: u64) -> bool {
        let Some(watchers) = self.watchers.get_mut(&watch) else { return false };
        let before = watchers.len();
        watchers.retain(|watcher| watcher.completer.id() != id);
        let removed = watchers.len() != before;
        if watchers.is_empty() {
            self.watchers.remove(&watch);
            self.inotify.remove(watch);
        }
        removed
    }
}

impl Place {
    /// Ends the host when nobody watches any more.
    fn tidy(&self, station: &Shared) {
        if !station.borrow().watchers.is_empty() {
            return;
        }
        if let Some(host) = station.borrow_mut().host.take() {
            host.end(0, 0, None);
        }
        // The next watch may have one of its own by now.
        self.0.borrow_mut().take_if(|present| Rc::ptr_eq(present, station));
    }
}

/// Reads the instance when there is something.
struct Host {
    place: Rc<Place>,
    station: Shared,
}

impl Host {
    fn poll(&self, scope: &mut Scope<'_>) -> Result<(), Errno> {
        let fd = self.station.borrow().inotify.raw();
        let poll = Poll::<false> { fd, events: events::IN };
        scope.submit(&poll, &SubmitOptions::default()).map(drop)
    }
}

impl External for Host {
    fn kind(&self) -> Kind {
        Kind { opcode: service::WATCH, ..Kind::default() }
    }

    fn start(&mut self, scope: &mut Scope<'_>) -> Result<(), Errno> {
        self.poll(scope)?;
        self.station.borrow_mut().host = Some(scope.completer().clone());
        Ok(())
    }

    fn cancel(&mut self, _: &mut Scope<'_>) -> Answer {
        Answer::Removed
    }

    fn completed(&mut self, scope: &mut Scope<'_>, inner: Inner) {
        let served = match Errno::check(inner.result) {
            Ok(_) => self.station.borrow_mut().serve(),
            Err(errno) => Err(errno),
        };
        // What is left, or has come meanwhile, ends the next poll at once.
        let outcome = match served {
            Ok(_) if self.station.borrow().watchers.is_empty() => Ok(()),
            Ok(_) => self.poll(scope),
            Err(errno) => Err(errno),
        };
        if let Err(errno) = outcome {
            let watchers = std::mem::take(&mut self.station.borrow_mut().watchers);
            for watcher in watchers.into_values().flatten() {
                watcher.completer.end(errno.status(), 0, None);
            }
        }
        self.place.tidy(&self.station);
    }

    fn place(&self) -> &'static str {
        "reading what has changed"
    }
}

struct Watch {
    place: Rc<Place>,
    path: CString,
    mask: u32,
    /// The station that it is with, and its number there.
    with: Option<(Shared, i32)>,
}

impl Watch {
    fn join(&mut self, scope: &Scope<'_>, station: Shared) -> Result<(), Errno> {
        let mut present = station.borrow_mut();
        let watch = present.inotify.add(&self.path, self.mask)?;
        if present.watchers.contains_key(&watch) {
            // What came before is the others'.
            for _ in 0..CATCH_UP {
                if !present.serve()? {
                    break;
                }
            }
            if !present.watchers.contains_key(&watch) {
                // Gone, with those who watched it.
                return Err(Errno::ENOENT);
            }
        }
        let completer = scope.completer().clone();
        present.watchers.entry(watch).or_default().push(Watcher { completer, mask: self.mask });
        drop(present);
        self.with = Some((station, watch));
        Ok(())
    }
}

impl External for Watch {
    fn kind(&self) -> Kind {
        let (opcode, traits) = (service::WATCH, traits::MULTISHOT);
        Kind { opcode, traits, brings: true, ..Kind::default() }
    }

    fn start(&mut self, scope: &mut Scope<'_>) -> Result<(), Errno> {
        let known = self.place.0.borrow().clone();
        let station = match known {
            Some(station) => station,
            None => {
                let inotify = Inotify::create()?;
                let watchers = BTreeMap::new();
                let station = Rc::new(RefCell::new(Station { inotify, watchers, host: None }));
                scope.host(Host { place: self.place.clone(), station: station.clone() })?;
                self.place.0.replace(Some(station.clone()));
                station
            }
        };
        let joined = self.join(scope, station.clone());
        self.place.tidy(&station);
        joined
    }

    fn cancel(&mut self, scope: &mut Scope<'_>) -> Answer {
        let Some((station, watch)) = self.with.take() else { return Answer::Removed };
        let was_there = station.borrow_mut().remove(watch, scope.completer().id());
        self.place.tidy(&station);
        if was_there { Answer::Removed } else { Answer::Ended }
    }

    fn place(&self) -> &'static str {
        "watching"
    }
}

/// Submits a watch.
pub(crate) fn submit(
    handle: &Handle, path: &CStr, mask: u32, options: &SubmitOptions, done: Done,
) -> Result<u64, Refusal> {
    if mask & ALL_EVENTS == 0 || mask & !(ALL_EVENTS | FLAGS) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let place = handle.enter()?.kept::<Place>();
    let watch = Watch { place, path: path.to_owned(), mask, with: None };
    begin(handle, watch, options, done)
}
