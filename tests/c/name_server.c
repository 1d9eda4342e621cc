#include "name_server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { MESSAGE_MAX = 4096, HEAD = 12, TYPE_A = 1, TYPE_SOA = 6, TYPE_AAAA = 28, TYPE_OPT = 41 };
enum { RCODE_FORMERR = 1, RCODE_SERVFAIL = 2, RCODE_NXDOMAIN = 3, RCODE_REFUSED = 5 };

struct question {
    struct sockaddr_in from;
    size_t len;
    uint8_t bytes[MESSAGE_MAX];
};

struct name_server {
    int datagrams, listener;
    uint16_t port;
    pid_t process;
    struct shared *shared;
    struct question *kept; /* not answered yet */
    size_t kept_count;
};

/* What the test and the server's process both see. */
struct shared {
    enum answer answer;
    bool stops, ended;
    unsigned questions, streams;
    uint64_t random;
};

struct message {
    size_t len;
    uint8_t bytes[MESSAGE_MAX];
};

static void put16(struct message *m, unsigned value) {
    m->bytes[m->len++] = (uint8_t)(value >> 8);
    m->bytes[m->len++] = (uint8_t)value;
}

static void put_bytes(struct message *m, const void *bytes, size_t len) {
    memcpy(m->bytes + m->len, bytes, len);
    m->len += len;
}

/* Where the question ends: behind its name, kind and class. */
static size_t question_end(const uint8_t *bytes, size_t len) {
    size_t at = HEAD;
    while (at < len && bytes[at] != 0)
        at += bytes[at] + 1u;
    return at + 5 <= len ? at + 5 : len;
}

static unsigned kind_of(const uint8_t *bytes, size_t len) {
    const size_t end = question_end(bytes, len);
    return end < HEAD + 5 ? 0 : (unsigned)bytes[end - 4] << 8 | bytes[end - 3];
}

/* A record of the name at `name`, a pointer into the message. */
static void put_record(struct message *m, unsigned name, unsigned kind, const void *data,
                       size_t len) {
    put16(m, 0xc000 | name);
    put16(m, kind);
    put16(m, 1);
    put16(m, 0);
    put16(m, 60);
    put16(m, (unsigned)len);
    put_bytes(m, data, len);
}

static void put_address(struct message *m, unsigned name, unsigned kind) {
    static const uint8_t v4[4] = {192, 0, 2, 1};
    static const uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
    if (kind == TYPE_A)
        put_record(m, name, kind, v4, sizeof v4);
    else if (kind == TYPE_AAAA)
        put_record(m, name, kind, v6, sizeof v6);
    else
        return;
    m->bytes[7]++;
}

/* The zone's word: both names are the root, and the last number is how long a "no" is good. */
static void put_zone(struct message *m) {
    static const uint8_t zone[22] = {[21] = 60};
    put_record(m, HEAD, TYPE_SOA, zone, sizeof zone);
    m->bytes[9]++;
}

static void put_alias(struct message *m, unsigned kind) {
    static const uint8_t alias[] = "\5alias\7example";
    const unsigned target = (unsigned)m->len + 12;
    put_record(m, HEAD, 5, alias, sizeof alias);
    m->bytes[7]++;
    put_address(m, target, kind);
}

static void fail_with(struct message *m, unsigned rcode) { m->bytes[3] |= (uint8_t)rcode; }

/* The answer, of one kind, to a question. */
static struct message answer_to(const struct question *q, enum answer answer, bool stream) {
    struct message m = {.len = question_end(q->bytes, q->len)};
    const unsigned kind = kind_of(q->bytes, q->len);
    memcpy(m.bytes, q->bytes, m.len);
    m.bytes[2] = 0x81; /* an answer; recursion was asked for */
    m.bytes[3] = 0x80; /* and is to be had */
    memset(m.bytes + 6, 0, HEAD - 6);
    const bool has_option = q->bytes[11] != 0;
    switch (answer) {
    case ANSWER_NOTHING:
    case ANSWER_NO_NAME:
        fail_with(&m, RCODE_NXDOMAIN);
        put_zone(&m);
        break;
    case ANSWER_NO_DATA:
        put_zone(&m);
        break;
    case ANSWER_FAILURE:
        fail_with(&m, RCODE_SERVFAIL);
        break;
    case ANSWER_REFUSAL:
        fail_with(&m, RCODE_REFUSED);
        break;
    case ANSWER_ALIAS:
        put_alias(&m, kind);
        break;
    case ANSWER_CUT:
        if (stream)
            put_address(&m, HEAD, kind);
        else
            m.bytes[2] |= 2;
        break;
    case ANSWER_NO_OPTION:
        if (has_option)
            fail_with(&m, RCODE_FORMERR);
        else
            put_address(&m, HEAD, kind);
        break;
    case ANSWER_ADDRESS:
    case ANSWER_FOREIGN:
    case ANSWER_GARBAGE:
    case ANSWER_SHORT:
        put_address(&m, HEAD, kind);
        break;
    }
    return m;
}

