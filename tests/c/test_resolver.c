/* The DNS client against servers of the test's own that behave in all ways, and against dnsmasq.
 * The rows of aio_submit_resolve are in operations_names.c. */
#include "name_server.h"

#include <arpa/inet.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static const uint8_t v4[] = {192, 0, 2, 1};

#define RESOLVER_WITH(...)                                                                         \
    (&(aio_resolver_options){.size = sizeof(aio_resolver_options), __VA_ARGS__})

/* Without this machine's files, and patient, unless the options say otherwise. */
static aio_resolver *make_resolver(const aio_resolver_options *given) {
    aio_resolver_options options = *given;
    options.conf_path = given->conf_path ? given->conf_path : "";
    options.hosts_path = given->hosts_path ? given->hosts_path : "";
    options.timeout_ns = given->timeout_ns ? given->timeout_ns : 20000 * MS;
    aio_resolver *resolver = NULL;
    CHECK_EQ(aio_resolver_create(&options, &resolver), 0);
    CHECK(resolver != NULL);
    return resolver;
}

static const char *servers_of(const struct name_server *first, const struct name_server *second) {
    static char text[64];
    int len = snprintf(text, sizeof text, "127.0.0.1:%u", name_server_port(first));
    if (second)
        snprintf(text + len, sizeof text - (size_t)len, " 127.0.0.1:%u", name_server_port(second));
    return text;
}

/* The result of a lookup; an answer, of success, goes to `answer`. */
static int32_t look_up(aio_ctx *ctx, aio_resolver *resolver, const char *name, uint32_t kind,
                       uint32_t flags, aio_answer **answer) {
    struct call call = {0};
    *answer = NULL;
    ID(aio_submit_resolve(ctx, resolver, name, kind, flags, answer, NULL, on_call, &call));
    const int32_t result = await_call(ctx, &call);
    CHECK_EQ(*answer != NULL, result == 0);
    return result;
}

/* The same for an address, which is 192.0.2.1. */
static int32_t find(aio_ctx *ctx, aio_resolver *resolver, const char *name) {
    aio_answer *answer;
    const int32_t result = look_up(ctx, resolver, name, AIO_DNS_A, 0, &answer);
    if (result == 0) {
        aio_dns_record record = {.size = sizeof record};
        CHECK_EQ(aio_answer_count(answer), 1);
        CHECK_EQ(aio_answer_record(answer, 0, &record), 0);
        CHECK_EQ(record.kind, AIO_DNS_A);
        CHECK_EQ(record.data_len, sizeof v4);
        CHECK_MEM(record.data, v4, sizeof v4);
    }
    aio_answer_free(answer);
    return result;
}

static aio_dns_record record_of(const aio_answer *answer, uint32_t index) {
    aio_dns_record record = {.size = sizeof record};
    CHECK_EQ(aio_answer_record(answer, index, &record), 0);
    CHECK_EQ(record.size, sizeof record);
    return record;
}

/* --- servers that behave --------------------------------------------------------------------- */

TEST(a_server_that_is_silent_or_fails_or_is_not_there_is_passed_over) {
    const enum answer bad[] = {ANSWER_NOTHING, ANSWER_FAILURE, ANSWER_REFUSAL, ANSWER_SHORT};
    struct name_server *good = name_server_start("127.0.0.1", 0, ANSWER_ADDRESS);
    const int descriptors = open_descriptors();
    for (int i = 0; i <= COUNT_OF(bad); i++) {
        struct name_server *server =
            name_server_start("127.0.0.1", 0, i < COUNT_OF(bad) ? bad[i] : ANSWER_ADDRESS);
        const bool is_silent = i < COUNT_OF(bad) && bad[i] == ANSWER_NOTHING;
        aio_ctx *ctx = make_ctx();
        aio_resolver *resolver =
            make_resolver(RESOLVER_WITH(.servers = servers_of(server, good),
                                        .timeout_ns = is_silent ? 200 * MS * test_slow() : 0));
        if (i == COUNT_OF(bad))
            name_server_stop(server);
        const unsigned before = name_server_questions(good);
        CHECK_EQ(find(ctx, resolver, "host.example."), 0);
        CHECK_EQ(name_server_questions(good), before + 1);
        aio_resolver_destroy(resolver);
        end_ctx(ctx);
        if (i < COUNT_OF(bad)) {
            CHECK_EQ(name_server_questions(server), 1);
            name_server_stop(server);
        }
        CHECK_EQ(open_descriptors(), descriptors);
    }
    name_server_stop(good);
}

