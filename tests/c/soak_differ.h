/* What the files of soak_differ share: two worlds, one per backend, whose descriptors are known by
 * the index of their slot; operations, each with two sides; and the kinds of operations.
 *
 * soak_differ.c chooses, submits and cancels; _claims.c says what may be in flight side by side;
 * _ends.c takes results and says when a step is over; _files.c, _sockets.c and _others.c have the
 * kinds, _arguments.c what their arguments have in common; _world.c has the descriptors and what is
 * known of them, _compare.c the comparison of what is left. */
#pragma once
#include "harness.h"

#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>

enum {
    WORLDS = 2,
    OPS = 64,
    DATA_BYTES = 65536,
    GUARD_BYTES = 4096,
    TEXT = 900,
    CHAIN_MAX = 10, /* longer than the smaller of the queues */
    NAMES = 18,
    NO_NAME = 12,  /* "" */
    EVER = 1 << 20 /* a number that no descriptor has */
};

#define HERE AIO_OFFSET_CURRENT

/* The slots. A pair is two neighbours; NEGATIVE and BAD are never open. */
enum {
    ROOT,
    NEGATIVE,
    BAD,
    SUBFOLDER,
    PATH_ONLY,
    NULL_DEVICE,
    FILES,
    PIPES = FILES + 8,
    STREAMS = PIPES + 4,
    DGRAMS = STREAMS + 4,
    SEQUENCES = DGRAMS + 4,
    TCPS = SEQUENCES + 2,
    UDPS = TCPS + 4,
    UDP_OPEN = UDPS + 2, /* bound, not connected: others send to it by its address */
    DGRAM_OPEN,
    EVENTS,
    UNIX_LISTENER = EVENTS + 2,
    TCP_LISTENER,
    FRESH,               /* sockets of all sorts, as socket(2) leaves them */
    ARRIVED = FRESH + 5, /* connections that were accepted */
    SLOTS = ARRIVED + 6
};
_Static_assert(SLOTS <= 64, "a slot is a bit of a claim");

/* What a slot is for. */
enum {
    IS_FOLDER = 1,
    IS_FILE = 2,
    IS_PIPE = 4,
    IS_STREAM = 8, /* keeps the order of what is sent, unix or TCP */
    IS_DGRAM = 16,
    IS_EVENT = 32,
    IS_LISTENER = 64,
    IS_FRESH = 128,
    IS_ARRIVED = 256,
    IS_ODD = 512,
    IS_SOCKET = IS_STREAM | IS_DGRAM | IS_LISTENER | IS_FRESH | IS_ARRIVED,
    IS_ANY = 1023
};

struct slot {
    unsigned is;
    int fd[WORLDS];    /* -1: closed */
    int ghost[WORLDS]; /* another descriptor of what was there, -1: none */
    int peer;          /* the slot to which goes what is sent here, -1: unknown */
    bool orphan;       /* the peer was there and is closed */
    bool shut;         /* for reading: a listener's accept calls fail */
    bool mute;         /* for writing, here or there */
    short expected;    /* poll events that are on their way: the network's are not
                          there at once */
    int backlog;       /* of a listener */
    int pending;       /* connections that wait to be accepted, oldest first: */
    int clients[16];   /* their slots, -1: closed since, -2: not wholly */
};

struct world {
    aio_ctx *ctx;
    const char *backend;
    char folder[96];               /* "root" in it is the tree; listeners' names are beside that
                                    */
    int live;                      /* operations that have not ended */
    volatile sig_atomic_t signals; /* a SIGPIPE came: several at once are one */
};

enum memory { GOOD, HALF, UNMAPPED, NOTHING }; /* HALF: its second half is not there */

struct side {
    struct op *op;
    int world;
    aio_op_id id;
    enum { IDLE, LIVE, ENDED, GIVEN_UP } state;
    int calls;
    int32_t seen; /* of polls: all events so far */
    int arrived;  /* connections, since the last comparison */
    int descriptor;
    char text[TEXT]; /* what became of it, since the last comparison */
    unsigned char *data;
    struct msghdr header;
    struct sockaddr_storage address;
    socklen_t address_len;
    _Alignas(struct cmsghdr) char control[96];
    struct statx attributes;
};

/* What an operation uses, a bit per slot; files are told apart by a hash of
 * their inode number. */
struct claim {
    uint64_t reads, writes; /* nobody else may wait there for the same */
    uint64_t looks;         /* polls: neither may */
    uint64_t touches;       /* nothing else of the same step may use it in any way */
    uint64_t files;         /* all bits: the tree */
    bool changes, drains;   /* the bytes of files; a queue that may hold such bytes */
};

