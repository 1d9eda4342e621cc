/*
 * resolve: looks names up, all at once, and prints what is found: addresses, or with -t the records
 * of another kind. The servers are those of /etc/resolv.conf unless -s names others. It shows an
 * operation whose result is an object: written by the library before the callback, the program's
 * to free afterwards.
 */
#define _POSIX_C_SOURCE 200809L
#include <aio_rs.h>

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)

struct lookup {
    const char *name;
    aio_answer *answer;
    int *failures;
};

static void check(int64_t status, const char *what) {
    if (status < 0) {
        fprintf(stderr, "resolve: %s: %s\n", what, aio_strerror((int32_t)status));
        exit(1);
    }
}

static void print_texts(const aio_answer *answer, uint32_t index, uint32_t strings) {
    for (uint32_t nth = 0; nth < strings; nth++) {
        const void *data;
        uint32_t len;
        check(aio_answer_string(answer, index, nth, &data, &len), "string");
        printf(" \"%.*s\"", (int)len, (const char *)data);
    }
}

static void print_record(const struct lookup *lookup, uint32_t index) {
    aio_dns_record record = {.size = sizeof record};
    char address[INET6_ADDRSTRLEN];

    check(aio_answer_record(lookup->answer, index, &record), "record");
    printf("%s %" PRIu32, aio_answer_name(lookup->answer), record.ttl);
    switch (record.kind) {
    case AIO_DNS_A:
        printf(" A %s", inet_ntop(AF_INET, record.data, address, sizeof address));
        break;
    case AIO_DNS_AAAA:
        printf(" AAAA %s", inet_ntop(AF_INET6, record.data, address, sizeof address));
        break;
    case AIO_DNS_SRV:
        printf(" SRV %u %u %u %s", record.priority, record.weight, record.port, record.target);
        break;
    case AIO_DNS_TXT:
        printf(" TXT");
        print_texts(lookup->answer, index, record.strings);
        break;
    }
    putchar('\n');
}

static void on_answer(void *user_data, int32_t result, uint32_t flags) AIO_NOEXCEPT {
    struct lookup *lookup = user_data;
    (void)flags;

    if (result < 0) {
        fprintf(stderr, "resolve: %s: %s\n", lookup->name, aio_strerror(result));
        ++*lookup->failures;
        return;
    }
    for (uint32_t index = 0; index < aio_answer_count(lookup->answer); index++)
        print_record(lookup, index);
    aio_answer_free(lookup->answer);
}

static uint32_t kind_named(const char *name) {
    static const struct {
        const char *name;
        uint32_t kind;
    } kinds[] = {
        {"A", AIO_DNS_A}, {"AAAA", AIO_DNS_AAAA}, {"SRV", AIO_DNS_SRV}, {"TXT", AIO_DNS_TXT}};

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return kinds[i].kind;
    fprintf(stderr, "resolve: the kinds are A, AAAA, SRV and TXT, not %s\n", name);
    exit(2);
}

int main(int argc, char **argv) {
    aio_resolver_options resolver_options = {.size = sizeof resolver_options};
    const aio_submit_options options = {.size = sizeof options, .timeout_ns = 10 * SECOND};
    uint32_t kind = AIO_DNS_ADDRESS;
    aio_resolver *resolver;
    aio_ctx *ctx;
    int failures = 0;

    for (int option; (option = getopt(argc, argv, "s:t:")) != -1;) {
        if (option == 's') {
            resolver_options.servers = optarg;
        } else if (option == 't') {
            kind = kind_named(optarg);
        } else {
            fprintf(stderr, "usage: resolve [-s \"SERVER...\"] [-t A|AAAA|SRV|TXT] NAME...\n");
            return 2;
        }
    }
    check(aio_ctx_create(NULL, &ctx), "create");
    check(aio_resolver_create(&resolver_options, &resolver), "resolver");

    struct lookup *lookups = calloc((size_t)argc, sizeof *lookups);
    if (lookups == NULL)
        return 1;
    for (int i = optind; i < argc; i++) {
        struct lookup *lookup = &lookups[i];
        *lookup = (struct lookup){.name = argv[i], .failures = &failures};
        check(aio_submit_resolve(ctx, resolver, argv[i], kind, 0, &lookup->answer, &options,
                                 on_answer, lookup),
              argv[i]);
    }
    aio_resolver_destroy(resolver); /* the lookups keep what they need of it */
    check(aio_ctx_run(ctx), "run");
    check(aio_ctx_destroy(ctx), "destroy");
    free(lookups);
    return failures != 0;
}
