/* Rows of the section signals. */
#include "operations.h"

static void nothing(struct env *e) { (void)e; }

static void signal_it(struct env *e) {
    (void)e;
    CHECK_EQ(raise(SIGUSR1), 0);
}

SUBMIT(submit_signal_to_come) { return aio_submit_signal(e->ctx, SIGUSR1, o, cb, u); }

SUBMIT(submit_signal) {
    const aio_op_id id = submit_signal_to_come(e, o, cb, u);
    if (id > 0)
        signal_it(e);
    return id;
}

static void check_one(struct env *e, int32_t result) {
    siginfo_t info;
    CHECK_EQ(result, 1);
    CHECK_EQ(aio_ctx_current_signal(e->ctx, &info), -ENOENT); /* that was in the callback */
}

ROW(signal, .check = check_one, .block = nothing, .submit_blocked = submit_signal_to_come,
    .unblock = signal_it, .multishot = true, .service = true, .brings = true);

FAILS(signal, EINVAL_of_no_signal, -EINVAL) { return aio_submit_signal(e->ctx, 0, o, cb, u); }

FAILS(signal, EINVAL_of_what_cannot_be_handled, -EINVAL) {
    return aio_submit_signal(e->ctx, SIGKILL, o, cb, u);
}

FAILS(signal, EINVAL_of_a_fault, -EINVAL) { return aio_submit_signal(e->ctx, SIGSEGV, o, cb, u); }

FAILS(signal, EINVAL_of_a_quiet_one, -EINVAL) {
    (void)o;
    return aio_submit_signal(e->ctx, SIGUSR1, WITH(.flags = AIO_SUBMIT_QUIET), cb, u);
}

FAILS(signal, EMFILE, -EMFILE) {
    env_no_descriptor_left(e);
    return submit_signal_to_come(e, o, cb, u);
}