static void change(struct name_server *s, struct message *m) {
    for (int i = 0; i < 3; i++) {
        const size_t at = random_below(&s->shared->random, m->len - 2) + 2;
        m->bytes[at] = (uint8_t)random_next(&s->shared->random);
    }
    if (random_below(&s->shared->random, 4) == 0)
        m->len = random_below(&s->shared->random, m->len) + 1;
}

static void send_datagram(struct name_server *s, const struct question *q,
                          const struct message *m) {
    sendto(s->datagrams, m->bytes, m->len, 0, (const struct sockaddr *)&q->from, sizeof q->from);
}

static void answer_datagram(struct name_server *s, const struct question *q, enum answer answer) {
    struct message m = answer_to(q, answer, false);
    if (answer == ANSWER_FOREIGN) {
        struct message other = m;
        other.bytes[1] ^= 1;
        send_datagram(s, q, &other);
        other = m;
        other.bytes[HEAD + 1] ^= 1;
        send_datagram(s, q, &other);
        other.len = 5;
        send_datagram(s, q, &other);
    }
    if (answer == ANSWER_GARBAGE)
        change(s, &m);
    if (answer == ANSWER_SHORT)
        m.len--;
    send_datagram(s, q, &m);
}

static bool read_whole(int fd, void *to, size_t len) {
    return recv(fd, to, len, MSG_WAITALL) == (ssize_t)len;
}

/* A question over TCP, and its answer. */
static void serve_stream(struct name_server *s) {
    const int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    const struct timeval limit = {.tv_sec = 2};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    uint8_t head[2];
    static struct question q;
    if (read_whole(fd, head, 2)) {
        q.len = (size_t)head[0] << 8 | head[1];
        if (q.len <= MESSAGE_MAX && read_whole(fd, q.bytes, q.len)) {
            const enum answer answer = __atomic_load_n(&s->shared->answer, __ATOMIC_ACQUIRE);
            __atomic_add_fetch(&s->shared->streams, 1, __ATOMIC_RELAXED);
            __atomic_add_fetch(&s->shared->questions, 1, __ATOMIC_RELEASE);
            struct message m = answer_to(&q, answer, true);
            if (answer == ANSWER_GARBAGE)
                change(s, &m);
            const size_t told = answer == ANSWER_SHORT ? m.len + 1 : m.len;
            head[0] = (uint8_t)(told >> 8);
            head[1] = (uint8_t)told;
            send(fd, head, 2, MSG_NOSIGNAL | MSG_MORE);
            send(fd, m.bytes, m.len, MSG_NOSIGNAL);
        }
    }
    close(fd);
}

static void serve_datagram(struct name_server *s) {
    struct question q;
    socklen_t len = sizeof q.from;
    const ssize_t got =
        recvfrom(s->datagrams, q.bytes, sizeof q.bytes, MSG_DONTWAIT, (void *)&q.from, &len);
    if (got <= HEAD)
        return;
    q.len = (size_t)got;
    const enum answer answer = __atomic_load_n(&s->shared->answer, __ATOMIC_ACQUIRE);
    if (answer == ANSWER_NOTHING) {
        s->kept = realloc(s->kept, (s->kept_count + 1) * sizeof *s->kept);
        CHECK(s->kept != NULL);
        s->kept[s->kept_count++] = q;
    }
    __atomic_add_fetch(&s->shared->questions, 1, __ATOMIC_RELEASE);
    if (answer != ANSWER_NOTHING)
        answer_datagram(s, &q, answer);
}

/* The life of the server's process. */
static void serve(struct name_server *s) {
    while (!__atomic_load_n(&s->shared->stops, __ATOMIC_ACQUIRE)) {
        struct pollfd fds[2] = {{.fd = s->datagrams, .events = POLLIN},
                                {.fd = s->listener, .events = POLLIN}};
        poll(fds, 2, 5);
        if (fds[0].revents)
            serve_datagram(s);
        if (fds[1].revents)
            serve_stream(s);
        const enum answer answer = __atomic_load_n(&s->shared->answer, __ATOMIC_ACQUIRE);
        if (answer == ANSWER_NOTHING)
            continue;
        for (size_t i = 0; i < s->kept_count; i++)
            answer_datagram(s, &s->kept[i], answer);
        s->kept_count = 0;
    }
    name_server_set(s, ANSWER_NO_NAME);
    for (size_t i = 0; i < s->kept_count; i++)
        answer_datagram(s, &s->kept[i], ANSWER_NO_NAME);
    while (is_readable(s->datagrams, 0))
        serve_datagram(s);
    __atomic_store_n(&s->shared->ended, true, __ATOMIC_RELEASE);
    while (true) /* until it is killed: who asks now must not wait for an answer in vain */
        if (is_readable(s->datagrams, 1000))
            serve_datagram(s);
}

