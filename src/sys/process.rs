//! Child processes: started by posix_spawn(3), named by a pidfd, reaped by waitid(2). Hides in
//! which order descriptors must be moved so that none is lost on the way to its number in the
//! child.

use crate::sys::errno::Errno;
use libc::{c_char, c_int};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::{null, null_mut};

/// What a standard stream of a child is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Inherited,
    /// /dev/null.
    Null,
    /// The caller's descriptor.
    Given(i32),
    /// A new pipe, whose other end the caller gets.
    Pipe,
    /// For the last: what the second is.
    AsOutput,
}

/// Numbers that descriptors may have in a child are below this.
pub(crate) const NUMBERS: i32 = 1024;
const STREAMS: usize = 3;
/// 64 signals, and no more.
pub(crate) const SIGNAL_MAX: i32 = 64;

/// What is to be started.
pub(crate) struct Command {
    /// Strings and vectors of the caller's, as posix_spawnp wants them.
    program: *const c_char,
    argv: *const *const c_char,
    /// NULL: this process's.
    envp: *const *const c_char,
    /// NULL: this process's.
    cwd: *const c_char,
    pub(crate) streams: [Stream; STREAMS],
    /// Descriptors of the caller's, with their numbers in the child.
    pub(crate) others: Vec<(i32, i32)>,
    /// The child gets every descriptor that is not close-on-exec.
    pub(crate) keeps_descriptors: bool,
    /// The caller's mask and what it ignores; otherwise nothing is blocked and nothing ignored.
    pub(crate) keeps_signals: bool,
    pub(crate) new_session: bool,
    pub(crate) new_group: bool,
    /// The caller gets a descriptor of the child as well.
    pub(crate) shares_pidfd: bool,
}

/// What the caller gets of a child that runs.
pub(crate) struct Started {
    pub pid: i32,
    /// The other ends of pipes.
    pub ends: [Option<OwnedFd>; STREAMS],
    pub pidfd: Option<OwnedFd>,
}

impl Command {
    /// # Safety
    /// The strings, and the vectors, which end with NULL, stay as they are until the command has
    /// been started; `program` and `argv` are not NULL.
    pub(crate) unsafe fn new(
        program: *const c_char, argv: *const *const c_char, envp: *const *const c_char,
        cwd: *const c_char,
    ) -> Command {
        Command {
            program,
            argv,
            envp,
            cwd,
            streams: [Stream::Inherited; STREAMS],
            others: Vec::new(),
            keeps_descriptors: false,
            keeps_signals: false,
            new_session: false,
            new_group: false,
            shares_pidfd: false,
        }
    }

    /// Starts it, and returns when the program runs in it, or could not be executed. No child: the
    /// program has waited for it already.
    pub(crate) fn start(&self) -> Result<(Option<Child>, Started), Errno> {
        if ends_of_children_are_lost() {
            return Err(Errno::ECHILD);
        }
        // Keep numbers free for the child's, and fail where there are no such things.
        let room = PidFds::open(std::process::id() as i32, self.shares_pidfd)?;
        let (mut ours, mut theirs) = ([const { None }; STREAMS], [const { None }; STREAMS]);
        for number in 0..STREAMS {
            if self.streams[number] == Stream::Pipe {
                let [read, write] = pipe()?;
                let (own, other) = if number == 0 { (write, read) } else { (read, write) };
                (ours[number], theirs[number]) = (Some(own), Some(other));
            }
        }
        let mut actions = Actions::new()?;
        // Those that had to get out of the way.
        let _moved = self.place_descriptors(&theirs, &mut actions)?;
        if !self.cwd.is_null() {
            actions.change_directory(self.cwd)?;
        }
        let pid = self.spawn(&actions, &Attributes::new(self)?)?;
        drop(room);
        let is_leader = self.new_session || self.new_group;
        let (child, shared) = match PidFds::open(pid, self.shares_pidfd) {
            Ok(PidFds { own, shared }) => (Some(Child { pid, pidfd: own, is_leader }), shared),
            // Its number is nobody's, or anybody's next.
            Err(Errno::ESRCH) => (None, None),
            Err(errno) => {
                kill_and_reap(pid);
                return Err(errno);
            }
        };
        Ok((child, Started { pid, ends: ours, pidfd: shared }))
    }

    fn spawn(&self, actions: &Actions, attributes: &Attributes) -> Result<i32, Errno> {
        let mut pid = 0;
        // SAFETY: the caller's strings; valid actions and attributes.
        let errno = unsafe {
            let envp = if self.envp.is_null() { environ.cast_const() } else { self.envp };
            let (actions, attributes) = (&raw const actions.0, &raw const attributes.0);
            let (argv, envp) = (self.argv.cast(), envp.cast());
            libc::posix_spawnp(&mut pid, self.program, actions, attributes, argv, envp)
        };
        if errno == 0 { Ok(pid) } else { Err(Errno(errno)) }
    }

