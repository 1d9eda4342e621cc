/* Rows of the section processes. */
#include "operations.h"

static void nothing(struct env *e) { (void)e; }

static void needs_pidfds(void) { beyond_valgrind("does not know pidfd_open"); }

static aio_op_id spawn(struct env *e, char *const argv[], const aio_submit_options *o,
                       aio_callback cb, void *u) {
    needs_pidfds();
    const aio_spawn_options spawn = {
        .size = sizeof spawn, .argv = (const char *const *)argv, .cancel_signal = SIGKILL};
    return aio_submit_spawn(e->ctx, &spawn, NULL, o, cb, u);
}

static char *const truth[] = {"/bin/true", NULL};

SUBMIT(submit_spawn) { return spawn(e, truth, o, cb, u); }

/* Ends when the other end of its standard input is closed. */
SUBMIT(submit_spawn_of_a_reader) {
    static char *const argv[] = {"/bin/cat", NULL};
    const aio_spawn_options spawn = {.size = sizeof spawn,
                                     .argv = (const char *const *)argv,
                                     .stdin_mode = AIO_SPAWN_PIPE,
                                     .cancel_signal = SIGKILL};
    aio_process process = {.size = sizeof process};
    needs_pidfds();
    const aio_op_id id = aio_submit_spawn(e->ctx, &spawn, &process, o, cb, u);
    if (id > 0)
        e->fd = env_keep(e, process.stdin_fd);
    return id;
}

static void end_input(struct env *e) { SYS(close(e->fd)); }

ROW(spawn, .check = check_is_zero, .block = nothing, .submit_blocked = submit_spawn_of_a_reader,
    .unblock = end_input, .service = true);

FAILS(spawn, EINVAL_without_options, -EINVAL) {
    return aio_submit_spawn(e->ctx, NULL, NULL, o, cb, u);
}

FAILS(spawn, EINVAL_without_a_name, -EINVAL) {
    char *const argv[] = {NULL};
    return spawn(e, argv, o, cb, u);
}

FAILS(spawn, EINVAL_behind_a_barrier, -EINVAL) {
    (void)o;
    return spawn(e, truth, WITH(.flags = AIO_SUBMIT_BARRIER), cb, u);
}

FAILS(spawn, ENOENT, -ENOENT) {
    char *const argv[] = {"/nowhere/program", NULL};
    return spawn(e, argv, o, cb, u);
}

FAILS(spawn, ECHILD_where_the_ends_of_children_are_lost, -ECHILD) {
    signal(SIGCHLD, SIG_IGN);
    return submit_spawn(e, o, cb, u);
}

FAILS(spawn, EMFILE, -EMFILE) {
    env_no_descriptor_left(e);
    return submit_spawn(e, o, cb, u);
}
