/* The two worlds of soak_differ: what is in their slots and how it is made anew, and what is known
 * of connections and queues. */
#include "soak_differ.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <ftw.h>
#include <linux/tcp.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/un.h>

struct world worlds[WORLDS];
struct slot slots[SLOTS];

static const char *const names[NAMES] = {
    "a",
    "b",
    "c",
    "folder",
    "folder/a",
    "folder/deep",
    "folder/deep/a",
    "link",
    "loop",
    "fifo",
    "a/under",
    "missing/x",
    "",
    ".",
    "folder/..",
    "folder/",
    NULL /* one too long for a folder */,
    NULL /* and one for a system call */,
};

const char *name_text(int name) {
    static char long_name[300], huge_name[5000];
    if (name < NAMES - 2)
        return names[name];
    memset(long_name, 'l', sizeof long_name - 1);
    memset(huge_name, '/', sizeof huge_name - 1);
    return name == NAMES - 2 ? long_name : huge_name;
}

const char *root_path(int world) {
    static char paths[WORLDS][128];
    snprintf(paths[world], sizeof paths[world], "%s/root", worlds[world].folder);
    return paths[world];
}

int number_of(int world, int slot) {
    if (slot < 0 || slot == NEGATIVE) /* none, or one that is no descriptor */
        return -1;
    return slots[slot].fd[world] >= 0 ? slots[slot].fd[world] : EVER + slot;
}

bool is_open_slot(int slot) { return slot >= 0 && slots[slot].fd[0] >= 0; }

bool is_ready(int fd, short events) {
    struct pollfd item = {.fd = fd, .events = events};
    return poll(&item, 1, 0) != 0;
}

static int socket_fact(int fd, int option) {
    int value = -1;
    socklen_t len = sizeof value;
    return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 ? value : -1;
}

bool is_listening(int fd) { return socket_fact(fd, SO_ACCEPTCONN) == 1; }

int socket_domain(int fd) { return socket_fact(fd, SO_DOMAIN); }

int socket_type(int fd) { return socket_fact(fd, SO_TYPE); }

bool is_inet(int slot) { return is_open_slot(slot) && socket_domain(slots[slot].fd[0]) == AF_INET; }

bool is_tcp(int fd) {
    return socket_fact(fd, SO_DOMAIN) == AF_INET && socket_fact(fd, SO_TYPE) == SOCK_STREAM;
}

/* --- addresses and descriptors ---------------------------------------------------------------- */

socklen_t address_of_slot(int world, int slot, struct sockaddr_storage *out) {
    socklen_t len = sizeof *out;
    memset(out, 0, sizeof *out);
    if (getsockname(number_of(world, slot), (struct sockaddr *)out, &len) != 0)
        return 0;
    return len;
}

/* Its number may be another's by now. */
bool is_closing(int slot) {
    for (int i = 0; i < OPS; i++)
        if (ops[i].kind && ops[i].kind->traits & CLOSES && ops[i].slot == slot)
            return true;
    return false;
}

static int slot_at(int world, const struct sockaddr_in *address) {
    struct sockaddr_storage any;
    const struct sockaddr_in *own = (struct sockaddr_in *)&any;
    for (int s = STREAMS; s < SLOTS; s++)
        if (slots[s].fd[world] >= 0 && !is_closing(s) &&
            socket_type(slots[s].fd[world]) == SOCK_DGRAM && address_of_slot(world, s, &any) &&
            any.ss_family == AF_INET && own->sin_port == address->sin_port &&
            (own->sin_addr.s_addr == address->sin_addr.s_addr ||
             own->sin_addr.s_addr == INADDR_ANY))
            return s;
    return -1;
}

/* The same text in both worlds for what stands for the same thing. `type`: of the socket; the slot
 * of a datagram socket is told by its address (two streams may have the same port); -1: it may have
 * been closed by now, in one world. */
void print_address(char *text, size_t size, int world, int type, const void *address,
                   socklen_t len) {
    const struct sockaddr *any = address;
    const struct sockaddr_un *local = address;
    const struct sockaddr_in *in = address;
    const int header = offsetof(struct sockaddr_un, sun_path);
    if (len < sizeof any->sa_family) {
        snprintf(text, size, "(%u bytes)", len);
    } else if (any->sa_family == AF_INET && len >= sizeof *in) {
        const int net = (int)(ntohl(in->sin_addr.s_addr) >> 24);
        const int slot = in->sin_port == 0 ? -2 : type != SOCK_DGRAM ? -3 : slot_at(world, in);
        snprintf(text, size, "of net %d, slot %d (%u bytes)", net, slot, len);
    } else if (any->sa_family == AF_UNIX && (int)len > header && local->sun_path[0]) {
        const int path = (int)len - header, own = (int)strlen(worlds[world].folder);
        const int skip =
            path > own && !strncmp(local->sun_path, worlds[world].folder, own) ? own : 0;
        snprintf(text, size, "%.*s (%u bytes)", path - skip, local->sun_path + skip, len);
    } else {
        snprintf(text, size, "family %d (%u bytes)", any->sa_family, len);
    }
}

