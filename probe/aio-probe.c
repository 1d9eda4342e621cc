/* aio-probe: what works on this machine, and why the rest does not.
 *
 *     aio-probe [--json]
 *
 * Asks about a context with default options, so that AIO_RS_BACKEND and whatever restricts this
 * process count. Without an option a table; with --json an object: "backend", "kernel", "reason",
 * "text", and two lists, "operations" of {"name", "opcode", "status", "since", "functions",
 * "reason"} and "facilities" of the same without "opcode"; a status is yes, emulated, superseded or
 * no. Exits with 0, or 1 when the library cannot be asked. */
#include <aio_rs.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

typedef int32_t (*ask_fn)(const aio_ctx *ctx, uint32_t number, aio_probe_result *out);

static const char *status_name(uint32_t status) {
    static const char *const names[] = {"no", "yes", "emulated", "superseded"};
    return status < sizeof names / sizeof *names ? names[status] : "unknown";
}

/* Texts are plain ASCII without control characters; quotes and backslashes may come. */
static void print_quoted(const char *text) {
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
    putchar('"');
}

static void print_field(const char *name, const char *text) {
    print_quoted(name);
    printf(": ");
    print_quoted(text);
}

static const char *reason_of(const aio_probe_result *result) {
    return result->status == AIO_PROBE_YES ? "" : result->text;
}

/* The Linux that brought something. */
static const char *version(uint32_t since) {
    static char text[32];
    snprintf(text, sizeof text, "%u.%u", since >> 16, since & 0xffff);
    return text;
}

/* A row of the table. What is said of the whole backend already is not said again. */
static void print_row(const aio_probe_result *result, const char *said) {
    const char *text = result->text;
    const size_t len = strlen(said);
    if (len && strncmp(text, said, len) == 0 && strncmp(text + len, "; ", 2) == 0)
        text += len + 2;
    printf("%-20s %-10s %-6s%s%s%s\n", result->name, status_name(result->status),
           version(result->since), text, *text && *result->functions ? ": " : "",
           result->functions);
}

/* Asks about each number below `count`; false if one cannot be told. */
static bool print_list(const aio_ctx *ctx, ask_fn ask, uint32_t count, const char *said, bool json,
                       bool numbered) {
    for (uint32_t number = 0; number < count; number++) {
        aio_probe_result result = {.size = sizeof result};
        const int32_t status = ask(ctx, number, &result);
        if (status) {
            fprintf(stderr, "aio-probe: %s\n", aio_strerror(status));
            return false;
        }
        if (!json) {
            printf("  ");
            if (numbered)
                printf("%2u ", number);
            print_row(&result, said);
            continue;
        }
        printf("%s    {", number ? ",\n" : "");
        print_field("name", result.name);
        if (numbered)
            printf(", \"opcode\": %u", number);
        printf(", ");
        print_field("status", status_name(result.status));
        printf(", ");
        print_field("since", version(result.since));
        printf(", ");
        print_field("functions", result.functions);
        printf(", ");
        print_field("reason", reason_of(&result));
        printf("}");
    }
    return true;
}

static bool print_all(const aio_ctx *ctx, const aio_probe_info *info, bool json) {
    const char *backend = info->backend == AIO_BACKEND_URING ? "io_uring" : "epoll";
    const char *kernel = version(info->kernel_version);
    if (json) {
        printf("{\n  ");
        print_field("library", aio_version_string());
        printf(",\n  ");
        print_field("kernel", kernel);
        printf(",\n  ");
        print_field("backend", backend);
        printf(",\n  ");
        print_field("reason", info->text);
        printf(",\n  \"operations\": [\n");
    } else {
        printf("aio_rs %s, Linux %s, backend %s%s%s\n\noperations (opcode, name, status, since)\n",
               aio_version_string(), kernel, backend, *info->text ? ": " : "", info->text);
    }
    if (!print_list(ctx, aio_probe_op, info->operations, info->text, json, true))
        return false;
    printf(json ? "\n  ],\n  \"facilities\": [\n" : "\nfacilities (name, status, since)\n");
    if (!print_list(ctx, aio_probe_facility, info->facilities, info->text, json, false))
        return false;
    printf(json ? "\n  ]\n}\n" : "");
    return true;
}

/* What is merely not as asked for is in the answers. */
static void print_error(void *arg, int32_t level, const char *message) {
    (void)arg;
    if (level == AIO_LOG_ERROR)
        fprintf(stderr, "aio-probe: %s\n", message);
}

int main(int argc, char **argv) {
    const bool json = argc == 2 && strcmp(argv[1], "--json") == 0;
    if (argc > 1 && !json) {
        fprintf(stderr, "usage: aio-probe [--json]\n");
        return 2;
    }
    aio_ctx *ctx = NULL;
    aio_probe_info info = {.size = sizeof info};
    const aio_ctx_options options = {.size = sizeof options, .log = print_error};
    int32_t status = aio_ctx_create(&options, &ctx);
    if (!status)
        status = aio_probe(ctx, &info);
    if (status) {
        fprintf(stderr, "aio-probe: %s\n", aio_strerror(status));
        return 1;
    }
    const bool fine = print_all(ctx, &info, json);
    aio_ctx_destroy(ctx);
    return fine && fflush(stdout) == 0 ? 0 : 1;
}
