/* Section workers: threads with a context each begin together or not at all, serve an address
 * together, take descriptors, and stop as they are asked to. */
#include "harness.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/un.h>

/* What the functions of the workers have seen; each worker has a place. */
struct seen {
    int starts, stops;
    int index[64];
    aio_ctx *ctx[64];
    int cpu[64];
    pthread_t thread[64];
    int32_t fails_at, fails_with;
    aio_callback callback; /* of a timer that on_start submits, if there is one */
    uint64_t timer_ns;
    struct call calls[64];
};

static int32_t on_start(void *arg, aio_ctx *ctx, uint32_t index) {
    struct seen *seen = arg;
    seen->index[index]++;
    seen->ctx[index] = ctx;
    seen->cpu[index] = sched_getcpu();
    seen->thread[index] = pthread_self();
    __atomic_add_fetch(&seen->starts, 1, __ATOMIC_SEQ_CST);
    if (seen->fails_with && (int32_t)index == seen->fails_at)
        return seen->fails_with;
    if (seen->timer_ns)
        ID(aio_submit_timer(ctx, seen->timer_ns, NULL, on_call, &seen->calls[index]));
    return 0;
}

static int32_t on_stop(void *arg, aio_ctx *ctx, uint32_t index) {
    struct seen *seen = arg;
    CHECK(seen->ctx[index] == ctx);
    CHECK(pthread_equal(seen->thread[index], pthread_self()));
    __atomic_add_fetch(&seen->stops, 1, __ATOMIC_SEQ_CST);
    return 0;
}

#define WORKERS_WITH(...) (&(aio_workers_options){.size = sizeof(aio_workers_options), __VA_ARGS__})

static aio_workers *make_workers(const aio_workers_options *options) {
    aio_workers *workers = NULL;
    CHECK_EQ(aio_workers_create(options, &workers), 0);
    CHECK(workers != NULL);
    return workers;
}

/* A sanitizer may have one of its own, which begins with the first of the others. */
static int threads_of_this_process(void) {
    char line[128];
    int threads = 0;
    if (!memory_figures_are_ours())
        return 0;
    FILE *status = fopen("/proc/self/status", "re");
    while (fgets(line, sizeof line, status))
        sscanf(line, "Threads: %d", &threads);
    fclose(status);
    return threads;
}

/* A thread that was waited for is in the kernel's list a moment longer. */
static void wait_for_threads(int expected) {
    const uint64_t end_ns = patience_end_ns();
    while (threads_of_this_process() != expected && now_ns() < end_ns)
        sleep_ms(1);
    CHECK_EQ(threads_of_this_process(), expected);
}

TEST(there_is_one_for_each_processor) {
    struct seen seen = {0};
    cpu_set_t set;
    SYS(sched_getaffinity(0, sizeof set, &set));
    const int threads = threads_of_this_process();
    aio_workers *workers =
        make_workers(WORKERS_WITH(.on_start = on_start, .on_stop = on_stop, .arg = &seen));
    const int count = aio_workers_count(workers);
    CHECK_EQ(count, CPU_COUNT(&set));
    CHECK_EQ(seen.starts, count);
    for (int i = 0; i < count; i++) {
        CHECK_EQ(seen.index[i], 1);
        CHECK(aio_workers_ctx(workers, (uint32_t)i) == seen.ctx[i]);
        CHECK(CPU_ISSET(seen.cpu[i], &set));
        CPU_CLR(seen.cpu[i], &set);
    }
    CHECK_EQ(CPU_COUNT(&set), 0); /* each on its own */
    CHECK(aio_workers_ctx(workers, (uint32_t)count) == NULL);
    CHECK_EQ(aio_workers_destroy(workers), 0);
    CHECK_EQ(seen.stops, count);
    wait_for_threads(threads);
}

