/* getaddrinfo and getnameinfo on threads of their own: what a name server that never answers does
 * not do to the rest of the program, the cache, forked children and namespaces. The rows of the
 * operations are in operations_names.c. */
#include "name_server.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netdb.h>
#include <sched.h>

static const struct addrinfo v4_streams = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};

static aio_ctx *make_names_ctx(void) {
    aio_ctx *ctx = make_ctx();
    needs_threads_beside_a_ring(ctx);
    return ctx;
}

/* An address that no other process uses. */
static const char *own_host(void) {
    static char host[32];
    const unsigned pid = (unsigned)getpid();
    snprintf(host, sizeof host, "127.78.%u.%u", pid >> 8 & 255, pid & 255);
    return host;
}

static struct name_server *only_server(enum answer answer, const char *options, const char *hosts) {
    ask_only(own_host(), options, hosts);
    return name_server_start(own_host(), 53, answer);
}

static aio_op_id ask(aio_ctx *ctx, const char *name, struct addrinfo **list, uint64_t timeout_ns,
                     struct call *call) {
    return aio_submit_getaddrinfo(ctx, name, "80", &v4_streams, list,
                                  WITH(.timeout_ns = timeout_ns), on_call, call);
}

/* The result; the list, of one address, is checked and freed. */
static int32_t find(aio_ctx *ctx, const char *name, const char *address) {
    struct addrinfo *list = NULL;
    struct call call = {0};
    ID(ask(ctx, name, &list, 0, &call));
    const int32_t result = await_call(ctx, &call);
    CHECK_EQ(list != NULL, result == 0);
    if (result == 0) {
        char text[INET_ADDRSTRLEN];
        const struct sockaddr_in *addr = (const void *)list->ai_addr;
        CHECK_STR(inet_ntop(AF_INET, &addr->sin_addr, text, sizeof text), address);
        CHECK(list->ai_next == NULL);
    }
    aio_addrinfo_free(list);
    return result;
}

/* The kernel keeps a worker for a ring's files as long as the thread lives: it is none of ours. */
static bool is_of_the_kernel(const char *task) {
    char path[512], name[16] = {0};
    snprintf(path, sizeof path, "/proc/self/task/%s/comm", task);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const ssize_t got = read(fd, name, sizeof name - 1);
    close(fd);
    return got > 0 && strncmp(name, "iou-", 4) == 0;
}

static int count_threads(void) {
    DIR *dir = opendir("/proc/self/task");
    CHECK(dir != NULL);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.' && !is_of_the_kernel(entry->d_name);
    closedir(dir);
    return count;
}

static void await_threads(int count) {
    const uint64_t limit_ns = patience_end_ns();
    while (count_threads() > count && now_ns() < limit_ns)
        sleep_ms(5);
    CHECK_LE(count_threads(), count);
}

/* --- a server that never answers ------------------------------------------------------------- */

#define CALLS 10000
#define THREADS_MAX 32

/* Reads and writes of a file, each after the one before; and the ticks of a timer. */
struct work {
    aio_ctx *ctx;
    int fd, left;
    char block[4096];
    uint64_t began_ns, took_ns;
};

static void work_on(void *user_data, int32_t result, uint32_t flags) {
    struct work *work = user_data;
    (void)flags;
    CHECK_EQ(result, sizeof work->block);
    if (--work->left <= 0) {
        work->took_ns = now_ns() - work->began_ns;
        return;
    }
    if (work->left & 1)
        ID(aio_submit_read(work->ctx, work->fd, work->block, sizeof work->block, 0, NULL, work_on,
                           work));
    else
        ID(aio_submit_write(work->ctx, work->fd, work->block, sizeof work->block, 0, NULL, work_on,
                            work));
}

/* The best of five rounds: other processes disturb. */
static uint64_t work_ns(aio_ctx *ctx, int fd, int count) {
    static struct work work;
    uint64_t best_ns = UINT64_MAX;
    for (int i = 0; i < 5; i++) {
        work = (struct work){.ctx = ctx, .fd = fd, .left = count + 1, .began_ns = now_ns()};
        work_on(&work, sizeof work.block, 0);
        RUN_UNTIL(ctx, work.left <= 0);
        if (work.took_ns < best_ns)
            best_ns = work.took_ns;
    }
    return best_ns;
}

/* How late the latest of some timers was. */
static uint64_t ticks_ns(aio_ctx *ctx, int count) {
    uint64_t latest_ns = 0;
    for (int i = 0; i < count; i++) {
        struct call call = {0};
        const uint64_t due_ns = now_ns() + MS;
        CHECK_EQ(DO(ctx, call, aio_submit_timer(ctx, MS, NULL, on_call, &call)), 0);
        CHECK_GE(call.at_ns, due_ns);
        if (call.at_ns - due_ns > latest_ns)
            latest_ns = call.at_ns - due_ns;
    }
    return latest_ns;
}

