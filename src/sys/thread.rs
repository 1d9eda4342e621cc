//! Who is calling: the thread pointer, read inline (1.6 ns; getpid costs 75), and the gate, a page
//! that the kernel wipes in a forked child. One comparison with the gate's owner therefore tells
//! this thread from another, from a child's copy, and from a context that takes no calls just now.

use crate::sys::atomic::Ordering;
use crate::sys::atomic::fixed::{AtomicPtr, AtomicUsize};
use crate::sys::errno::Errno;
use crate::sys::facility::Cpus;
use crate::sys::spare::Spare;
use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;

/// A number that no two live threads share; a later thread can have an earlier one's.
#[inline(always)]
pub(crate) fn pointer() -> usize {
    let value: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the x86-64 ELF ABI keeps the thread control block's own address at fs:0.
    unsafe {
        std::arch::asm!(
            "mov {}, fs:0",
            out(reg) value,
            options(nostack, preserves_flags, readonly, pure),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: reading the thread register has no effect.
    unsafe {
        std::arch::asm!(
            "mrs {}, tpidr_el0",
            out(reg) value,
            options(nostack, preserves_flags, nomem, pure),
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        thread_local!(static MARK: u8 = const { 0 });
        value = MARK.with(|mark| std::ptr::from_ref(mark) as usize);
    }
    value
}

/// Whether `value` is `pointer()`: an instruction less where it can be compared in memory.
#[inline(always)]
fn is_pointer(value: usize) -> bool {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!(
            "cmp {}, fs:0",
            "jne {}",
            in(reg) value,
            label { return false },
            options(nostack, readonly),
        );
        true
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        value == pointer()
    }
}

/// The page behind one context's owner check.
pub(crate) struct Gate(NonNull<Page>);

#[repr(C)]
struct Page {
    /// The thread pointer that may enter; 0 when nobody may.
    owner: AtomicUsize,
    /// 1, and 0 in a forked child.
    alive: AtomicUsize,
}

const PAGE_SIZE: usize = 4096;

/// A page of zeroes, which is one of zeroes again in a forked child.
fn wiped_page() -> Result<NonNull<u8>, Errno> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a fresh anonymous mapping, checked here.
    unsafe {
        let page = libc::mmap(std::ptr::null_mut(), PAGE_SIZE, protection, flags, -1, 0);
        if page == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        // Linux 4.14. Without it a child could not be told from its parent.
        if libc::madvise(page, PAGE_SIZE, libc::MADV_WIPEONFORK) != 0 {
            let errno = Errno::last();
            libc::munmap(page, PAGE_SIZE);
            return Err(errno);
        }
        Ok(NonNull::new_unchecked(page.cast()))
    }
}

// SAFETY: the page is only reached through atomics.
unsafe impl Send for Gate {}
// SAFETY: as above.
unsafe impl Sync for Gate {}

/// The page of a gate that is gone, for the next: it saves three system calls and a page fault. In
/// a forked child it is one of zeroes like any other.
static SPARE: Spare<Page> = Spare::new();

impl Gate {
    pub(crate) fn create() -> Result<Gate, Errno> {
        let page = match SPARE.take() {
            Some(page) => page,
            None => wiped_page()?.cast(),
        };
        let gate = Gate(page);
        gate.page().owner.store(0, Ordering::Relaxed);
        gate.page().alive.store(1, Ordering::Relaxed);
        Ok(gate)
    }

    #[inline(always)]
    fn page(&self) -> &Page {
        // SAFETY: the mapping lives as long as `self`, and zeroes are a valid Page.
        unsafe { self.0.as_ref() }
    }

    /// Whether the calling thread may enter. Relaxed: only this thread can have stored its own
    /// number, and program order makes it see that; any other value means no.
    #[inline(always)]
    pub(crate) fn admits_caller(&self) -> bool {
        is_pointer(self.page().owner.load(Ordering::Relaxed))
    }

    /// False in a forked child.
    pub(crate) fn same_process(&self) -> bool {
        self.page().alive.load(Ordering::Relaxed) != 0
    }

    /// Lets this thread in, if nobody is.
    pub(crate) fn open_for_caller(&self) -> bool {
        let page = self.page();
        page.owner.compare_exchange(0, pointer(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    pub(crate) fn close(&self) {
        self.page().owner.store(0, Ordering::Relaxed);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if !SPARE.keep(self.0) {
            // SAFETY: the mapping made in `create`, not used after this.
            unsafe { libc::munmap(self.0.as_ptr().cast(), PAGE_SIZE) };
        }
    }
}

/// Puts what was `made` where nothing is yet; gives what is there then.
fn publish<T>(place: &AtomicPtr<T>, made: *mut T) -> *mut T {
    let null = std::ptr::null_mut();
    let exchanged = place.compare_exchange(null, made, Ordering::AcqRel, Ordering::Acquire);
    exchanged.map_or_else(|first| first, |_| made)
}

/// What a process has one of, made when it is first asked for. A forked child begins anew: threads
/// that it has not got may hold the locks of its parent's.
pub(crate) struct PerProcess<T: 'static> {
    /// In a page that is never unmapped.
    place: AtomicPtr<AtomicPtr<Made<T>>>,
    /// The last one made, here or in a process that this one was forked from.
    newest: AtomicPtr<Made<T>>,
}

struct Made<T> {
    value: T,
    /// Of an earlier process: nobody's any more, and known so that it is no leak.
    _earlier: *mut Made<T>,
}

impl<T: Send + Sync> PerProcess<T> {
    pub(crate) const fn new() -> PerProcess<T> {
        let (place, newest) = (std::ptr::null_mut(), std::ptr::null_mut());
        PerProcess { place: AtomicPtr::new(place), newest: AtomicPtr::new(newest) }
    }

    /// No lock here either.
    fn place(&self) -> Result<&AtomicPtr<Made<T>>, Errno> {
        // Acquire pairs with the release in `publish`: the page is mapped for who sees it.
        let mut place = self.place.load(Ordering::Acquire);
        if place.is_null() {
            let page = wiped_page()?;
            place = publish(&self.place, page.cast().as_ptr());
            if place != page.cast().as_ptr() {
                // SAFETY: never published.
                unsafe { libc::munmap(page.as_ptr().cast(), PAGE_SIZE) };
            }
        }
        // SAFETY: mapped for good; zeroes are a null pointer.
        Ok(unsafe { &*place })
    }

    /// This process's. Of two threads that make the first one at once, one makes it in vain.
    pub(crate) fn get(&self, make: impl FnOnce() -> T) -> Result<&'static T, Errno> {
        let pointer = self.place()?;
        // Acquire pairs with the release in `publish`: who sees the pointer sees what it leads to.
        let mut known = pointer.load(Ordering::Acquire);
        if known.is_null() {
            let _earlier = self.newest.load(Ordering::Relaxed);
            let made = Box::into_raw(Box::new(Made { value: make(), _earlier }));
            known = publish(pointer, made);
            if known == made {
                self.newest.store(made, Ordering::Relaxed);
            } else {
                // SAFETY: never published.
                drop(unsafe { Box::from_raw(made) });
            }
        }
        // SAFETY: from `Box::into_raw`, and never freed.
        Ok(unsafe { &(*known).value })
    }
}

/// The namespaces of the calling thread that decide what names mean: of networks and of mounts. A
/// thread that it starts inherits them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Namespaces([u64; 2]);

impl Namespaces {
    /// Where /proc does not tell they all seem to be one.
    pub(crate) fn of_caller() -> Namespaces {
        Namespaces(
            ["/proc/thread-self/ns/net", "/proc/thread-self/ns/mnt"]
                .map(|path| std::fs::metadata(path).map_or(0, |about| about.ino())),
        )
    }
}

/// Who the calling thread is to the file system: what a thread that it starts inherits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credentials {
    user: i32,
    group: i32,
    /// The effective capabilities.
    capabilities: [u32; 2],
}

/// What capget(2) and capset(2) call their present form.
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

impl Credentials {
    pub(crate) fn of_caller() -> Credentials {
        let header = [CAPABILITY_VERSION_3, 0];
        // Effective, permitted and inheritable, twice.
        let mut sets = [0u32; 6];
        // SAFETY: -1 is nobody, so that the first two only tell; the third fills what it is given.
        unsafe {
            libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr());
            Credentials {
                user: libc::setfsuid(u32::MAX),
                group: libc::setfsgid(u32::MAX),
                capabilities: [sets[0], sets[3]],
            }
        }
    }
}

