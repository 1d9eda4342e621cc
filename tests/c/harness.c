/* The body of the test harness: see harness.h. A test runs in a process of its own, so state here
 * is plain global data, and a failed assertion simply ends the process. */
#include "harness.h"

#include <dirent.h>
#include <ftw.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

enum { TESTS_MAX = 1024, SKIPPED = 77, PATIENCE_SECONDS = 20, TEST_SECONDS = 60 };

struct test {
    const char *name;
    test_fn fn;
    test_arg_fn arg_fn;
    const void *arg;
};

static struct test tests[TESTS_MAX];
static int test_count;
static const char *running = "?";

/* --- the table of tests ---------------------------------------------------------------------- */

static void add(struct test test) {
    for (int i = 0; i < test_count; i++) {
        if (strcmp(tests[i].name, test.name) == 0) {
            fprintf(stderr, "two tests are called %s\n", test.name);
            _exit(2);
        }
    }
    if (test_count == TESTS_MAX) {
        fprintf(stderr, "more than %d tests in a program\n", TESTS_MAX);
        _exit(2);
    }
    tests[test_count++] = test;
}

void harness_add(const char *name, test_fn fn) { add((struct test){.name = name, .fn = fn}); }

void harness_add_arg(const char *name, test_arg_fn fn, const void *arg) {
    add((struct test){.name = name, .arg_fn = fn, .arg = arg});
}

const char *harness_running(void) { return running; }

static const struct test *find(const char *name) {
    for (int i = 0; i < test_count; i++)
        if (strcmp(tests[i].name, name) == 0)
            return &tests[i];
    return NULL;
}

static void on_alarm(int number) {
    (void)number;
    static const char text[] = ": no end in the time allowed\n";
    ssize_t ignored = write(STDERR_FILENO, running, strlen(running));
    ignored += write(STDERR_FILENO, text, sizeof text - 1);
    (void)ignored;
    _exit(1);
}

/* What differs.txt says of this test, empty if nothing; NULL: this is no run that it speaks of. */
static const char *told_difference(void) { return getenv("AIO_TEST_DIFFERS"); }

static bool difference_shown;

static void expect_difference(void) {
    if (difference_shown)
        return;
    fprintf(stderr, "%s: is in differs.txt, but does not differ: %s\n", running, told_difference());
    _exit(1);
}

void harness_start(const char *program, unsigned limit_seconds) {
    running = program;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (told_difference() && *told_difference())
        atexit(expect_difference);
    struct sigaction action = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &action, NULL);
    alarm(limit_seconds * test_slow());
}

static void *nothing(void *arg) { return arg; }

/* ThreadSanitizer starts a thread of its own with the first one: before a test counts threads. */
static void settle_sanitizer(void) {
    pthread_t thread;
    if (under_thread_sanitizer() && pthread_create(&thread, NULL, nothing, NULL) == 0)
        pthread_join(thread, NULL);
}

static int run_here(const struct test *test) {
    harness_start(test->name, TEST_SECONDS);
    settle_sanitizer();
    if (test->fn)
        test->fn();
    else
        test->arg_fn(test->arg);
    return 0;
}

/* Every test in a forked child: nothing of this library is alive in the parent. */
static int run_all(void) {
    int failed = 0, skipped = 0;
    for (int i = 0; i < test_count; i++) {
        fflush(stdout);
        const pid_t pid = fork();
        if (pid < 0) {
            perror("fork");
            return 2;
        }
        if (pid == 0)
            exit(run_here(&tests[i]));
        const int status = end_child(pid);
        const char *word = status == 0 ? "ok  " : status == SKIPPED ? "skip" : "FAIL";
        printf("%s %s\n", word, tests[i].name);
        skipped += status == SKIPPED;
        failed += status != 0 && status != SKIPPED;
    }
    printf("%d tests, %d failed, %d skipped\n", test_count, failed, skipped);
    return failed ? 1 : 0;
}

