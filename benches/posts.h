/* What the engines of the benchmark of posts share; posts.c says what is measured. */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What is posted, and by whom. The owner's thread counts them, and sees that they come in order. */
struct posts_run {
    uint64_t count;
    uint64_t posted, seen;
    void *owner; /* the engine's own */
};

void posts_one_seen(void *post);
/* The argument of the next post; `posted` counts it. */
void *posts_next(struct posts_run *run);

struct posts_engine {
    void (*open)(struct posts_run *run);
    void (*post)(struct posts_run *run, void *arg); /* any thread: calls posts_one_seen(arg) */
    void (*run)(struct posts_run *run);             /* until all were seen */
    void (*close)(struct posts_run *run);
};

/* Not there when Boost.Asio was not found. */
extern const struct posts_engine posts_asio;

#ifdef __cplusplus
}
#endif
