/* Rows of the sections names and resolver. */
#include "name_server.h"
#include "operations.h"

#include <arpa/inet.h>
#include <netdb.h>

/* The address of the one entry that there is. */
static void check_list(struct env *e, const char *address, uint16_t port) {
    const struct addrinfo *entry = e->list;
    char text[INET_ADDRSTRLEN];
    CHECK(entry != NULL);
    CHECK_EQ(entry->ai_family, AF_INET);
    CHECK_EQ(entry->ai_socktype, SOCK_STREAM);
    CHECK_EQ(entry->ai_addrlen, sizeof(struct sockaddr_in));
    const struct sockaddr_in *addr = (const void *)entry->ai_addr;
    CHECK_STR(inet_ntop(AF_INET, &addr->sin_addr, text, sizeof text), address);
    CHECK_EQ(ntohs(addr->sin_port), port);
    CHECK(entry->ai_next == NULL);
    aio_addrinfo_free(e->list);
}

/* --- getaddrinfo ----------------------------------------------------------------------------- */

static const struct addrinfo v4_streams = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};

SUBMIT(submit_getaddrinfo) {
    return aio_submit_getaddrinfo(e->ctx, "127.0.0.1", "8080", &v4_streams, &e->list, o, cb, u);
}

SUBMIT(submit_getaddrinfo_of_a_server) {
    return aio_submit_getaddrinfo(e->ctx, "slow.example", "8080", &v4_streams, &e->list, o, cb, u);
}

static void check_addresses(struct env *e, int32_t result) {
    CHECK_EQ(result, 0);
    check_list(e, e->server ? "192.0.2.1" : "127.0.0.1", 8080);
}

/* The C library asks a server that never answers: of this process alone, also beside others. It
 * gives up in less time than the tests' patience, for a query may be lost with the server. */
static void silent_server(struct env *e) {
    static char host[32];
    if (!host[0]) {
        const unsigned pid = (unsigned)getpid();
        snprintf(host, sizeof host, "127.77.%u.%u", pid >> 8 & 255, pid & 255);
        ask_only(host, "timeout:10 attempts:1", "");
    }
    e->server = name_server_start(host, 53, ANSWER_NOTHING);
}

static void let_answer(struct env *e) { name_server_set(e->server, ANSWER_ADDRESS); }

ROW(getaddrinfo, .check = check_addresses, .block = silent_server,
    .submit_blocked = submit_getaddrinfo_of_a_server, .unblock = let_answer, .service = true,
    .brings = true);

FAILS(getaddrinfo, EINVAL_without_a_place, -EINVAL) {
    return aio_submit_getaddrinfo(e->ctx, "127.0.0.1", NULL, NULL, NULL, o, cb, u);
}

FAILS(getaddrinfo, EINVAL_without_a_question, -EINVAL) {
    return aio_submit_getaddrinfo(e->ctx, NULL, NULL, NULL, &e->list, o, cb, u);
}

FAILS(getaddrinfo, EINVAL_of_flags, -EINVAL) {
    const struct addrinfo hints = {.ai_flags = ~0};
    return aio_submit_getaddrinfo(e->ctx, "127.0.0.1", NULL, &hints, &e->list, o, cb, u);
}

FAILS(getaddrinfo, ENAMETOOLONG, -ENAMETOOLONG) {
    char name[5000];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    return aio_submit_getaddrinfo(e->ctx, name, NULL, NULL, &e->list, o, cb, u);
}

static aio_op_id ask_numeric(struct env *e, const char *node, const char *service, int family,
                             int socktype, const aio_submit_options *o, aio_callback cb, void *u) {
    const struct addrinfo hints = {
        .ai_flags = AI_NUMERICHOST, .ai_family = family, .ai_socktype = socktype};
    return aio_submit_getaddrinfo(e->ctx, node, service, &hints, &e->list, o, cb, u);
}

FAILS(getaddrinfo, ENONAME, AIO_ENONAME) {
    return ask_numeric(e, "nonsense", NULL, AF_INET, 0, o, cb, u);
}

