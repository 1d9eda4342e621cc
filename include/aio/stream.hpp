// Whole transfers on any stream: read_exact, read_until, read_more, write_all, flush.
//
//     aio::io_buffer buffer(64 * 1024);
//     const aio::time_limit limit = 30s;                       // for all of it
//     auto line = co_await aio::read_until(stream, buffer, "\r\n", 8192, limit);
//     if (!line) ...                                           // what has come is in the buffer
//     answer(aio::as_text(*line));
//     buffer.consume(line->size());
//     auto sent = co_await aio::write_all(stream, reply, limit);
//     if (!sent) log(sent.error(), sent.count());              // how much went out before
//
// A stream is what has `read_some(mutable_bytes)`, `write_some(bytes)` or both, which give a
// result<std::size_t>: sockets, files at their position, pipes as files, the halves of split.hpp,
// and types of a program's own (TLS, compression). Operations or tasks, both will do. With
// `writev_some(std::span<const iovec>)` as well, several pieces are written at once.
//
// Nothing that has been read is lost when a transfer ends early, by a deadline, an error, a request
// to stop or the end of the stream (errc::eof): it is in the io_buffer, or transfer::count() says
// how much of the room is filled; calling again goes on from there. Destroying a coroutine that
// reads is not an end: what it has taken from the stream by then may be gone.
//
// On a socket without a buffer and without a use for the count, `socket.recv_exact(room)` and
// `socket.send_all(data)` do the same as one operation.
#pragma once

#include <aio/io_buffer.hpp>
#include <aio/task.hpp>
#include <aio/timeout.hpp>

#include <sys/uio.h>

#include <array>
#include <span>

namespace aio {
namespace detail {

template <class T>
concept awaited_count =
    awaitable<T> && std::is_same_v<std::remove_cvref_t<await_result_t<T>>, result<std::size_t>>;

} // namespace detail

/// Something to read from. 0 is the end.
template <class Stream>
concept read_stream = requires(Stream &stream, mutable_bytes room) {
    { stream.read_some(room) } -> detail::awaited_count;
};

/// Something to write to.
template <class Stream>
concept write_stream = requires(Stream &stream, bytes data) {
    { stream.write_some(data) } -> detail::awaited_count;
};

/// Something that takes several pieces at once.
template <class Stream>
concept gather_stream =
    write_stream<Stream> && requires(Stream &stream, std::span<const iovec> parts) {
        { stream.writev_some(parts) } -> detail::awaited_count;
    };

/// How a transfer has ended, and how many bytes it has moved, in either case.
class [[nodiscard]] transfer {
  public:
    explicit transfer(std::size_t count, std::error_code error = {}) noexcept
        : count_(count), error_(error) {}

    /// How much was read, or written, before it has ended.
    std::size_t count() const noexcept { return count_; }
    /// Whether that is all of it.
    bool has_value() const noexcept { return !error_; }
    explicit operator bool() const noexcept { return has_value(); }
    /// Why not; no error if it is.
    const std::error_code &error() const noexcept { return error_; }

    /// The count; throws std::system_error if that is not all.
    std::size_t value() const { return as_result().value(); }
    result<std::size_t> as_result() const noexcept {
        if (error_)
            return unexpected(error_);
        return count_;
    }
    operator result<std::size_t>() const noexcept { return as_result(); }

  private:
    std::size_t count_;
    std::error_code error_;
};

namespace detail {

/// Has `step` move what is left of `all` until nothing is.
template <class Bytes, class Step>
task<transfer> whole_transfer(Bytes all, time_limit limit, Step step) {
    std::size_t count = 0;
    while (count < all.size()) {
        if (limit.has_passed())
            co_return transfer(count, errc::deadline);
        const Bytes rest(all.data() + count, all.size() - count);
        const auto moved = co_await within(step(rest), limit);
        if (!moved)
            co_return transfer(count, moved.error());
        if (*moved == 0)
            co_return transfer(count, errc::eof);
        count += *moved;
    }
    co_return transfer(count);
}

/// Several pieces, and how far they were written.
class parts_left {
  public:
    explicit parts_left(std::span<const bytes> parts) noexcept : parts_(parts) { advance(0); }

    bool empty() const noexcept { return parts_.empty(); }
    /// What is left of the first.
    bytes front() const noexcept {
        return {parts_.front().data() + done_, parts_.front().size() - done_};
    }
    void advance(std::size_t count) noexcept {
        done_ += count;
        while (!parts_.empty() && done_ >= parts_.front().size()) {
            done_ -= parts_.front().size();
            parts_ = parts_.subspan(1);
        }
    }
    /// Fills in as many as there is room for.
    std::span<const iovec> fill(std::span<iovec> out) const noexcept {
        std::size_t used = 0;
        std::size_t skipped = done_;
        for (const bytes &part : parts_.first(std::min(parts_.size(), out.size()))) {
            out[used++] = {const_cast<std::byte *>(part.data()) + skipped, part.size() - skipped};
            skipped = 0;
        }
        return out.first(used);
    }