    /// Says how each descriptor gets its number. What is still needed must not be at a number that
    /// another gets: it is moved up first, in this process.
    fn place_descriptors(
        &self, theirs: &[Option<OwnedFd>; STREAMS], actions: &mut Actions,
    ) -> Result<Vec<OwnedFd>, Errno> {
        let mut moves = Vec::new();
        let mut nulls = Vec::new();
        for (number, stream) in (0..).zip(self.streams) {
            let index = number as usize;
            let is_shared = stream == Stream::AsOutput;
            let (stream, from) = if is_shared { (self.streams[1], 1) } else { (stream, index) };
            match stream {
                Stream::Null => nulls.push(number),
                Stream::Given(fd) => moves.push((fd, number)),
                Stream::Pipe => {
                    moves.extend(theirs[from].as_ref().map(|fd| (fd.as_raw_fd(), number)))
                }
                // What the second is when nothing is said.
                Stream::Inherited if is_shared => moves.push((1, number)),
                Stream::Inherited | Stream::AsOutput => {}
            }
        }
        moves.extend(&self.others);
        let taken = |fd: i32| nulls.contains(&fd) || moves.iter().any(|&(_, number)| number == fd);
        let last = moves.iter().map(|&(_, number)| number).max().unwrap_or(0).max(2);
        let mut moved = Vec::new();
        let mut placed = Vec::new();
        for &(fd, number) in &moves {
            let mut from = fd;
            if fd != number && taken(fd) {
                let copy = duplicate_above(fd, last + 1)?;
                from = copy.as_raw_fd();
                moved.push(copy);
            }
            placed.push((from, number));
        }
        for (from, number) in placed {
            // Where both are the same it clears close-on-exec.
            actions.duplicate(from, number)?;
        }
        for &number in &nulls {
            actions.open_null(number)?;
        }
        if !self.keeps_descriptors {
            for number in (3..last).filter(|&number| !taken(number)) {
                actions.close(number)?;
            }
            actions.close_from(last + 1)?;
        }
        Ok(moved)
    }
}

/// A child that nobody else reaps.
pub(crate) struct Child {
    pid: i32,
    pidfd: OwnedFd,
    /// Of a session or process group of its own.
    is_leader: bool,
}

/// How a child has ended, and what it has used.
#[derive(Clone, Copy)]
pub(crate) struct Exit {
    pub pid: i32,
    /// CLD_EXITED, CLD_KILLED or CLD_DUMPED, and the exit status or the signal.
    pub code: i32,
    pub status: i32,
    pub user_ns: u64,
    pub system_ns: u64,
    pub max_rss_kib: u64,
    pub minor_faults: u64,
    pub major_faults: u64,
}

impl Exit {
    pub(crate) fn is_of_its_own(&self) -> bool {
        self.code == libc::CLD_EXITED
    }
}

impl Child {
    /// Readable when the child has ended.
    pub(crate) fn descriptor(&self) -> i32 {
        self.pidfd.as_raw_fd()
    }

    /// Sends a signal: to all of its group, if that is its own, or to itself when it has left that
    /// and nobody is in it. Not after it was reaped.
    pub(crate) fn signal(&self, signo: i32) -> Result<(), Errno> {
        // SAFETY: numbers alone. The group has the number of a process that is not reaped yet.
        let result = unsafe {
            if self.is_leader && libc::kill(-self.pid, signo) == 0 {
                0
            } else {
                let none = null::<libc::siginfo_t>();
                libc::syscall(libc::SYS_pidfd_send_signal, self.descriptor(), signo, none, 0)
            }
        };
        if result < 0 { Err(Errno::last()) } else { Ok(()) }
    }

    pub(crate) fn kill(&self) -> Result<(), Errno> {
        self.signal(libc::SIGKILL)
    }

    /// Takes its end; None while it runs. -ECHILD: the program has taken it.
    pub(crate) fn reap(&self) -> Result<Option<Exit>, Errno> {
        // SAFETY: valid structures; a pid of 0 says that nothing has ended.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let mut used: libc::rusage = std::mem::zeroed();
            let result = libc::syscall(
                libc::SYS_waitid,
                libc::P_PIDFD,
                self.descriptor(),
                &raw mut info,
                libc::WEXITED | libc::WNOHANG,
                &raw mut used,
            );
            if result < 0 {
                return Err(Errno::last());
            }
            if info.si_pid() == 0 {
                return Ok(None);
            }
            Ok(Some(Exit {
                pid: self.pid,
                code: info.si_code,
                status: info.si_status(),
                user_ns: nanoseconds(used.ru_utime),
                system_ns: nanoseconds(used.ru_stime),
                max_rss_kib: used.ru_maxrss as u64,
                minor_faults: used.ru_minflt as u64,
                major_faults: used.ru_majflt as u64,
            }))
        }
    }
}

fn nanoseconds(time: libc::timeval) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000
}

/// The program ignores SIGCHLD, or has children reaped by the kernel: their numbers can be
/// anybody's as soon as they end, and how they ended is not kept.
fn ends_of_children_are_lost() -> bool {
    // SAFETY: a valid structure.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGCHLD, null(), &mut action) == 0
            && (action.sa_sigaction == libc::SIG_IGN || action.sa_flags & libc::SA_NOCLDWAIT != 0)
    }
}

