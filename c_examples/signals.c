/*
 * signals: a program that works until it is told otherwise, and does with signals what a service
 * does. SIGHUP has it read its settings again, SIGUSR1 says what it has done so far, SIGINT and
 * SIGTERM end it when the work at hand is done, a second one at once. All of it is callbacks on the
 * context's thread: nothing here must be safe inside a signal handler.
 *
 *     signals &
 *     kill -USR1 $!; kill -HUP $!; kill $!
 */
#define _POSIX_C_SOURCE 200809L
#include <aio_rs.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SIGNALS = 4 };

struct service {
    aio_ctx *ctx;
    aio_op_id waits[SIGNALS];
    aio_op_id tick;
    unsigned done, loads;
    int last_signal; /* that asked for the end */
};

static void check(int64_t status, const char *what) {
    if (status < 0) {
        fprintf(stderr, "signals: %s: %s\n", what, aio_strerror((int32_t)status));
        exit(1);
    }
}

/* A piece of work, ten times a second. */
static void on_tick(void *user_data, int32_t result, uint32_t flags) AIO_NOEXCEPT {
    struct service *service = user_data;
    if (flags & AIO_CQE_MORE)
        service->done += (unsigned)result;
}

/* Nothing is in flight when these have ended, and the loop ends by itself. */
static void end_gracefully(struct service *service) {
    check(aio_ctx_cancel(service->ctx, service->tick), "cancel");
    for (int i = 0; i < SIGNALS; i++)
        check(aio_ctx_cancel(service->ctx, service->waits[i]), "cancel");
}

static void on_signal(void *user_data, int32_t result, uint32_t flags) AIO_NOEXCEPT {
    struct service *service = user_data;
    siginfo_t info;

    if (!(flags & AIO_CQE_MORE))
        return; /* the end of the wait */
    check(aio_ctx_current_signal(service->ctx, &info), "current_signal");
    switch (info.si_signo) {
    case SIGHUP:
        service->loads += 1; /* several that came together are one reason to read them */
        printf("settings read again, for process %ld\n", (long)info.si_pid);
        break;
    case SIGUSR1:
        printf("%u pieces of work done, %d asked\n", service->done, result);
        break;
    default:
        if (service->last_signal)
            _exit(128 + info.si_signo);
        service->last_signal = info.si_signo;
        printf("ending, for signal %d\n", info.si_signo);
        end_gracefully(service);
    }
    fflush(stdout);
}

int main(void) {
    static const int signals[SIGNALS] = {SIGHUP, SIGUSR1, SIGINT, SIGTERM};
    static struct service service;

    check(aio_ctx_create(NULL, &service.ctx), "create");
    for (int i = 0; i < SIGNALS; i++) {
        service.waits[i] = aio_submit_signal(service.ctx, signals[i], NULL, on_signal, &service);
        check(service.waits[i], "signal");
    }
    service.tick = aio_submit_interval(service.ctx, UINT64_C(100000000), NULL, on_tick, &service);
    check(service.tick, "interval");
    printf("process %ld waits for signals\n", (long)getpid());
    fflush(stdout);

    check(aio_ctx_run(service.ctx), "run");
    printf("ended after %u pieces of work and %u signals to read settings\n", service.done,
           service.loads);
    check(aio_ctx_destroy(service.ctx), "destroy");
    return 0;
}
