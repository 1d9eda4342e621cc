// pull_reader, pull_writer: protocols written as plain functions, without co_await, that are driven
// over any stream by pull() and push().
//
//     aio::result<frame> parse(aio::pull_reader &in) {         // a synchronous parser
//         auto size = in.number<std::uint16_t>();
//         if (!size)
//             return aio::unexpected(size.error());            // not all there yet, or an error
//         auto body = in.take(*size);
//         if (!body)
//             return aio::unexpected(body.error());
//         return frame{*body};
//     }
//     ...
//     auto frame = co_await aio::pull(stream, buffer, parse, 30s);      // aio::result<frame>
//
// The parser takes from what has been received. Where that is not enough, what it asked for is an
// error, std::errc::resource_unavailable_try_again, which it returns; pull() reads as much as is
// missing and calls it again, from the beginning. What it need not see again it marks with
// commit(), and keeps what it has learnt from that itself. So a parser needs no state machine, may
// be tested with strings (`aio::pull_reader in("\0\1x")`), and works in any loop of one's own:
//
//     aio::pull_reader in(buffer.data());
//     while (auto frame = parse(in)) {
//         in.commit();
//         ...
//     }
//     buffer.consume(in.committed());
//
// pull_writer goes the other way: the function puts bytes into the io_buffer until it is done or
// the buffer is full; push() sends what was committed and calls it again.
#pragma once

#include <aio/stream.hpp>

#include <bit>
#include <concepts>
#include <cstdint>
#include <functional>

namespace aio {
namespace detail {

/// A number of a protocol: neither bool nor a character type of text.
template <class T>
concept wire_number = std::integral<T> && !std::is_same_v<std::remove_cv_t<T>, bool>;

} // namespace detail

/// Bytes that a synchronous parser takes: see the top of this file. What it gives refers to them.
class pull_reader {
  public:
    /// `is_last`: nothing comes after these.
    explicit pull_reader(bytes there, bool is_last = false) noexcept
        : there_(there), is_last_(is_last) {}

    // ---- for the parser ----

    /// The next bytes, as many as that.
    result<bytes> take(std::size_t count) noexcept {
        const auto found = peek(count);
        if (found)
            taken_ += count;
        return found;
    }
    /// The same, without taking them.
    result<bytes> peek(std::size_t count) noexcept {
        if (count > rest().size())
            return more(count - rest().size());
        return bytes(rest().data(), count);
    }
    /// What comes before the delimiter, and the delimiter itself. std::errc::message_size if they
    /// are longer than `max`.
    result<bytes> take_until(std::string_view delimiter, std::size_t max) noexcept {
        const std::string_view text = as_text(rest()).substr(0, max);
        const std::size_t at = text.find(delimiter);
        if (at != text.npos)
            return take(at + delimiter.size());
        if (text.size() == max)
            return unexpected(std::errc::message_size);
        return more();
    }
    /// A number, in the order of networks unless another is said.
    template <detail::wire_number T>
    result<T> number(std::endian order = std::endian::big) noexcept {
        const auto found = take(sizeof(T));
        if (!found)
            return unexpected(found.error());
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < sizeof(T); i++) {
            const std::size_t at = order == std::endian::big ? i : sizeof(T) - 1 - i;
            value = value << 8 | static_cast<std::uint8_t>(found->data()[at]);
        }
        return static_cast<T>(value);
    }
    /// All that is there and not taken.
    bytes rest() const noexcept { return {there_.data() + taken_, there_.size() - taken_}; }
    /// Whether nothing comes behind that: the stream has ended.
    bool is_last() const noexcept { return is_last_; }
    /// The parser will not need again what was taken so far: the next call begins behind it.
    void commit() noexcept { committed_ = taken_; }
    /// For parsers that look at rest() themselves: so many bytes more are needed.
    unexpected more(std::size_t count = 1) noexcept {
        needed_ = count;
        return unexpected(std::errc::resource_unavailable_try_again);
    }

    // ---- for what drives it ----

    /// How many bytes were taken, and how many of these for good.
    std::size_t taken() const noexcept { return taken_; }
    std::size_t committed() const noexcept { return committed_; }
    /// How many bytes were missing when the parser asked last; 0 if none were.
    std::size_t needed() const noexcept { return needed_; }

  private:
    bytes there_;
    std::size_t taken_ = 0;
    std::size_t committed_ = 0;
    std::size_t needed_ = 0;
    bool is_last_;
};

/// Where a synchronous function puts bytes to be sent: see the top of this file.
class pull_writer {
  public:
    explicit pull_writer(io_buffer &buffer) noexcept : buffer_(buffer), committed_(buffer.size()) {}

    // ---- for the function ----