TEST(they_may_be_more_than_processors) {
    struct seen seen = {0};
    const uint32_t cpu = (uint32_t)sched_getcpu();
    aio_workers *workers = make_workers(
        WORKERS_WITH(.count = 5, .cpus = &cpu, .cpu_count = 1, .on_start = on_start, .arg = &seen));
    CHECK_EQ(aio_workers_count(workers), 5);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(seen.cpu[i], cpu);
    CHECK_EQ(aio_workers_destroy(workers), 0);
    workers = make_workers(WORKERS_WITH(.count = 2, .flags = AIO_WORKERS_UNPINNED));
    CHECK_EQ(aio_workers_destroy(workers), 0);
    CHECK_EQ(aio_workers_create(NULL, &workers), 0);
    CHECK_EQ(aio_workers_destroy(workers), 0);
}

TEST(contexts_are_made_with_the_options_given) {
    struct seen seen = {0};
    const aio_ctx_options options = {.size = sizeof options, .backend = AIO_BACKEND_EPOLL};
    aio_workers *workers =
        make_workers(WORKERS_WITH(.count = 2, .ctx = &options, .on_start = on_start, .arg = &seen));
    for (uint32_t i = 0; i < 2; i++) {
        aio_info info = {.size = sizeof info};
        CHECK_EQ(aio_ctx_info(aio_workers_ctx(workers, i), &info), 0);
        CHECK_EQ(info.backend, AIO_BACKEND_EPOLL);
    }
    CHECK_EQ(aio_workers_destroy(workers), 0);
}

/* --- beginnings that fail -------------------------------------------------------------------- */

TEST(one_that_cannot_start_undoes_all) {
    struct seen seen = {.fails_at = 1, .fails_with = -ENOLINK};
    const int threads = threads_of_this_process(), descriptors = open_descriptors();
    aio_workers *workers = NULL;
    CHECK_EQ(aio_workers_create(
                 WORKERS_WITH(.count = 3, .on_start = on_start, .on_stop = on_stop, .arg = &seen),
                 &workers),
             -ENOLINK);
    CHECK(workers == NULL);
    CHECK_EQ(seen.starts, 3);
    CHECK_EQ(seen.stops, 2); /* of those that had started */
    wait_for_threads(threads);
    CHECK_EQ(open_descriptors(), descriptors);
}