struct op {
    const struct kind *kind;
    int64_t number;
    int slot, other, place; /* other: splice's input, connect's target; -1: none */
    int name, other_name;
    size_t len;
    uint64_t offset, other_offset;
    uint32_t word; /* mode, mask, events, domain */
    int flags;
    enum memory memory;
    int count, passed; /* vectors; descriptors that are sent along */
    int pass[2];
    socklen_t name_len, control_len;
    aio_submit_options options;
    bool reaped, waited, due; /* due: it must end now */
    int chain;                /* 0: none */
    int32_t result;           /* world 0's */
    struct claim claim;
    struct side side[WORLDS];
    char description[256];
};

/* Traits of kinds. */
enum {
    READS = 1,
    WRITES = 2,
    POLLS = 4,
    ACCEPTS = 8,
    CONNECTS = 16,
    NAMES_FILES = 32, /* works on the tree */
    BRINGS = 64,      /* its result is a descriptor */
    REPEATS = 128,
    CLOSES = 256,
    TIMES = 512,
    SPLICES = 1024,
    PLAIN = 2048, /* system calls of the test itself, from outside */
    ALTERS = 4096,
    SHUTS = 8192,
    FILLS = 16384,      /* writes into the caller's memory */
    ON_SOCKETS = 32768, /* fails at once elsewhere */
    RENEWS = 65536,
    VECTORS = 131072,
    IDLES = 262144 /* nothing of the above, and yet something */
};

typedef bool (*choose_fn)(struct op *op);
typedef aio_op_id (*submit_fn)(struct op *op, struct side *side, aio_callback done);
typedef int64_t (*act_fn)(struct op *op, struct side *side);

struct kind {
    const char *name;
    unsigned traits;
    int weight;
    choose_fn choose; /* false: not now */
    submit_fn submit;
    act_fn act; /* of PLAIN ones: gives a result or -errno */
};

struct family {
    const struct kind *kinds;
    int count;
};

/* Where the run is. */
struct run {
    uint64_t seed;
    int64_t step, submitted, compared, ended_well;
    int world;        /* whose turn it is */
    uint64_t stirred; /* slots that this step may have changed */
};

extern struct run run;
extern struct world worlds[WORLDS];
extern struct slot slots[SLOTS];
extern struct op ops[OPS];
extern const struct family file_family, socket_family, other_family;
extern bool in_chain; /* arguments are chosen for a member */

#define BIT(slot_) (1ull << (slot_))

static inline bool is_live(const struct op *op) {
    return op->side[0].state == LIVE || op->side[1].state == LIVE;
}

static inline bool is_quiet(const struct op *op) { return op->options.flags & AIO_SUBMIT_QUIET; }

static inline bool has(const struct op *op, unsigned traits) { return op->kind->traits & traits; }

uint64_t dice(uint64_t bound);

/* soak_differ_ends.c */
_Noreturn void report(const struct op *op, const char *why);
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
void tell(struct side *side, const char *format, ...) __attribute__((format(printf, 2, 3)));
void on_op(void *user_data, int32_t result, uint32_t flags);
void on_sigpipe(int number);
bool is_held(const struct op *op, int world);
void settle(void);
void compare(struct op *op);

/* soak_differ_claims.c */
void make_claim(struct op *op);
void widen(struct claim *batch, const struct claim *claim);
bool has_consequences(const struct op *op);
bool is_doubtful(const struct op *op);
bool is_free(const struct op *op, const struct claim *batch);

/* soak_differ_arguments.c */
void *memory_of(const struct op *op, const struct side *side);
void describe(struct op *op);
size_t total_len(const struct op *op);
bool would_wait(const struct op *op, int world);
bool surely_waits(const struct op *op);

/* soak_differ_world.c */
int number_of(int world, int slot); /* of a closed one, a number that is not open */
bool is_open_slot(int slot);
bool is_ready(int fd, short events);
bool is_listening(int fd);
bool is_inet(int slot);
bool is_tcp(int fd);
bool is_closing(int slot); /* its number may be another's by now */
int socket_domain(int fd);
int socket_type(int fd);
const char *root_path(int world);
const char *name_text(int name);
socklen_t address_of_slot(int world, int slot, struct sockaddr_storage *out);
void print_address(char *text, size_t size, int world, int type, const void *address,
                   socklen_t len);
void print_descriptor(char *text, size_t size, int world, int fd, bool with_size, bool in_a_chain);
void begin_worlds(int episode);
void end_worlds(void);
int64_t renew_slot(struct op *op, int world);
void forget_slot(int slot); /* it was closed in both worlds */
int shows_arrival(int slot, short *events);
void was_connected(int slot, int to, bool datagrams);
void was_accepted(int listener, int place);
void was_shut(int slot, int how);

/* soak_differ_compare.c */
bool is_ending(int slot);
const char *find_missing(int world, uint64_t stirred);
const char *compare_worlds(void); /* what differs, or NULL */
ssize_t take(int fd, void *bytes, size_t len);
const char *drain_worlds(void);