TEST(silence_of_all_servers_is_a_time_out_that_is_not_ours) {
    struct name_server *server = name_server_start("127.0.0.1", 0, ANSWER_NOTHING);
    aio_ctx *ctx = make_ctx();
    aio_resolver *resolver = make_resolver(
        RESOLVER_WITH(.servers = servers_of(server, NULL), .timeout_ns = 5 * MS, .attempts = 3));
    aio_answer *answer = NULL;
    struct call call = {0};
    const uint64_t began_ns = now_ns();
    CHECK_EQ(DO(ctx, call,
                aio_submit_resolve(ctx, resolver, "host.example.", AIO_DNS_A, 0, &answer, NULL,
                                   on_call, &call)),
             -ETIMEDOUT);
    CHECK_EQ(call.flags, 0);
    CHECK_GE(now_ns() - began_ns, (5 + 10 + 20) * MS);
    await_questions(ctx, server, 3); /* it may not have looked yet */
    aio_resolver_destroy(resolver);
    end_ctx(ctx);
    name_server_stop(server);
}

TEST(an_answer_that_was_cut_is_asked_for_over_tcp) {
    struct name_server *server = name_server_start("127.0.0.1", 0, ANSWER_CUT);
    aio_ctx *ctx = make_ctx();
    aio_resolver *resolver = make_resolver(RESOLVER_WITH(.servers = servers_of(server, NULL)));
    const int descriptors = open_descriptors();
    CHECK_EQ(find(ctx, resolver, "host.example."), 0);
    CHECK_EQ(name_server_questions(server), 2);
    CHECK_EQ(name_server_streams(server), 1);
    CHECK_EQ(open_descriptors(), descriptors);
    aio_resolver_destroy(resolver);
    resolver = make_resolver(
        RESOLVER_WITH(.servers = servers_of(server, NULL), .flags = AIO_RESOLVER_TCP));
    CHECK_EQ(find(ctx, resolver, "host.example."), 0);
    CHECK_EQ(name_server_questions(server), 3);
    CHECK_EQ(name_server_streams(server), 2);
    name_server_set(server, ANSWER_SHORT);
    CHECK_EQ(find(ctx, resolver, "host.example."), AIO_ENAMEAGAIN);
    aio_resolver_destroy(resolver);
    end_ctx(ctx);
    name_server_stop(server);
}

TEST(answers_to_other_questions_are_not_heard) {
    struct name_server *server = name_server_start("127.0.0.1", 0, ANSWER_FOREIGN);
    aio_ctx *ctx = make_ctx();
    aio_resolver *resolver = make_resolver(RESOLVER_WITH(.servers = servers_of(server, NULL)));
    CHECK_EQ(find(ctx, resolver, "host.example."), 0);
    CHECK_EQ(name_server_questions(server), 1);
    aio_resolver_destroy(resolver);
    end_ctx(ctx);
    name_server_stop(server);
}

TEST(a_server_without_edns_is_asked_without_it) {
    struct name_server *server = name_server_start("127.0.0.1", 0, ANSWER_NO_OPTION);
    aio_ctx *ctx = make_ctx();
    aio_resolver *resolver = make_resolver(RESOLVER_WITH(.servers = servers_of(server, NULL)));
    CHECK_EQ(find(ctx, resolver, "host.example."), 0);
    CHECK_EQ(name_server_questions(server), 2);
    aio_resolver_destroy(resolver);
    resolver =
        make_resolver(RESOLVER_WITH(.servers = servers_of(server, NULL), .datagram_max = 512));
    CHECK_EQ(find(ctx, resolver, "host.example."), 0);
    CHECK_EQ(name_server_questions(server), 3);
    aio_resolver_destroy(resolver);
    end_ctx(ctx);
    name_server_stop(server);
}