TEST(calls_to_a_silent_server_end_at_their_deadline_and_nothing_else_waits) {
    struct name_server *server = only_server(ANSWER_NOTHING, "timeout:30 attempts:1", "");
    const int count = scaled(CALLS), operations = scaled(1000), ticks = scaled(100);
    const int threads = count_threads(), fd = temp_file("work", "", 0);
    static struct call calls[CALLS];
    static struct addrinfo *lists[CALLS];
    static char block[4096];
    write_all_or_fail(fd, block, sizeof block);
    aio_ctx *ctx = make_names_ctx();
    const uint64_t work_before_ns = work_ns(ctx, fd, operations);
    const uint64_t late_before_ns = ticks_ns(ctx, ticks);

    const uint64_t timeout_ns = 3000 * MS * test_slow(), began_ns = now_ns();
    for (int i = 0; i < count; i++)
        ID(ask(ctx, "silent.example", &lists[i], timeout_ns, &calls[i]));
    const uint64_t submitted_ns = now_ns();
    const unsigned questions = (unsigned)(count < THREADS_MAX ? count : THREADS_MAX);
    await_questions(ctx, server, questions); /* all threads sleep */
    const uint64_t work_beside_ns = work_ns(ctx, fd, operations);
    const uint64_t late_beside_ns = ticks_ns(ctx, ticks);
    const int in_flight = (int)aio_ctx_in_flight(ctx), most = count_threads();
    if (now_ns() < began_ns + timeout_ns)
        CHECK_EQ(in_flight, count);
    CHECK_LE(most, threads + THREADS_MAX + 64 /* the epoll backend's own, at most */);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    uint64_t latest_ns = 0;
    for (int i = 0; i < count; i++) {
        CHECK_EQ(calls[i].calls, 1);
        CHECK_EQ(calls[i].result, -ETIMEDOUT);
        CHECK_EQ(calls[i].flags, AIO_CQE_DEADLINE);
        CHECK_GE(calls[i].at_ns, began_ns + timeout_ns);
        CHECK(lists[i] == NULL);
        if (calls[i].at_ns - submitted_ns > latest_ns + timeout_ns)
            latest_ns = calls[i].at_ns - submitted_ns - timeout_ns;
    }
    printf("%d calls, submitted in %d ms, %d in flight beside %d file operations in %.1f ms (%.1f "
           "without them) and timers %.2f ms late (%.2f); the last ended %.1f ms after its "
           "deadline; %d threads, %u questions\n",
           count, (int)((submitted_ns - began_ns) / MS), in_flight, operations,
           (double)work_beside_ns / 1e6, (double)work_before_ns / 1e6, (double)late_beside_ns / 1e6,
           (double)late_before_ns / 1e6, (double)latest_ns / 1e6, most - threads,
           name_server_questions(server));
    CHECK_LE(name_server_questions(server), 2 * THREADS_MAX);
    end_ctx(ctx); /* which does not wait for the calls that have begun */
    CHECK_GT(count_threads(), threads);
    name_server_stop(server); /* now they get an answer */
    await_threads(threads);
}

TEST(destroy_does_not_wait_for_the_c_library) {
    struct name_server *server = only_server(ANSWER_NOTHING, "timeout:30 attempts:1", "");
    const int threads = count_threads(), descriptors = open_descriptors();
    struct addrinfo *list = NULL;
    struct call call = {0};
    aio_ctx *ctx = make_names_ctx();
    ID(ask(ctx, "silent.example", &list, 0, &call));
    await_questions(ctx, server, 1);
    end_ctx(ctx);
    CHECK_EQ(call.result, -ECANCELED);
    CHECK_EQ(call.flags, AIO_CQE_ABORTED);
    CHECK_LE(open_descriptors(), descriptors + 1); /* the call's socket */
    CHECK_EQ(name_server_questions(server), 1);
    name_server_set(server, ANSWER_ADDRESS); /* too late: a list comes for nobody */
    await_threads(threads);
    CHECK_EQ(open_descriptors(), descriptors);
    CHECK(list == NULL);
    name_server_stop(server);
}

static int count_in_dump(aio_ctx *ctx, const char *words) {
    static char text[64 * 1024];
    CHECK_LT(aio_ctx_dump(ctx, text, sizeof text), (int64_t)sizeof text);
    int count = 0;
    for (const char *at = text; (at = strstr(at, words)); at++)
        count++;
    return count;
}

