// Coroutines that die at random points of random operations: nothing is written late, nothing of
// them is lost. AIO_TEST_COUNT is how many (1,000,000 and more under AddressSanitizer for the
// figure); AIO_TEST_SEED repeats a run.
#include "support.hpp"

#include <aio/buffers.hpp>
#include <aio/combine.hpp>
#include <aio/fs.hpp>
#include <aio/misc.hpp>
#include <aio/net.hpp>
#include <aio/scope.hpp>
#include <aio/timeout.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>

namespace {

using aio::context;
using aio::task;

std::uint64_t number_from(const char *name, std::uint64_t otherwise) {
    const char *text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

/// Memory of frames that is watched after it was freed.
class watched_memory {
  public:
    ~watched_memory() {
        while (!freed_.empty())
            give_back();
    }
    void *allocate(std::size_t size) { return std::malloc(size); }
    void deallocate(void *memory, std::size_t size) {
        std::memset(memory, pattern, size);
        freed_.push_back({static_cast<unsigned char *>(memory), size});
        if (freed_.size() > 256)
            give_back();
    }

  private:
    static constexpr unsigned char pattern = 0xdd;
    struct block {
        unsigned char *memory;
        std::size_t size;
    };
    void give_back() {
        const block oldest = freed_.front();
        freed_.pop_front();
        for (std::size_t i = 0; i < oldest.size; i++)
            ASSERT_EQ(oldest.memory[i], pattern) << "a late write, " << i << " bytes into a frame";
        std::free(oldest.memory);
    }
    std::deque<block> freed_;
};

template <class T> struct watched {
    using value_type = T;
    explicit watched(watched_memory &from) noexcept : memory(&from) {}
    template <class U> watched(const watched<U> &other) noexcept : memory(other.memory) {}
    T *allocate(std::size_t count) { return static_cast<T *>(memory->allocate(count * sizeof(T))); }
    void deallocate(T *old, std::size_t count) { memory->deallocate(old, count * sizeof(T)); }
    friend bool operator==(const watched &, const watched &) = default;
    watched_memory *memory;
};

/// What the coroutines work on, and how many of them live.
struct world {
    explicit world(std::uint64_t seed) : state(seed), pool(ctx, {.count = 64, .buffer_size = 64}) {
        auto [a, b] = support::socket_pair();
        writer = a;
        reader = b;
        file = ::open(folder.path("file").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
        EXPECT_EQ(::ftruncate(file, 1 << 16), 0);
    }
    ~world() {
        ::close(writer);
        ::close(reader);
        ::close(file);
    }

    std::uint64_t random(std::uint64_t bound) { // splitmix64
        std::uint64_t value = state += 0x9e3779b97f4a7c15;
        value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
        value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
        return (value ^ (value >> 31)) % bound;
    }

    std::uint64_t state;
    watched_memory memory;
    support::temp_folder folder;
    context ctx;
    aio::buffer_pool pool;
    int writer;
    int reader;
    int file;
    int alive = 0;
};

task<> receive_into_the_frame(std::allocator_arg_t, watched<char>, world &w, support::counted) {
    std::array<char, 48> room;
    static_cast<void>(co_await aio::recv(w.ctx, w.reader, room));
}

task<> receive_into_the_pool(world &w, support::counted) {
    auto incoming = aio::recv_multishot(w.ctx, w.reader, w.pool).max_pending(2);
    for (int i = 0; i < 3; i++)
        if (!co_await incoming.next())
            break;
}

task<> sleep(world &w, support::counted) {
    const auto time = std::chrono::microseconds(w.random(2000));
    static_cast<void>(co_await aio::sleep_for(w.ctx, time));
}

task<> read_the_file(std::allocator_arg_t, watched<char>, world &w, support::counted) {
    std::array<char, 512> room;
    auto reading = aio::read(w.ctx, w.file, room, w.random(1 << 16));
    if (w.random(2) == 0)
        static_cast<void>(co_await std::move(reading).async());
    else
        static_cast<void>(co_await reading);
}

task<> lose(world &w, support::counted) {
    static_cast<void>(co_await aio::when_any(
        receive_into_the_frame(std::allocator_arg, watched<char>(w.memory), w,
                               support::counted(w.alive)),
        sleep(w, support::counted(w.alive)),
        read_the_file(std::allocator_arg, watched<char>(w.memory), w, support::counted(w.alive))));
}

task<> time_out(world &w, support::counted) {
    static_cast<void>(
        co_await aio::with_timeout(receive_into_the_pool(w, support::counted(w.alive)),
                                   std::chrono::microseconds(w.random(500))));
}

task<> any_of_these(world &w, unsigned depth);

task<> scoped(world &w, support::counted, unsigned depth) {
    aio::scope children(w.ctx, {.concurrency = 2});
    for (int i = 0; i < 3; i++)
        children.spawn(any_of_these(w, depth + 1));
    if (w.random(2) == 0)
        static_cast<void>(co_await children.join_for(std::chrono::microseconds(w.random(500))));
    else if (w.random(2) == 0)
        children.request_stop();
    // and destroyed with what is left
}

task<> any_of_these(world &w, unsigned depth) {
    support::counted mine(w.alive);
    switch (w.random(depth < 2 ? 8 : 5)) {
    case 0:
        return receive_into_the_frame(std::allocator_arg, watched<char>(w.memory), w,
                                      std::move(mine));
    case 1:
        return receive_into_the_pool(w, std::move(mine));
    case 2:
        return sleep(w, std::move(mine));
    case 3:
        return read_the_file(std::allocator_arg, watched<char>(w.memory), w, std::move(mine));
    case 4:
        return lose(w, std::move(mine));
    case 5:
        return time_out(w, std::move(mine));
    default:
        return scoped(w, std::move(mine), depth);
    }
}

TEST(destruction, coroutines_die_at_any_point_without_a_late_write_or_a_lost_frame) {
    const auto count =
        number_from("AIO_TEST_COUNT", 20000 / static_cast<unsigned>(support::slow()));
    const auto seed = number_from("AIO_TEST_SEED", static_cast<std::uint64_t>(::getpid()));
    std::printf("AIO_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
    world w(seed);
    {
        std::deque<std::unique_ptr<aio::scope>> living;
        for (std::uint64_t made = 0; made < count; made++) {
            living.push_back(std::make_unique<aio::scope>(w.ctx));
            living.back()->spawn(any_of_these(w, 0));
            if (w.random(3) == 0)
                support::write_text(w.writer, "0123456789");
            if (w.random(4) == 0) {
                ASSERT_TRUE(w.ctx.run_once(0ms));
            }
            if (w.random(8) == 0)
                living[w.random(living.size())]->request_stop();
            while (living.size() > 32) {
                const auto victim = static_cast<std::ptrdiff_t>(w.random(living.size()));
                living.erase(living.begin() + victim);
            }
        }
    }
    EXPECT_EQ(w.alive, 0);
    w.ctx.run().value();
    EXPECT_EQ(w.ctx.in_flight(), 0u);
    EXPECT_EQ(w.pool.info().value().leased, 0u);
}

} // namespace
