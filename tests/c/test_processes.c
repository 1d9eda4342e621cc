/* Child processes: what they are given, how their end is told, and that nothing is left of them. */
#include "harness.h"

#include <dirent.h>
#include <dlfcn.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define SHELL(script_) ((const char *const[]){"/bin/sh", "-c", (script_), NULL})
#define SPAWN(...) (&(aio_spawn_options){.size = sizeof(aio_spawn_options), __VA_ARGS__})
#define NEW_PROCESS {.size = sizeof(aio_process)}

static void needs_pidfds(void) { beyond_valgrind("does not know pidfd_open"); }

static int threads(void) {
    DIR *dir = opendir("/proc/self/task");
    int count = -2; /* . and .. */
    CHECK(dir != NULL);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static bool has_children(void) {
    siginfo_t info;
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

/* Also of the library: the thread that reaps ends a moment after the last child was told of. */
static void check_nothing_left(int descriptors, int tasks) {
    const uint64_t limit_ns = patience_end_ns();
    CHECK(!has_children());
    while ((threads() > tasks || open_descriptors() > descriptors) && now_ns() < limit_ns)
        sleep_ms(1);
    CHECK_EQ(open_descriptors(), descriptors);
    CHECK_EQ(threads(), tasks);
}

/* All that comes until the writers are gone; closes the descriptor. */
static const char *read_to_end(int fd) {
    static char text[4096];
    size_t len = 0;
    for (;;) {
        const ssize_t got = SYS(read(fd, text + len, sizeof text - 1 - len));
        if (got == 0)
            break;
        len += (size_t)got;
    }
    text[len] = 0;
    SYS(close(fd));
    return text;
}

static void await_line(int fd, const char *line) {
    char text[64] = {0};
    read_all_or_fail(fd, text, strlen(line));
    CHECK_STR(text, line);
}

static aio_process start(aio_ctx *ctx, aio_spawn_options *spawn, struct call *call) {
    aio_process process = NEW_PROCESS;
    needs_pidfds();
    ID(aio_submit_spawn(ctx, spawn, &process, NULL, on_call, call));
    CHECK_GT(process.pid, 0);
    CHECK_EQ(process.size, sizeof process);
    return process;
}

/* What a script writes to its standard output; it must end with 0. */
static const char *output_of(aio_spawn_options *spawn) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    spawn->stdout_mode = AIO_SPAWN_PIPE;
    const aio_process process = start(ctx, spawn, &call);
    CHECK(is_cloexec(process.stdout_fd));
    const char *text = read_to_end(process.stdout_fd);
    CHECK_EQ(await_call(ctx, &call), 0);
    end_ctx(ctx);
    return text;
}

/* --- how it ends ----------------------------------------------------------------------------- */

static aio_process_exit ended;

static void note_exit(struct call *call) {
    ended = (aio_process_exit){.size = sizeof ended};
    CHECK_EQ(aio_ctx_current_exit(call->ctx, &ended), 0);
    CHECK_EQ(aio_ctx_current_exit(call->ctx, NULL), -EINVAL);
}

TEST(the_result_is_the_exit_status) {
    aio_ctx *ctx = make_ctx();
    struct call call = {.then = note_exit};
    const aio_process process = start(ctx, SPAWN(.argv = SHELL("exit 42")), &call);
    CHECK_EQ(call.calls, 0);
    CHECK_EQ(await_call(ctx, &call), 42);
    CHECK_EQ(ended.pid, process.pid);
    CHECK_EQ(ended.code, CLD_EXITED);
    CHECK_EQ(ended.status, 42);
    CHECK_GT(ended.max_rss_kib, 0);
    CHECK_GT(ended.minor_faults, 0);
    CHECK_EQ(call.bytes, ended.user_ns + ended.system_ns);
    CHECK_EQ(process.stdin_fd, -1);
    CHECK_EQ(process.pidfd, -1);
    CHECK_EQ(aio_ctx_current_exit(ctx, &ended), -ENOENT);
    end_ctx(ctx);
}

TEST(the_result_tells_a_signal) {
    aio_ctx *ctx = make_ctx();
    struct call call = {.then = note_exit};
    start(ctx, SPAWN(.argv = SHELL("kill -HUP $$")), &call);
    CHECK_EQ(await_call(ctx, &call), AIO_SPAWN_SIGNALED + SIGHUP);
    CHECK_EQ(ended.code, CLD_KILLED);
    CHECK_EQ(ended.status, SIGHUP);
    end_ctx(ctx);
}

TEST(a_record_has_the_time_that_was_used) {
    needs_pidfds();
    aio_ctx *ctx = make_ctx();
    aio_completion record = {0};
    const aio_op_id id = ID(aio_submit_spawn(ctx,
                                             SPAWN(.argv = SHELL("i=0; while [ $i -lt 20000 ]; do "
                                                                 "i=$((i + 1)); done; exit 3")),
                                             NULL, NULL, AIO_CALLBACK_REAP, NULL));
    CHECK_EQ(aio_ctx_reap(ctx, &record, sizeof record, 1, 60000 * (int64_t)MS), 1);
    CHECK_EQ(record.id, id);
    CHECK_EQ(record.result, 3);
    CHECK_GT(record.extra, 0);
    end_ctx(ctx);
}

/* --- what it is given ------------------------------------------------------------------------ */

TEST(pipes_carry_what_it_reads_and_writes) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    const aio_process process =
        start(ctx,
              SPAWN(.argv = SHELL("cat; echo done >&2"), .stdin_mode = AIO_SPAWN_PIPE,
                    .stdout_mode = AIO_SPAWN_PIPE, .stderr_mode = AIO_SPAWN_PIPE),
              &call);
    write_all_or_fail(process.stdin_fd, "hello", 5);
    SYS(close(process.stdin_fd));
    CHECK_STR(read_to_end(process.stdout_fd), "hello");
    CHECK_STR(read_to_end(process.stderr_fd), "done\n");
    CHECK_EQ(await_call(ctx, &call), 0);
    end_ctx(ctx);
}

