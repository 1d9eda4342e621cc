#include "support.hpp"

#include <aio/io_buffer.hpp>

#include <cstdlib>
#include <deque>
#include <random>

// Under a sanitizer too there may be no memory.
extern "C" const char *__asan_default_options() { return "allocator_may_return_null=1"; }
extern "C" const char *__tsan_default_options() { return "allocator_may_return_null=1"; }

namespace {

using aio::io_buffer;

TEST(io_buffer, gives_back_what_was_put_in) {
    io_buffer buffer;
    EXPECT_TRUE(buffer.empty());
    EXPECT_EQ(buffer.capacity(), 0u);
    EXPECT_EQ(buffer.max_size(), io_buffer::default_max_size);
    auto room = buffer.prepare(5).value();
    EXPECT_GE(room.size(), 5u);
    std::memcpy(room.data(), "hello", 5);
    EXPECT_TRUE(buffer.empty());
    buffer.commit(5);
    buffer.append(" you").value();
    EXPECT_EQ(buffer.text(), "hello you");
    buffer.consume(6);
    EXPECT_EQ(buffer.text(), "you");
    buffer.data().data()[0] = std::byte{'Y'};
    EXPECT_EQ(aio::as_text(std::as_const(buffer).data()), "You");
    buffer.truncate(2);
    EXPECT_EQ(buffer.text(), "Yo");
    buffer.truncate(7);
    EXPECT_EQ(buffer.size(), 2u);
    buffer.consume(100);
    EXPECT_TRUE(buffer.empty());
}

TEST(io_buffer, what_was_consumed_can_be_read_until_more_is_prepared) {
    io_buffer buffer;
    buffer.append("line\nrest").value();
    const std::string_view line = buffer.text().substr(0, 4);
    buffer.consume(5);
    EXPECT_EQ(line, "line");
    buffer.clear();
    EXPECT_EQ(line, "line");
}

TEST(io_buffer, a_room_stays_while_what_came_before_is_consumed) {
    io_buffer buffer;
    buffer.append("old").value();
    const auto room = buffer.prepare(3).value();
    buffer.consume(3);
    std::memcpy(room.data(), "new", 3);
    buffer.commit(3);
    EXPECT_EQ(buffer.text(), "new");
}

TEST(io_buffer, never_has_more_than_its_maximum) {
    io_buffer buffer(1000);
    buffer.append(std::string(900, 'a')).value();
    EXPECT_EQ(buffer.prepare(101).error(), std::errc::no_buffer_space);
    EXPECT_EQ(buffer.append(std::string(101, 'b')).error(), std::errc::no_buffer_space);
    EXPECT_EQ(buffer.text(), std::string(900, 'a'));
    EXPECT_EQ(buffer.prepare(SIZE_MAX).error(), std::errc::no_buffer_space);
    buffer.consume(400);
    EXPECT_EQ(buffer.prepare(500).value().size(), 500u);
    EXPECT_EQ(buffer.capacity(), 1000u);
    EXPECT_EQ(buffer.text(), std::string(500, 'a'));
    buffer.commit(10'000);
    EXPECT_EQ(buffer.size(), 1000u);

    io_buffer none(0);
    EXPECT_EQ(none.prepare(1).error(), std::errc::no_buffer_space);
    EXPECT_EQ(none.prepare(0).value().size(), 0u);
}

TEST(io_buffer, says_when_there_is_no_memory) {
    io_buffer buffer(SIZE_MAX);
    buffer.append("kept").value();
    EXPECT_EQ(buffer.prepare(std::size_t{1} << 60).error(), std::errc::not_enough_memory);
    EXPECT_EQ(buffer.text(), "kept");
}

TEST(io_buffer, keeps_its_memory_until_it_is_told) {
    io_buffer buffer;
    buffer.append(std::string(5000, 'x')).value();
    const std::size_t capacity = buffer.capacity();
    buffer.clear();
    EXPECT_EQ(buffer.prepare(5000).value().size(), capacity);
    buffer.append("tail").value();
    buffer.shrink_to_fit();
    EXPECT_EQ(buffer.text(), "tail");
    EXPECT_LT(buffer.capacity(), 1000u);
    buffer.consume(4);
    buffer.shrink_to_fit();
    EXPECT_EQ(buffer.capacity(), 0u);
    buffer.append("again").value();
    EXPECT_EQ(buffer.text(), "again");
}

TEST(io_buffer, moves_and_leaves_an_empty_one) {
    io_buffer one(100);
    one.append("content").value();
    io_buffer two = std::move(one);
    EXPECT_EQ(two.text(), "content");
    EXPECT_TRUE(one.empty()); // NOLINT: what is left is defined
    one.append("other").value();
    one.swap(two);
    EXPECT_EQ(one.text(), "content");
    two = std::move(one);
    EXPECT_EQ(two.text(), "content");
    EXPECT_EQ(two.max_size(), 100u);
}

/// A queue that moves about: what comes out is what went in, and memory is bounded by twice what
/// was in it at most.
TEST(io_buffer, does_as_a_queue_does_in_random_order) {
    const char *given = std::getenv("AIO_TEST_SEED");
    const unsigned seed = given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10))
                                           : std::random_device()();
    SCOPED_TRACE("AIO_TEST_SEED=" + std::to_string(seed));
    std::mt19937 random(seed);
    io_buffer buffer(20'000);
    std::deque<char> model;
    char next = 0;
    for (int i = 0; i < 20'000; i++) {
        const std::size_t count = random() % 700;
        if (random() % 2 == 0) {
            const auto room = buffer.prepare(count);
            ASSERT_EQ(room.has_value(), model.size() + count <= 20'000);
            if (!room)
                continue;
            ASSERT_GE(room->size(), count);
            for (std::size_t n = 0; n < count; n++) {
                room->data()[n] = static_cast<std::byte>(next);
                model.push_back(next++);
            }
            buffer.commit(count);
        } else {
            buffer.consume(count);
            model.erase(model.begin(),
                        model.begin() + static_cast<long>(std::min(count, model.size())));
        }
        ASSERT_EQ(buffer.size(), model.size());
        ASSERT_LE(buffer.capacity(), 20'000u);
        if (i % 16 == 0) {
            ASSERT_TRUE(std::equal(model.begin(), model.end(), buffer.text().begin()));
        }
    }
}

} // namespace
