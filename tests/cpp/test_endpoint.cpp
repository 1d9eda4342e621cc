#include <aio/endpoint.hpp>

#include <gtest/gtest.h>

namespace {

using aio::endpoint;

TEST(endpoint, what_is_parsed_is_printed_the_same) {
    for (const char *text : {"127.0.0.1:80", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:8080",
                             "[2001:db8::1]:1", "unix:/run/service", "unix:@abstract"}) {
        const auto parsed = endpoint::parse(text);
        ASSERT_TRUE(parsed) << text;
        EXPECT_EQ(parsed->to_string(), text);
        EXPECT_EQ(endpoint::parse(parsed->to_string()), *parsed);
    }
    EXPECT_EQ(endpoint::parse("10.0.0.1")->to_string(), "10.0.0.1:0");
    EXPECT_EQ(endpoint::parse("::1")->to_string(), "[::1]:0");
    EXPECT_EQ(endpoint::parse("[::1]")->port(), 0);
}

TEST(endpoint, what_is_no_address_is_refused) {
    for (const char *text : {"", "name:80", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536",
                             "127.0.0.1:80x", "127.0.0.1:-1", "[::1", "[::1]80", "[127.0.0.1]:80",
                             "1.2.3:4", ":80", "127.0.0.1.1:80", "1:2:3:4"})
        EXPECT_EQ(endpoint::parse(text).error(), std::errc::invalid_argument) << text;
    EXPECT_EQ(endpoint::parse("unix:" + std::string(108, 'x')).error(),
              std::errc::filename_too_long);
    EXPECT_TRUE(endpoint::parse("unix:" + std::string(107, 'x')));
}

TEST(endpoint, families_and_ports_are_told_and_changed) {
    endpoint address = endpoint::loopback_v4(80);
    EXPECT_TRUE(address.is_v4());
    EXPECT_EQ(address.port(), 80);
    address.set_port(8080);
    EXPECT_EQ(address.to_string(), "127.0.0.1:8080");
    EXPECT_EQ(address, endpoint(address.data(), address.size()));
    EXPECT_TRUE(endpoint::any_v6(1).is_v6());
    EXPECT_EQ(endpoint::any_v4(2).to_string(), "0.0.0.0:2");
    EXPECT_EQ(endpoint::loopback_v6(3).to_string(), "[::1]:3");
    EXPECT_TRUE(endpoint::unix_path("/x")->is_unix());
    EXPECT_EQ(endpoint::unix_path("/x")->port(), 0);
    EXPECT_EQ(endpoint().to_string(), "none");
    EXPECT_NE(endpoint::any_v4(1), endpoint::any_v4(2));
}

} // namespace