static int compare_with(int count, char **names) {
    int wrong = 0;
    for (int i = 0; i < count; i++) {
        if (!find(names[i])) {
            fprintf(stderr, "registered, but not in the program: %s\n", names[i]);
            wrong++;
        }
    }
    for (int i = 0; i < test_count; i++) {
        int found = 0;
        for (int n = 0; n < count; n++)
            found += strcmp(tests[i].name, names[n]) == 0;
        if (found != 1) {
            fprintf(stderr, "registered %d times: %s\n", found, tests[i].name);
            wrong++;
        }
    }
    return wrong || test_count == 0 ? 1 : 0;
}

int harness_main(int argc, char **argv) {
    if (argc < 2)
        return run_all();
    if (strcmp(argv[1], "--list") == 0) {
        for (int i = 0; i < test_count; i++)
            puts(tests[i].name);
        return 0;
    }
    if (strcmp(argv[1], "--expect") == 0)
        return compare_with(argc - 2, argv + 2);
    const struct test *test = find(argv[1]);
    if (!test) {
        fprintf(stderr, "no test is called %s\n", argv[1]);
        return 2;
    }
    return run_here(test);
}

/* --- assertions ------------------------------------------------------------------------------ */

static const char *meaning(int64_t value) {
    if (value >= 0 || value < -6000)
        return "";
    return value < -5000 ? aio_strerror((int32_t)value) : strerror((int)-value);
}

static void remove_temp_folder(void);

/* _exit: an assertion may fail on any thread, inside a callback, with a context alive. */
static _Noreturn void end_failed(void) {
    fflush(NULL);
    remove_temp_folder();
    _exit(1);
}

void check_failed(const char *file, int line, const char *text) {
    fprintf(stderr, "%s:%d: %s: not true: %s\n", file, line, running, text);
    end_failed();
}

void check_values_failed(const char *file, int line, const char *text, int64_t a, int64_t b) {
    fprintf(stderr, "%s:%d: %s: not true: %s\n  left  %" PRId64 "  %s\n  right %" PRId64 "  %s\n",
            file, line, running, text, a, meaning(a), b, meaning(b));
    end_failed();
}

void check_string(const char *file, int line, const char *text, const char *a, const char *b) {
    if (a && b && strcmp(a, b) == 0)
        return;
    fprintf(stderr, "%s:%d: %s: not true: %s\n  left  \"%s\"\n  right \"%s\"\n", file, line,
            running, text, a ? a : "(null)", b ? b : "(null)");
    end_failed();
}

void check_memory(const char *file, int line, const char *text, const void *a, const void *b,
                  size_t len) {
    const unsigned char *left = a, *right = b;
    for (size_t i = 0; i < len; i++) {
        if (left[i] != right[i]) {
            fprintf(stderr, "%s:%d: %s: not true: %s\n  first difference at %zu of %zu: %d, %d\n",
                    file, line, running, text, i, len, left[i], right[i]);
            end_failed();
        }
    }
}

aio_op_id check_id(const char *file, int line, const char *text, aio_op_id id) {
    if (id <= 0) {
        fprintf(stderr, "%s:%d: %s: not accepted: %s\n  %" PRId64 "  %s\n", file, line, running,
                text, id, meaning(id));
        end_failed();
    }
    return id;
}

int check_system_call(const char *file, int line, const char *text, int64_t result) {
    if (result < 0) {
        fprintf(stderr, "%s:%d: %s: %s: %s\n", file, line, running, text, strerror(errno));
        end_failed();
    }
    return (int)result;
}

/* The same test with the backend that needs no asking: its exit status. */
static int status_on_a_ring(void) {
    static char words[4096];
    char *argv[16] = {NULL};
    const int fd = SYS(open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC));
    const ssize_t len = SYS(read(fd, words, sizeof words - 1));
    close(fd);
    int count = 0;
    for (char *word = words; word < words + len && count < 15; word += strlen(word) + 1)
        argv[count++] = word;
    const pid_t pid = SYS(fork());
    if (pid == 0) {
        unsetenv("AIO_TEST_DIFFERS");
        unsetenv("AIO_RS_BACKEND");
        execv(argv[0], argv);
        _exit(127);
    }
    return end_child(pid);
}