TEST(an_alias_gives_its_target_as_the_name) {
    struct name_server *server = name_server_start("127.0.0.1", 0, ANSWER_ALIAS);
    aio_ctx *ctx = make_ctx();
    aio_resolver *resolver = make_resolver(RESOLVER_WITH(.servers = servers_of(server, NULL)));
    aio_answer *answer;
    CHECK_EQ(look_up(ctx, resolver, "host.example.", AIO_DNS_A, 0, &answer), 0);
    CHECK_STR(aio_answer_name(answer), "alias.example");
    CHECK_EQ(aio_answer_count(answer), 1);
    aio_answer_free(answer);
    aio_resolver_destroy(resolver);
    end_ctx(ctx);
    name_server_stop(server);
}

TEST(answers_with_bytes_changed_at_random_end_every_lookup_in_a_known_way) {
    const uint64_t seed = test_seed();
    struct name_server *server = name_server_start("127.0.0.1", 0, ANSWER_GARBAGE);
    name_server_seed(server, seed);
    aio_ctx *ctx = make_ctx();
    const int descriptors = open_descriptors();
    uint64_t random = seed;
    int successes = 0;
    for (int i = 0; i < scaled(300); i++) {
        static const uint32_t kinds[] = {AIO_DNS_A, AIO_DNS_AAAA, AIO_DNS_TXT, AIO_DNS_SRV,
                                         AIO_DNS_ADDRESS};
        const uint32_t flags = random_below(&random, 4) == 0 ? AIO_RESOLVER_TCP : 0;
        aio_resolver *resolver =
            make_resolver(RESOLVER_WITH(.servers = servers_of(server, NULL), .flags = flags,
                                        .timeout_ns = MS, .attempts = 1));
        aio_answer *answer;
        const int32_t result =
            look_up(ctx, resolver, "host.example.", kinds[random_below(&random, 5)], 0, &answer);
        CHECK(result == 0 || result == AIO_ENONAME || result == -ENODATA || result == -ETIMEDOUT ||
              result == AIO_ENAMEAGAIN || result == AIO_ENAMEFAIL);
        successes += result == 0;
        for (uint32_t r = 0; r < aio_answer_count(answer); r++)
            record_of(answer, r);
        aio_answer_free(answer);
        aio_resolver_destroy(resolver);
    }
    printf("%d successes\n", successes);
    CHECK_EQ(open_descriptors(), descriptors);
    end_ctx(ctx);
    name_server_stop(server);
}

/* --- names ----------------------------------------------------------------------------------- */

TEST(addresses_of_both_kinds_come_with_one_lookup) {
    struct name_server *server = name_server_start("127.0.0.1", 0, ANSWER_ADDRESS);
    aio_ctx *ctx = make_ctx();
    aio_resolver *resolver = make_resolver(RESOLVER_WITH(.servers = servers_of(server, NULL)));
    aio_answer *answer;
    CHECK_EQ(look_up(ctx, resolver, "host.example.", AIO_DNS_ADDRESS, 0, &answer), 0);
    CHECK_EQ(name_server_questions(server), 2);
    aio_resolver_destroy(resolver);
    end_ctx(ctx); /* the answer is the program's */
    CHECK_EQ(aio_answer_count(answer), 2);
    CHECK_EQ(record_of(answer, 0).kind, AIO_DNS_A);
    CHECK_EQ(record_of(answer, 1).kind, AIO_DNS_AAAA);
    CHECK_EQ(record_of(answer, 1).data_len, 16);
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    CHECK_EQ(aio_answer_sockaddr(answer, 0, 8080, (void *)&addr, &len), 0);
    CHECK_EQ(len, sizeof(struct sockaddr_in));
    CHECK_EQ(addr.ss_family, AF_INET);
    CHECK_EQ(ntohs(((struct sockaddr_in *)&addr)->sin_port), 8080);
    CHECK_MEM(&((struct sockaddr_in *)&addr)->sin_addr, v4, sizeof v4);
    len = sizeof addr;
    CHECK_EQ(aio_answer_sockaddr(answer, 1, 443, (void *)&addr, &len), 0);
    CHECK_EQ(len, sizeof(struct sockaddr_in6));
    CHECK_EQ(addr.ss_family, AF_INET6);
    CHECK_MEM(&((struct sockaddr_in6 *)&addr)->sin6_addr, record_of(answer, 1).data, 16);
    CHECK_EQ(aio_answer_sockaddr(answer, 2, 443, (void *)&addr, &len), -ERANGE);
    CHECK_EQ(aio_answer_record(answer, 2, &(aio_dns_record){.size = 4}), -ERANGE);
    CHECK_EQ(aio_answer_record(answer, 0, NULL), -EINVAL);
    CHECK_EQ(aio_answer_record(NULL, 0, &(aio_dns_record){.size = 4}), -EINVAL);
    const void *data;
    uint32_t data_len;
    CHECK_EQ(aio_answer_string(answer, 0, 0, &data, &data_len), -ERANGE);
    CHECK_EQ(aio_answer_count(NULL), 0);
    CHECK(aio_answer_name(NULL) == NULL);
    aio_answer_free(answer);
    name_server_stop(server);
}