TEST(calls_behind_those_that_wait_have_their_turn) {
    struct name_server *server = only_server(ANSWER_NOTHING, "timeout:30 attempts:1", "");
    enum { COUNT = 3 * THREADS_MAX };
    static struct call calls[COUNT];
    static struct addrinfo *lists[COUNT];
    const int threads = count_threads();
    aio_ctx *ctx = make_names_ctx();
    for (int i = 0; i < COUNT; i++)
        ID(ask(ctx, "slow.example", &lists[i], 0, &calls[i]));
    await_questions(ctx, server, THREADS_MAX);
    run_for_ms(ctx, 20);
    CHECK_EQ(name_server_questions(server), THREADS_MAX);
    CHECK_LE(count_threads(), threads + THREADS_MAX);
    CHECK_EQ(count_in_dump(ctx, "with the C library\n"), THREADS_MAX);
    CHECK_EQ(count_in_dump(ctx, "waiting for a thread\n"), COUNT - THREADS_MAX);
    name_server_set(server, ANSWER_ADDRESS);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(calls[i].result, 0);
        CHECK(lists[i] != NULL);
        aio_addrinfo_free(lists[i]);
    }
    end_ctx(ctx);
    name_server_stop(server);
    await_threads(threads);
}

/* --- what the C library knows ---------------------------------------------------------------- */

TEST(the_hosts_file_counts) {
    struct name_server *server =
        only_server(ANSWER_NO_NAME, "timeout:30 attempts:1", "192.0.2.77 here.example here\n");
    aio_ctx *ctx = make_names_ctx();
    CHECK_EQ(find(ctx, "here", "192.0.2.77"), 0);
    CHECK_EQ(find(ctx, "here.example", "192.0.2.77"), 0);
    CHECK_EQ(name_server_questions(server), 0);
    CHECK_EQ(find(ctx, "not.here.", NULL), AIO_ENONAME);
    CHECK_GE(name_server_questions(server), 1);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(80)};
    char host[NI_MAXHOST], service[NI_MAXSERV] = "as it was";
    struct call call = {0};
    CHECK_EQ(inet_pton(AF_INET, "192.0.2.77", &addr.sin_addr), 1);
    CHECK_EQ(DO(ctx, call,
                aio_submit_getnameinfo(ctx, (void *)&addr, sizeof addr, host, sizeof host, NULL, 0,
                                       NI_NAMEREQD, NULL, on_call, &call)),
             0);
    CHECK_STR(host, "here.example");
    CHECK_STR(service, "as it was");
    end_ctx(ctx);
    name_server_stop(server);
}