/* For what the machine lacks, a test is skipped on both backends. Skipping for what epoll does is
 * needs_ring's, and is in differs.txt. */
static void check_skipped_on_a_ring_too(void) {
    if (!told_difference() || difference_shown)
        return;
    const int status = status_on_a_ring();
    if (status != SKIPPED)
        test_fail("is skipped on epoll, but on a ring ends with %d", status);
    difference_shown = true; /* or not: nothing is seen of it here */
}

void test_skip(const char *format, ...) {
    check_skipped_on_a_ring_too();
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: skipped: ", running);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    fflush(NULL);
    exit(SKIPPED);
}

void test_fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", running);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    end_failed();
}

/* --- contexts and callbacks ------------------------------------------------------------------ */

void order_note(struct order *order, int tag) {
    CHECK_LT(order->count, COUNT_OF(order->tags));
    order->tags[order->count++] = tag;
}

void on_call(void *user_data, int32_t result, uint32_t flags) {
    struct call *call = user_data;
    if (call->finals)
        test_fail("callback number %d after the last one: result %d, flags %#x; before: %d, %#x",
                  call->calls + 1, result, flags, call->result, call->flags);
    call->calls++;
    call->finals += !(flags & AIO_CQE_MORE);
    call->result = result;
    call->flags = flags;
    if (call->calls == 1) {
        call->first = result;
        call->first_flags = flags;
    }
    call->sum += result;
    call->ctx = aio_ctx_current();
    call->id = call->ctx ? aio_ctx_current_op(call->ctx) : 0;
    call->bytes = call->ctx ? aio_ctx_current_bytes(call->ctx) : 0;
    call->at_ns = now_ns();
    call->thread = pthread_self();
    if (call->order)
        order_note(call->order, call->tag);
    if (call->then)
        call->then(call);
}

void on_call_never(void *user_data, int32_t result, uint32_t flags) {
    (void)user_data;
    test_fail("a callback that must not run: result %d, flags %#x", result, flags);
}

void on_call_count(void *user_data, int32_t result, uint32_t flags) {
    (void)result, (void)flags;
    ++*(int *)user_data;
}

aio_ctx *make_ctx_with(const aio_ctx_options *options) {
    aio_ctx *ctx = NULL;
    CHECK_EQ(aio_ctx_create(options, &ctx), 0);
    CHECK(ctx != NULL);
    return ctx;
}

aio_ctx *make_ctx(void) { return make_ctx_with(NULL); }

void end_ctx(aio_ctx *ctx) { CHECK_EQ(aio_ctx_destroy(ctx), 0); }

bool has_ring(const aio_ctx *ctx) {
    aio_info info = {.size = sizeof info};
    CHECK_EQ(aio_ctx_info(ctx, &info), 0);
    return info.backend == AIO_BACKEND_URING;
}

static bool kernel_is_before(int major, int minor) {
    struct utsname name;
    int running[2] = {0};
    SYS(uname(&name));
    CHECK_EQ(sscanf(name.release, "%d.%d", &running[0], &running[1]), 2);
    return running[0] < major || (running[0] == major && running[1] < minor);
}

void needs_linux(int major, int minor) {
    if (kernel_is_before(major, minor))
        test_skip("needs Linux %d.%d", major, minor);
}

bool is_ring_before(const aio_ctx *ctx, int major, int minor) {
    return has_ring(ctx) && kernel_is_before(major, minor);
}

void needs_ring_of(const aio_ctx *ctx, int major, int minor) {
    if (is_ring_before(ctx, major, minor))
        test_skip("rings have it since Linux %d.%d", major, minor);
}

void needs_ring(const aio_ctx *ctx, const char *reason) {
    const char *told = told_difference();
    if (has_ring(ctx))
        return;
    if (told && strcmp(told, reason) != 0)
        test_fail("differs on epoll: %s\n  differs.txt says: %s", reason, *told ? told : "nothing");
    difference_shown = true;
    test_skip("%s", reason);
}