TEST(a_context_that_cannot_be_made_undoes_all) {
    const aio_ctx_options options = {.size = sizeof options, .sq_entries = 64, .sq_entries_max = 8};
    struct seen seen = {0};
    aio_workers *workers = NULL;
    CHECK_EQ(aio_workers_create(WORKERS_WITH(.ctx = &options), &workers), -EINVAL);
    /* As many as there are descriptors for; the rest finds none. */
    const int threads = threads_of_this_process(), descriptors = open_descriptors();
    struct rlimit limit;
    SYS(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = (rlim_t)descriptors + 14;
    SYS(setrlimit(RLIMIT_NOFILE, &limit));
    CHECK_EQ(aio_workers_create(
                 WORKERS_WITH(.count = 64, .on_start = on_start, .on_stop = on_stop, .arg = &seen),
                 &workers),
             -EMFILE);
    CHECK(workers == NULL);
    CHECK_LT(seen.starts, 64);
    CHECK_EQ(seen.stops, seen.starts);
    wait_for_threads(threads);
    CHECK_EQ(open_descriptors(), descriptors);
}

TEST(bad_arguments_are_refused) {
    aio_workers *workers = NULL;
    const uint32_t nowhere = 8191;
    const aio_workers_options good = {.size = sizeof good, .count = 1};
    aio_workers_options bad = good;
    CHECK_EQ(aio_workers_create(&good, NULL), -EINVAL);
    bad.size--;
    CHECK_EQ(aio_workers_create(&bad, &workers), -EINVAL);
    CHECK_EQ(aio_workers_create(WORKERS_WITH(.flags = 2), &workers), -EINVAL);
    CHECK_EQ(aio_workers_create(WORKERS_WITH(.count = 1025), &workers), -EINVAL);
    CHECK_EQ(aio_workers_create(WORKERS_WITH(.cpu_count = 1), &workers), -EINVAL);
    CHECK_EQ(aio_workers_create(WORKERS_WITH(.cpus = &nowhere), &workers), -EINVAL);
    CHECK_EQ(aio_workers_create(WORKERS_WITH(.reserved = {1}), &workers), -EINVAL);
    CHECK_EQ(aio_workers_create(WORKERS_WITH(.cpus = &nowhere, .cpu_count = 1), &workers), -EINVAL);
    CHECK_EQ(aio_workers_stop(NULL, 0), -EINVAL);
    CHECK_EQ(aio_workers_join(NULL), -EINVAL);
    CHECK_EQ(aio_workers_destroy(NULL), -EINVAL);
    CHECK_EQ(aio_workers_count(NULL), -EINVAL);
    CHECK(aio_workers_ctx(NULL, 0) == NULL);
    CHECK_EQ(aio_workers_post(NULL, 0, NULL, NULL), -EINVAL);
    CHECK_EQ(aio_workers_send_fd(NULL, 0, 0), -EINVAL);
    CHECK_EQ(aio_workers_listen(NULL, NULL, 0, 0, NULL, NULL), -EINVAL);
    CHECK(workers == NULL);
    workers = make_workers(&good);
    CHECK_EQ(aio_workers_post(workers, 0, NULL, NULL), -EINVAL);
    CHECK_EQ(aio_workers_send_fd(workers, 0, 0), -EINVAL); /* nobody takes it */
    CHECK_EQ(aio_workers_destroy(workers), 0);
}

/* --- what is sent to them -------------------------------------------------------------------- */

struct post {
    aio_workers *workers;
    int posts[4];
    int32_t joined, destroyed;
};

static void on_post(void *arg) {
    struct post *post = arg;
    for (uint32_t i = 0; i < 4; i++)
        if (aio_ctx_current() == aio_workers_ctx(post->workers, i))
            __atomic_add_fetch(&post->posts[i], 1, __ATOMIC_SEQ_CST);
}

static void wait_for(const int *value, int expected) {
    const uint64_t limit = patience_end_ns();
    while (__atomic_load_n(value, __ATOMIC_SEQ_CST) != expected) {
        CHECK_LT(now_ns(), limit);
        sleep_ms(1);
    }
}

TEST(a_function_runs_on_the_worker_that_it_is_posted_to) {
    struct post post = {0};
    post.workers = make_workers(WORKERS_WITH(.count = 3));
    for (uint32_t i = 0; i < 3; i++)
        for (uint32_t times = 0; times <= i; times++)
            CHECK_EQ(aio_workers_post(post.workers, i, on_post, &post), 0);
    for (int i = 0; i < 3; i++)
        wait_for(&post.posts[i], i + 1);
    for (int i = 0; i < 6; i++) /* twice round */
        CHECK_EQ(aio_workers_post(post.workers, AIO_WORKERS_ANY, on_post, &post), 0);
    for (int i = 0; i < 3; i++)
        wait_for(&post.posts[i], i + 3);
    CHECK_EQ(aio_workers_post(post.workers, 3, on_post, &post), -EINVAL);
    CHECK_EQ(aio_workers_destroy(post.workers), 0);
}

static void on_post_wait(void *arg) {
    struct post *post = arg;
    post->joined = aio_workers_join(post->workers);
    post->destroyed = aio_workers_destroy(post->workers);
    CHECK_EQ(aio_workers_stop(post->workers, 0), 0);
}

TEST(a_worker_may_stop_them_but_not_wait_for_itself) {
    struct post post = {0};
    post.workers = make_workers(WORKERS_WITH(.count = 2));
    CHECK_EQ(aio_workers_post(post.workers, 1, on_post_wait, &post), 0);
    CHECK_EQ(aio_workers_join(post.workers), 0);
    CHECK_EQ(post.joined, -EDEADLK);
    CHECK_EQ(post.destroyed, -EDEADLK);
    CHECK_EQ(aio_workers_post(post.workers, 0, on_post, &post), AIO_ECLOSED);
    CHECK_EQ(aio_ctx_stop(aio_workers_ctx(post.workers, 0)), AIO_ECLOSED);
    CHECK_EQ(aio_workers_destroy(post.workers), 0);
}

/* An echo of one message per connection, on whichever worker has it. */
struct echo {
    int fd;
    char data[16];
};

static int served[64]; /* connections, by worker */
static aio_workers *serving;

static void on_echoed(void *user_data, int32_t result, uint32_t flags) {
    struct echo *echo = user_data;
    (void)flags;
    CHECK(result > 0 || result == -ECANCELED);
    close(echo->fd);
    free(echo);
}

static void on_message(void *user_data, int32_t result, uint32_t flags) {
    struct echo *echo = user_data;
    aio_op_id id = -ECANCELED;
    (void)flags;
    if (result > 0)
        id = aio_submit_send(aio_ctx_current(), echo->fd, echo->data, (size_t)result, 0, NULL,
                             on_echoed, echo);
    if (id < 0) {
        close(echo->fd);
        free(echo);
    }
}

static void on_connection(void *arg, aio_ctx *ctx, int fd) {
    struct echo *echo = calloc(1, sizeof *echo);
    CHECK(arg == served);
    CHECK(ctx == aio_ctx_current());
    CHECK(is_cloexec(fd));
    for (uint32_t i = 0; i < 64; i++)
        if (aio_workers_ctx(serving, i) == ctx)
            __atomic_add_fetch(&served[i], 1, __ATOMIC_SEQ_CST);
    echo->fd = fd;
    const aio_op_id id =
        aio_submit_recv(ctx, fd, echo->data, sizeof echo->data, 0, NULL, on_message, echo);
    if (id < 0) {
        close(fd);
        free(echo);
    }
}

static int served_by(int worker) { return __atomic_load_n(&served[worker], __ATOMIC_SEQ_CST); }

static int served_in_all(void) {
    int all = 0;
    for (int i = 0; i < 64; i++)
        all += served_by(i);
    return all;
}

static void talk(int fd) {
    char answer[5];
    write_all_or_fail(fd, "hello", 5);
    read_all_or_fail(fd, answer, 5);
    CHECK_MEM(answer, "hello", 5);
}

static void see_the_end(int fd) {
    CHECK(peer_sees_fin(fd, 20000));
    close(fd);
}

static void speak(int fd) {
    talk(fd);
    see_the_end(fd);
}

TEST(an_address_is_served_by_all_of_them) {
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int descriptors = open_descriptors();
    serving = make_workers(WORKERS_WITH(.count = 3));
    const int port = aio_workers_listen(serving, (struct sockaddr *)&addr, sizeof addr, 0,
                                        on_connection, served);
    CHECK_GT(port, 0);
    addr.sin_port = htons((uint16_t)port);
    for (int i = 0; i < 120; i++)
        speak(tcp_connect_to(&addr));
    CHECK_EQ(served_in_all(), 120);
    for (int i = 0; i < 3; i++)
        CHECK_GT(served_by(i), 0); /* 3 * (2/3)^120 is the chance of failing */
    CHECK_EQ(aio_workers_destroy(serving), 0);
    CHECK_EQ(open_descriptors(), descriptors);
    const int late = SYS(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK_EQ(connect(late, (struct sockaddr *)&addr, sizeof addr), -1);
    CHECK_EQ(errno, ECONNREFUSED);
    close(late);
}

static void destroy_here(void *arg) {
    (void)arg;
    CHECK_EQ(aio_ctx_destroy(aio_ctx_current()), AIO_EPENDING);
}

static void count_call(void *arg) { __atomic_add_fetch((int *)arg, 1, __ATOMIC_SEQ_CST); }

TEST(the_others_do_the_work_of_one_that_has_ended) {
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int calls = 0, ignored = 0;
    serving = make_workers(WORKERS_WITH(.count = 3));
    CHECK_EQ(aio_workers_post(serving, 1, destroy_here, NULL), 0);
    while (aio_workers_post(serving, 1, count_call, &ignored) != AIO_ECLOSED)
        sleep_ms(1);
    for (int i = 0; i < 30; i++)
        CHECK_EQ(aio_workers_post(serving, AIO_WORKERS_ANY, count_call, &calls), 0);
    const int port = aio_workers_listen(serving, (struct sockaddr *)&addr, sizeof addr, 0,
                                        on_connection, served);
    CHECK_GT(port, 0);
    addr.sin_port = htons((uint16_t)port);
    for (int i = 0; i < 30; i++)
        speak(tcp_connect_to(&addr));
    CHECK_EQ(served_in_all(), 30);
    CHECK_EQ(served_by(1), 0);
    CHECK_EQ(aio_workers_destroy(serving), AIO_EDESTROYED);
    CHECK_EQ(calls, 30);
}

TEST(an_address_that_cannot_be_had_is_refused) {
    struct sockaddr_in addr;
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    const int taken = make_tcp_listener(&addr, 1);
    serving = make_workers(WORKERS_WITH(.count = 2));
    const int descriptors = open_descriptors();
    CHECK_EQ(aio_workers_listen(serving, (struct sockaddr *)&addr, sizeof addr, 0, on_connection,
                                served),
             -EADDRINUSE);
    CHECK_EQ(aio_workers_listen(serving, (struct sockaddr *)&local, sizeof local, 0, on_connection,
                                served),
             -EINVAL);
    CHECK_EQ(aio_workers_listen(serving, (struct sockaddr *)&addr, 8, 0, on_connection, served),
             -EINVAL);
    CHECK_EQ(aio_workers_listen(serving, (struct sockaddr *)&addr, sizeof addr, 0, NULL, NULL),
             -EINVAL);
    CHECK_EQ(open_descriptors(), descriptors);
    CHECK_EQ(aio_workers_stop(serving, 0), 0);
    close(taken);
    CHECK_EQ(aio_workers_listen(serving, (struct sockaddr *)&addr, sizeof addr, 0, on_connection,
                                served),
             AIO_ECLOSED);
    CHECK_EQ(aio_workers_destroy(serving), 0);
}

TEST(connections_are_handed_over) {
    const int descriptors = open_descriptors();
    int pairs[6][2];
    serving = make_workers(WORKERS_WITH(.count = 3, .on_fd = on_connection, .arg = served));
    for (uint32_t i = 0; i < 6; i++) {
        make_socket_pair(pairs[i]);
        SYS(fcntl(pairs[i][0], F_SETFD, FD_CLOEXEC));
        CHECK_EQ(aio_workers_send_fd(serving, i < 3 ? AIO_WORKERS_ANY : 1, pairs[i][0]), 0);
    }
    for (int i = 0; i < 6; i++)
        speak(pairs[i][1]);
    CHECK_EQ(served_by(0), 1);
    CHECK_EQ(served_by(1), 4);
    CHECK_EQ(served_by(2), 1);
    CHECK_EQ(aio_workers_send_fd(serving, 3, 0), -EINVAL);
    CHECK_EQ(aio_workers_send_fd(serving, 0, -1), -EBADF);
    CHECK_EQ(aio_workers_destroy(serving), 0);
    CHECK_EQ(open_descriptors(), descriptors);
}

/* An echo of one message on a connection in a slot of the worker's table. */
struct slot_echo {
    int slot;
    char data[16];
};

static void on_slot_closed(void *user_data, int32_t result, uint32_t flags) {
    (void)flags;
    CHECK_EQ(result, 0);
    free(user_data);
}

static void close_slot(struct slot_echo *echo) {
    ID(aio_submit_close(aio_ctx_current(), echo->slot, WITH(.flags = AIO_SUBMIT_FIXED_FILE),
                        on_slot_closed, echo));
}

static void on_slot_echoed(void *user_data, int32_t result, uint32_t flags) {
    (void)flags;
    CHECK_EQ(result, 5);
    close_slot(user_data);
}

static void on_slot_message(void *user_data, int32_t result, uint32_t flags) {
    struct slot_echo *echo = user_data;
    (void)flags;
    CHECK_EQ(result, 5);
    ID(aio_submit_send(aio_ctx_current(), echo->slot, echo->data, 5, 0,
                       WITH(.flags = AIO_SUBMIT_FIXED_FILE), on_slot_echoed, echo));
}

static void on_slot(void *user_data, int32_t result, uint32_t flags) {
    if (!(flags & AIO_CQE_MORE)) {
        CHECK_EQ(result, -ECANCELED);
        return;
    }
    struct slot_echo *echo = calloc(1, sizeof *echo);
    __atomic_add_fetch((int *)user_data, 1, __ATOMIC_SEQ_CST);
    echo->slot = result;
    ID(aio_submit_recv(aio_ctx_current(), result, echo->data, sizeof echo->data, 0,
                       WITH(.flags = AIO_SUBMIT_FIXED_FILE), on_slot_message, echo));
}

static int32_t receive_slots(void *arg, aio_ctx *ctx, uint32_t index) {
    const aio_files_options table = {.size = sizeof table, .count = 8};
    CHECK_EQ(aio_files_register(ctx, &table), 0);
    ID(aio_submit_msg_receive_fd(ctx, NULL, on_slot, (int *)arg + index));
    return 0;
}

static void on_handed_over(void *user_data, int32_t result, uint32_t flags) {
    (void)flags;
    CHECK_GE(result, 0);
    close_slot(user_data);
}

/* On worker 0, whose slots go to the other two. */
static void hand_over(void *arg) {
    const int fd = *(int *)arg;
    static uint32_t next;
    struct slot_echo *echo = calloc(1, sizeof *echo);
    echo->slot = (int)next;
    CHECK_EQ(aio_files_update(aio_ctx_current(), next, &fd, 1), 1);
    close(fd);
    ID(aio_submit_msg_ring_fd(aio_ctx_current(), aio_workers_ctx(serving, 1 + next % 2), next, 0,
                              NULL, on_handed_over, echo));
    next++;
}

TEST(connections_in_a_table_are_handed_over_from_ring_to_ring) {
    const int descriptors = open_descriptors();
    int pairs[6][2], received[3] = {0};
    serving = make_workers(WORKERS_WITH(.count = 3, .on_start = receive_slots, .arg = received));
    for (int i = 0; i < 6; i++) {
        make_socket_pair(pairs[i]);
        CHECK_EQ(aio_workers_post(serving, 0, hand_over, &pairs[i][0]), 0);
    }
    for (int i = 0; i < 6; i++)
        talk(pairs[i][1]);
    /* Before 6.13 a closed slot lives on until what other slots wait for has ended. */
    for (int i = 0; i < 6; i++)
        see_the_end(pairs[i][1]);
    CHECK_EQ(aio_workers_destroy(serving), 0);
    CHECK_EQ(received[0], 0);
    CHECK_EQ(received[1], 3);
    CHECK_EQ(received[2], 3);
    CHECK_EQ(open_descriptors(), descriptors);
}

/* --- stopping -------------------------------------------------------------------------------- */

TEST(a_drain_waits_for_what_is_in_flight) {
    struct seen seen = {.timer_ns = 50 * MS};
    aio_workers *workers =
        make_workers(WORKERS_WITH(.count = 2, .on_start = on_start, .arg = &seen));
    CHECK_EQ(aio_workers_stop(workers, -1), 0);
    CHECK_EQ(aio_workers_join(workers), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(seen.calls[i].finals, 1);
        CHECK_EQ(seen.calls[i].result, 0);
    }
    CHECK_EQ(aio_workers_join(workers), 0);
    CHECK_EQ(aio_workers_destroy(workers), 0);
}

TEST(a_drain_ends_at_its_deadline) {
    struct seen seen = {.timer_ns = 3600 * 1000 * MS};
    aio_workers *workers =
        make_workers(WORKERS_WITH(.count = 2, .on_start = on_start, .arg = &seen));
    const uint64_t start = now_ns();
    CHECK_EQ(aio_workers_stop(workers, 20 * MS), 0);
    CHECK_EQ(aio_workers_stop(workers, -1), 0); /* the earliest counts */
    CHECK_EQ(aio_workers_join(workers), 0);
    CHECK_GE(now_ns() - start, 20 * MS);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(seen.calls[i].finals, 1);
        CHECK_EQ(seen.calls[i].result, -ECANCELED);
        CHECK_EQ(seen.calls[i].flags, AIO_CQE_ABORTED);
    }
    CHECK_EQ(aio_workers_destroy(workers), 0);
}

TEST(a_drain_can_be_cut_short) {
    struct seen seen = {.timer_ns = 3600 * 1000 * MS};
    aio_workers *workers = make_workers(
        WORKERS_WITH(.count = 2, .on_start = on_start, .on_stop = on_stop, .arg = &seen));
    CHECK_EQ(aio_workers_stop(workers, -1), 0);
    wait_for(&seen.stops, 2);
    sleep_ms(20);
    CHECK_EQ(seen.calls[0].calls, 0);
    CHECK_EQ(aio_workers_stop(workers, 0), 0);
    CHECK_EQ(aio_workers_destroy(workers), 0);
    CHECK_EQ(seen.calls[0].result, -ECANCELED);
    CHECK_EQ(seen.stops, 2); /* once each */
}

TEST(a_connection_is_served_to_its_end_after_the_stop) {
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    serving = make_workers(WORKERS_WITH(.count = 2));
    const int port = aio_workers_listen(serving, (struct sockaddr *)&addr, sizeof addr, 16,
                                        on_connection, served);
    CHECK_GT(port, 0);
    addr.sin_port = htons((uint16_t)port);
    const int fd = tcp_connect_to(&addr);
    while (served_in_all() == 0)
        sleep_ms(1);
    CHECK_EQ(aio_workers_stop(serving, -1), 0);
    sleep_ms(20);
    speak(fd);
    CHECK_EQ(aio_workers_join(serving), 0);
    CHECK_EQ(aio_workers_destroy(serving), 0);
}

TEST(a_stop_of_one_context_is_nothing) {
    struct post post = {0};
    post.workers = make_workers(WORKERS_WITH(.count = 1));
    CHECK_EQ(aio_ctx_stop(aio_workers_ctx(post.workers, 0)), 0);
    CHECK_EQ(aio_workers_post(post.workers, 0, on_post, &post), 0);
    wait_for(&post.posts[0], 1);
    CHECK_EQ(aio_workers_destroy(post.workers), 0);
}

static void in_the_child(void *arg) {
    CHECK_EQ(aio_workers_stop(arg, 0), AIO_EFORKED);
    CHECK_EQ(aio_workers_join(arg), AIO_EFORKED);
    CHECK_EQ(aio_workers_send_fd(arg, 0, 0), AIO_EFORKED);
    CHECK_EQ(aio_workers_destroy(arg), 0);
}

TEST(a_forked_child_lets_go_of_its_copy) {
    beyond_valgrind("takes what the parent's threads had for lost in a child");
    struct post post = {0};
    post.workers = make_workers(WORKERS_WITH(.count = 2));
    CHECK_EQ(end_child(start_child(in_the_child, post.workers)), 0);
    CHECK_EQ(aio_workers_post(post.workers, 1, on_post, &post), 0);
    wait_for(&post.posts[1], 1);
    CHECK_EQ(aio_workers_destroy(post.workers), 0);
}

/* --- memory ---------------------------------------------------------------------------------- */

/* Of linux/mempolicy.h. */
enum { PREFERRED = 1, INTERLEAVE = 3, LOCAL = 4 };

static int policy_of_thread(void) {
    int policy = -1;
    SYS(syscall(SYS_get_mempolicy, &policy, NULL, 0, NULL, 0));
    return policy;
}

static int32_t note_policy(void *arg, aio_ctx *ctx, uint32_t index) {
    (void)ctx;
    ((int *)arg)[index] = policy_of_thread();
    return 0;
}

/* Also where the process was told to spread its memory. What it means shows on machines with
 * several nodes alone: that ring and slots lie on the processor's. */
TEST(a_pinned_workers_memory_is_taken_where_it_runs) {
    const unsigned long first_node = 1;
    int policies[2] = {-1, -1};
    if (syscall(SYS_set_mempolicy, INTERLEAVE, &first_node, 8 * sizeof first_node) != 0)
        SKIP("the policy of memory cannot be set here: %s", strerror(errno));
    aio_workers *workers =
        make_workers(WORKERS_WITH(.count = 1, .on_start = note_policy, .arg = policies));
    CHECK_EQ(aio_workers_destroy(workers), 0);
    CHECK(policies[0] == LOCAL || policies[0] == PREFERRED); /* as it was called before 5.14 */
    workers = make_workers(WORKERS_WITH(.count = 2, .flags = AIO_WORKERS_UNPINNED,
                                        .on_start = note_policy, .arg = policies));
    CHECK_EQ(aio_workers_destroy(workers), 0);
    CHECK_EQ(policies[0], INTERLEAVE);
    CHECK_EQ(policies[1], INTERLEAVE);
    CHECK_EQ(policy_of_thread(), INTERLEAVE);
}

HARNESS_MAIN