static const char *file_with(const char *name, const char *text) {
    close(temp_file(name, text, strlen(text)));
    return temp_path(name);
}

TEST(the_files_say_servers_search_domains_and_hosts) {
    struct name_server *server = name_server_start("127.0.0.1", 0, ANSWER_ADDRESS);
    aio_ctx *ctx = make_ctx();
    aio_resolver *resolver = make_resolver(
        RESOLVER_WITH(.servers = servers_of(server, NULL),
                      .conf_path = file_with("resolv.conf",
                                             "search one.example two.example\noptions ndots:2\n"),
                      .hosts_path =
                          file_with("hosts", "192.0.2.1 box box.local\n2001:db8::7 box\n")));
    aio_answer *answer;
    CHECK_EQ(look_up(ctx, resolver, "host.sub", AIO_DNS_A, 0, &answer), 0);
    CHECK_STR(aio_answer_name(answer), "host.sub.one.example");
    aio_answer_free(answer);
    CHECK_EQ(look_up(ctx, resolver, "host.sub.", AIO_DNS_A, 0, &answer), 0);
    CHECK_STR(aio_answer_name(answer), "host.sub");
    aio_answer_free(answer);
    CHECK_EQ(name_server_questions(server), 2);
    CHECK_EQ(find(ctx, resolver, "BOX"), 0);
    CHECK_EQ(look_up(ctx, resolver, "box", AIO_DNS_ADDRESS, 0, &answer), 0);
    CHECK_EQ(aio_answer_count(answer), 2);
    CHECK_EQ(record_of(answer, 0).ttl, 0);
    aio_answer_free(answer);
    CHECK_EQ(look_up(ctx, resolver, "localhost", AIO_DNS_AAAA, 0, &answer), 0);
    aio_answer_free(answer);
    CHECK_EQ(find(ctx, resolver, "192.0.2.1"), 0);
    CHECK_EQ(look_up(ctx, resolver, "192.0.2.1", AIO_DNS_AAAA, 0, &answer), -ENODATA);
    CHECK_EQ(name_server_questions(server), 2);
    aio_resolver_destroy(resolver);
    end_ctx(ctx);
    name_server_stop(server);
}

TEST(servers_take_turns_when_asked_to) {
    struct name_server *first = name_server_start("127.0.0.1", 0, ANSWER_ADDRESS);
    struct name_server *second = name_server_start("127.0.0.1", 0, ANSWER_ADDRESS);
    aio_ctx *ctx = make_ctx();
    for (int rotate = 0; rotate <= 1; rotate++) {
        const unsigned before = name_server_questions(second);
        aio_resolver *resolver =
            make_resolver(RESOLVER_WITH(.servers = servers_of(first, second),
                                        .flags = rotate ? AIO_RESOLVER_ROTATE : 0));
        for (int i = 0; i < 10; i++)
            CHECK_EQ(find(ctx, resolver, "host.example."), 0);
        CHECK_EQ(name_server_questions(second) - before, rotate ? 5 : 0);
        aio_resolver_destroy(resolver);
    }
    CHECK_EQ(name_server_questions(first), 15);
    end_ctx(ctx);
    name_server_stop(first);
    name_server_stop(second);
}