uint64_t patience_end_ns(void) { return now_ns() + PATIENCE_SECONDS * test_slow() * 1000 * MS; }

void run_turn(aio_ctx *ctx, uint64_t limit_ns, const char *text, const char *file, int line) {
    const uint64_t now = now_ns();
    const int32_t status = now < limit_ns ? aio_ctx_run_once(ctx, (int64_t)(limit_ns - now)) : 0;
    if (status < 0)
        check_values_failed(file, line, "aio_ctx_run_once() >= 0", status, 0);
    if (now < limit_ns)
        return;
    char dump[4096] = {0};
    aio_ctx_dump(ctx, dump, sizeof dump);
    test_fail("%s:%d: waited in vain for: %s\n%s", file, line, text, dump);
}

int32_t await_call(aio_ctx *ctx, struct call *call) {
    RUN_UNTIL(ctx, call->finals == 1);
    return call->result;
}

void run_for_ms(aio_ctx *ctx, unsigned ms) {
    const uint64_t end = now_ns() + ms * MS;
    for (uint64_t now = now_ns(); now < end; now = now_ns())
        CHECK_GE(aio_ctx_run_once(ctx, (int64_t)(end - now)), 0);
}

void check_blocked(aio_ctx *ctx, const struct call *call) {
    run_for_ms(ctx, 20);
    CHECK_EQ(call->calls, 0);
    CHECK_GE(aio_ctx_in_flight(ctx), 1);
}

void check_nothing_in_flight(aio_ctx *ctx) {
    CHECK_EQ(aio_ctx_in_flight(ctx), 0);
    const aio_stats stats = stats_of(ctx);
    CHECK_EQ(stats.completed, stats.submitted);
}

aio_stats stats_of(aio_ctx *ctx) {
    aio_stats stats = {.size = sizeof stats};
    CHECK_EQ(aio_ctx_stats(ctx, &stats), 0);
    return stats;
}

/* --- numbers --------------------------------------------------------------------------------- */

unsigned test_slow(void) {
    const char *text = getenv("AIO_TEST_SLOW");
    const int slow = text ? atoi(text) : 1;
    return slow < 1 ? 1 : (unsigned)slow;
}

int scaled(int count) {
    const int few = count / (int)test_slow();
    return few < 2 ? 2 : few;
}

/* Defined by the sanitizers' runtimes, wherever they come from. */
extern void __asan_init(void) __attribute__((weak));
extern void __tsan_init(void) __attribute__((weak));

bool under_valgrind(void) {
    const char *preload = getenv("LD_PRELOAD");
    return preload && strstr(preload, "vgpreload");
}

void beyond_valgrind(const char *reason) {
    if (!under_valgrind())
        return;
    difference_shown = true; /* or not: it says nothing of the backends */
    test_skip("valgrind %s", reason);
}

void needs_known_calls(const aio_ctx *ctx) {
    if (!has_ring(ctx))
        beyond_valgrind("does not know the system call");
}

bool under_thread_sanitizer(void) { return __tsan_init != NULL; }

void install_filter(struct sock_filter *rules, unsigned short count) {
    const struct sock_fprog program = {.len = count, .filter = rules};
    SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        SKIP("no filters for system calls here: %s", strerror(errno));
}

void forbid_calls(const unsigned *calls, int count, unsigned error) {
    struct sock_filter rules[16] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    unsigned short len = 1;
    for (int i = 0; i < count; i++) {
        rules[len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i], 0, 1);
        rules[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error);
    }
    rules[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    install_filter(rules, len);
}

void forbid_call(unsigned system_call, unsigned error) { forbid_calls(&system_call, 1, error); }

void needs_forked_threads(void) {
    if (under_thread_sanitizer())
        test_skip("ThreadSanitizer has no threads in a forked child");
    if (__asan_init)
        test_skip("a thread that the child has not may hold the lock of AddressSanitizer's memory");
    beyond_valgrind("blames a child for the memory of threads that it has not");
}