TEST(errors_can_go_where_the_output_goes) {
    CHECK_STR(
        output_of(SPAWN(.argv = SHELL("echo out; echo err >&2"), .stderr_mode = AIO_SPAWN_STDOUT)),
        "out\nerr\n");
}

TEST(streams_can_be_nothing) {
    CHECK_STR(output_of(SPAWN(.argv = SHELL("cat; echo lost >&2 && echo written"),
                              .stdin_mode = AIO_SPAWN_NULL, .stderr_mode = AIO_SPAWN_NULL)),
              "written\n");
}

TEST(descriptors_get_their_numbers_even_when_they_change_places) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    int fds[4][2];
    for (int i = 0; i < 4; i++)
        make_pipe(fds[i]);
    /* The writing ends, each at the number that the next one has here. */
    const int w[4] = {fds[0][1], fds[1][1], fds[2][1], fds[3][1]};
    const aio_spawn_fd given[] = {{w[0], w[1]}, {w[1], w[2]}, {w[2], w[0]}, {w[3], w[3]}};
    char script[256];
    snprintf(script, sizeof script,
             "echo a >/dev/fd/%d; echo b >/dev/fd/%d; echo c >/dev/fd/%d; echo d >/dev/fd/%d", w[1],
             w[2], w[0], w[3]);
    start(ctx, SPAWN(.argv = SHELL(script), .fds = given, .fd_count = 4), &call);
    CHECK_EQ(await_call(ctx, &call), 0);
    for (int i = 0; i < 4; i++)
        SYS(close(w[i]));
    static const char *const expected[] = {"a\n", "b\n", "c\n", "d\n"};
    for (int i = 0; i < 4; i++)
        CHECK_STR(read_to_end(fds[i][0]), expected[i]);
    end_ctx(ctx);
}

