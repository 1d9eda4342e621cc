/*
 * idle_connections: how little an idle connection costs, and more connections than a process may
 * have descriptors.
 *
 * A few contexts, a thread each, accept into tables of direct descriptors and arm one multishot
 * receive per connection; a connection has no memory of the program's own, because its slot says
 * which it is, and its data comes in the buffers of a pool that all share. The clients are forked
 * processes that hold one descriptor per connection and nothing else.
 *
 * In order: connections are made and the process's memory is looked at along the way; one in a
 * hundred plays ping-pong; all are closed, and every client must see the end of its stream. The
 * last line is for programs. The exit status is 0 if all of that was so.
 */
#define _GNU_SOURCE
#include <aio_rs.h>

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CONTEXTS_MAX = 16, PER_CONTEXT_MAX = 19000, BUFFERS = 256, BUFFER_BYTES = 2048 };
enum { PING_EVERY = 100, BACKLOG = 4096, PATIENCE_S = 120 };

/* A thread with a context, and what it counts for the others to see. */
struct server {
    aio_ctx *ctx;
    aio_buffer_pool *pool;
    pthread_t thread;
    int listener;
    struct sockaddr_in address;
    aio_op_id accept;
    _Atomic uint32_t open, failed;
    uint64_t *used; /* a bit per slot */
};

/* A process that holds connections; it is told what to do, and says when it is done. */
struct client {
    pid_t pid;
    int control;
};

static struct server servers[CONTEXTS_MAX];
static struct client clients[CONTEXTS_MAX];
static int contexts = 3;
static uint32_t connections = 57000;

static _Noreturn void die(const char *what, int64_t status) {
    fprintf(stderr, "idle_connections: %s: %s\n", what,
            status < 0 ? aio_strerror((int32_t)status) : strerror(errno));
    exit(1);
}

static void check(const char *what, int64_t status) {
    if (status < 0)
        die(what, status);
}

/* ---- the server ------------------------------------------------------------------------------ */

static const aio_submit_options on_slot = {.size = sizeof on_slot, .flags = AIO_SUBMIT_FIXED_FILE};

static void mark(struct server *s, uint32_t slot, bool used) {
    const uint64_t bit = UINT64_C(1) << slot % 64;
    s->used[slot / 64] = used ? s->used[slot / 64] | bit : s->used[slot / 64] & ~bit;
}

static struct server *current(void) { return aio_ctx_user_data(aio_ctx_current()); }

static void on_closed(void *user_data, int32_t result, uint32_t flags) {
    (void)user_data, (void)flags;
    struct server *s = current();
    s->failed += result < 0;
    s->open--;
}

static void close_slot(struct server *s, uint32_t slot) {
    mark(s, slot, false);
    check("close", aio_submit_close(s->ctx, (int)slot, &on_slot, on_closed, NULL));
}

/* The data is sent: its buffer goes back. The lease's id is all that the send had to remember. */
static void on_sent(void *user_data, int32_t result, uint32_t flags) {
    (void)flags;
    struct server *s = current();
    s->failed += result < 0;
    check("release", aio_buffer_pool_release(s->pool, (int64_t)(intptr_t)user_data));
}

static void on_received(void *user_data, int32_t result, uint32_t flags) {
    const uint32_t slot = (uint32_t)(uintptr_t)user_data;
    struct server *s = current();
    aio_buffer_lease lease = {.size = sizeof lease};

    if (flags & AIO_CQE_BUFFER) {
        check("take", aio_ctx_take_buffer(s->ctx, &lease));
        check("send", aio_submit_send(s->ctx, (int)slot, lease.data, lease.len, 0, &on_slot,
                                      on_sent, (void *)(intptr_t)lease.id));
    }
    if (!(flags & AIO_CQE_MORE) && result != -ECANCELED)
        close_slot(s, slot);
}

static void on_accepted(void *user_data, int32_t result, uint32_t flags) {
    struct server *s = user_data;

    if (result >= 0) {
        const uint32_t slot = (uint32_t)result;
        mark(s, slot, true);
        check("receive", aio_submit_recv_multishot(s->ctx, (int)slot, s->pool, 0, &on_slot,
                                                   on_received, (void *)(uintptr_t)slot));
        s->open++;
    } else if (result != -ECANCELED) {
        die("accept", result);
    }
    if (!(flags & AIO_CQE_MORE))
        s->accept = 0;
}

