//! Buffer pools on rings that do what this kernel's do not: tell of a refusal before they tell of
//! the receives that emptied the pool, lack multishot reads, fail. The ring's calls are replaced,
//! for the contexts of this thread alone.

use aio_rs::ffi::buffers::*;
use aio_rs::ffi::ctx::*;
use aio_rs::ffi::misc::aio_submit_nop;
use aio_rs::ffi::stats::{aio_ctx_info, aio_info};
use aio_rs::ffi::status::AIO_EPANIC;
use aio_rs::ffi::submit::*;
use aio_rs::ffi::{aio_buffer_pool, aio_ctx};
use aio_rs::testing::Calls;
use linux_raw_sys::io_uring as abi;
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::ptr::{null, null_mut};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

const ENOBUFS: i32 = -105;
const BUFFER_LEN: usize = 8;

/// A ring's queue of completions, mapped a second time.
#[derive(Clone, Copy)]
struct Completions {
    flags: *const AtomicU32,
    tail: *const AtomicU32,
    entries: *mut [u64; 2],
    mask: u32,
}

thread_local! {
    /// Refusals are told first, of the next ring.
    static REFUSALS_FIRST: Cell<bool> = const { Cell::new(false) };
    static COMPLETIONS: Cell<Option<Completions>> = const { Cell::new(None) };
    /// With a refusal, completions are said to wait for room, until somebody asks for them.
    static OVERFLOWS: Cell<bool> = const { Cell::new(false) };
    /// How many were told before something else of their call.
    static TOLD_FIRST: Cell<usize> = const { Cell::new(0) };
    /// The kernel has no multishot reads, as the next ring is told.
    static LACKS_READS: Cell<bool> = const { Cell::new(false) };
    /// The next enter panics.
    static PANICS: Cell<bool> = const { Cell::new(false) };
}

static REPLACED: Calls = Calls { setup, enter, register };

unsafe fn setup(entries: u32, params: *mut abi::io_uring_params) -> i32 {
    // SAFETY: passed on; the structure is the caller's, and filled now.
    unsafe {
        let fd = (Calls::kernel().setup)(entries, params);
        let is_wanted = fd >= 0 && REFUSALS_FIRST.replace(false);
        COMPLETIONS.set(is_wanted.then(|| map_completions(fd, &*params)));
        fd
    }
}

unsafe fn map_completions(fd: i32, params: &abi::io_uring_params) -> Completions {
    let len = params.cq_off.cqes as usize + params.cq_entries as usize * size_of::<[u64; 2]>();
    // SAFETY: a mapping of the ring; it stays until the process ends.
    unsafe {
        let base = mmap(null_mut(), len, 3, 1, fd, abi::IORING_OFF_CQ_RING as i64);
        assert_ne!(base as isize, -1, "the ring cannot be mapped");
        let base = base.cast::<u8>();
        Completions {
            flags: base.add(params.sq_off.flags as usize).cast(),
            tail: base.add(params.cq_off.tail as usize).cast(),
            entries: base.add(params.cq_off.cqes as usize).cast(),
            mask: params.cq_entries - 1,
        }
    }
}

unsafe extern "C" {
    fn mmap(addr: *mut c_void, len: usize, prot: i32, flags: i32, fd: i32, at: i64) -> *mut c_void;
}

unsafe fn enter(
    fd: usize, to_submit: usize, min_complete: usize, flags: usize, arg: usize, size: usize,
) -> i32 {
    assert!(!PANICS.replace(false), "an injected failure of the engine");
    let tail = || COMPLETIONS.get().map(|queue| queue.tail_now());
    if let Some(queue) = COMPLETIONS.get()
        && flags as u32 & abi::IORING_ENTER_GETEVENTS != 0
    {
        queue.say_overflown(false);
    }
    let before = tail();
    // SAFETY: passed on.
    let taken = unsafe { (Calls::kernel().enter)(fd, to_submit, min_complete, flags, arg, size) };
    if let (Some(queue), Some(before), Some(after)) = (COMPLETIONS.get(), before, tail()) {
        queue.tell_refusals_first(before, after);
    }
    taken
}

impl Completions {
    fn tail_now(&self) -> u32 {
        // SAFETY: in the mapping. Pairs with the kernel's release.
        unsafe { (*self.tail).load(Ordering::Acquire) }
    }