    /// Puts bytes, which are copied. std::errc::resource_unavailable_try_again where the buffer is
    /// full, to be returned.
    result<void> put(bytes data) noexcept {
        const auto done = buffer_.append(data);
        if (!done)
            return unexpected(told(done.error()));
        return done;
    }
    /// A number, in the order of networks unless another is said.
    template <detail::wire_number T>
    result<void> number(std::type_identity_t<T> value,
                        std::endian order = std::endian::big) noexcept {
        std::array<std::byte, sizeof(T)> text;
        auto left = static_cast<std::make_unsigned_t<T>>(value);
        for (std::size_t i = 0; i < sizeof(T); i++) {
            text[order == std::endian::big ? sizeof(T) - 1 - i : i] =
                static_cast<std::byte>(left & 0xff);
            left = static_cast<std::make_unsigned_t<T>>(static_cast<std::uint64_t>(left) >> 8);
        }
        return put(text);
    }
    /// Room for at least so many bytes, for what writes them itself; then wrote().
    result<mutable_bytes> room(std::size_t count) noexcept {
        const auto found = buffer_.prepare(count);
        if (!found)
            return unexpected(told(found.error()));
        return found;
    }
    void wrote(std::size_t count) noexcept { buffer_.commit(count); }
    /// What was put so far may be sent: when the buffer is full, the function goes on from here.
    void commit() noexcept { committed_ = buffer_.size(); }

    // ---- for what drives it ----

    /// Takes back what was put and not committed.
    void take_back() noexcept { buffer_.truncate(committed_); }
    /// Whether there was no room when the function asked for it.
    bool is_full() const noexcept { return is_full_; }

  private:
    std::error_code told(const std::error_code &error) noexcept {
        if (error != std::errc::no_buffer_space)
            return error;
        is_full_ = true;
        return unexpected(std::errc::resource_unavailable_try_again).error();
    }

    io_buffer &buffer_;
    std::size_t committed_;
    bool is_full_ = false;
};

namespace detail {

template <class F, class Argument>
concept pulls = is_result<std::remove_cvref_t<std::invoke_result_t<F &, Argument &>>>;

inline bool is_try_again(const std::error_code &error) noexcept {
    return error == std::errc::resource_unavailable_try_again;
}

} // namespace detail

/// Calls a synchronous parser with what is in the buffer, and reads more as long as it needs more:
/// gives what it returns. What it has taken is consumed then, and can still be read until the next
/// read; after an error only what it has committed is. Called with nothing more to come it sees
/// is_last(), and if it still needs more, the error is errc::eof; std::errc::no_buffer_space if it
/// needs more than the buffer may hold.
template <read_stream Stream, class Parser>
    requires detail::pulls<Parser, pull_reader>
auto pull(Stream &stream, io_buffer &buffer, Parser parser, time_limit limit = {})
    -> task<std::remove_cvref_t<std::invoke_result_t<Parser &, pull_reader &>>> {
    for (bool is_last = false;;) {
        pull_reader in(std::as_const(buffer).data(), is_last);
        auto parsed = std::invoke(parser, in);
        buffer.consume(parsed ? in.taken() : in.committed());
        if (parsed || !detail::is_try_again(parsed.error()))
            co_return parsed;
        if (is_last)
            co_return unexpected(errc::eof);
        const auto got =
            co_await read_more(stream, buffer, std::max<std::size_t>(1, in.needed()), limit);
        is_last = got.error() == errc::eof;
        if (!got && !is_last)
            co_return unexpected(got.error());
    }
}

/// Calls a synchronous function that puts bytes into the buffer, behind what is in it, and writes
/// them to the stream; where the buffer is full before the function is done, writes what it has
/// committed and calls it again. Gives what it returns, when all is written; after an error of the
/// function what it has not committed is gone, and nothing more is written.
/// std::errc::no_buffer_space if the buffer is empty and too small for a single step.
template <write_stream Stream, class Function>
    requires detail::pulls<Function, pull_writer>
auto push(Stream &stream, io_buffer &buffer, Function function, time_limit limit = {})
    -> task<std::remove_cvref_t<std::invoke_result_t<Function &, pull_writer &>>> {
    for (;;) {
        pull_writer out(buffer);
        auto done = std::invoke(function, out);
        const bool goes_on = !done && out.is_full() && detail::is_try_again(done.error());
        if (!done)
            out.take_back();
        if (!done && !goes_on)
            co_return done;
        if (goes_on && buffer.empty())
            co_return unexpected(std::errc::no_buffer_space);
        if (const auto put = co_await flush(stream, buffer, limit); !put)
            co_return unexpected(put.error());
        if (!goes_on)
            co_return done;
    }
}

} // namespace aio