/* --- cache ----------------------------------------------------------------------------------- */

TEST(a_cache_answers_in_the_place_of_a_server) {
    struct name_server *server = name_server_start("127.0.0.1", 0, ANSWER_ADDRESS);
    aio_ctx *ctx = make_ctx();
    aio_resolver *resolver =
        make_resolver(RESOLVER_WITH(.servers = servers_of(server, NULL), .cache_entries = 10));
    aio_answer *answer;
    for (int i = 0; i < 3; i++)
        CHECK_EQ(find(ctx, resolver, "Host.Example."), 0);
    CHECK_EQ(find(ctx, resolver, "host.example."), 0);
    CHECK_EQ(name_server_questions(server), 1);
    CHECK_EQ(look_up(ctx, resolver, "host.example.", AIO_DNS_A, AIO_RESOLVE_FRESH, &answer), 0);
    CHECK_EQ(name_server_questions(server), 2);
    aio_answer_free(answer);
    name_server_set(server, ANSWER_NO_NAME);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(find(ctx, resolver, "none.example."), AIO_ENONAME);
    CHECK_EQ(name_server_questions(server), 3);
    name_server_set(server, ANSWER_NO_DATA);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(look_up(ctx, resolver, "host.example.", AIO_DNS_TXT, 0, &answer), -ENODATA);
    CHECK_EQ(name_server_questions(server), 4);
    name_server_set(server, ANSWER_FAILURE);
    for (int i = 1; i <= 3; i++) {
        const unsigned before = name_server_questions(server);
        CHECK_EQ(find(ctx, resolver, "other.example."), AIO_ENAMEAGAIN);
        CHECK_GT(name_server_questions(server), before);
    }
    CHECK_EQ(find(ctx, resolver, "host.example."), 0);
    CHECK_EQ(aio_resolver_forget(resolver), 0);
    CHECK_EQ(find(ctx, resolver, "host.example."), AIO_ENAMEAGAIN);
    CHECK_EQ(aio_resolver_forget(NULL), -EINVAL);
    aio_resolver_destroy(resolver);
    end_ctx(ctx);
    name_server_stop(server);
}

/* --- many at once ---------------------------------------------------------------------------- */

TEST(lookups_behind_those_that_have_sockets_have_their_turn) {
    enum { COUNT = 1000, TURNS = 8 };
    static struct call calls[COUNT];
    static aio_answer *answers[COUNT];
    struct name_server *server = name_server_start("127.0.0.1", 0, ANSWER_NOTHING);
    aio_ctx *ctx = make_ctx();
    aio_resolver *resolver =
        make_resolver(RESOLVER_WITH(.servers = servers_of(server, NULL), .lookups_max = TURNS));
    const int count = scaled(COUNT), descriptors = open_descriptors();
    for (int i = 0; i < count; i++)
        ID(aio_submit_resolve(ctx, resolver, "host.example.", AIO_DNS_ADDRESS, 0, &answers[i], NULL,
                              on_call, &calls[i]));
    aio_resolver_destroy(resolver); /* what is in flight goes on */
    await_questions(ctx, server, 2 * TURNS);
    run_for_ms(ctx, 10);
    CHECK_EQ(name_server_questions(server), 2 * TURNS);
    if (!under_thread_sanitizer())
        CHECK_EQ(open_descriptors(), descriptors + 2 * TURNS);
    name_server_set(server, ANSWER_ADDRESS);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < count; i++) {
        CHECK_EQ(calls[i].result, 0);
        CHECK_EQ(aio_answer_count(answers[i]), 2);
        aio_answer_free(answers[i]);
    }
    CHECK_EQ(open_descriptors(), descriptors);
    end_ctx(ctx);
    name_server_stop(server);
}