TEST(a_list_has_every_entry_and_the_canonical_name) {
    struct name_server *server = only_server(
        ANSWER_NO_NAME, "attempts:1", "192.0.2.1 two.example alias\n192.0.2.2 two.example alias\n");
    const struct addrinfo hints = {
        .ai_flags = AI_CANONNAME, .ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    struct call call = {0};
    aio_ctx *ctx = make_names_ctx();
    CHECK_EQ(DO(ctx, call,
                aio_submit_getaddrinfo(ctx, "alias", "8080", &hints, &list, NULL, on_call, &call)),
             0);
    end_ctx(ctx); /* the list is the program's */
    CHECK_STR(list->ai_canonname, "two.example");
    int entries = 0;
    for (const struct addrinfo *entry = list; entry; entry = entry->ai_next) {
        const struct sockaddr_in *addr = (const void *)entry->ai_addr;
        CHECK_EQ(ntohl(addr->sin_addr.s_addr) & ~3u, 0xc0000200);
        CHECK_EQ(ntohs(addr->sin_port), 8080);
        entries++;
    }
    CHECK_EQ(entries, 2);
    aio_addrinfo_free(list);
    aio_addrinfo_free(NULL);
    name_server_stop(server);
}

/* --- cache ----------------------------------------------------------------------------------- */

#define CACHE_WITH(...)                                                                            \
    (&(aio_names_cache_options){.size = sizeof(aio_names_cache_options), __VA_ARGS__})

TEST(a_cache_answers_in_the_place_of_a_server) {
    struct name_server *server = only_server(ANSWER_ADDRESS, "timeout:30 attempts:1", "");
    aio_ctx *ctx = make_names_ctx();
    for (int i = 1; i <= 3; i++) {
        CHECK_EQ(find(ctx, "a.example.", "192.0.2.1"), 0);
        CHECK_EQ(name_server_questions(server), i); /* there is none yet */
    }
    CHECK_EQ(aio_names_set_cache(CACHE_WITH(.entries = 10)), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(find(ctx, "a.example.", "192.0.2.1"), 0);
    CHECK_EQ(name_server_questions(server), 4);
    CHECK_EQ(find(ctx, "b.example.", "192.0.2.1"), 0);
    CHECK_EQ(name_server_questions(server), 5);
    struct addrinfo *list = NULL;
    struct call call = {0};
    CHECK_EQ(DO(ctx, call,
                aio_submit_getaddrinfo(ctx, "a.example.", "81", &v4_streams, &list, NULL, on_call,
                                       &call)),
             0);
    aio_addrinfo_free(list);
    CHECK_EQ(name_server_questions(server), 6); /* another question */
    name_server_set(server, ANSWER_NO_NAME);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(find(ctx, "c.example.", NULL), AIO_ENONAME);
    CHECK_EQ(name_server_questions(server), 7);
    name_server_set(server, ANSWER_FAILURE);
    const unsigned before = name_server_questions(server);
    CHECK_EQ(find(ctx, "d.example.", NULL), AIO_ENAMEAGAIN);
    const unsigned once = name_server_questions(server) - before;
    CHECK_EQ(find(ctx, "d.example.", NULL), AIO_ENAMEAGAIN);
    CHECK_EQ(name_server_questions(server) - before, 2 * once); /* a failure is no answer */
    CHECK_EQ(aio_names_set_cache(NULL), 0);
    CHECK_EQ(find(ctx, "a.example.", NULL), AIO_ENAMEAGAIN);
    end_ctx(ctx);
    name_server_stop(server);
}

TEST(what_is_in_the_cache_has_an_end_and_a_limit) {
    struct name_server *server = only_server(ANSWER_ADDRESS, "timeout:30 attempts:1", "");
    aio_ctx *ctx = make_names_ctx();
    CHECK_EQ(aio_names_set_cache(CACHE_WITH(.entries = 1, .ttl_ns = 1, .negative_ttl_ns = 1)), 0);
    CHECK_EQ(find(ctx, "a.example.", "192.0.2.1"), 0);
    CHECK_EQ(find(ctx, "a.example.", "192.0.2.1"), 0);
    CHECK_EQ(name_server_questions(server), 2);
    CHECK_EQ(aio_names_set_cache(CACHE_WITH(.entries = 1)), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(find(ctx, "a.example.", "192.0.2.1"), 0);
        CHECK_EQ(find(ctx, "b.example.", "192.0.2.1"), 0);
    }
    CHECK_EQ(name_server_questions(server), 6);
    CHECK_EQ(aio_names_set_cache(CACHE_WITH(.entries = 1, .reserved = {1})), -EINVAL);
    CHECK_EQ(aio_names_set_cache(&(aio_names_cache_options){.size = 4}), -EINVAL);
    end_ctx(ctx);
    name_server_stop(server);
}

/* --- processes and namespaces ---------------------------------------------------------------- */

static void find_in_child(void *arg) {
    (void)arg;
    aio_ctx *ctx = make_names_ctx();
    CHECK_EQ(find(ctx, "127.0.0.9", "127.0.0.9"), 0);
    CHECK_EQ(aio_names_set_cache(CACHE_WITH(.entries = 1)), 0);
    end_ctx(ctx);
}

TEST(a_forked_child_has_threads_of_its_own) {
    if (under_thread_sanitizer())
        SKIP("ThreadSanitizer has no threads in a forked child");
    beyond_valgrind("counts what the parent's threads have as leaked in the child");
    aio_ctx *ctx = make_names_ctx();
    CHECK_EQ(find(ctx, "127.0.0.8", "127.0.0.8"), 0);
    for (int i = 0; i < scaled(20); i++) {
        struct addrinfo *list = NULL;
        struct call call = {0};
        ID(ask(ctx, "127.0.0.7", &list, 0, &call)); /* a thread is busy at the fork, or not */
        CHECK_EQ(end_child(start_child(find_in_child, NULL)), 0);
        CHECK_EQ(await_call(ctx, &call), 0);
        aio_addrinfo_free(list);
    }
    end_ctx(ctx);
}

/* In a network without so much as a loopback. */
static void *find_nothing(void *arg) {
    (void)arg;
    if (unshare(CLONE_NEWNET) != 0)
        return "skip";
    aio_ctx *ctx = make_names_ctx();
    CHECK_EQ(find(ctx, "a.example.", NULL), AIO_ENAMEAGAIN);
    end_ctx(ctx);
    return NULL;
}

TEST(a_call_is_made_in_the_network_of_its_submitter) {
    struct name_server *server = only_server(ANSWER_ADDRESS, "timeout:1 attempts:1", "");
    aio_ctx *ctx = make_names_ctx();
    pthread_t thread;
    void *verdict;
    CHECK_EQ(find(ctx, "a.example.", "192.0.2.1"), 0);
    CHECK_EQ(pthread_create(&thread, NULL, find_nothing, NULL), 0);
    CHECK_EQ(pthread_join(thread, &verdict), 0);
    if (verdict)
        SKIP("no network namespace of its own");
    CHECK_EQ(find(ctx, "a.example.", "192.0.2.1"), 0);
    end_ctx(ctx);
    name_server_stop(server);
}

HARNESS_MAIN
