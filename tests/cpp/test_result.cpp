#include <aio/result.hpp>

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace {

using aio::result;
using aio::unexpected;

result<int> half(int value) {
    if (value % 2 != 0)
        return unexpected(std::errc::invalid_argument);
    return value / 2;
}

TEST(result, a_value_is_told_by_all_accessors) {
    result<std::string> text = "text";
    ASSERT_TRUE(text);
    EXPECT_EQ(*text, "text");
    EXPECT_EQ(text.value(), "text");
    EXPECT_EQ(text->size(), 4u);
    EXPECT_FALSE(text.error());
    EXPECT_EQ(text.value_or("other"), "text");
    EXPECT_EQ(text, std::string("text"));
}

TEST(result, an_error_is_thrown_by_value_as_system_error) {
    const result<int> failed = half(3);
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error(), std::errc::invalid_argument);
    EXPECT_EQ(failed.value_or(7), 7);
    EXPECT_EQ(failed, unexpected(std::errc::invalid_argument));
    try {
        static_cast<void>(failed.value());
        FAIL() << "nothing was thrown";
    } catch (const std::system_error &error) {
        EXPECT_EQ(error.code(), std::errc::invalid_argument);
    }
}

TEST(result, monadic_members_pass_values_on_and_errors_through) {
    EXPECT_EQ(half(8).and_then(half).and_then(half), 1);
    EXPECT_EQ(half(6).and_then(half).and_then(half), unexpected(std::errc::invalid_argument));
    EXPECT_EQ(half(8).transform([](int value) { return std::to_string(value); }), std::string("4"));
    int calls = 0;
    EXPECT_TRUE(half(8).transform([&](int value) { calls += value; }).has_value());
    EXPECT_EQ(calls, 4);
    EXPECT_EQ(half(7).or_else([](std::error_code) { return result<int>(-1); }), -1);
    EXPECT_EQ(half(8).or_else([](std::error_code) { return result<int>(-1); }), 4);
    EXPECT_EQ(
        half(7).transform_error([](std::error_code) { return make_error_code(aio::errc::eof); }),
        unexpected(aio::errc::eof));
}

TEST(result, a_void_result_has_the_same_members) {
    const result<void> good;
    const result<void> bad = unexpected(aio::errc::closed);
    EXPECT_TRUE(good);
    good.value();
    EXPECT_THROW(bad.value(), std::system_error);
    EXPECT_EQ(bad.error(), aio::errc::closed);
    EXPECT_EQ(good.and_then([] { return result<int>(1); }), 1);
    EXPECT_EQ(bad.and_then([] { return result<int>(1); }), unexpected(aio::errc::closed));
    EXPECT_EQ(good.transform([] { return 2; }), 2);
    EXPECT_TRUE(bad.or_else([](std::error_code) { return result<void>(); }));
    EXPECT_EQ(good, result<void>());
    EXPECT_FALSE(good == bad);
}

TEST(result, move_only_values_move_and_are_destroyed_once) {
    auto shared = std::make_shared<int>(1);
    {
        result<std::unique_ptr<std::shared_ptr<int>>> first =
            std::make_unique<std::shared_ptr<int>>(shared);
        EXPECT_EQ(shared.use_count(), 2);
        auto second = std::move(first);
        EXPECT_EQ(shared.use_count(), 2);
        second = unexpected(aio::errc::eof);
        EXPECT_EQ(shared.use_count(), 1);
        second = std::make_unique<std::shared_ptr<int>>(shared);
        EXPECT_EQ(shared.use_count(), 2);
        auto taken = std::move(second).value();
        EXPECT_EQ(shared.use_count(), 2);
    }
    EXPECT_EQ(shared.use_count(), 1);
}

TEST(result, copies_are_independent_and_assignment_goes_both_ways) {
    result<std::string> text = "long enough not to lie inside the object itself";
    result<std::string> copy = text;
    *text = "other";
    EXPECT_EQ(copy->size(), 47u);
    copy = text;
    EXPECT_EQ(*copy, "other");
    const result<std::string> none = unexpected(aio::errc::eof);
    copy = none;
    EXPECT_EQ(copy.error(), aio::errc::eof);
    copy.emplace("again");
    EXPECT_EQ(*copy, "again");
    std::swap(copy, text);
    EXPECT_EQ(*text, "again");
    EXPECT_EQ(*copy, "other");
}

TEST(result, the_value_of_a_temporary_lives_as_long_as_it_is_used) {
    const auto make = [] { return result<std::vector<int>>(std::vector<int>{1, 2, 3}); };
    static_assert(std::is_same_v<decltype(make().value()), std::vector<int>>);
    static_assert(std::is_same_v<decltype(*make()), std::vector<int>>);
    int sum = 0;
    for (const int each : make().value())
        sum += each;
    const std::vector<int> &kept = *make();
    EXPECT_EQ(sum, 6);
    EXPECT_EQ(kept.size(), 3u);
}

// GCC 12 called this a constraint that depends on itself, when any int was compared with a result.
TEST(result, iterators_of_results_compare) {
    const std::vector<result<int>> results = {1, unexpected(std::errc::broken_pipe), 3};
    int sum = 0;
    for (const result<int> &each : results)
        sum += each.value_or(10);
    EXPECT_EQ(sum, 14);
    EXPECT_TRUE(results[0] == 1 && 3 == results[2] && results[1] != 3);
}

TEST(result, small_results_are_trivial) {
    static_assert(std::is_trivially_copyable_v<result<int>>);
    static_assert(std::is_trivially_destructible_v<result<std::size_t>>);
    static_assert(!std::is_copy_constructible_v<result<std::unique_ptr<int>>>);
    static_assert(std::is_nothrow_move_constructible_v<result<std::string>>);
    EXPECT_LE(sizeof(result<int>), 24u);
}

} // namespace