    fn say_overflown(&self, overflown: bool) {
        // SAFETY: in the mapping.
        let flags = unsafe { &*self.flags };
        match overflown {
            true => flags.fetch_or(abi::IORING_SQ_CQ_OVERFLOW, Ordering::Relaxed),
            false => flags.fetch_and(!abi::IORING_SQ_CQ_OVERFLOW, Ordering::Relaxed),
        };
    }

    /// Orders what was added between two tails, as Linux 6.1 tells of it.
    fn tell_refusals_first(&self, before: u32, after: u32) {
        // SAFETY: the masked position is inside the mapping.
        let at = |position: u32| unsafe { self.entries.add((position & self.mask) as usize) };
        let positions = || (0..after.wrapping_sub(before)).map(|step| before.wrapping_add(step));
        // SAFETY: added, and nobody else's until the call returns.
        let added: Vec<[u64; 2]> =
            positions().map(|position| unsafe { at(position).read() }).collect();
        let is_refusal = |entry: &&[u64; 2]| entry[1] as u32 as i32 == ENOBUFS;
        let others = added.iter().filter(|entry| !is_refusal(entry));
        let ordered: Vec<_> = added.iter().filter(is_refusal).chain(others).copied().collect();
        let refusals = added.iter().filter(is_refusal).count();
        if refusals > 0 && OVERFLOWS.get() {
            self.say_overflown(true);
        }
        if refusals < added.len() {
            TOLD_FIRST.set(TOLD_FIRST.get() + refusals);
        }
        for (position, entry) in positions().zip(ordered) {
            // SAFETY: as above.
            unsafe { at(position).write(entry) };
        }
    }
}

unsafe fn register(fd: i32, opcode: u32, arg: usize, count: u32) -> i32 {
    const PROBE: u32 = abi::io_uring_register_op::IORING_REGISTER_PROBE as u32;
    const READ_MULTISHOT: usize = abi::io_uring_op::IORING_OP_READ_MULTISHOT as usize;
    // SAFETY: passed on; a probe has 16 bytes of head and 8 of each opcode.
    unsafe {
        let result = (Calls::kernel().register)(fd, opcode, arg, count);
        if opcode == PROBE && LACKS_READS.replace(false) {
            ((arg + 16 + 8 * READ_MULTISHOT) as *mut [u8; 8]).write([0; 8]);
        }
        result
    }
}

/// A context on a ring, with a pool of `count` buffers.
struct Fixture {
    ctx: *mut aio_ctx,
    pool: *mut aio_buffer_pool,
}

/// None: there are no rings here.
fn fixture(count: u32) -> Option<Fixture> {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| Calls::install(Some(&REPLACED)));
    // SAFETY: zeroes are the defaults; the outputs are valid.
    unsafe {
        let mut options: aio_ctx_options = std::mem::zeroed();
        options.size = size_of::<aio_ctx_options>() as u32;
        let mut info: aio_info = std::mem::zeroed();
        info.size = size_of::<aio_info>() as u32;
        let mut ctx = null_mut();
        assert_eq!(aio_ctx_create(&options, &mut ctx), 0);
        assert_eq!(aio_ctx_info(ctx, &mut info), 0);
        if info.backend != AIO_BACKEND_URING {
            assert_eq!(aio_ctx_destroy(ctx), 0);
            return None;
        }
        let mut buffers: aio_buffer_pool_options = std::mem::zeroed();
        buffers.size = size_of::<aio_buffer_pool_options>() as u32;
        buffers.count = count;
        buffers.buffer_size = BUFFER_LEN as u32;
        let mut pool = null_mut();
        assert_eq!(aio_buffer_pool_create(ctx, &buffers, &mut pool), 0);
        Some(Fixture { ctx, pool })
    }
}

impl Fixture {
    fn info(&self) -> aio_pool_info {
        // SAFETY: numbers alone; the pool is alive.
        unsafe {
            let mut info: aio_pool_info = std::mem::zeroed();
            info.size = size_of::<aio_pool_info>() as u32;
            assert_eq!(aio_buffer_pool_info(self.pool, &mut info), 0);
            info
        }
    }

    fn run_once(&self) {
        // SAFETY: the context is alive.
        assert!(unsafe { aio_ctx_run_once(self.ctx, -1) } > 0);
    }

    fn destroy(self) {
        // SAFETY: not used afterwards.
        unsafe {
            assert_eq!(aio_buffer_pool_destroy(self.pool), 0);
            assert_eq!(aio_ctx_destroy(self.ctx), 0);
        }
    }
}