TEST(standard_streams_can_change_places) {
    int in[2], out[2];
    make_pipe(in);
    make_pipe(out);
    write_all_or_fail(in[1], "swapped\n", 8);
    SYS(close(in[1]));
    SYS(dup2(out[1], 0)); /* here the output is 0, and the input is 1 */
    SYS(dup2(in[0], 1));
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    start(ctx,
          SPAWN(.argv = SHELL("cat"), .stdin_mode = AIO_SPAWN_FD, .stdin_fd = 1,
                .stdout_mode = AIO_SPAWN_FD, .stdout_fd = 0),
          &call);
    CHECK_EQ(await_call(ctx, &call), 0);
    end_ctx(ctx);
    SYS(close(0));
    SYS(close(out[1]));
    CHECK_STR(read_to_end(out[0]), "swapped\n");
}

/* The descriptor that the list itself was read from is not there any more. */
#define LIST "for f in /proc/$$/fd/*; do [ -e $f ] && echo ${f##*/}; done; true"

TEST(no_other_descriptor_gets_into_it) {
    int fds[2];
    char expected[64];
    SYS(pipe(fds)); /* not close-on-exec */
    CHECK_STR(output_of(SPAWN(.argv = SHELL(LIST))), "0\n1\n2\n");
    snprintf(expected, sizeof expected, "0\n1\n2\n%d\n", 9);
    CHECK_STR(
        output_of(SPAWN(.argv = SHELL(LIST), .fds = (aio_spawn_fd[]){{fds[0], 9}}, .fd_count = 1)),
        expected);
    snprintf(expected, sizeof expected, "\n%d\n%d\n", fds[0], fds[1]);
    CHECK(strstr(output_of(SPAWN(.argv = SHELL(LIST), .flags = AIO_SPAWN_KEEP_FDS)), expected));
}

TEST(environment_and_directory_are_as_given) {
    static const char *const envp[] = {"WHO=world", NULL};
    CHECK_STR(output_of(SPAWN(.argv = SHELL("pwd; echo $WHO"), .envp = envp, .cwd = "/usr")),
              "/usr\nworld\n");
    setenv("WHO", "here", 1);
    CHECK_STR(output_of(SPAWN(.argv = SHELL("echo $WHO"))), "here\n");
    CHECK_STR(output_of(SPAWN(.program = "sh", /* in PATH */
                              .argv = ((const char *const[]){"name", "-c", "echo $0", NULL}))),
              "name\n");
}

static void check_signals(uint32_t flags, uint64_t blocked, uint64_t ignored) {
    const uint64_t plain = 0x7fffffff; /* the C library has some of the others ignored */
    const char *const argv[] = {"/bin/grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status", NULL};
    const char *text = output_of(SPAWN(.argv = argv, .flags = flags));
    const char *blocked_at = strstr(text, "SigBlk:"), *ignored_at = strstr(text, "SigIgn:");
    CHECK(blocked_at && ignored_at);
    CHECK_EQ(strtoull(blocked_at + 7, NULL, 16) & plain, blocked);
    CHECK_EQ(strtoull(ignored_at + 7, NULL, 16) & plain, ignored);
}

TEST(no_signal_is_blocked_or_ignored_unless_asked_for) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    SYS(sigprocmask(SIG_BLOCK, &set, NULL));
    for (int signo = 1; signo < 32; signo++)
        if (signo != SIGKILL && signo != SIGSTOP)
            signal(signo, signo == SIGPIPE ? SIG_IGN : SIG_DFL);
    check_signals(0, 0, 0);
    check_signals(AIO_SPAWN_KEEP_SIGNALS, 1u << (SIGUSR1 - 1), 1u << (SIGPIPE - 1));
}

TEST(it_can_have_a_session_or_a_group_of_its_own) {
    for (uint32_t flags = 0; flags <= AIO_SPAWN_NEW_GROUP; flags++) {
        aio_ctx *ctx = make_ctx();
        struct call call = {0};
        const aio_process process =
            start(ctx, SPAWN(.argv = SHELL("read x"), .stdin_mode = AIO_SPAWN_PIPE, .flags = flags),
                  &call);
        CHECK_EQ(getsid(process.pid) == process.pid, flags == AIO_SPAWN_NEW_SESSION);
        CHECK_EQ(getpgid(process.pid) == process.pid, flags != 0);
        SYS(close(process.stdin_fd));
        await_call(ctx, &call);
        end_ctx(ctx);
    }
}

