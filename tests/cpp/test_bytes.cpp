#include <aio/bytes.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace {

std::size_t size_of(aio::bytes data) { return data.size(); }
std::size_t room_of(aio::mutable_bytes data) { return data.size(); }

TEST(bytes, any_contiguous_range_of_plain_data_will_do) {
    const std::vector<int> numbers{1, 2, 3};
    const std::array<std::uint64_t, 2> words{};
    EXPECT_EQ(size_of(numbers), 3 * sizeof(int));
    EXPECT_EQ(size_of(words), 16u);
    EXPECT_EQ(size_of(std::string("text")), 4u);
    EXPECT_EQ(size_of(std::string_view("view")), 4u);
    EXPECT_EQ(size_of(std::span<const int>(numbers).first(1)), sizeof(int));
    EXPECT_EQ(size_of(aio::bytes()), 0u);
    EXPECT_EQ(aio::bytes(numbers).data(), reinterpret_cast<const std::byte *>(numbers.data()));
}

TEST(bytes, a_literal_counts_without_its_terminator_and_an_array_in_full) {
    EXPECT_EQ(size_of("literal"), 7u);
    char room[16] = "text";
    EXPECT_EQ(room_of(room), 16u);
    EXPECT_EQ(aio::as_text("literal"), "literal");
}

TEST(bytes, mutable_ones_are_made_of_what_can_be_written) {
    std::string text(10, 'x');
    std::vector<std::byte> data(20);
    EXPECT_EQ(room_of(text), 10u);
    EXPECT_EQ(room_of(data), 20u);
    EXPECT_EQ(room_of(std::span(data).subspan(5)), 15u);
    const aio::mutable_bytes room(text);
    EXPECT_EQ(size_of(room), 10u);
    EXPECT_EQ(static_cast<void *>(room.data()), text.data());
}

} // namespace