/* Both sockets have the same port. */
static bool bind_both(struct name_server *s, const char *host, uint16_t port) {
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t len = sizeof addr;
    CHECK_EQ(inet_pton(AF_INET, host, &addr.sin_addr), 1);
    s->datagrams = SYS(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    s->listener = SYS(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int on = 1;
    SYS(setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    if (bind(s->datagrams, (void *)&addr, sizeof addr) == 0 &&
        getsockname(s->datagrams, (void *)&addr, &len) == 0 &&
        bind(s->listener, (void *)&addr, sizeof addr) == 0 && listen(s->listener, 64) == 0) {
        s->port = ntohs(addr.sin_port);
        return true;
    }
    close(s->datagrams);
    close(s->listener);
    return false;
}

struct name_server *name_server_start(const char *host, uint16_t port, enum answer answer) {
    struct name_server *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    s->shared =
        mmap(NULL, sizeof *s->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(s->shared != MAP_FAILED);
    s->shared->answer = answer;
    bool bound = false;
    for (int tries = 0; tries < 100 && !bound; tries++)
        bound = bind_both(s, host, port);
    if (!bound)
        SKIP("no name server can listen on %s, port %u: %s", host, port, strerror(errno));
    s->process = SYS(fork());
    if (s->process == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(s);
    }
    close(s->datagrams);
    close(s->listener);
    return s;
}

void name_server_set(struct name_server *s, enum answer answer) {
    __atomic_store_n(&s->shared->answer, answer, __ATOMIC_RELEASE);
}

void name_server_seed(struct name_server *s, uint64_t seed) { s->shared->random = seed; }

uint16_t name_server_port(const struct name_server *s) { return s->port; }

unsigned name_server_questions(const struct name_server *s) {
    return __atomic_load_n(&s->shared->questions, __ATOMIC_ACQUIRE);
}

unsigned name_server_streams(const struct name_server *s) {
    return __atomic_load_n(&s->shared->streams, __ATOMIC_ACQUIRE);
}

void await_questions(aio_ctx *ctx, const struct name_server *s, unsigned count) {
    const uint64_t limit_ns = patience_end_ns();
    while (name_server_questions(s) < count && now_ns() < limit_ns)
        run_for_ms(ctx, 1);
    CHECK_EQ(name_server_questions(s), count);
}

void name_server_stop(struct name_server *s) {
    __atomic_store_n(&s->shared->stops, true, __ATOMIC_RELEASE);
    const uint64_t limit_ns = patience_end_ns();
    while (!__atomic_load_n(&s->shared->ended, __ATOMIC_ACQUIRE) && now_ns() < limit_ns)
        sleep_ms(1);
    CHECK(s->shared->ended);
    /* It does not exit: what threads of the test had at the fork would count as leaked there. */
    SYS(kill(s->process, SIGKILL));
    CHECK_EQ(waitpid(s->process, NULL, 0), s->process);
    munmap(s->shared, sizeof *s->shared);
    free(s);
}

/* --- what the C library asks ----------------------------------------------------------------- */

static void put_over(const char *path, const char *name, const char *text) {
    close(temp_file(name, text, strlen(text)));
    if (mount(temp_path(name), path, "none", MS_BIND, NULL) != 0)
        SKIP("nothing can be mounted over %s: %s", path, strerror(errno));
}

void ask_only(const char *host, const char *options, const char *hosts) {
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0)
        SKIP("no mount namespace of its own: %s", strerror(errno));
    char conf[256];
    snprintf(conf, sizeof conf, "nameserver %s\noptions %s\n", host, options);
    put_over("/etc/resolv.conf", "resolv.conf", conf);
    put_over("/etc/nsswitch.conf", "nsswitch.conf", "hosts: files dns\n");
    put_over("/etc/hosts", "hosts", hosts);
}

void needs_threads_beside_a_ring(const aio_ctx *ctx) {
    if (has_ring(ctx))
        beyond_valgrind("no thread runs while a context waits in a ring");
}
