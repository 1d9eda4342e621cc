/* What soak_random's model of the contract and its table of operations share. */
#pragma once
#include "harness.h"

#include <inttypes.h>
#include <linux/stat.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <sys/un.h>

enum {
    OPS = 400,
    PAIRS = 6,
    GROUPS = 4,
    NAMES = 4,
    FILE_BYTES = 4096,
    BYTES = 16,
    FIRST_NUMBER = 512, /* of the descriptors that are closed; each is used once in a round */
    GIVEN_BACK = 0x7e,
    /* Of the table: one per pair, the file's, and those that operations fill. */
    FILE_SLOT = PAIRS,
    FILLED_SLOTS,
    SLOTS = 16,
    AREAS = 4, /* registered buffers: each is all operations' memory */
    TAGS = 64
};

#define FROM_HERE AIO_OFFSET_CURRENT

/* What the model has to know about a kind of operation. */
enum {
    ALONE = 1,      /* a timer: no links, no barrier, no worker */
    REPEATS = 2,    /* has results with AIO_CQE_MORE, is no member of a chain */
    BRINGS = 4,     /* its result is a descriptor */
    HAS_MEMORY = 8, /* uses memory of the caller's: cannot be detached */
    CLOSES = 16,    /* ends its number */
    WEAK = 32,      /* the kernel lets its link hold although it has failed */
    PIPES = 64,     /* its success is two descriptors */
    STEPS = 128,    /* cannot be waited for by a hard link */
    LAST = 256,     /* nor by a soft one */
    NOTIFIES = 512  /* a result, and then a notification */
};

struct op {
    aio_op_id id;
    const struct kind *kind;
    aio_submit_options options;
    aio_callback callback;
    enum { UNUSED, LIVE, ENDED, GIVEN_UP } state;
    bool asked;   /* its end: -ECANCELED is explained */
    int chain;    /* number of its chain; 0: none */
    bool adopted; /* perhaps in a chain that the model has lost sight of */
    int32_t result;
    bool has_result; /* and waits for its notification */
    int calls;
    int pair, fd, other_fd;
    uint64_t due_ns;      /* of a timer */
    uint64_t deadline_ns; /* 0: none, or it moves */
    uint64_t offset;
    /* Memory that the engine has until the last callback. */
    unsigned char bytes[BYTES];
    struct iovec iov[2];
    struct msghdr header;
    struct sockaddr_un peer;
    socklen_t peer_len;
    struct statx attributes;
    struct epoll_event events[2];
    siginfo_t info;
    int value, pair_made[2];
};

struct kind {
    const char *name;
    unsigned traits;
    aio_op_id (*submit)(struct op *op, const aio_submit_options *options);
    bool (*can_give)(const struct op *op, int32_t result);
};

/* A round: one context and everything around it. */
struct world {
    aio_ctx *ctx;
    uint64_t random;
    struct op ops[OPS];
    int count;
    int pairs[PAIRS][2], pipe_fds[2], tee_fds[2], listener, file, scratch;
    int set, quiet_set;      /* of epoll: of the pairs, and of nothing */
    pid_t child;             /* lives on */
    struct sockaddr_un addr; /* the listener's: TCP would run out of ports */
    socklen_t addr_len;
    char names[NAMES][64];
    int next_number;
    uint32_t max_ops;
    int chain, last_chain; /* the open one, or 0 */
    bool lost_sight;       /* of a chain: what is submitted may belong to it, until a run returns */
    int depth;             /* inside how many callbacks, or 1 to make them only look */
    int64_t posted, ran;
    int udp[2];                /* from here to there, where nobody listens */
    uint64_t tags;             /* of registered buffers, given so far */
    unsigned char freed[TAGS]; /* how often each has come back */
    bool destroyed;
};

extern struct world w;

uint64_t dice(uint64_t bound);

/* Of the file. */
#define ATTRIBUTE "user.aio"

/* A unix socket, and a name for it that the kernel chooses. */
int unix_socket(void);
void name_socket(int fd);

extern const struct kind closing, receiving, polling, doing_nothing;
extern const struct kind kinds[];
extern const int kind_count;