bool memory_figures_are_ours(void) { return !__asan_init && !__tsan_init && !under_valgrind(); }

void on_nop(void *user_data, int32_t result, uint32_t flags) {
    struct nops *nops = user_data;
    CHECK_EQ(result, 0);
    CHECK_EQ(flags, 0);
    if (nops->left-- > 0)
        ID(aio_submit_nop(nops->ctx, NULL, on_nop, nops));
}

uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void sleep_ms(unsigned ms) {
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

uint64_t test_seed(void) {
    const char *text = getenv("AIO_TEST_SEED");
    const uint64_t seed = text ? strtoull(text, NULL, 0) : now_ns() ^ (uint64_t)getpid() << 40;
    printf("AIO_TEST_SEED=%" PRIu64 "\n", seed);
    return seed;
}

uint64_t random_next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t random_below(uint64_t *state, uint64_t bound) { return random_next(state) % bound; }

void pattern_fill(void *buf, size_t len, uint64_t seed) {
    unsigned char *bytes = buf;
    for (size_t i = 0; i < len; i++)
        bytes[i] = (unsigned char)(((i + seed) * 2654435761u) >> 13);
}

bool pattern_holds(const void *buf, size_t len, uint64_t seed) {
    const unsigned char *bytes = buf;
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != (unsigned char)(((i + seed) * 2654435761u) >> 13))
            return false;
    return true;
}

/* --- files ----------------------------------------------------------------------------------- */