/// The engine's descriptor of a process, and perhaps the caller's.
struct PidFds {
    own: OwnedFd,
    shared: Option<OwnedFd>,
}

impl PidFds {
    fn open(pid: i32, shares: bool) -> Result<PidFds, Errno> {
        let shared = shares.then(|| open_pidfd(pid)).transpose()?;
        Ok(PidFds { own: open_pidfd(pid)?, shared })
    }
}

/// Linux 5.3. Close-on-exec.
fn open_pidfd(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: numbers alone; the new descriptor is owned at once.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        if fd < 0 { Err(Errno::last()) } else { Ok(OwnedFd::from_raw_fd(fd as i32)) }
    }
}

fn kill_and_reap(pid: i32) {
    // SAFETY: a child of ours that nobody has reaped.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        while libc::waitpid(pid, null_mut(), 0) < 0 && Errno::last() == Errno::EINTR {}
    }
}

/// The read end and the write end.
fn pipe() -> Result<[OwnedFd; 2], Errno> {
    let mut pair = [0; 2];
    // SAFETY: room for two descriptors, which are owned at once.
    unsafe {
        if libc::pipe2(pair.as_mut_ptr(), libc::O_CLOEXEC) < 0 {
            return Err(Errno::last());
        }
        Ok(pair.map(|fd| OwnedFd::from_raw_fd(fd)))
    }
}

fn duplicate_above(fd: i32, least: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: numbers alone; the new descriptor is owned at once.
    unsafe {
        let copy = libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, least);
        if copy < 0 { Err(Errno::last()) } else { Ok(OwnedFd::from_raw_fd(copy)) }
    }
}

fn check(errno: c_int) -> Result<(), Errno> {
    if errno == 0 { Ok(()) } else { Err(Errno(errno)) }
}

/// What the child does before it executes the program.
struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new() -> Result<Actions, Errno> {
        let mut actions = std::mem::MaybeUninit::uninit();
        // SAFETY: initialised by the call, if it succeeds.
        unsafe {
            check(libc::posix_spawn_file_actions_init(actions.as_mut_ptr()))?;
            Ok(Actions(actions.assume_init()))
        }
    }

    fn duplicate(&mut self, from: i32, to: i32) -> Result<(), Errno> {
        // SAFETY: initialised; numbers alone.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(&mut self.0, from, to) })
    }

    fn open_null(&mut self, number: i32) -> Result<(), Errno> {
        let path = c"/dev/null".as_ptr();
        // SAFETY: initialised; the path is copied.
        check(unsafe {
            libc::posix_spawn_file_actions_addopen(&mut self.0, number, path, libc::O_RDWR, 0)
        })
    }

    /// One that is not open does not count as a failure.
    fn close(&mut self, number: i32) -> Result<(), Errno> {
        // SAFETY: initialised; numbers alone.
        check(unsafe { libc::posix_spawn_file_actions_addclose(&mut self.0, number) })
    }

    fn close_from(&mut self, number: i32) -> Result<(), Errno> {
        // SAFETY: initialised; numbers alone.
        check(unsafe { libc::posix_spawn_file_actions_addclosefrom_np(&mut self.0, number) })
    }

    fn change_directory(&mut self, path: *const c_char) -> Result<(), Errno> {
        // SAFETY: initialised; the caller's string, which is copied.
        check(unsafe { libc::posix_spawn_file_actions_addchdir_np(&mut self.0, path) })
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialised, not used after this.
        unsafe { libc::posix_spawn_file_actions_destroy(&mut self.0) };
    }
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new(command: &Command) -> Result<Attributes, Errno> {
        let mut attributes = std::mem::MaybeUninit::uninit();
        let mut flags = 0;
        // SAFETY: initialised by the first call; valid sets.
        unsafe {
            check(libc::posix_spawnattr_init(attributes.as_mut_ptr()))?;
            let mut attributes = Attributes(attributes.assume_init());
            let own = &raw mut attributes.0;
            if !command.keeps_signals {
                let mut set: libc::sigset_t = std::mem::zeroed();
                libc::sigemptyset(&mut set);
                check(libc::posix_spawnattr_setsigmask(own, &set))?;
                libc::sigfillset(&mut set);
                check(libc::posix_spawnattr_setsigdefault(own, &set))?;
                flags |= libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
            }
            if command.new_session {
                flags |= c_int::from(libc::POSIX_SPAWN_SETSID);
            } else if command.new_group {
                flags |= libc::POSIX_SPAWN_SETPGROUP;
                check(libc::posix_spawnattr_setpgroup(own, 0))?;
            }
            check(libc::posix_spawnattr_setflags(own, flags as libc::c_short))?;
            Ok(attributes)
        }
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised, not used after this.
        unsafe { libc::posix_spawnattr_destroy(&mut self.0) };
    }
}

unsafe extern "C" {
    static mut environ: *mut *const c_char;
}
