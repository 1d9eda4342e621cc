#include "strands.hpp"

#include <aio/resolve.hpp>

#include <fstream>

namespace {

using aio::context;
using aio::endpoint;
using aio::task;

TEST(resolve, numeric_addresses_and_services_are_endpoints) {
    context ctx;
    aio::resolve_hints hints;
    hints.flags = AI_NUMERICHOST;
    auto found = ctx.run(aio::resolve(ctx, "127.0.0.1", "8080", hints));
    ASSERT_TRUE(found) << found.error();
    EXPECT_EQ(found->front(), endpoint::loopback_v4(8080));
    EXPECT_EQ(std::distance(found->begin(), found->end()), 1);
    EXPECT_EQ(found->begin().native().ai_socktype, SOCK_STREAM);
    EXPECT_EQ(found->canonical_name(), "");
    hints.family = AF_INET6;
    found = ctx.run(aio::resolve(ctx, "::1", "", hints));
    EXPECT_EQ(found.value().front(), endpoint::loopback_v6(0));
}

TEST(resolve, a_name_that_is_no_address_is_told) {
    context ctx;
    aio::resolve_hints hints;
    hints.flags = AI_NUMERICHOST;
    EXPECT_EQ(ctx.run(aio::resolve(ctx, "not.an.address", "", hints)).error(), aio::errc::no_name);
    EXPECT_EQ(ctx.run(aio::resolve(ctx, "", "")).error(), std::errc::invalid_argument);
}

TEST(resolve, an_operation_that_is_kept_keeps_its_names) {
    context ctx;
    aio::resolve_hints hints;
    hints.flags = AI_NUMERICHOST | AI_NUMERICSERV;
    auto kept = [&] {
        const std::string host = "127.0.0." + std::to_string(7);
        return aio::resolve(ctx, host, "80", hints).timeout(1h);
    }();
    EXPECT_EQ(ctx.run(std::move(kept)).value().front(), endpoint::v4(0x7f000007, 80));
}

TEST(resolve, addresses_have_names) {
    context ctx;
    const auto found =
        ctx.run(aio::reverse(ctx, endpoint::loopback_v4(80), NI_NUMERICHOST | NI_NUMERICSERV));
    EXPECT_EQ(found.value().host, "127.0.0.1");
    EXPECT_EQ(found->service, "80");
}

TEST(resolve, a_cache_can_be_set_up) {
    context ctx;
    aio::names_cache_options cache;
    cache.entries = 16;
    EXPECT_TRUE(aio::set_names_cache(cache));
    aio::resolve_hints hints;
    hints.flags = AI_NUMERICHOST;
    for (int i = 0; i < 2; i++) {
        const auto found = ctx.run(aio::resolve(ctx, "127.0.0.1", "80", hints));
        EXPECT_EQ(found.value().front(), endpoint::loopback_v4(80));
    }
    EXPECT_TRUE(aio::set_names_cache({}));
}

TEST(resolve, destroyed_lookups_are_forgotten) {
    context ctx;
    {
        support::strands doomed(ctx);
        const auto asks = [&]() -> task<> {
            static_cast<void>(co_await aio::resolve(ctx, "localhost", ""));
            ADD_FAILURE() << "it went on";
        };
        doomed.begin(asks());
    }
    ctx.run().value();
}

class dns : public testing::Test {
  protected:
    dns() {
        std::ofstream(folder_.path("hosts")) << "192.0.2.7 seven.example alias.example\n"
                                                "2001:db8::7 seven.example\n";
        hosts_ = folder_.path("hosts");
    }
    aio::result<aio::dns_resolver> make() {
        aio::dns_resolver_options options;
        options.conf_path = "";
        options.servers = "127.0.0.1:9"; // who is not there
        options.hosts_path = hosts_.c_str();
        return aio::dns_resolver::create(options);
    }

    context ctx_;
    support::temp_folder folder_;
    std::string hosts_;
};

TEST_F(dns, a_client_of_its_own_knows_the_hosts_file) {
    auto resolver = make();
    if (resolver.error() == std::errc::operation_not_supported)
        GTEST_SKIP() << "built without a resolver";
    auto answer = ctx_.run(resolver->resolve(ctx_, "seven.example"));
    ASSERT_TRUE(answer) << answer.error();
    EXPECT_EQ(answer->name(), "seven.example");
    EXPECT_EQ(answer->size(), 2u);
    EXPECT_EQ(answer->record(0).value().kind, AIO_DNS_A);
    EXPECT_EQ(answer->record(2).error(), std::errc::result_out_of_range);
    EXPECT_FALSE(answer->text(0));
    const auto endpoints = answer->endpoints(80);
    ASSERT_EQ(endpoints.size(), 2u);
    EXPECT_EQ(endpoints[0].to_string(), "192.0.2.7:80");
    EXPECT_EQ(endpoints[1].to_string(), "[2001:db8::7]:80");
    answer = ctx_.run(resolver->resolve(ctx_, "alias.example", AIO_DNS_A));
    EXPECT_EQ(answer.value().size(), 1u);
    resolver->forget();
}

TEST_F(dns, a_server_that_is_not_there_is_an_error_and_the_resolver_may_die_first) {
    auto resolver = make();
    if (resolver.error() == std::errc::operation_not_supported)
        GTEST_SKIP() << "built without a resolver";
    const auto asks = [&]() -> task<std::error_code> {
        const auto answer = co_await resolver->resolve(ctx_, "other.example.").timeout(20s);
        co_return answer.error();
    };
    aio::detail::outcome<std::error_code> outcome;
    {
        aio::detail::strand_group group(ctx_.where());
        group.start(asks(), outcome);
        resolver = aio::unexpected(std::errc::not_connected);
        ctx_.run().value();
    }
    const std::error_code error = outcome.take();
    EXPECT_TRUE(error == std::errc::connection_refused || error == std::errc::timed_out) << error;
}

} // namespace