impl Credentials {
    /// Makes the calling thread act as these, or as these with fewer capabilities; whether it does.
    pub(crate) fn assume(&self) -> bool {
        let mut now = Credentials::of_caller();
        if now != *self {
            // SAFETY: numbers alone; concerns this thread.
            unsafe {
                libc::setfsgid(self.group as libc::gid_t);
                libc::setfsuid(self.user as libc::uid_t);
            }
            self.take_capabilities();
            now = Credentials::of_caller();
        }
        let [low, high] = now.capabilities;
        let [low_wanted, high_wanted] = self.capabilities;
        let excess = low & !low_wanted | high & !high_wanted;
        now.user == self.user && now.group == self.group && excess == 0
    }

    /// Makes those of the capabilities effective that the calling thread may have.
    fn take_capabilities(&self) {
        let header = [CAPABILITY_VERSION_3, 0];
        let mut sets = [0u32; 6];
        // SAFETY: both calls get a header and two sets of three words, for this thread.
        unsafe {
            if libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) == 0 {
                sets[0] = self.capabilities[0] & sets[1];
                sets[3] = self.capabilities[1] & sets[4];
                libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr());
            }
        }
    }
}

/// Lets the calling thread run on these processors alone. Those that do not exist, or that its
/// cpuset lacks, are left out by the kernel; where none is left it stays where it was.
pub(crate) fn run_on(cpus: &Cpus) {
    // SAFETY: as many bytes as are said.
    unsafe { libc::sched_setaffinity(0, size_of::<Cpus>(), std::ptr::from_ref(cpus).cast()) };
}