static char temp_folder[256];
static pid_t temp_owner;

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void remove_temp_folder(void) {
    if (getpid() == temp_owner)
        nftw(temp_folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *temp_dir(void) {
    if (temp_owner != getpid()) {
        const char *base = getenv("TMPDIR");
        snprintf(temp_folder, sizeof temp_folder, "%s/aio-%s-XXXXXX", base ? base : "/tmp",
                 program_invocation_short_name);
        CHECK(mkdtemp(temp_folder) != NULL);
        temp_owner = getpid();
        atexit(remove_temp_folder);
    }
    return temp_folder;
}

const char *temp_path(const char *name) {
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", temp_dir(), name);
    return path;
}

int temp_file(const char *name, const void *data, size_t len) {
    const int fd = SYS(open(temp_path(name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (len)
        CHECK_EQ(pwrite(fd, data, len, 0), (int64_t)len);
    return fd;
}

void write_all_or_fail(int fd, const void *data, size_t len) {
    const char *bytes = data;
    while (len) {
        const ssize_t done = write(fd, bytes, len);
        if (done < 0 && errno == EINTR)
            continue;
        CHECK_GT(done, 0);
        bytes += done;
        len -= (size_t)done;
    }
}

void read_all_or_fail(int fd, void *data, size_t len) {
    char *bytes = data;
    while (len) {
        const ssize_t done = read(fd, bytes, len);
        if (done < 0 && errno == EINTR)
            continue;
        CHECK_GT(done, 0);
        bytes += done;
        len -= (size_t)done;
    }
}

/* --- descriptors ----------------------------------------------------------------------------- */

void make_pipe(int fds[2]) { SYS(pipe2(fds, O_CLOEXEC)); }

void make_socket_pair(int fds[2]) { SYS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)); }

static int bound_socket(int type, struct sockaddr_in *addr) {
    const int fd = SYS(socket(AF_INET, type | SOCK_CLOEXEC, 0));
    *addr = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    SYS(bind(fd, (struct sockaddr *)addr, sizeof *addr));
    socklen_t len = sizeof *addr;
    SYS(getsockname(fd, (struct sockaddr *)addr, &len));
    return fd;
}

int make_tcp_listener(struct sockaddr_in *addr, int backlog) {
    const int fd = bound_socket(SOCK_STREAM, addr);
    SYS(listen(fd, backlog));
    return fd;
}

int make_udp_socket(struct sockaddr_in *addr) { return bound_socket(SOCK_DGRAM, addr); }

int tcp_connect_to(const struct sockaddr_in *addr) {
    const int fd = SYS(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    SYS(connect(fd, (const struct sockaddr *)addr, sizeof *addr));
    return fd;
}

void make_tcp_pair(int fds[2]) {
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 8), on = 1;
    fds[0] = tcp_connect_to(&addr);
    fds[1] = SYS(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
    for (int i = 0; i < 2; i++)
        SYS(setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
    SYS(close(listener));
}

/* Writes until a byte would block, without O_NONBLOCK it could stop for ever: how much it was. */
static size_t fill(int fd) {
    static const char zeros[4096];
    size_t total = 0;
    const int flags = SYS(fcntl(fd, F_GETFL));
    SYS(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
    for (size_t len = sizeof zeros; len; len = len > 1 ? len / 2 : 0)
        for (ssize_t count; (count = write(fd, zeros, len)) > 0;)
            total += (size_t)count;
    CHECK_EQ(errno, EAGAIN);
    SYS(fcntl(fd, F_SETFL, flags));
    return total;
}

/* A TCP connection's buffer grows once more when the first bytes are acknowledged, which can be
 * 40 ms later, and on a slow machine more: it is full when it stays full. */
void fill_until_full(int fd) {
    int protocol = 0;
    socklen_t len = sizeof protocol;
    const bool tcp =
        getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 && protocol == IPPROTO_TCP;
    while (fill(fd) > 0 && tcp)
        sleep_ms(60 * test_slow());
}

void drain_until_empty(int fd) {
    char bytes[4096];
    while (is_readable(fd, 50))
        if (read(fd, bytes, sizeof bytes) <= 0)
            return;
}

bool is_readable(int fd, unsigned within_ms) {
    struct pollfd item = {.fd = fd, .events = POLLIN};
    return SYS(poll(&item, 1, (int)within_ms)) == 1;
}

bool peer_sees_fin(int fd, unsigned within_ms) {
    char bytes[4096];
    while (is_readable(fd, within_ms)) {
        const ssize_t count = read(fd, bytes, sizeof bytes);
        if (count <= 0)
            return count == 0;
    }
    return false;
}

bool is_cloexec(int fd) { return SYS(fcntl(fd, F_GETFD)) & FD_CLOEXEC; }

bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

int open_descriptors(void) {
    if (under_thread_sanitizer()) /* it opens some when it has something to say to itself */
        return 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir != NULL);
    int count = -1; /* the folder's own */
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

int64_t resident_kib(void) {
    FILE *file = fopen("/proc/self/statm", "re");
    CHECK(file != NULL);
    long long total = 0, resident = 0;
    CHECK_EQ(fscanf(file, "%lld %lld", &total, &resident), 2);
    fclose(file);
    return resident * sysconf(_SC_PAGESIZE) / 1024;
}

void *make_faulting_page(int *fault_fd) {
    const int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        test_skip("no userfaultfd here: %s", strerror(errno));
    struct uffdio_api api = {.api = UFFD_API};
    SYS(ioctl(fd, UFFDIO_API, &api));
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    struct uffdio_register range = {.range = {.start = (uintptr_t)page, .len = 4096},
                                    .mode = UFFDIO_REGISTER_MODE_MISSING};
    SYS(ioctl(fd, UFFDIO_REGISTER, &range));
    *fault_fd = fd;
    return page;
}

void resolve_fault(int fault_fd, void *page) {
    struct uffdio_zeropage zero = {.range = {.start = (uintptr_t)page, .len = 4096}};
    SYS(ioctl(fault_fd, UFFDIO_ZEROPAGE, &zero));
}

/* --- children -------------------------------------------------------------------------------- */

pid_t start_child(void (*body)(void *arg), void *arg) {
    const pid_t parent = getpid();
    fflush(NULL);
    const pid_t pid = SYS(fork());
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        body(arg);
        fflush(NULL);
        remove_temp_folder();
        _exit(0);
    }
    return pid;
}

int end_child(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