TEST(a_turn_that_is_given_up_goes_to_the_next_also_in_another_context) {
    struct name_server *server = name_server_start("127.0.0.1", 0, ANSWER_NOTHING);
    aio_resolver *resolver =
        make_resolver(RESOLVER_WITH(.servers = servers_of(server, NULL), .lookups_max = 1));
    aio_ctx *ctx[3];
    struct call calls[4] = {0};
    aio_answer *answers[4] = {0};
    aio_op_id ids[4];
    for (int i = 0; i < 3; i++)
        ctx[i] = make_ctx();
    for (int i = 0; i < 4; i++) /* the first two in one context */
        ids[i] = ID(aio_submit_resolve(ctx[i ? i - 1 : 0], resolver, "host.example.", AIO_DNS_A, 0,
                                       &answers[i], NULL, on_call, &calls[i]));
    await_questions(ctx[0], server, 1);
    CHECK_EQ(aio_ctx_cancel(ctx[1], ids[2]), 0); /* one that has no turn yet */
    CHECK_EQ(await_call(ctx[1], &calls[2]), -ECANCELED);
    CHECK_EQ(aio_ctx_cancel(ctx[0], ids[0]), 0); /* one that has it */
    CHECK_EQ(await_call(ctx[0], &calls[0]), -ECANCELED);
    await_questions(ctx[0], server, 2);
    end_ctx(ctx[0]); /* and one that a destroy ends */
    CHECK_EQ(calls[1].result, -ECANCELED);
    await_questions(ctx[2], server, 3);
    name_server_set(server, ANSWER_ADDRESS);
    CHECK_EQ(await_call(ctx[2], &calls[3]), 0);
    aio_answer_free(answers[3]);
    CHECK_EQ(find(ctx[1], resolver, "host.example."), 0); /* no turn was lost */
    end_ctx(ctx[1]);
    end_ctx(ctx[2]);
    aio_resolver_destroy(resolver);
    name_server_stop(server);
}

TEST(a_deadline_counts_while_a_lookup_waits_for_its_turn) {
    struct name_server *server = name_server_start("127.0.0.1", 0, ANSWER_NOTHING);
    aio_resolver *resolver =
        make_resolver(RESOLVER_WITH(.servers = servers_of(server, NULL), .lookups_max = 1));
    aio_ctx *ctx = make_ctx();
    struct call first = {0}, second = {0};
    aio_answer *answers[2] = {0};
    ID(aio_submit_resolve(ctx, resolver, "host.example.", AIO_DNS_A, 0, &answers[0], NULL, on_call,
                          &first));
    ID(aio_submit_resolve(ctx, resolver, "host.example.", AIO_DNS_A, 0, &answers[1],
                          WITH(.timeout_ns = 5 * MS), on_call, &second));
    char text[2048] = {0};
    CHECK_GT(aio_ctx_dump(ctx, text, sizeof text), 0);
    CHECK(strstr(text, "waiting for its turn") != NULL);
    CHECK_EQ(await_call(ctx, &second), -ETIMEDOUT);
    CHECK_EQ(second.flags, AIO_CQE_DEADLINE);
    CHECK_EQ(first.calls, 0);
    end_ctx(ctx);
    CHECK_EQ(first.result, -ECANCELED);
    aio_resolver_destroy(resolver);
    name_server_stop(server);
}

TEST(options_that_make_no_sense_are_refused) {
    aio_resolver *resolver = NULL;
    const aio_resolver_options *wrong[] = {
        RESOLVER_WITH(.flags = 4),
        RESOLVER_WITH(.attempts = 17),
        RESOLVER_WITH(.datagram_max = 511),
        RESOLVER_WITH(.datagram_max = 4097),
        RESOLVER_WITH(.servers = ""),
        RESOLVER_WITH(.servers = "127.0.0.1 example.org"),
        RESOLVER_WITH(.servers = "127.0.0.1:0"),
        RESOLVER_WITH(.reserved = {0, 0, 0, 1}),
        &(aio_resolver_options){.size = 4},
    };
    for (int i = 0; i < COUNT_OF(wrong); i++)
        CHECK_EQ(aio_resolver_create(wrong[i], &resolver), -EINVAL);
    CHECK(resolver == NULL);
    CHECK_EQ(aio_resolver_create(NULL, NULL), -EINVAL);
    CHECK_EQ(aio_resolver_create(NULL, &resolver), 0); /* whatever this machine's files say */
    aio_resolver_destroy(resolver);
    aio_resolver_destroy(NULL);
}

