// io_buffer: bytes that were received and not yet used, or are to be sent: a queue in one piece of
// memory, for parsers. stream.hpp reads into it and writes from it.
//
//     aio::io_buffer buffer(64 * 1024);                        // never more than this
//     auto room = buffer.prepare(4096);                        // result<mutable_bytes>
//     auto got = co_await aio::recv(ctx, fd, *room);
//     buffer.commit(*got);
//     while (auto message = parse(buffer.text()))
//         buffer.consume(message->size());
//
// What may move the bytes is prepare(), append(), shrink_to_fit() and a move of the buffer, and
// nothing else: what was consumed can still be read until then, and a room that an operation writes
// to stays where it is while what came before is consumed. So a line that was read is good until
// the next read. Nothing is moved or copied more than about once for each byte.
//
// Memory is taken by prepare() and append() alone, and doubled when it is used up; a buffer that
// nothing was put in has none. Where there is no more, they say so: nothing is thrown.
#pragma once

#include <aio/bytes.hpp>
#include <aio/result.hpp>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace aio {

class io_buffer {
  public:
    static constexpr std::size_t default_max_size = std::size_t{16} << 20;

    /// `max_size`: more bytes than that are never in it.
    explicit io_buffer(std::size_t max_size = default_max_size) noexcept : max_(max_size) {}
    io_buffer(io_buffer &&other) noexcept
        : memory_(std::exchange(other.memory_, nullptr)),
          capacity_(std::exchange(other.capacity_, 0)), begin_(std::exchange(other.begin_, 0)),
          end_(std::exchange(other.end_, 0)), max_(other.max_) {}
    io_buffer &operator=(io_buffer &&other) noexcept {
        io_buffer taken(std::move(other));
        swap(taken);
        return *this;
    }
    ~io_buffer() { ::operator delete(memory_); }

    // ---- what is in it ----

    bytes data() const noexcept { return {memory_ + begin_, size()}; }
    /// To be changed in place: unmasked, decrypted.
    mutable_bytes data() noexcept { return {memory_ + begin_, size()}; }
    std::string_view text() const noexcept { return as_text(data()); }
    std::size_t size() const noexcept { return end_ - begin_; }
    bool empty() const noexcept { return begin_ == end_; }
    /// How much it may hold.
    std::size_t max_size() const noexcept { return max_; }
    /// How much memory it has.
    std::size_t capacity() const noexcept { return capacity_; }

    /// Takes the oldest bytes away; all of them if `count` is more than there are.
    void consume(std::size_t count) noexcept { begin_ += std::min(count, size()); }
    /// Takes the newest bytes away, so that no more than `count` are left.
    void truncate(std::size_t count) noexcept { end_ = begin_ + std::min(count, size()); }
    void clear() noexcept { begin_ = end_; }

    // ---- more ----

    /// Room behind what is in it, for at least `count` bytes: all that there is without moving
    /// anything, so mostly more. std::errc::no_buffer_space where that would be too much for it,
    /// std::errc::not_enough_memory; it is as before then.
    result<mutable_bytes> prepare(std::size_t count) noexcept {
        if (empty())
            begin_ = end_ = 0;
        if (capacity_ - end_ < count) {
            if (count > max_ || size() > max_ - count)
                return unexpected(std::errc::no_buffer_space);
            // Moving as much as was consumed, or less, pays for itself.
            if (capacity_ - size() >= count && (begin_ >= size() || capacity_ == max_))
                settle(memory_);
            else if (!move_to(std::clamp(2 * capacity_, size() + count, max_)))
                return unexpected(std::errc::not_enough_memory);
        }
        return mutable_bytes(memory_ + end_, capacity_ - end_);
    }
    /// The first `count` bytes of the room that prepare() gave last are in it now.
    void commit(std::size_t count) noexcept { end_ += std::min(count, capacity_ - end_); }

    /// Copies bytes, which are not its own, to the end. Errors as for prepare().
    result<void> append(bytes more) noexcept {
        const auto room = prepare(more.size());
        if (!room)
            return unexpected(room.error());
        if (more.size() != 0)
            std::memcpy(room->data(), more.data(), more.size());
        commit(more.size());
        return {};
    }

    /// Gives memory back that is not needed: all of it when it is empty, for connections that
    /// wait. Keeps it where there is none for the copy.
    void shrink_to_fit() noexcept {
        if (empty()) {
            ::operator delete(memory_);
            memory_ = nullptr;
            capacity_ = begin_ = end_ = 0;
        } else if (size() < capacity_) {
            static_cast<void>(move_to(size()));
        }
    }

    void swap(io_buffer &other) noexcept {
        std::swap(memory_, other.memory_);
        std::swap(capacity_, other.capacity_);
        std::swap(begin_, other.begin_);
        std::swap(end_, other.end_);
        std::swap(max_, other.max_);
    }

  private:
    static constexpr std::size_t capacity_min = 512;

    /// To the beginning of this memory, which may be its own.
    void settle(std::byte *memory) noexcept {
        if (!empty())
            std::memmove(memory, memory_ + begin_, size());
        end_ = size();
        begin_ = 0;
    }
    bool move_to(std::size_t capacity) noexcept {
        capacity = std::max(capacity, std::min(capacity_min, max_));
        auto *const memory = static_cast<std::byte *>(::operator new(capacity, std::nothrow));
        if (memory == nullptr)
            return false;
        settle(memory);
        ::operator delete(std::exchange(memory_, memory));
        capacity_ = capacity;
        return true;
    }

    std::byte *memory_ = nullptr;
    std::size_t capacity_ = 0; // never more than max_
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::size_t max_;
};

} // namespace aio
