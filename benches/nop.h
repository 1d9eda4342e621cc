/* What the engines of the benchmark of NOPs share; nop.c says what is measured. */
#pragma once

#include <stdint.h>

enum { NOP_SQ_ENTRIES = 256, NOP_CQ_ENTRIES = 512 };

struct nop_load {
    uint64_t depth;
    uint64_t count;
    uint64_t snapshots;         /* of the engine's counters, per second */
    uint64_t histograms, trace; /* 0: off */
};

#ifdef __cplusplus
extern "C" {
#endif

/* `arg` is the load; returns ns of CPU time per operation. */
double nop_coroutine(void *arg, const void *subject);
/* Not there when liburing was not found. */
double nop_liburing(void *arg, const void *subject);

#ifdef __cplusplus
}
#endif