TEST(a_descriptor_of_the_child_names_it_for_ever) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    const aio_process process = start(
        ctx, SPAWN(.argv = SHELL("read x"), .stdin_mode = AIO_SPAWN_PIPE, .flags = AIO_SPAWN_PIDFD),
        &call);
    CHECK(is_cloexec(process.pidfd));
    SYS(syscall(SYS_pidfd_send_signal, process.pidfd, SIGTERM, NULL, 0));
    CHECK_EQ(await_call(ctx, &call), AIO_SPAWN_SIGNALED + SIGTERM);
    CHECK_EQ(syscall(SYS_pidfd_send_signal, process.pidfd, SIGTERM, NULL, 0), -1);
    CHECK_EQ(errno, ESRCH);
    SYS(close(process.pidfd));
    SYS(close(process.stdin_fd));
    end_ctx(ctx);
}

static bool waits_at_once;

/* In the place of the C library's: like that of a program that waits for every child that ends. */
int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]) {
    __typeof__(posix_spawnp) *next = (__typeof__(next))(uintptr_t)dlsym(RTLD_NEXT, "posix_spawnp");
    const int status = next(pid, file, actions, attributes, argv, envp);
    if (status == 0 && waits_at_once)
        CHECK_EQ(waitpid(*pid, NULL, 0), *pid);
    return status;
}

TEST(a_child_that_the_program_has_waited_for_ends_without_a_status) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    CHECK_GE(aio_ctx_flush(ctx), 0);
    const int descriptors = open_descriptors(), tasks = threads();
    aio_process process = NEW_PROCESS;
    needs_pidfds();
    waits_at_once = true;
    const aio_op_id id = ID(aio_submit_spawn(
        ctx,
        SPAWN(.argv = SHELL("exit 3"), .flags = AIO_SPAWN_PIDFD, .stdout_mode = AIO_SPAWN_PIPE),
        &process, NULL, on_call, &call));
    CHECK_GT(process.pid, 0);
    CHECK_EQ(process.pidfd, -1);
    CHECK_STR(read_to_end(process.stdout_fd), "");
    CHECK_EQ(aio_ctx_cancel(ctx, id), -EALREADY);
    CHECK_EQ(await_call(ctx, &call), -ECHILD);
    check_nothing_left(descriptors, tasks);
    end_ctx(ctx);
}

/* --- what cannot be started ------------------------------------------------------------------ */

static int32_t refusal(aio_ctx *ctx, aio_spawn_options *spawn) {
    aio_process process = NEW_PROCESS;
    spawn->stdout_mode = AIO_SPAWN_PIPE;
    const aio_op_id id = aio_submit_spawn(ctx, spawn, &process, NULL, on_call_never, NULL);
    CHECK_EQ(process.pid, 0); /* not written */
    return (int32_t)id;
}

TEST(what_cannot_be_executed_says_why_and_leaves_nothing) {
    needs_pidfds();
    aio_ctx *ctx = make_ctx();
    CHECK_GE(aio_ctx_flush(ctx), 0);
    SYS(close(temp_file("text", "no program", 10)));
    const char *text = temp_path("text");
    const int descriptors = open_descriptors(), tasks = threads();
    static char huge[3 << 20];
    memset(huge, 'x', sizeof huge - 1);
    CHECK_EQ(refusal(ctx, SPAWN(.argv = SHELL(""), .program = "/nowhere")), -ENOENT);
    CHECK_EQ(refusal(ctx, SPAWN(.argv = SHELL(""), .program = "not-in-path")), -ENOENT);
    CHECK_EQ(refusal(ctx, SPAWN(.argv = SHELL(""), .program = "/tmp")), -EACCES);
    CHECK_EQ(refusal(ctx, SPAWN(.argv = SHELL(""), .program = text)), -EACCES);
    SYS(chmod(text, 0700));
    CHECK_EQ(refusal(ctx, SPAWN(.argv = SHELL(""), .program = text)), -ENOEXEC);
    CHECK_EQ(refusal(ctx, SPAWN(.argv = SHELL(huge))), -E2BIG);
    CHECK_EQ(refusal(ctx, SPAWN(.argv = SHELL(""), .cwd = "/nowhere")), -ENOENT);
    CHECK_EQ(refusal(ctx, SPAWN(.argv = SHELL(""), .cwd = "/dev/null")), -ENOTDIR);
    CHECK_EQ(refusal(ctx, SPAWN(.argv = SHELL(""), .stdin_mode = AIO_SPAWN_FD, .stdin_fd = 999)),
             -EBADF);
    check_nothing_left(descriptors, tasks);
    CHECK_EQ(aio_ctx_in_flight(ctx), 0);
    end_ctx(ctx);
}