/* --- dnsmasq --------------------------------------------------------------------------------- */

static pid_t dnsmasq;

/* Starts dnsmasq on a free port and waits until it answers; the port. */
static uint16_t start_dnsmasq(char **more) {
    char port[32], *argv[64] = {"dnsmasq",
                                "--keep-in-foreground",
                                "--conf-file=/dev/null",
                                "--no-resolv",
                                "--no-hosts",
                                "--log-facility=/dev/null",
                                "--bind-interfaces",
                                "--listen-address=127.0.0.1",
                                "--pid-file",
                                "--user=root",
                                "--local=/example/",
                                port};
    int count = 12;
    while (*more)
        argv[count++] = *more++;
    struct sockaddr_in addr;
    const int fd = make_tcp_listener(&addr, 1);
    close(fd);
    snprintf(port, sizeof port, "--port=%u", ntohs(addr.sin_port));
    dnsmasq = SYS(fork());
    if (dnsmasq == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execvp("dnsmasq", argv);
        _exit(127);
    }
    const uint64_t limit_ns = patience_end_ns();
    while (now_ns() < limit_ns) {
        int status;
        if (waitpid(dnsmasq, &status, WNOHANG) == dnsmasq) {
            if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
                SKIP("dnsmasq is not installed");
            FAIL("dnsmasq has ended with status %d", status);
        }
        const int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const int connected = connect(probe, (void *)&addr, sizeof addr);
        close(probe);
        if (connected == 0)
            return ntohs(addr.sin_port);
        sleep_ms(5);
    }
    FAIL("dnsmasq does not listen");
}

static void stop_dnsmasq(void) {
    kill(dnsmasq, SIGTERM);
    CHECK_EQ(waitpid(dnsmasq, NULL, 0), dnsmasq);
}

static const char *text_of(const aio_answer *answer, uint32_t index, uint32_t nth) {
    static char text[256];
    const void *data;
    uint32_t len;
    CHECK_EQ(aio_answer_string(answer, index, nth, &data, &len), 0);
    CHECK_LT(len, sizeof text);
    memcpy(text, data, len);
    text[len] = 0;
    return text;
}

TEST(dnsmasq_tells_addresses_services_and_texts_with_their_times) {
    char *more[] = {"--local-ttl=33",
                    "--host-record=host.example,192.0.2.1,2001:db8::1,77",
                    "--cname=alias.example,host.example,55",
                    "--srv-host=_sip._tcp.example,host.example,5060,10,20",
                    "--txt-record=text.example,one,two words,",
                    NULL};
    char servers[32];
    snprintf(servers, sizeof servers, "127.0.0.1:%u", start_dnsmasq(more));
    aio_ctx *ctx = make_ctx();
    aio_resolver *resolver = make_resolver(RESOLVER_WITH(.servers = servers));
    aio_answer *answer;
    CHECK_EQ(look_up(ctx, resolver, "host.example", AIO_DNS_A, 0, &answer), 0);
    CHECK_EQ(aio_answer_count(answer), 1);
    CHECK_EQ(record_of(answer, 0).ttl, 77);
    CHECK_MEM(record_of(answer, 0).data, v4, sizeof v4);
    CHECK(record_of(answer, 0).target == NULL);
    aio_answer_free(answer);

    static const uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
    CHECK_EQ(look_up(ctx, resolver, "host.example", AIO_DNS_AAAA, 0, &answer), 0);
    CHECK_EQ(record_of(answer, 0).kind, AIO_DNS_AAAA);
    CHECK_MEM(record_of(answer, 0).data, v6, sizeof v6);
    aio_answer_free(answer);

    CHECK_EQ(look_up(ctx, resolver, "alias.example", AIO_DNS_ADDRESS, 0, &answer), 0);
    CHECK_EQ(aio_answer_count(answer), 2);
    CHECK_STR(aio_answer_name(answer), "host.example");
    CHECK_EQ(record_of(answer, 0).ttl, 55);
    aio_answer_free(answer);

    CHECK_EQ(look_up(ctx, resolver, "_sip._tcp.example", AIO_DNS_SRV, 0, &answer), 0);
    CHECK_EQ(aio_answer_count(answer), 1);
    const aio_dns_record service = record_of(answer, 0);
    CHECK_STR(service.target, "host.example");
    CHECK_EQ(service.port, 5060);
    CHECK_EQ(service.priority, 10);
    CHECK_EQ(service.weight, 20);
    CHECK_EQ(service.ttl, 33);
    CHECK_EQ(service.data_len, 0);
    aio_answer_free(answer);

    CHECK_EQ(look_up(ctx, resolver, "text.example", AIO_DNS_TXT, 0, &answer), 0);
    const aio_dns_record text = record_of(answer, 0);
    CHECK_GE(text.strings, 2);
    CHECK_STR(text_of(answer, 0, 0), "one");
    CHECK_STR(text_of(answer, 0, 1), "two words");
    CHECK_MEM(text.data, "onetwo words", 12);
    const void *data;
    uint32_t len;
    CHECK_EQ(aio_answer_string(answer, 0, text.strings, &data, &len), -ERANGE);
    aio_answer_free(answer);

    CHECK_EQ(look_up(ctx, resolver, "none.example", AIO_DNS_A, 0, &answer), AIO_ENONAME);
    CHECK_EQ(look_up(ctx, resolver, "host.example", AIO_DNS_TXT, 0, &answer), -ENODATA);
    aio_resolver_destroy(resolver);
    end_ctx(ctx);
    stop_dnsmasq();
}