/// What an operation's callback was told, and the data that came.
struct Told {
    ctx: *mut aio_ctx,
    calls: RefCell<Vec<(i32, u32, Vec<u8>)>>,
    /// What it has leased is released at once, or by the test.
    keeps: bool,
    kept: RefCell<Vec<(*mut aio_buffer_pool, i64)>>,
    pool: *mut aio_buffer_pool,
}

impl Told {
    fn of(fixture: &Fixture, keeps: bool) -> Box<Told> {
        let (calls, kept) = (RefCell::default(), RefCell::default());
        Box::new(Told { ctx: fixture.ctx, pool: fixture.pool, calls, keeps, kept })
    }

    fn user_data(&self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    fn calls(&self) -> Vec<(i32, u32, Vec<u8>)> {
        self.calls.borrow().clone()
    }

    fn release(&self) {
        for (pool, lease) in self.kept.take() {
            // SAFETY: a lease that was kept.
            assert_eq!(unsafe { aio_buffer_pool_release(pool, lease) }, 0);
        }
    }
}

unsafe extern "C-unwind" fn on_data(user_data: *mut c_void, result: i32, flags: u32) {
    // SAFETY: every test passes a `Told` that outlives its operation; the lease is its own.
    unsafe {
        let told = &*user_data.cast::<Told>();
        let mut data = Vec::new();
        let mut lease: aio_buffer_lease = std::mem::zeroed();
        lease.size = size_of::<aio_buffer_lease>() as u32;
        if flags & AIO_CQE_BUFFER != 0 {
            assert_eq!(aio_ctx_take_buffer(told.ctx, &mut lease), 0);
            data = std::slice::from_raw_parts(lease.data.cast::<u8>(), lease.len as usize).to_vec();
            told.kept.borrow_mut().push((told.pool, lease.id));
        }
        told.calls.borrow_mut().push((result, flags, data));
        if !told.keeps {
            told.release();
        }
    }
}

const LAST: u32 = AIO_CQE_BUFFER;
const MORE: u32 = AIO_CQE_BUFFER | AIO_CQE_MORE;

#[test]
fn a_refusal_told_before_the_receives_that_emptied_the_pool_is_a_pause() {
    REFUSALS_FIRST.set(true);
    TOLD_FIRST.set(0);
    let Some(fixture) = fixture(2) else { return };
    let pairs: Vec<_> = (0..3).map(|_| UnixStream::pair().expect("a socket pair")).collect();
    let told: Vec<_> = pairs.iter().map(|_| Told::of(&fixture, true)).collect();
    for ((ours, _), told) in pairs.iter().zip(&told) {
        // SAFETY: the receiver of callbacks outlives the operation.
        let id = unsafe {
            let (fd, to) = (ours.as_raw_fd(), told.user_data());
            aio_submit_recv_pooled(fixture.ctx, fd, fixture.pool, 0, null(), Some(on_data), to)
        };
        assert!(id > 0);
    }
    // SAFETY: the context is alive.
    assert_eq!(unsafe { aio_ctx_run_once(fixture.ctx, 0) }, 0);
    for (number, (_, peer)) in pairs.iter().enumerate() {
        (&*peer).write_all(&[number as u8; 5]).expect("room in a socket");
    }
    while told.iter().map(|told| told.calls().len()).sum::<usize>() < 2 {
        fixture.run_once();
    }
    assert_eq!(TOLD_FIRST.get(), 1);
    assert_eq!((fixture.info().paused, fixture.info().pauses), (1, 1));
    told.iter().for_each(|told| told.release());
    fixture.run_once();
    for (number, told) in told.iter().enumerate() {
        assert_eq!(told.calls(), [(5, LAST, vec![number as u8; 5])]);
        told.release();
    }
    fixture.destroy();
}

#[test]
fn a_refusal_is_judged_when_nothing_but_overflown_completions_are_left() {
    REFUSALS_FIRST.set(true);
    OVERFLOWS.set(true);
    TOLD_FIRST.set(0);
    let Some(fixture) = fixture(1) else { return };
    let pairs: Vec<_> = (0..2).map(|_| UnixStream::pair().expect("a socket pair")).collect();
    // The one buffer goes back at once: it can be had while the refusal waits for its judgement.
    let told: Vec<_> = pairs.iter().map(|_| Told::of(&fixture, false)).collect();
    for ((ours, peer), told) in pairs.iter().zip(&told) {
        (&*peer).write_all(b"data").expect("room in a socket");
        // SAFETY: the receiver of callbacks outlives the operation.
        let id = unsafe {
            let (fd, to) = (ours.as_raw_fd(), told.user_data());
            aio_submit_recv_pooled(fixture.ctx, fd, fixture.pool, 0, null(), Some(on_data), to)
        };
        assert!(id > 0);
    }
    for _ in 0..10 {
        // SAFETY: the context is alive.
        assert!(unsafe { aio_ctx_run_once(fixture.ctx, 0) } >= 0);
    }
    OVERFLOWS.set(false);
    assert_eq!(TOLD_FIRST.get(), 1);
    for told in &told {
        assert_eq!(told.calls(), [(4, LAST, b"data".to_vec())]);
    }
    fixture.destroy();
}

#[test]
fn reads_of_a_ring_without_multishot_reads_are_started_again() {
    LACKS_READS.set(true);
    let Some(fixture) = fixture(2) else { return };
    let (ours, mut peer) = UnixStream::pair().expect("a socket pair");
    let told = Told::of(&fixture, true);
    // SAFETY: the receiver of callbacks outlives the operation.
    let id = unsafe {
        let (fd, to) = (ours.as_raw_fd(), told.user_data());
        aio_submit_read_multishot(fixture.ctx, fd, fixture.pool, null(), Some(on_data), to)
    };
    assert!(id > 0);
    for text in [&b"one"[..], b"twelve", b"3"] {
        peer.write_all(text).expect("room in a socket");
        let before = told.calls().len();
        if before == 2 {
            // Both buffers are kept: it waits for one.
            // SAFETY: the context is alive.
            assert_eq!(unsafe { aio_ctx_run_once(fixture.ctx, 0) }, 0);
            assert_eq!((told.calls().len(), fixture.info().paused), (2, 1));
            told.release();
        }
        while told.calls().len() == before {
            fixture.run_once();
        }
    }
    drop(peer);
    // SAFETY: the context is alive.
    assert_eq!(unsafe { aio_ctx_run(fixture.ctx) }, 0);
    let expected = [
        (3, MORE, b"one".to_vec()),
        (6, MORE, b"twelve".to_vec()),
        (1, MORE, b"3".to_vec()),
        (0, 0, Vec::new()),
    ];
    assert_eq!(told.calls(), expected);
    told.release();
    assert_eq!(fixture.info().free, 2);
    fixture.destroy();
}

#[test]
fn a_failure_of_the_engine_leaves_leases_readable_and_tells_nobody() {
    let Some(fixture) = fixture(2) else { return };
    let (ours, mut peer) = UnixStream::pair().expect("a socket pair");
    let told = Told::of(&fixture, true);
    // SAFETY: the receiver of callbacks outlives the context.
    let id = unsafe {
        let (fd, to) = (ours.as_raw_fd(), told.user_data());
        aio_submit_recv_multishot(fixture.ctx, fd, fixture.pool, 0, null(), Some(on_data), to)
    };
    assert!(id > 0);
    peer.write_all(b"kept").expect("room in a socket");
    fixture.run_once();
    peer.write_all(b"lost").expect("room in a socket");
    PANICS.set(true);
    // SAFETY: the context is alive; what was kept is a lease.
    unsafe {
        assert_eq!(aio_ctx_run_once(fixture.ctx, -1), AIO_EPANIC);
        let to = told.user_data();
        assert_eq!(aio_submit_nop(fixture.ctx, null(), Some(on_data), to), AIO_EPANIC.into());
        assert_eq!(aio_buffer_pool_grow(fixture.pool, 1), AIO_EPANIC);
        assert_eq!(aio_ctx_destroy(fixture.ctx), 0);
        assert_eq!(told.calls(), [(4, MORE, b"kept".to_vec())]);
        let (pool, lease) = told.kept.borrow()[0];
        let mut found: aio_buffer_lease = std::mem::zeroed();
        found.size = size_of::<aio_buffer_lease>() as u32;
        assert_eq!(aio_buffer_pool_find(pool, lease, &mut found), 0);
        let data = std::slice::from_raw_parts(found.data.cast::<u8>(), found.len as usize);
        assert_eq!(data, b"kept");
        told.release();
        assert_eq!(aio_buffer_pool_release(pool, lease), -2);
        assert_eq!(aio_buffer_pool_destroy(pool), 0);
    }
}