TEST(bad_arguments_are_refused) {
    aio_ctx *ctx = make_ctx();
    const aio_spawn_fd low[] = {{0, 2}}, high[] = {{0, 1024}}, none[] = {{-1, 5}};
    const aio_spawn_fd twice[] = {{0, 5}, {1, 5}};
    struct {
        aio_spawn_options options;
        uint64_t later;
    } larger = {.options = {.size = sizeof larger, .argv = SHELL("")}, .later = 1};
    CHECK_EQ(refusal(ctx, SPAWN(.argv = NULL)), -EINVAL);
    CHECK_EQ(refusal(ctx, SPAWN(.argv = SHELL(""), .flags = 32)), -EINVAL);
    CHECK_EQ(refusal(ctx, SPAWN(.argv = SHELL(""), .stdin_mode = AIO_SPAWN_STDOUT)), -EINVAL);
    CHECK_EQ(refusal(ctx, SPAWN(.argv = SHELL(""), .stderr_mode = 5)), -EINVAL);
    CHECK_EQ(refusal(ctx, SPAWN(.argv = SHELL(""), .stdin_mode = AIO_SPAWN_FD, .stdin_fd = -1)),
             -EBADF);
    CHECK_EQ(refusal(ctx, SPAWN(.argv = SHELL(""), .cancel_signal = 65)), -EINVAL);
    CHECK_EQ(refusal(ctx, SPAWN(.argv = SHELL(""), .cancel_signal = -1)), -EINVAL);
    CHECK_EQ(refusal(ctx, SPAWN(.argv = SHELL(""), .reserved = {0, 1})), -EINVAL);
    CHECK_EQ(refusal(ctx, SPAWN(.argv = SHELL(""), .fd_count = 1)), -EINVAL);
    CHECK_EQ(refusal(ctx, SPAWN(.argv = SHELL(""), .fds = low, .fd_count = 1)), -EINVAL);
    CHECK_EQ(refusal(ctx, SPAWN(.argv = SHELL(""), .fds = high, .fd_count = 1)), -EINVAL);
    CHECK_EQ(refusal(ctx, SPAWN(.argv = SHELL(""), .fds = none, .fd_count = 1)), -EBADF);
    CHECK_EQ(refusal(ctx, SPAWN(.argv = SHELL(""), .fds = twice, .fd_count = 2)), -EINVAL);
    CHECK_EQ(refusal(ctx, &larger.options), -E2BIG);
    larger.options.size = sizeof larger.options - 1;
    CHECK_EQ(refusal(ctx, &larger.options), -EINVAL);
    aio_process small = {.size = sizeof small - 1};
    CHECK_EQ(aio_submit_spawn(ctx, SPAWN(.argv = SHELL("")), &small, NULL, on_call, NULL), -EINVAL);
    CHECK_EQ(aio_submit_spawn(ctx, SPAWN(.argv = SHELL(""), .stdin_mode = AIO_SPAWN_PIPE), NULL,
                              NULL, on_call, NULL),
             -EINVAL);
    CHECK_EQ(aio_submit_spawn(ctx, SPAWN(.argv = SHELL(""), .flags = AIO_SPAWN_PIDFD), NULL, NULL,
                              on_call, NULL),
             -EINVAL);
    CHECK(!has_children());
    end_ctx(ctx);
}