/* Without the size where others may just be changing it, and without the peer's name where a member
 * of the chain may have bound it since. */
void print_descriptor(char *text, size_t size, int world, int fd, bool with_size, bool in_a_chain) {
    struct stat st = {0};
    const int status_flags = fcntl(fd, F_GETFL);
    SYS(fstat(fd, &st));
    const bool has_size = with_size && S_ISREG(st.st_mode);
    int len = snprintf(text, size, "{fd %#x, fl %#x, mode %o, size %lld", SYS(fcntl(fd, F_GETFD)),
                       status_flags, st.st_mode, has_size ? (long long)st.st_size : 0);
    if (S_ISSOCK(st.st_mode) && len < (int)size) {
        struct sockaddr_storage own = {0}, peer = {0};
        socklen_t own_len = sizeof own, peer_len = sizeof peer;
        char a[160], b[160] = "none";
        SYS(getsockname(fd, (struct sockaddr *)&own, &own_len));
        print_address(a, sizeof a, world, socket_type(fd), &own, own_len);
        if (!in_a_chain && getpeername(fd, (struct sockaddr *)&peer, &peer_len) == 0)
            print_address(b, sizeof b, world, socket_type(fd), &peer, peer_len);
        len += snprintf(text + len, size - (size_t)len, ", own %s, peer %s", a, b);
    }
    if (len < (int)size)
        snprintf(text + len, size - (size_t)len, "}");
}

/* --- making what a slot holds ----------------------------------------------------------------- */

static void forget_clients(int listener) {
    for (int i = 0; i < slots[listener].pending; i++)
        if (slots[listener].clients[i] >= 0)
            slots[slots[listener].clients[i]].expected |= POLLRDHUP | POLLHUP | POLLERR;
    slots[listener].pending = 0;
}

/* The descriptor is closed in both worlds, or will be at once. */
void forget_slot(int slot) {
    struct slot *gone = &slots[slot];
    const bool is_shared = gone->ghost[0] >= 0;
    for (int s = 0; s < SLOTS; s++) {
        if (slots[s].peer == slot) {
            slots[s].peer = -1;
            slots[s].orphan = !is_shared;
            if (!is_shared && is_open_slot(s) && is_tcp(slots[s].fd[0]))
                slots[s].expected |= POLLRDHUP | POLLHUP | POLLERR;
        }
        for (int i = 0; i < slots[s].pending; i++)
            if (slots[s].clients[i] == slot)
                slots[s].clients[i] = is_shared ? -2 : -1;
    }
    if (is_shared)
        gone->pending = 0;
    forget_clients(slot);
    gone->peer = -1;
    gone->orphan = gone->shut = gone->mute = false;
    gone->expected = 0;
    gone->fd[0] = gone->fd[1] = -1;
}

static void at_path(struct sockaddr_un *address, int world, const char *name) {
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path, sizeof address->sun_path, "%s/%s", worlds[world].folder, name);
}