  private:
    std::span<const bytes> parts_;
    std::size_t done_ = 0; // of the first, which is longer
};

template <write_stream Stream>
task<transfer> write_parts(Stream &stream, std::span<const bytes> parts, time_limit limit) {
    parts_left left(parts);
    std::size_t count = 0;
    std::array<iovec, 16> vectors;
    while (!left.empty()) {
        if (limit.has_passed())
            co_return transfer(count, errc::deadline);
        result<std::size_t> put = 0;
        if constexpr (gather_stream<Stream>)
            put = co_await within(stream.writev_some(left.fill(vectors)), limit);
        else
            put = co_await within(stream.write_some(left.front()), limit);
        if (!put)
            co_return transfer(count, put.error());
        if (*put == 0)
            co_return transfer(count, errc::eof);
        count += *put;
        left.advance(*put);
    }
    co_return transfer(count);
}

/// Room for `count` bytes, and if there may be for as much as one likes to read at a time.
inline result<mutable_bytes> prepare_to_read(io_buffer &buffer, std::size_t count) noexcept {
    constexpr std::size_t liked = 4096;
    return buffer.prepare(std::max(count, std::min(liked, buffer.max_size() - buffer.size())));
}

/// A range of bytes, each of which is a piece.
template <class Range>
concept parts_range = std::ranges::contiguous_range<const Range> &&
                      std::is_same_v<std::ranges::range_value_t<const Range>, bytes>;

} // namespace detail

/// Reads until the room is full. errc::eof if the stream ends before.
template <read_stream Stream>
task<transfer> read_exact(Stream &stream, mutable_bytes room, time_limit limit = {}) {
    return detail::whole_transfer(
        room, limit, [&stream](const mutable_bytes &rest) { return stream.read_some(rest); });
}

/// Reads at least so many bytes more into the buffer; gives how many it were. errc::eof,
/// std::errc::no_buffer_space: see io_buffer::prepare().
template <read_stream Stream>
task<transfer> read_more(Stream &stream, io_buffer &buffer, std::size_t at_least = 1,
                         time_limit limit = {}) {
    std::size_t count = 0;
    while (count < at_least) {
        if (limit.has_passed())
            co_return transfer(count, errc::deadline);
        const auto room = detail::prepare_to_read(buffer, at_least - count);
        if (!room)
            co_return transfer(count, room.error());
        const auto got = co_await detail::within(stream.read_some(*room), limit);
        if (!got)
            co_return transfer(count, got.error());
        if (*got == 0)
            co_return transfer(count, errc::eof);
        buffer.commit(*got);
        count += *got;
    }
    co_return transfer(count);
}

/// Reads until at least so many bytes are in the buffer, and gives the first of them, as many as
/// were asked for. They stay in the buffer until they are consumed.
template <read_stream Stream>
task<result<bytes>> read_exact(Stream &stream, io_buffer &buffer, std::size_t count,
                               time_limit limit = {}) {
    if (buffer.size() < count) {
        const auto got = co_await read_more(stream, buffer, count - buffer.size(), limit);
        if (!got)
            co_return unexpected(got.error());
    }
    co_return bytes(buffer.data().data(), count);
}

/// Reads until the delimiter is in the buffer, and gives what comes before it and the delimiter
/// itself; these stay in the buffer until they are consumed. std::errc::message_size if they are
/// longer than `max`, or than the buffer may be. More than that may be read, and is in the buffer
/// behind. The delimiter must live until the end, as other arguments of operations.
template <read_stream Stream>
task<result<bytes>> read_until(Stream &stream, io_buffer &buffer, std::string_view delimiter,
                               std::size_t max = SIZE_MAX, time_limit limit = {}) {
    max = std::min(max, buffer.max_size());
    std::size_t searched = 0;
    for (;;) {
        const std::string_view text = std::as_const(buffer).text().substr(0, max);
        const std::size_t at = text.find(delimiter, searched);
        if (at != text.npos)
            co_return bytes(text.data(), at + delimiter.size());
        if (text.size() == max)
            co_return unexpected(std::errc::message_size);
        // Its beginning may have come.
        searched = text.size() - std::min(text.size(), delimiter.size() - 1);
        const auto got = co_await read_more(stream, buffer, 1, limit);
        if (!got)
            co_return unexpected(got.error());
    }
}

/// Writes all of it. errc::eof if the stream takes no more.
template <write_stream Stream>
task<transfer> write_all(Stream &stream, bytes data, time_limit limit = {}) {
    return detail::whole_transfer(data, limit,
                                  [&stream](const bytes &rest) { return stream.write_some(rest); });
}

/// Writes several pieces, one behind the other, as if they were one:
/// `const std::array<aio::bytes, 2> parts{head, body};`.
template <write_stream Stream, detail::parts_range Parts>
task<transfer> write_all(Stream &stream, const Parts &parts, time_limit limit = {}) {
    return detail::write_parts(
        stream, std::span<const bytes>(std::ranges::data(parts), std::ranges::size(parts)), limit);
}

/// Writes what is in the buffer, and consumes it as it goes: what could not be written is still in
/// it.
template <write_stream Stream>
task<transfer> flush(Stream &stream, io_buffer &buffer, time_limit limit = {}) {
    const transfer put = co_await write_all(stream, std::as_const(buffer).data(), limit);
    buffer.consume(put.count());
    co_return put;
}

} // namespace aio
