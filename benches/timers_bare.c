/* No engine: what the memory of a million timers costs whoever cancels a random one by its id and
 * arms another. A record of one cache line each, a table by which an id is judged without a look at
 * its record, and a list to which what was armed is appended; the callbacks of a turn's cancelled
 * timers run at its end. No clock, no order of time, no limits and no checks but that of the id. */
#include "timers.h"

#include <stdalign.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { INDEX_BITS = 24, LIST = 1 << 22, HUGE = 2 << 20 };

struct record {
    alignas(64) uint64_t id;
    void (*callback)(void *user_data);
    void *user_data;
    struct record *next; /* free one */
};

struct entry {
    uint64_t due_us;
    uint32_t index, use;
};

static struct {
    struct record *records;
    uint32_t *uses; /* of an armed one, its id's; else UINT32_MAX */
    struct entry *list;
    uint64_t *ids, outstanding, listed, calls;
    struct record *free;
} bare;

static void on_cancelled(void *user_data) { ++*(uint64_t *)user_data; }

static void *memory(size_t size) {
    void *at = aligned_alloc(HUGE, (size + HUGE - 1) / HUGE * HUGE);
    if (!at)
        bench_die("no memory");
    madvise(at, size, MADV_HUGEPAGE);
    return at;
}

static struct record *record_of(uint64_t id) { return &bare.records[id & ((1 << INDEX_BITS) - 1)]; }

static uint64_t arm(uint64_t after_us) {
    struct record *record = bare.free;
    uint32_t index = (uint32_t)(record - bare.records), use = (uint32_t)(record->id >> INDEX_BITS);
    bare.free = record->next;
    record->callback = on_cancelled;
    record->user_data = &bare.calls;
    bare.uses[index] = use;
    bare.list[bare.listed++ % LIST] = (struct entry){after_us, index, use};
    return record->id;
}

static void start(uint64_t outstanding, uint64_t *seed) {
    const uint64_t count = outstanding + TIMERS_PAIRS_PER_TURN;
    bare.outstanding = outstanding;
    bare.records = memory(count * sizeof *bare.records);
    bare.uses = memory(count * sizeof *bare.uses);
    bare.list = memory(LIST * sizeof *bare.list);
    bare.ids = memory(outstanding * sizeof *bare.ids);
    bare.free = NULL;
    for (uint64_t i = count; i-- > 0;) {
        bare.records[i].id = i;
        bare.records[i].next = bare.free;
        bare.free = &bare.records[i];
    }
    for (uint64_t i = 0; i < outstanding; i++)
        bare.ids[i] = arm(timers_far_us(seed));
}

static void turn(uint64_t *seed) {
    uint64_t *victims[TIMERS_PAIRS_PER_TURN];
    struct record *cancelled[TIMERS_PAIRS_PER_TURN];
    timers_draw(seed, bare.ids, bare.outstanding, victims);
    for (int pair = 0; pair < TIMERS_PAIRS_PER_TURN; pair++) {
        const uint64_t id = *victims[pair];
        uint32_t *use = &bare.uses[id & ((1 << INDEX_BITS) - 1)];
        if (*use != id >> INDEX_BITS)
            bench_die("a wrong id");
        *use = UINT32_MAX;
        cancelled[pair] = record_of(id);
        __builtin_prefetch(cancelled[pair]);
        *victims[pair] = arm(timers_far_us(seed));
    }
    for (int pair = 0; pair < TIMERS_PAIRS_PER_TURN; pair++) {
        struct record *record = cancelled[pair];
        record->callback(record->user_data);
        record->id += 1 << INDEX_BITS;
        record->next = bare.free;
        bare.free = record;
    }
}

double timers_bare(const struct timers_task *task, uint64_t *seed) {
    if (bare.outstanding != task->outstanding)
        start(task->outstanding, seed);
    const uint64_t before = bare.calls, start_ns = bench_thread_cpu_ns();
    for (uint64_t pair = 0; pair < task->pairs; pair += TIMERS_PAIRS_PER_TURN)
        turn(seed);
    const double ns = (double)(bench_thread_cpu_ns() - start_ns);
    if (bare.calls - before < task->pairs)
        bench_die("callbacks are missing");
    return ns / (double)(bare.calls - before);
}

void timers_bare_end(void) {
    if (!bare.outstanding)
        return;
    free(bare.records);
    free(bare.uses);
    free(bare.list);
    free(bare.ids);
    bare.outstanding = bare.listed = 0;
}