static void *serve(void *arg) {
    struct server *s = arg;
    const aio_submit_options direct = {.size = sizeof direct, .flags = AIO_SUBMIT_DIRECT};
    const aio_buffer_pool_options pool = {
        .size = sizeof pool, .count = BUFFERS, .buffer_size = BUFFER_BYTES};
    /* The listener has a descriptor of its own: the table is for connections alone. */
    const aio_files_options files = {.size = sizeof files, .count = PER_CONTEXT_MAX};

    check("table", aio_files_register(s->ctx, &files));
    check("pool", aio_buffer_pool_create(s->ctx, &pool, &s->pool));
    s->accept = aio_submit_accept_multishot(s->ctx, s->listener, 0, &direct, on_accepted, s);
    check("accept", s->accept);
    check("run", aio_ctx_run(s->ctx));
    check("pool", aio_buffer_pool_destroy(s->pool));
    check("destroy", aio_ctx_destroy(s->ctx));
    return NULL;
}

/* Posted: closes everything, after which nothing is in flight and the run ends. */
static void end_all(void *arg) {
    struct server *s = arg;
    if (s->accept > 0)
        aio_ctx_cancel(s->ctx, s->accept);
    for (uint32_t slot = 0; slot < PER_CONTEXT_MAX; slot++)
        if (s->used[slot / 64] >> slot % 64 & 1)
            close_slot(s, slot);
}

static void start_server(struct server *s) {
    socklen_t len = sizeof s->address;
    s->address.sin_family = AF_INET;
    s->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->listener < 0 || bind(s->listener, (struct sockaddr *)&s->address, len) != 0 ||
        listen(s->listener, BACKLOG) != 0 ||
        getsockname(s->listener, (struct sockaddr *)&s->address, &len) != 0)
        die("listen", 0);
    s->used = calloc(PER_CONTEXT_MAX / 64 + 1, sizeof *s->used);
    if (s->used == NULL)
        die("memory", 0);
}

static uint32_t open_now(void) {
    uint32_t open = 0;
    for (int i = 0; i < contexts; i++)
        open += servers[i].open;
    return open;
}

static void wait_for(uint32_t open) {
    for (int i = 0; open_now() != open; i++) {
        if (i >= PATIENCE_S * 1000) {
            fprintf(stderr, "idle_connections: %" PRIu32 " open, not %" PRIu32 "\n", open_now(),
                    open);
            exit(1);
        }
        usleep(1000);
    }
}

/* ---- a client -------------------------------------------------------------------------------- */

static int *held;
static uint32_t held_count;

static bool connect_up_to(const struct sockaddr_in *address, uint32_t count) {
    for (; held_count < count; held_count++) {
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address) != 0)
            return false;
        held[held_count] = fd;
    }
    return true;
}

static bool play_ping_pong(void) {
    for (uint32_t i = 0; i < held_count; i += PING_EVERY) {
        uint32_t ball = i, back = ~i;
        if (write(held[i], &ball, sizeof ball) != sizeof ball ||
            recv(held[i], &back, sizeof back, MSG_WAITALL) != sizeof back || back != ball)
            return false;
    }
    return true;
}

static bool see_the_ends(void) {
    for (uint32_t i = 0; i < held_count; i++) {
        char byte;
        if (read(held[i], &byte, 1) != 0)
            return false;
        close(held[i]);
    }
    held_count = 0;
    return true;
}

/* A command is a count of connections, or one of these. */
enum { PING = -1, EXPECT_ENDS = -2 };

static _Noreturn void be_client(int control, const struct sockaddr_in *address) {
    int32_t command;
    held = calloc(PER_CONTEXT_MAX, sizeof *held);
    while (held != NULL && read(control, &command, sizeof command) == sizeof command) {
        const bool ok = command == PING          ? play_ping_pong()
                        : command == EXPECT_ENDS ? see_the_ends()
                                                 : connect_up_to(address, (uint32_t)command);
        if (!ok)
            perror("idle_connections: client");
        if (write(control, &ok, sizeof ok) != sizeof ok)
            break;
    }
    _exit(0);
}

static void start_client(struct client *c, const struct server *s) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        die("socketpair", 0);
    c->pid = fork();
    if (c->pid < 0)
        die("fork", 0);
    if (c->pid == 0) {
        close(pair[0]);
        be_client(pair[1], &s->address);
    }
    close(pair[1]);
    c->control = pair[0];
}

static void tell(int client, int32_t command) {
    if (write(clients[client].control, &command, sizeof command) != sizeof command)
        die("client", 0);
}