/* --- cancelling ------------------------------------------------------------------------------ */

/* A child that has said that it is ready. */
static aio_process start_ready(aio_ctx *ctx, aio_spawn_options *spawn, uint32_t flags,
                               struct call *call, aio_op_id *id) {
    aio_process process = NEW_PROCESS;
    spawn->stdout_mode = AIO_SPAWN_PIPE;
    needs_pidfds();
    *id = ID(aio_submit_spawn(ctx, spawn, &process, WITH(.flags = flags), on_call, call));
    await_line(process.stdout_fd, "ready\n");
    return process;
}

TEST(a_cancel_sends_the_signal_and_waits) {
    for (int keep = 0; keep < 2; keep++) {
        aio_ctx *ctx = make_ctx();
        struct call call = {0};
        aio_op_id id;
        const aio_process process = start_ready(
            ctx,
            SPAWN(.argv = SHELL("trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done"),
                  .cancel_signal = SIGTERM),
            keep ? AIO_SUBMIT_KEEP_RESULT : 0, &call, &id);
        CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
        CHECK_EQ(aio_ctx_cancel(ctx, id), -EALREADY);
        CHECK_EQ(await_call(ctx, &call), keep ? 7 : -ECANCELED);
        CHECK(!has_children());
        SYS(close(process.stdout_fd));
        end_ctx(ctx);
    }
}

#define STUBBORN "trap '' TERM; echo ready; while :; do sleep 0.01; done"

TEST(what_ignores_the_signal_is_killed_when_its_time_is_up) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    aio_op_id id;
    const aio_process process = start_ready(
        ctx, SPAWN(.argv = SHELL(STUBBORN), .cancel_signal = SIGTERM, .kill_after_ns = 100 * MS),
        AIO_SUBMIT_KEEP_RESULT, &call, &id);
    const uint64_t start_ns = now_ns();
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &call), AIO_SPAWN_SIGNALED + SIGKILL);
    CHECK_GE(call.at_ns - start_ns, 100 * MS);
    SYS(close(process.stdout_fd));
    end_ctx(ctx);
}

TEST(a_kept_result_says_that_the_deadline_killed_the_child) {
    needs_pidfds();
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    ID(aio_submit_spawn(ctx, SPAWN(.argv = SHELL("exec sleep 1000"), .cancel_signal = SIGKILL),
                        NULL, WITH(.flags = AIO_SUBMIT_KEEP_RESULT, .timeout_ns = 30 * MS), on_call,
                        &call));
    CHECK_EQ(await_call(ctx, &call), AIO_SPAWN_SIGNALED + SIGKILL);
    CHECK_EQ(call.flags, AIO_CQE_DEADLINE);
    CHECK(!has_children());
    end_ctx(ctx);
}

TEST(destroy_and_cancel_wait_kill_and_wait) {
    for (int way = 0; way < 2; way++) {
        aio_ctx *ctx = make_ctx();
        struct call call = {0};
        aio_op_id id;
        const aio_process process = start_ready(
            ctx, SPAWN(.argv = SHELL(STUBBORN), .cancel_signal = SIGTERM, .kill_after_ns = 20 * MS),
            0, &call, &id);
        if (way == 0)
            CHECK_EQ(aio_ctx_cancel_wait(ctx, id), 0);
        end_ctx(ctx);
        CHECK_EQ(call.calls, way);
        CHECK(!has_children());
        SYS(close(process.stdout_fd));
    }
}

static void await_no_child(pid_t pid) {
    const uint64_t limit_ns = patience_end_ns();
    while (kill(pid, 0) == 0 && now_ns() < limit_ns)
        sleep_ms(1);
    CHECK_EQ(kill(pid, 0), -1); /* a zombie still has its number */
    CHECK(!has_children());
}