FAILS(getaddrinfo, ENODATA, -ENODATA) {
    return ask_numeric(e, "127.0.0.1", NULL, AF_INET6, 0, o, cb, u);
}

FAILS(getaddrinfo, ENOSERVICE, AIO_ENOSERVICE) {
    return ask_numeric(e, "127.0.0.1", "no-such-service", AF_INET, 0, o, cb, u);
}

FAILS(getaddrinfo, EAFNOSUPPORT, -EAFNOSUPPORT) {
    return ask_numeric(e, "127.0.0.1", NULL, 12345, 0, o, cb, u);
}

FAILS(getaddrinfo, ESOCKTNOSUPPORT, -ESOCKTNOSUPPORT) {
    return ask_numeric(e, "127.0.0.1", NULL, AF_INET, 12345, o, cb, u);
}

/* --- getnameinfo ----------------------------------------------------------------------------- */

static void some_address(struct env *e) {
    e->addr = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(8080)};
    CHECK_EQ(inet_pton(AF_INET, "127.0.0.9", &e->addr.sin_addr), 1);
}

static aio_op_id name_it(struct env *e, socklen_t room, int flags, const aio_submit_options *o,
                         aio_callback cb, void *u) {
    return aio_submit_getnameinfo(e->ctx, (struct sockaddr *)&e->addr, sizeof e->addr, e->text,
                                  room, e->data, sizeof e->data, flags, o, cb, u);
}

SUBMIT(submit_getnameinfo) {
    return name_it(e, sizeof e->text, NI_NUMERICHOST | NI_NUMERICSERV, o, cb, u);
}

SUBMIT(submit_getnameinfo_of_a_server) {
    return name_it(e, sizeof e->text, NI_NUMERICSERV, o, cb, u);
}

static void check_names(struct env *e, int32_t result) {
    CHECK_EQ(result, 0);
    CHECK_STR(e->text, "127.0.0.9");
    CHECK_STR(e->data, "8080");
}

static void silent_server_of_names(struct env *e) {
    some_address(e);
    silent_server(e);
}

/* What has no name is told as it is. */
static void let_deny(struct env *e) { name_server_set(e->server, ANSWER_NO_NAME); }

ROW(getnameinfo, .setup = some_address, .check = check_names, .block = silent_server_of_names,
    .submit_blocked = submit_getnameinfo_of_a_server, .unblock = let_deny, .service = true,
    .brings = true);

FAILS(getnameinfo, EINVAL_without_an_address, -EINVAL) {
    return aio_submit_getnameinfo(e->ctx, NULL, 16, e->text, sizeof e->text, NULL, 0, 0, o, cb, u);
}

FAILS(getnameinfo, EINVAL_without_a_place, -EINVAL) {
    some_address(e);
    return aio_submit_getnameinfo(e->ctx, (struct sockaddr *)&e->addr, sizeof e->addr, NULL, 0,
                                  NULL, 0, 0, o, cb, u);
}

FAILS(getnameinfo, EINVAL_of_flags, -EINVAL) {
    some_address(e);
    return name_it(e, sizeof e->text, ~0, o, cb, u);
}

FAILS(getnameinfo, EOVERFLOW, -EOVERFLOW) {
    some_address(e);
    return name_it(e, 4, NI_NUMERICHOST | NI_NUMERICSERV, o, cb, u);
}

FAILS(getnameinfo, EAFNOSUPPORT, -EAFNOSUPPORT) {
    some_address(e);
    e->addr.sin_family = 12345;
    return submit_getnameinfo(e, o, cb, u);
}

/* --- resolve --------------------------------------------------------------------------------- */

static void with_server(struct env *e, enum answer answer) {
    char servers[64];
    e->server = name_server_start("127.0.0.1", 0, answer);
    snprintf(servers, sizeof servers, "127.0.0.1:%u", name_server_port(e->server));
    const aio_resolver_options options = {.size = sizeof options,
                                          .conf_path = "",
                                          .hosts_path = "",
                                          .servers = servers,
                                          .timeout_ns = 20000 * MS,
                                          .attempts = 1};
    CHECK_EQ(aio_resolver_create(&options, &e->resolver), 0);
}