static void hear(int client) {
    bool ok = false;
    if (read(clients[client].control, &ok, sizeof ok) != sizeof ok || !ok) {
        fprintf(stderr, "idle_connections: a client has failed\n");
        exit(1);
    }
}

/* ---- the measurement ------------------------------------------------------------------------- */

/* What the process has of its own, in bytes: pages that it alone has written to. */
static uint64_t own_memory(void) {
    uint64_t kib = 0;
    char line[256];
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    if (file == NULL)
        die("/proc/self/smaps_rollup", 0);
    while (fgets(line, sizeof line, file) != NULL)
        (void)sscanf(line, "Private_Dirty: %" SCNu64 " kB", &kib);
    fclose(file);
    return kib * 1024;
}

/* Makes connections until there are so many, in equal parts. */
static uint64_t grow_to(uint32_t count) {
    const uint32_t part = count / (uint32_t)contexts;
    for (int i = 0; i < contexts; i++)
        tell(i, (int32_t)part);
    for (int i = 0; i < contexts; i++)
        hear(i);
    wait_for(part * (uint32_t)contexts);
    const uint64_t bytes = own_memory();
    printf("%7" PRIu32 " connections: %" PRIu64 " KiB of process memory\n",
           part * (uint32_t)contexts, bytes / 1024);
    return bytes;
}

static void raise_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void read_arguments(int argc, char **argv) {
    static const struct option names[] = {{"connections", required_argument, NULL, 'n'},
                                          {"contexts", required_argument, NULL, 'c'},
                                          {0}};
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        const long value = option == '?' ? -1 : strtol(optarg, NULL, 10);
        if (value <= 0 || (option == 'c' && value > CONTEXTS_MAX)) {
            fprintf(stderr, "usage: %s [--connections N] [--contexts N]\n", argv[0]);
            exit(2);
        }
        if (option == 'n')
            connections = (uint32_t)value;
        else
            contexts = (int)value;
    }
    connections -= connections % (uint32_t)contexts;
    if (connections / (uint32_t)contexts > PER_CONTEXT_MAX || connections < 100) {
        fprintf(stderr, "at least 100, and %d per context at most\n", PER_CONTEXT_MAX);
        exit(2);
    }
}

static void start_all(void) {
    for (int i = 0; i < contexts; i++)
        start_server(&servers[i]);
    /* Before there are threads and contexts, which a fork would copy. */
    for (int i = 0; i < contexts; i++)
        start_client(&clients[i], &servers[i]);
    for (int i = 0; i < contexts; i++) {
        struct server *s = &servers[i];
        check("context", aio_ctx_create(NULL, &s->ctx));
        aio_ctx_set_user_data(s->ctx, s);
        aio_ctx_ref(s->ctx);
        if (pthread_create(&s->thread, NULL, serve, s) != 0)
            die("thread", 0);
    }
}

static uint32_t end_servers(void) {
    uint32_t failed = 0;
    for (int i = 0; i < contexts; i++) {
        pthread_join(servers[i].thread, NULL);
        aio_ctx_unref(servers[i].ctx);
        failed += servers[i].failed;
        close(servers[i].listener);
        free(servers[i].used);
    }
    /* A client ends when nobody can tell it anything: those forked after it could, too. */
    for (int i = 0; i < contexts; i++)
        close(clients[i].control);
    for (int i = 0; i < contexts; i++)
        waitpid(clients[i].pid, NULL, 0);
    return failed;
}

int main(int argc, char **argv) {
    read_arguments(argc, argv);
    raise_limit();
    start_all();

    const uint32_t from = connections / 57 * 10, to = connections / 57 * 50;
    const uint64_t before = grow_to(from), after = grow_to(to);
    const double each = ((double)after - (double)before) / (to - from);
    grow_to(connections);

    for (int i = 0; i < contexts; i++)
        tell(i, PING);
    for (int i = 0; i < contexts; i++)
        hear(i);
    printf("one in %d has played ping-pong\n", PING_EVERY);

    for (int i = 0; i < contexts; i++)
        check("post", aio_ctx_post(servers[i].ctx, end_all, &servers[i]));
    for (int i = 0; i < contexts; i++)
        tell(i, EXPECT_ENDS);
    for (int i = 0; i < contexts; i++)
        hear(i);
    const uint32_t failed = end_servers();
    printf("every client has seen the end of its streams\n");
    printf("result connections=%" PRIu32 " bytes_each=%.1f failed=%" PRIu32 "\n", connections, each,
           failed);
    return failed == 0 ? 0 : 1;
}