TEST(without_a_signal_it_goes_on_and_leaves_no_zombie) {
    needs_pidfds();
    const int tasks = threads();
    for (int way = 0; way < 4; way++) {
        aio_ctx *ctx = make_ctx();
        struct call call = {0};
        aio_process process = NEW_PROCESS;
        const aio_op_id id =
            ID(aio_submit_spawn(ctx, SPAWN(.argv = SHELL("cat"), .stdin_mode = AIO_SPAWN_PIPE),
                                &process, WITH(.timeout_ns = way == 3 ? MS : 0), on_call, &call));
        if (way == 0) {
            CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
            CHECK_EQ(await_call(ctx, &call), -ECANCELED);
        } else if (way == 1) {
            CHECK_EQ(aio_ctx_detach(ctx, id), 0);
            CHECK_EQ(aio_ctx_run(ctx), 0);
        } else if (way == 3) {
            CHECK_EQ(await_call(ctx, &call), -ETIMEDOUT);
        }
        end_ctx(ctx);
        CHECK_EQ(call.calls, way != 1);
        SYS(kill(process.pid, 0));
        SYS(close(process.stdin_fd));
        await_no_child(process.pid);
    }
    const uint64_t limit_ns = patience_end_ns();
    while (threads() > tasks && now_ns() < limit_ns)
        sleep_ms(1);
    CHECK_EQ(threads(), tasks);
}

TEST(a_cancel_reaches_all_of_its_group) {
    SYS(prctl(PR_SET_CHILD_SUBREAPER, 1)); /* the grandchild becomes ours */
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    aio_op_id id;
    int status;
    const aio_process process =
        start_ready(ctx,
                    SPAWN(.argv = SHELL("sleep 1000 & echo ready; echo $!; wait"),
                          .flags = AIO_SPAWN_NEW_GROUP, .cancel_signal = SIGKILL),
                    0, &call, &id);
    char text[16] = {0};
    SYS(read(process.stdout_fd, text, sizeof text - 1));
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    const pid_t grandchild = (pid_t)strtol(text, NULL, 10);
    CHECK_EQ(SYS(waitpid(grandchild, &status, 0)), grandchild);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    SYS(close(process.stdout_fd));
    end_ctx(ctx);
}

/* This program as a child that leaves its group. */
__attribute__((constructor)) static void leave_the_group(void) {
    if (!getenv("AIO_TEST_LEAVES_ITS_GROUP"))
        return;
    if (setpgid(0, getpgid(getppid())) != 0)
        _exit(1);
    write_all_or_fail(1, "ready\n", 6);
    pause();
}

TEST(a_cancel_reaches_a_child_that_has_left_its_group) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    aio_op_id id;
    const aio_process process =
        start_ready(ctx,
                    SPAWN(.program = "/proc/self/exe", .argv = SHELL(""),
                          .envp = (const char *const[]){"AIO_TEST_LEAVES_ITS_GROUP=1", NULL},
                          .flags = AIO_SPAWN_NEW_GROUP, .cancel_signal = SIGKILL),
                    AIO_SUBMIT_KEEP_RESULT, &call, &id);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &call), AIO_SPAWN_SIGNALED + SIGKILL);
    SYS(close(process.stdout_fd));
    end_ctx(ctx);
}

static void *spawn_and_leave(void *arg) {
    static struct call call;
    aio_ctx **ctx = arg;
    *ctx = make_ctx();
    ID(aio_submit_spawn(*ctx, SPAWN(.argv = SHELL("exec sleep 1000"), .cancel_signal = SIGKILL),
                        NULL, NULL, on_call, &call));
    return &call;
}

TEST(an_orphans_child_is_killed_where_it_is_destroyed) {
    needs_pidfds();
    aio_ctx *ctx;
    pthread_t thread;
    void *call;
    const int descriptors = open_descriptors(), tasks = threads();
    CHECK_EQ(pthread_create(&thread, NULL, spawn_and_leave, &ctx), 0);
    CHECK_EQ(pthread_join(thread, &call), 0);
    CHECK_EQ(aio_ctx_destroy(ctx), AIO_EORPHANED);
    CHECK_EQ(((struct call *)call)->result, -ECANCELED);
    CHECK_EQ(((struct call *)call)->flags, AIO_CQE_ABORTED);
    check_nothing_left(descriptors, tasks);
}