static int unix_socket_at(int world, int type, const char *name) {
    struct sockaddr_un address;
    at_path(&address, world, name);
    unlink(address.sun_path);
    const int fd = SYS(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    SYS(bind(fd, (struct sockaddr *)&address, sizeof address));
    return fd;
}

/* At an address that no socket had before, and a port that the kernel gives to nobody: else what is
 * sent to an address that was given back may arrive at another socket. */
static int udp_socket(struct sockaddr_in *address) {
    static uint32_t count;
    const int fd = SYS(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    do {
        const uint32_t host = ((uint32_t)getpid() << 12) + count++;
        *address = (struct sockaddr_in){.sin_family = AF_INET};
        address->sin_addr.s_addr = htonl(0x7f010001 + host % 0xfe0000);
        address->sin_port = htons((uint16_t)(20000 + host % 10000));
    } while (bind(fd, (struct sockaddr *)address, sizeof *address) != 0 && errno == EADDRINUSE);
    return fd;
}

static void make_udp_pair(int fds[2]) {
    struct sockaddr_in address[2];
    for (int i = 0; i < 2; i++)
        fds[i] = udp_socket(&address[i]);
    for (int i = 0; i < 2; i++)
        SYS(connect(fds[i], (struct sockaddr *)&address[1 - i], sizeof address[0]));
}

static void make_pair(int slot, int fds[2]) {
    if (slot < STREAMS)
        make_pipe(fds);
    else if (slot < TCPS)
        SYS(socketpair(AF_UNIX,
                       SOCK_CLOEXEC | (slot < DGRAMS      ? SOCK_STREAM
                                       : slot < SEQUENCES ? SOCK_DGRAM
                                                          : SOCK_SEQPACKET),
                       0, fds));
    else if (slot < UDPS)
        make_tcp_pair(fds);
    else
        make_udp_pair(fds);
}

static bool is_pair(int slot) { return slot >= PIPES && slot < UDP_OPEN; }

static int make_fresh(const struct op *op) {
    static const int sorts[][2] = {{AF_UNIX, SOCK_STREAM},    {AF_UNIX, SOCK_DGRAM},
                                   {AF_UNIX, SOCK_SEQPACKET}, {AF_INET, SOCK_STREAM},
                                   {AF_INET, SOCK_STREAM},    {AF_UNIX, SOCK_STREAM},
                                   {AF_INET, SOCK_DGRAM}};
    const int *sort = sorts[op->word % COUNT_OF(sorts)], on = 1;
    const int fd = SYS(socket(sort[0], sort[1] | SOCK_CLOEXEC | op->flags, 0));
    if (sort[0] == AF_INET && sort[1] == SOCK_STREAM)
        SYS(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
    return fd;
}

static int open_file(const struct op *op, int world) {
    const int fd = openat(slots[ROOT].fd[world], name_text(op->name),
                          op->flags | O_NONBLOCK | O_CLOEXEC, 0644);
    struct stat st;
    if (fd < 0)
        return -errno;
    SYS(fstat(fd, &st));
    if (S_ISREG(st.st_mode))
        return fd;
    close(fd); /* a FIFO would be the same pipe in two slots */
    return -EISDIR;
}

/* At times full, so that writing waits. */
static int make_event(const struct op *op) {
    const uint64_t most = UINT64_MAX - 1;
    const int fd =
        SYS(eventfd(op->word % 3, EFD_CLOEXEC | (op->slot == EVENTS ? EFD_SEMAPHORE : 0)));
    if (op->word % 12 == 0)
        write_all_or_fail(fd, &most, sizeof most);
    return fd;
}

static int make_single(struct op *op, int world) {
    struct sockaddr_in address;
    int fd;
    switch (op->slot) {
    case SUBFOLDER:
        fd = openat(slots[ROOT].fd[world], "folder", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
    case PATH_ONLY:
        fd = openat(slots[ROOT].fd[world], "a", O_PATH | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
    case NULL_DEVICE:
        return SYS(open("/dev/null", O_RDWR | O_CLOEXEC));
    case UDP_OPEN:
        return udp_socket(&address);
    case DGRAM_OPEN:
        return unix_socket_at(world, SOCK_DGRAM, "dgram");
    case UNIX_LISTENER:
        fd = unix_socket_at(world, SOCK_STREAM, "stream");
        SYS(listen(fd, 2));
        return fd;
    case TCP_LISTENER:
        return make_tcp_listener(&address, 8);
    default:
        if (op->slot >= FILES && op->slot < PIPES)
            return open_file(op, world);
        if (op->slot >= EVENTS && op->slot < UNIX_LISTENER)
            return make_event(op);
        return make_fresh(op);
    }
}

/* Closes what the slot holds, with its other end if it is one of a pair, and
 * makes it anew. */
int64_t renew_slot(struct op *op, int world) {
    const int first = is_pair(op->slot) ? op->slot & ~1 : op->slot,
              count = is_pair(op->slot) ? 2 : 1;
    static int old[WORLDS][2];
    for (int i = 0; i < count; i++) {
        if (world == 0) { /* what is known is forgotten once, in time for both */
            old[0][i] = slots[first + i].fd[0];
            old[1][i] = slots[first + i].fd[1];
            if (is_open_slot(first + i))
                forget_slot(first + i);
        }
        if (old[world][i] >= 0)
            SYS(close(old[world][i]));
    }
    if (slots[op->slot].is & IS_ARRIVED)
        return 0;
    if (is_pair(op->slot)) {
        int fds[2];
        make_pair(first, fds);
        for (int i = 0; i < 2; i++) {
            slots[first + i].fd[world] = fds[i];
            slots[first + i].peer = (first + i) ^ 1;
            slots[first + i].orphan = false;
        }
        return 0;
    }
    const int fd = make_single(op, world);
    if (fd < 0)
        return fd;
    slots[op->slot].fd[world] = fd;
    slots[op->slot].backlog = op->slot == UNIX_LISTENER ? 2 : 8;
    return 0;
}

static unsigned use_of(int slot) {
    static const struct {
        int first;
        unsigned is;
    } ranges[] = {{ARRIVED, IS_ARRIVED},  {FRESH, IS_FRESH},  {UNIX_LISTENER, IS_LISTENER},
                  {EVENTS, IS_EVENT},     {UDPS, IS_DGRAM},   {TCPS, IS_STREAM},
                  {SEQUENCES, IS_STREAM}, {DGRAMS, IS_DGRAM}, {STREAMS, IS_STREAM},
                  {PIPES, IS_PIPE},       {FILES, IS_FILE},   {PATH_ONLY, IS_ODD},
                  {SUBFOLDER, IS_FOLDER}, {NEGATIVE, IS_ODD}, {ROOT, IS_FOLDER}};
    int i = 0;
    while (slot < ranges[i].first)
        i++;
    return ranges[i].is;
}

static void make_tree(int world) {
    static char pattern[10000];
    pattern_fill(pattern, sizeof pattern, 1);
    const int root = slots[ROOT].fd[world];
    SYS(mkdirat(root, "folder", 0755));
    SYS(symlinkat("a", root, "link"));
    SYS(symlinkat("loop", root, "loop"));
    SYS(mkfifoat(root, "fifo", 0600));
    const char *const files[] = {"a", "b", "folder/a"};
    for (int i = 0; i < COUNT_OF(files); i++) {
        const int fd = SYS(openat(root, files[i], O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
        write_all_or_fail(fd, pattern, i == 0 ? sizeof pattern : (size_t)i * 50);
        SYS(close(fd));
    }
}

void begin_worlds(int episode) {
    for (int s = 0; s < SLOTS; s++)
        slots[s] = (struct slot){.is = use_of(s), .fd = {-1, -1}, .ghost = {-1, -1}, .peer = -1};
    for (int w = 0; w < WORLDS; w++) {
        snprintf(worlds[w].folder, sizeof worlds[w].folder, "%s/%c%d", temp_dir(), 'A' + w,
                 episode);
        SYS(mkdir(worlds[w].folder, 0755));
        SYS(mkdir(root_path(w), 0755));
        slots[ROOT].fd[w] = SYS(open(root_path(w), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        make_tree(w);
    }
    for (int s = SUBFOLDER; s < ARRIVED; s++) {
        struct op op = {
            .slot = s, .name = s % 2, .flags = s < PIPES ? O_RDWR : 0, .word = (unsigned)s};
        for (int w = 0; w < WORLDS && !is_open_slot(s) + w; w++)
            CHECK_EQ(renew_slot(&op, w), 0);
    }
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void end_worlds(void) {
    for (int w = 0; w < WORLDS; w++) {
        for (int s = 0; s < SLOTS; s++) {
            if (slots[s].fd[w] >= 0)
                SYS(close(slots[s].fd[w]));
            if (slots[s].ghost[w] >= 0)
                SYS(close(slots[s].ghost[w]));
        }
        SYS(nftw(worlds[w].folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS));
    }
}

/* --- connections and queues ------------------------------------------------------------------- */

/* What goes through the network layer is not always there when the call
 * returns: the slot that will show it, and how. */
int shows_arrival(int slot, short *events) {
    const int peer = slots[slot].peer;
    *events = peer >= 0 ? POLLIN : POLLERR | POLLHUP;
    return peer >= 0 ? peer : slots[slot].orphan && is_inet(slot) ? slot : -1;
}

/* Datagrams go to a peer that takes them or to nobody; a stream waits to be accepted. */
void was_connected(int slot, int to, bool datagrams) {
    slots[slot].peer = datagrams && (to == UDP_OPEN || to == DGRAM_OPEN) ? to : -1;
    slots[slot].orphan = datagrams && slots[slot].peer < 0;
    if (datagrams)
        return;
    CHECK_LT(slots[to].pending, COUNT_OF(slots[to].clients));
    slots[to].clients[slots[to].pending++] = slot;
}

void was_accepted(int listener, int place) {
    struct slot *from = &slots[listener];
    if (from->pending == 0)
        return;
    const int client = from->clients[0];
    from->pending--;
    memmove(from->clients, from->clients + 1, sizeof from->clients - sizeof from->clients[0]);
    if (place >= 0)
        slots[place].peer = client < 0 ? -1 : client;
    if (client == -1 && place >= 0)
        slots[place].orphan = true;
    if (client >= 0 && place >= 0)
        slots[client].peer = place;
    else if (client >= 0)
        slots[client].expected |= POLLRDHUP | POLLHUP | POLLERR;
}

void was_shut(int slot, int how) {
    const int peer = slots[slot].peer;
    slots[slot].shut |= how != SHUT_WR;
    slots[slot].mute |= how != SHUT_RD;
    if (peer >= 0)
        slots[peer].mute |= how != SHUT_WR;
    if (slot == TCP_LISTENER && how != SHUT_WR)
        forget_clients(slot);
    else if (how != SHUT_RD && is_open_slot(peer) && is_tcp(slots[peer].fd[0]))
        slots[peer].expected |= POLLRDHUP | POLLHUP | POLLERR;
}