/// Sends SIGPIPE to the calling thread, as a write to a closed pipe does.
pub(crate) fn raise_sigpipe() {
    // SAFETY: a signal to ourselves; what it does is the program's choice.
    unsafe { libc::raise(libc::SIGPIPE) };
}

/// The calling thread's number in the kernel.
pub(crate) fn number() -> i32 {
    // SAFETY: no arguments, no failure.
    unsafe { libc::gettid() }
}

/// Whether this is the number of the thread that the process began with. Its thread-exit hooks run
/// inside `exit`, before static destructors, when it is still alive.
pub(crate) fn is_initial(number: i32) -> bool {
    // SAFETY: no arguments, no failure.
    number == unsafe { libc::getpid() }
}

/// Whether the thread that the process began with has ended by pthread_exit. It counts as ended
/// from the moment at which it cannot come back (PF_EXITING in the kernel's flags, the ninth
/// field): who joins it is woken some time before it is a zombie.
pub(crate) fn initial_has_ended() -> bool {
    const PF_EXITING: u32 = 4;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let state = fields.next().unwrap_or_default();
    let flags: u32 = fields.nth(5).and_then(|flags| flags.parse().ok()).unwrap_or_default();
    matches!(state, "Z" | "X") || flags & PF_EXITING != 0
}

/// The processors that the calling thread may run on.
pub(crate) fn allowed_cpus() -> Vec<u32> {
    // As many as any kernel knows: it refuses a smaller mask.
    let mut mask = [0u64; 8192 / 64];
    // SAFETY: as many bytes as are said.
    let filled = unsafe {
        libc::sched_getaffinity(0, size_of_val(&mask), mask.as_mut_ptr().cast::<libc::cpu_set_t>())
    };
    if filled != 0 {
        return vec![0];
    }
    let is_set = |cpu: &u32| mask[*cpu as usize / 64] >> (cpu % 64) & 1 != 0;
    (0..mask.len() as u32 * 64).filter(is_set).collect()
}

/// Keeps the calling thread on one processor, and its memory on that one's node, also where the
/// process was told to spread it.
pub(crate) fn pin_to(cpu: u32) -> Result<(), Errno> {
    const MPOL_LOCAL: i32 = 4;
    let mut mask = [0u64; 8192 / 64];
    *mask.get_mut(cpu as usize / 64).ok_or(Errno::EINVAL)? = 1 << (cpu % 64);
    // SAFETY: as many bytes as are said.
    if unsafe { libc::sched_setaffinity(0, size_of_val(&mask), mask.as_ptr().cast()) } != 0 {
        return Err(Errno::last());
    }
    // Where a filter refuses that, or the kernel knows no nodes, the policy is the process's.
    // SAFETY: no nodes are named.
    unsafe { libc::syscall(libc::SYS_set_mempolicy, MPOL_LOCAL, std::ptr::null::<u64>(), 0) };
    Ok(())
}