static void use_the_copy(void *arg) {
    CHECK_EQ(aio_ctx_destroy(arg), 0);
    aio_ctx *ctx = make_ctx(); /* its own children */
    struct call call = {0};
    start(ctx, SPAWN(.argv = SHELL("exit 9")), &call);
    CHECK_EQ(await_call(ctx, &call), 9);
    end_ctx(ctx);
    CHECK(!has_children());
    _exit(5);
}

TEST(a_forked_child_has_children_of_its_own) {
    if (under_thread_sanitizer())
        SKIP("ThreadSanitizer has no threads in a forked child");
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    const aio_process process = start(
        ctx, SPAWN(.argv = SHELL("cat"), .stdin_mode = AIO_SPAWN_PIPE, .cancel_signal = SIGKILL),
        &call);
    CHECK_EQ(end_child(start_child(use_the_copy, ctx)), 5);
    SYS(kill(process.pid, 0)); /* untouched */
    SYS(close(process.stdin_fd));
    CHECK_EQ(await_call(ctx, &call), 0);
    end_ctx(ctx);
}

/* --- many ------------------------------------------------------------------------------------ */

struct crowd {
    aio_ctx *ctx;
    int started, running, most, ended, total;
};

struct one {
    struct crowd *crowd;
    int number;
};

static void on_one(void *user_data, int32_t result, uint32_t flags);

static void start_more(struct crowd *crowd) {
    static char numbers[1000][8];
    static struct one ones[1000];
    while (crowd->running < 50 && crowd->started < crowd->total) {
        const int i = crowd->started++;
        snprintf(numbers[i], sizeof numbers[i], "%d", i % 200);
        ones[i] = (struct one){crowd, i};
        const char *const argv[] = {"/bin/sh", "-c", "exit $0", numbers[i], NULL};
        ID(aio_submit_spawn(crowd->ctx, SPAWN(.argv = argv), NULL, NULL, on_one, &ones[i]));
        if (++crowd->running > crowd->most)
            crowd->most = crowd->running;
    }
}

static void on_one(void *user_data, int32_t result, uint32_t flags) {
    struct one *one = user_data;
    CHECK_EQ(result, one->number % 200);
    CHECK_EQ(flags, 0);
    one->crowd->ended++;
    one->crowd->running--;
    start_more(one->crowd);
}

TEST(a_thousand_children_fifty_at_a_time_leave_nothing) {
    needs_pidfds();
    struct crowd crowd = {.ctx = make_ctx(), .total = scaled(1000)};
    CHECK_GE(aio_ctx_flush(crowd.ctx), 0);
    const int descriptors = open_descriptors(), tasks = threads();
    start_more(&crowd);
    CHECK_EQ(aio_ctx_run(crowd.ctx), 0);
    CHECK_EQ(crowd.ended, crowd.total);
    CHECK_EQ(crowd.most, 50);
    check_nothing_left(descriptors, tasks);
    end_ctx(crowd.ctx);
}

static void *spawn_on_a_thread(void *arg) {
    struct call calls[20] = {0};
    aio_ctx *ctx = make_ctx();
    for (int i = 0; i < 20; i++)
        ID(aio_submit_spawn(ctx, SPAWN(.argv = SHELL("exit 1")), NULL, NULL, on_call, &calls[i]));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < 20; i++)
        CHECK_EQ(calls[i].sum, 1);
    end_ctx(ctx);
    return arg;
}

TEST(contexts_on_several_threads_have_children) {
    needs_pidfds();
    const int descriptors = open_descriptors(), tasks = threads();
    pthread_t ids[4];
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&ids[i], NULL, spawn_on_a_thread, NULL), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(ids[i], NULL), 0);
    check_nothing_left(descriptors, tasks);
}

HARNESS_MAIN
