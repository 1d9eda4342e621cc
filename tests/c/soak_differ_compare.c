/* The comparison of soak_differ's worlds: what is on its way and not there yet, and everything that
 * is left in slots, folders and queues. */
#include "soak_differ.h"

#include <dirent.h>
#include <linux/tcp.h>
#include <stdarg.h>
#include <sys/ioctl.h>

enum { CLOSED = 7 }; /* TCP_CLOSE of netinet/tcp.h, which does not go with linux/tcp.h */

static struct tcp_info tcp_facts(int fd) {
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    SYS(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len));
    return info;
}

/* Its connection ends, which takes the other side's last word: closed here and not yet there. */
bool is_ending(int slot) {
    enum { LAST_ACK = 9, CLOSING = 11 };
    if (!is_open_slot(slot) || !is_tcp(slots[slot].fd[0]) || !is_tcp(slots[slot].fd[1]))
        return false;
    const int state = tcp_facts(slots[slot].fd[0]).tcpi_state;
    return state == LAST_ACK || state == CLOSING ||
           state != tcp_facts(slots[slot].fd[1]).tcpi_state;
}

static char difference[1024];

__attribute__((format(printf, 1, 2))) static const char *differs(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(difference, sizeof difference, format, args);
    va_end(args);
    return difference;
}

/* What is known to come and has not come yet, or NULL. */
const char *find_missing(int world, uint64_t stirred) {
    for (int s = 0; s < SLOTS; s++) {
        const struct slot *slot = &slots[s];
        if (slot->fd[world] < 0)
            continue;
        if (slot->expected && !is_ready(slot->fd[world], slot->expected))
            return differs("events %#x of slot %d, peer %d, do not arrive", slot->expected, s,
                           slot->peer);
        if (!(stirred & BIT(s)) || slot->peer < 0 || slots[slot->peer].fd[world] < 0 ||
            is_closing(s) || is_closing(slot->peer))
            continue;
        if (!is_tcp(slot->fd[world]) || !is_tcp(slots[slot->peer].fd[world]))
            continue;
        const struct tcp_info from = tcp_facts(slot->fd[world]);
        const struct tcp_info to = tcp_facts(slots[slot->peer].fd[world]);
        const uint64_t sent = from.tcpi_bytes_sent - from.tcpi_bytes_retrans;
        if (to.tcpi_state != CLOSED && from.tcpi_state != CLOSED &&
            (from.tcpi_notsent_bytes || sent > to.tcpi_bytes_received)) /* which counts a FIN */
            return differs("what slot %d has sent does not arrive: %llu, %u waiting, %llu", s,
                           (unsigned long long)sent, from.tcpi_notsent_bytes,
                           (unsigned long long)to.tcpi_bytes_received);
    }
    return NULL;
}

/* --- comparing -------------------------------------------------------------------------------- */

static const char *compare_content(const int fds[2], const char *name) {
    static char bytes[2][DATA_BYTES];
    for (off_t at = 0;; at += DATA_BYTES) {
        const ssize_t a = SYS(pread(fds[0], bytes[0], DATA_BYTES, at));
        const ssize_t b = SYS(pread(fds[1], bytes[1], DATA_BYTES, at));
        for (ssize_t i = 0; i < a && i < b; i++)
            if (bytes[0][i] != bytes[1][i])
                return differs("byte %lld of %s: %d, %d", (long long)at + i, name, bytes[0][i],
                               bytes[1][i]);
        if (a != b)
            return differs("length of %s: %lld, %lld", name, (long long)at + a, (long long)at + b);
        if (a < DATA_BYTES)
            return NULL;
    }
}