TEST(dnsmasq_cuts_a_long_answer_and_tells_it_over_tcp) {
    enum { RECORDS = 20 };
    static char records[RECORDS][256], *more[RECORDS + 1];
    for (int i = 0; i < RECORDS; i++) {
        const int len =
            snprintf(records[i], sizeof records[i], "--txt-record=long.example,%02d", i);
        memset(records[i] + len, 'x', 200);
        more[i] = records[i];
    }
    char servers[32];
    snprintf(servers, sizeof servers, "127.0.0.1:%u", start_dnsmasq(more));
    aio_ctx *ctx = make_ctx();
    aio_resolver *resolver = make_resolver(RESOLVER_WITH(.servers = servers));
    aio_answer *answer;
    CHECK_EQ(look_up(ctx, resolver, "long.example", AIO_DNS_TXT, 0, &answer), 0);
    CHECK_EQ(aio_answer_count(answer), RECORDS);
    uint32_t seen = 0;
    for (uint32_t i = 0; i < RECORDS; i++) {
        const char *text = text_of(answer, i, 0);
        CHECK_EQ(strlen(text), 202);
        seen |= 1u << atoi((char[]){text[0], text[1], 0});
    }
    CHECK_EQ(seen, (1u << RECORDS) - 1);
    aio_answer_free(answer);
    aio_resolver_destroy(resolver);
    end_ctx(ctx);
    stop_dnsmasq();
}

TEST(dnsmasq_passes_a_failure_on) {
    struct name_server *failing = name_server_start("127.0.0.1", 0, ANSWER_FAILURE);
    char servers[32], upstream[64], *more[] = {upstream, NULL};
    snprintf(upstream, sizeof upstream, "--server=/fail.test/127.0.0.1#%u",
             name_server_port(failing));
    snprintf(servers, sizeof servers, "127.0.0.1:%u", start_dnsmasq(more));
    aio_ctx *ctx = make_ctx();
    aio_resolver *resolver = make_resolver(
        RESOLVER_WITH(.servers = servers, .timeout_ns = 500 * MS * test_slow(), .attempts = 1));
    CHECK_EQ(find(ctx, resolver, "host.fail.test."), AIO_ENAMEAGAIN);
    CHECK_GE(name_server_questions(failing), 1);
    name_server_set(failing, ANSWER_NOTHING);
    CHECK_EQ(find(ctx, resolver, "other.fail.test."), -ETIMEDOUT);
    CHECK_EQ(find(ctx, resolver, "host.other.test."), AIO_ENAMEFAIL); /* it knows nobody to ask */
    aio_resolver_destroy(resolver);
    end_ctx(ctx);
    stop_dnsmasq();
    name_server_stop(failing);
}

HARNESS_MAIN
