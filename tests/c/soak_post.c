/* Posts from four threads, the receiver asleep whenever the threads pause: every message arrives,
 * and those of a thread in their order.
 *
 *   soak_post [messages in total] */
#include "harness.h"

#include <inttypes.h>

enum { THREADS = 4, RING = 4096 };

struct receiver {
    aio_ctx *ctx;
    int64_t received[THREADS];
};

/* A message is a slot of the sender's ring; the sender reuses it when it was received. */
struct sender {
    struct receiver *receiver;
    int index;
    int64_t count;
    uint64_t random;
    int64_t received; /* atomic */
    struct message {
        struct sender *sender;
        int64_t number;
    } ring[RING];
};

static void receive(void *arg) {
    const struct message *message = arg;
    struct sender *sender = message->sender;
    int64_t *next = &sender->receiver->received[sender->index];
    CHECK_EQ(message->number, *next); /* in order, none lost, none twice */
    ++*next;
    __atomic_store_n(&sender->received, *next, __ATOMIC_RELEASE);
    if (*next == sender->count)
        aio_ctx_release(sender->receiver->ctx);
}

static void *send_all(void *arg) {
    struct sender *sender = arg;
    for (int64_t i = 0; i < sender->count; i++) {
        while (i - __atomic_load_n(&sender->received, __ATOMIC_ACQUIRE) >= RING)
            sched_yield();
        struct message *message = &sender->ring[i % RING];
        *message = (struct message){sender, i};
        CHECK_EQ(aio_ctx_post(sender->receiver->ctx, receive, message), 0);
        if (random_below(&sender->random, 20000) == 0)
            sleep_ms(1); /* long enough for the receiver to go to sleep */
    }
    return NULL;
}

int main(int argc, char **argv) {
    const int64_t total = argc > 1 ? atoll(argv[1]) : scaled(400000);
    harness_start("soak_post", 60 + (unsigned)(total / 20000));
    uint64_t random = test_seed();
    struct receiver receiver = {.ctx = make_ctx()};
    static struct sender senders[THREADS];
    pthread_t threads[THREADS];
    const uint64_t start = now_ns();
    for (int i = 0; i < THREADS; i++) {
        senders[i].receiver = &receiver;
        senders[i].index = i;
        senders[i].count = total / THREADS;
        senders[i].random = random_next(&random);
        aio_ctx_hold(receiver.ctx);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
    CHECK_EQ(aio_ctx_run(receiver.ctx), 0);
    int64_t received = 0;
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
        CHECK_EQ(receiver.received[i], senders[i].count);
        received += receiver.received[i];
    }
    const aio_stats stats = stats_of(receiver.ctx);
    CHECK_EQ(stats.posts, received);
    printf("%" PRId64 " messages of %d threads in order, none lost: %.0f ns each, %" PRIu64
           " turns, %" PRIu64 " wake-ups\n",
           received, THREADS, (double)(now_ns() - start) / (double)received, stats.turns,
           stats.wakes);
    CHECK_GT(stats.wakes, 0); /* else the receiver never slept and the test showed little */
    end_ctx(receiver.ctx);
    return 0;
}