static int not_itself(const struct dirent *entry) {
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static const char *compare_folders(const int fds[2], const char *path);

static const char *compare_entries(const int fds[2], const char *name, const char *path) {
    struct stat st[2];
    char text[2][64] = {{0}};
    const char *what = NULL;
    for (int w = 0; w < WORLDS; w++) {
        SYS(fstatat(fds[w], name, &st[w], AT_SYMLINK_NOFOLLOW));
        if (S_ISLNK(st[w].st_mode))
            SYS(readlinkat(fds[w], name, text[w], sizeof text[w] - 1));
    }
    if (st[0].st_mode != st[1].st_mode)
        return differs("mode of %s: %o, %o", path, st[0].st_mode, st[1].st_mode);
    if (st[0].st_nlink != st[1].st_nlink)
        return differs("links of %s: %d, %d", path, (int)st[0].st_nlink, (int)st[1].st_nlink);
    if (strcmp(text[0], text[1]) != 0)
        return differs("target of %s: %s, %s", path, text[0], text[1]);
    if (!S_ISREG(st[0].st_mode) && !S_ISDIR(st[0].st_mode))
        return NULL;
    int inner[2];
    for (int w = 0; w < WORLDS; w++)
        inner[w] = SYS(openat(fds[w], name, O_RDONLY | O_CLOEXEC));
    what = S_ISREG(st[0].st_mode) ? compare_content(inner, path) : compare_folders(inner, path);
    for (int w = 0; w < WORLDS; w++)
        SYS(close(inner[w]));
    return what;
}

static const char *compare_folders(const int fds[2], const char *path) {
    struct dirent **found[2];
    int count[2];
    const char *what = NULL;
    for (int w = 0; w < WORLDS; w++)
        count[w] = SYS(scandirat(fds[w], ".", &found[w], not_itself, alphasort));
    for (int i = 0; (i < count[0] || i < count[1]) && !what; i++) {
        const char *a = i < count[0] ? found[0][i]->d_name : "nothing";
        const char *b = i < count[1] ? found[1][i]->d_name : "nothing";
        char inner[512];
        snprintf(inner, sizeof inner, "%s/%s", path, a);
        what = strcmp(a, b) != 0 ? differs("in %s: %s, %s", path, a, b)
                                 : compare_entries(fds, a, inner);
    }
    for (int w = 0; w < WORLDS; w++) {
        for (int i = 0; i < count[w]; i++)
            free(found[w][i]);
        free(found[w]);
    }
    return what;
}

static void print_slot(char *text, size_t size, int s, int w) {
    const int fd = slots[s].fd[w];
    struct pollfd item = {.fd = fd, .events = POLLIN | POLLOUT | POLLPRI | POLLRDHUP};
    struct stat st;
    SYS(fstat(fd, &st));
    SYS(poll(&item, 1, 0));
    int flags = SYS(fcntl(fd, F_GETFL)), bytes = -1;
    if (S_ISSOCK(st.st_mode))
        flags &= ~O_NONBLOCK; /* accept and connect set it where there is no ring:
                                 documented */
    const long long position = S_ISREG(st.st_mode) ? (long long)lseek(fd, 0, SEEK_CUR) : 0;
    if ((S_ISSOCK(st.st_mode) || S_ISFIFO(st.st_mode)) && ioctl(fd, FIONREAD, &bytes) != 0)
        bytes = -2;
    snprintf(text, size, "fd %#x, fl %#x, mode %o, poll %#x, position %lld, size %lld, to read %d",
             SYS(fcntl(fd, F_GETFD)), flags, st.st_mode, item.revents, position,
             S_ISREG(st.st_mode) ? (long long)st.st_size : 0, bytes);
}

const char *compare_worlds(void) {
    for (int s = 0; s < SLOTS; s++) {
        const struct slot *slot = &slots[s];
        char text[2][256];
        if ((slot->fd[0] < 0) != (slot->fd[1] < 0))
            return differs("slot %d: open %d, %d", s, slot->fd[0], slot->fd[1]);
        if (slot->fd[0] < 0)
            continue;
        for (int w = 0; w < WORLDS; w++)
            print_slot(text[w], sizeof text[w], s, w);
        if (strcmp(text[0], text[1]) != 0)
            return differs("slot %d: %s; %s", s, text[0], text[1]);
    }
    return compare_folders(slots[ROOT].fd, "");
}

/* Without waiting, where poll says that there is something: O_NONBLOCK must not matter. */
ssize_t take(int fd, void *bytes, size_t len) {
    const ssize_t count = recv(fd, bytes, len, MSG_DONTWAIT);
    return count < 0 && errno == ENOTSOCK ? read(fd, bytes, len) : count;
}

/* Takes out and compares all that waits to be read. */
const char *drain_worlds(void) {
    static char bytes[WORLDS][DATA_BYTES];
    for (int s = PIPES; s < SLOTS; s++) {
        if (!is_open_slot(s) || slots[s].is & (IS_LISTENER | IS_EVENT) ||
            is_listening(slots[s].fd[0]))
            continue;
        for (int i = 0; i < 64; i++) { /* datagrams of no bytes look like an end */
            ssize_t count[WORLDS];
            bool more = true;
            for (int w = 0; w < WORLDS; w++) {
                more = more && is_ready(slots[s].fd[w], POLLIN);
                errno = EAGAIN;
                count[w] = more ? take(slots[s].fd[w], bytes[w], DATA_BYTES) : -1;
                if (count[w] < 0)
                    count[w] = -errno;
            }
            if (count[0] != count[1])
                return differs("left in slot %d: %zd, %zd", s, count[0], count[1]);
            if (count[0] > 0 && memcmp(bytes[0], bytes[1], (size_t)count[0]) != 0)
                return differs("the %zd bytes left in slot %d differ", count[0], s);
            if (!more || count[0] < 0)
                break;
        }
    }
    return NULL;
}