static void answering(struct env *e) { with_server(e, ANSWER_ADDRESS); }

static void silent(struct env *e) { with_server(e, ANSWER_NOTHING); }

SUBMIT(submit_resolve) {
    return aio_submit_resolve(e->ctx, e->resolver, "host.example.", AIO_DNS_A, 0, &e->answer, o, cb,
                              u);
}

static void check_answer(struct env *e, int32_t result) {
    static const uint8_t address[] = {192, 0, 2, 1};
    aio_dns_record record = {.size = sizeof record};
    CHECK_EQ(result, 0);
    CHECK_STR(aio_answer_name(e->answer), "host.example");
    CHECK_EQ(aio_answer_count(e->answer), 1);
    CHECK_EQ(aio_answer_record(e->answer, 0, &record), 0);
    CHECK_EQ(record.kind, AIO_DNS_A);
    CHECK_EQ(record.ttl, 60);
    CHECK_EQ(record.data_len, sizeof address);
    CHECK_MEM(record.data, address, sizeof address);
    aio_answer_free(e->answer);
}

ROW(resolve, .setup = answering, .check = check_answer, .block = silent, .unblock = let_answer,
    .service = true, .brings = true);

FAILS(resolve, EINVAL_without_a_resolver, -EINVAL) { return submit_resolve(e, o, cb, u); }

FAILS(resolve, EINVAL_without_a_place, -EINVAL) {
    answering(e);
    return aio_submit_resolve(e->ctx, e->resolver, "a", AIO_DNS_A, 0, NULL, o, cb, u);
}

static aio_op_id ask_for(struct env *e, const char *name, uint32_t kind, uint32_t flags,
                         const aio_submit_options *o, aio_callback cb, void *u) {
    return aio_submit_resolve(e->ctx, e->resolver, name, kind, flags, &e->answer, o, cb, u);
}

FAILS(resolve, EINVAL_without_a_name, -EINVAL) {
    answering(e);
    return ask_for(e, NULL, AIO_DNS_A, 0, o, cb, u);
}

FAILS(resolve, EINVAL_of_an_empty_name, -EINVAL) {
    answering(e);
    return ask_for(e, "", AIO_DNS_A, 0, o, cb, u);
}

FAILS(resolve, EINVAL_of_what_is_no_name, -EINVAL) {
    answering(e);
    return ask_for(e, "a..example", AIO_DNS_A, 0, o, cb, u);
}

FAILS(resolve, EINVAL_of_a_kind, -EINVAL) {
    answering(e);
    return ask_for(e, "host.example.", 15, 0, o, cb, u);
}

FAILS(resolve, EINVAL_of_a_flag, -EINVAL) {
    answering(e);
    return ask_for(e, "host.example.", AIO_DNS_A, 2, o, cb, u);
}

FAILS(resolve, ENONAME, AIO_ENONAME) {
    with_server(e, ANSWER_NO_NAME);
    return submit_resolve(e, o, cb, u);
}

FAILS(resolve, ENODATA, -ENODATA) {
    with_server(e, ANSWER_NO_DATA);
    return submit_resolve(e, o, cb, u);
}

FAILS(resolve, ENAMEAGAIN, AIO_ENAMEAGAIN) {
    with_server(e, ANSWER_FAILURE);
    return submit_resolve(e, o, cb, u);
}

FAILS(resolve, ENAMEFAIL, AIO_ENAMEFAIL) {
    with_server(e, ANSWER_REFUSAL);
    return submit_resolve(e, o, cb, u);
}

FAILS(resolve, ECONNREFUSED, -ECONNREFUSED) {
    answering(e);
    name_server_stop(e->server);
    e->server = NULL;
    return submit_resolve(e, o, cb, u);
}

FAILS(resolve, EMFILE, -EMFILE) {
    answering(e);
    env_no_descriptor_left(e);
    return submit_resolve(e, o, cb, u);
}
