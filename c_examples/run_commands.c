/*
 * run_commands: runs the commands that it reads, a line each, as shell does, so many at a time and
 * each no longer than a deadline. What a command writes is shown when it has ended, in one piece,
 * with what became of it and what it used. Exits with 1 if a command failed.
 *
 *     run_commands [-j JOBS] [-t SECONDS] < COMMANDS
 */
#define _POSIX_C_SOURCE 200809L
#include <aio_rs.h>

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    aio_ctx *ctx;
    unsigned jobs, running, done, failed;
    uint64_t timeout_ns;
} all = {.jobs = 4};

struct command {
    char *line; /* the command */
    char *output;
    size_t len, room;
    int fd;      /* the reading end of its pipe */
    int parts;   /* of its output and its end, those that are still to come */
    bool failed; /* how it ended is in `how` */
    char how[128];
};

static void start_more(void);

static void check(int64_t status, const char *what) {
    if (status < 0) {
        fprintf(stderr, "run_commands: %s: %s\n", what, aio_strerror((int32_t)status));
        exit(1);
    }
}

static void *must(void *memory) {
    if (!memory)
        check(-12, "memory");
    return memory;
}

/* When its pipe has ended too: what it has started may write longer than it lives. */
static void part_done(struct command *command) {
    if (--command->parts != 0)
        return;
    printf("== %s: %s\n", command->line, command->how);
    fwrite(command->output, 1, command->len, stdout);
    fflush(stdout);
    all.running--;
    all.done++;
    all.failed += command->failed;
    close(command->fd);
    free(command->output);
    free(command->line);
    free(command);
    start_more();
}

static void read_more(struct command *command);

static void on_read(void *user_data, int32_t result, uint32_t flags) AIO_NOEXCEPT {
    struct command *command = user_data;
    (void)flags;
    if (result <= 0) {
        part_done(command);
        return;
    }
    command->len += (size_t)result;
    read_more(command);
}

static void read_more(struct command *command) {
    if (command->room - command->len < 4096) {
        command->room = command->room * 2 + 8192;
        command->output = must(realloc(command->output, command->room));
    }
    check(aio_submit_read(all.ctx, command->fd, command->output + command->len,
                          command->room - command->len, AIO_OFFSET_CURRENT, NULL, on_read, command),
          "read");
}

static void on_exit_of(void *user_data, int32_t result, uint32_t flags) AIO_NOEXCEPT {
    struct command *command = user_data;
    aio_process_exit used = {.size = sizeof used};

    command->failed = result != 0;
    if (flags & AIO_CQE_DEADLINE)
        snprintf(command->how, sizeof command->how, "took too long");
    else if (result < 0)
        snprintf(command->how, sizeof command->how, "%s", aio_strerror(result));
    else if (aio_ctx_current_exit(all.ctx, &used) == 0)
        snprintf(command->how, sizeof command->how, "%s %d, %.3f s of processor time, %.1f MB",
                 result >= AIO_SPAWN_SIGNALED ? "signal" : "status", used.status,
                 (double)(used.user_ns + used.system_ns) / 1e9, (double)used.max_rss_kib / 1024);
    part_done(command);
}

static void start(char *line) {
    struct command *command = must(calloc(1, sizeof *command));
    const char *const argv[] = {"/bin/sh", "-c", line, NULL};
    const aio_spawn_options spawn = {
        .size = sizeof spawn,
        .flags = AIO_SPAWN_NEW_GROUP, /* so that a deadline ends all that the shell has started */
        .argv = argv,
        .stdin_mode = AIO_SPAWN_NULL,
        .stdout_mode = AIO_SPAWN_PIPE,
        .stderr_mode = AIO_SPAWN_STDOUT,
        .cancel_signal = SIGTERM,
        .kill_after_ns = 2000000000,
    };
    const aio_submit_options options = {.size = sizeof options, .timeout_ns = all.timeout_ns};
    aio_process process = {.size = sizeof process};

    command->line = line;
    check(aio_submit_spawn(all.ctx, &spawn, &process, &options, on_exit_of, command), line);
    command->fd = process.stdout_fd;
    command->parts = 2;
    all.running++;
    read_more(command);
}

static void start_more(void) {
    char *line = NULL;
    size_t room = 0;
    while (all.running < all.jobs && getline(&line, &room, stdin) > 0) {
        line[strcspn(line, "\n")] = 0;
        if (*line == 0)
            continue;
        start(line);
        line = NULL;
        room = 0;
    }
    free(line);
}

int main(int argc, char **argv) {
    for (int option; (option = getopt(argc, argv, "j:t:")) != -1;) {
        if (option == 'j') {
            all.jobs = (unsigned)strtoul(optarg, NULL, 10);
        } else if (option == 't') {
            all.timeout_ns = (uint64_t)(strtod(optarg, NULL) * 1e9);
        } else {
            fprintf(stderr, "usage: run_commands [-j JOBS] [-t SECONDS] < COMMANDS\n");
            return 2;
        }
    }
    check(aio_ctx_create(NULL, &all.ctx), "create");
    start_more();
    check(aio_ctx_run(all.ctx), "run");
    check(aio_ctx_destroy(all.ctx), "destroy");
    printf("%u commands, %u failed\n", all.done, all.failed);
    return all.failed != 0;
}
