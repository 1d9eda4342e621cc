// The echo server in C++ coroutines: a task per connection that awaits recv and send in turn, in a
// scope. What echo_aio.c does with callbacks.
#include "echo.h"

#include <aio/context.hpp>
#include <aio/scope.hpp>
#include <aio/socket.hpp>

#include <memory>

namespace {

class server {
  public:
    server(aio::context &ctx, const echo_task &task) : ctx_(ctx), task_(task), connections_(ctx) {}

    aio::task<> accept() {
        while (auto connection = co_await acceptor_.next())
            connections_.spawn(serve(aio::socket(ctx_, std::move(*connection))));
        if (closed_ != task_.connections)
            bench_die("accept: %s", acceptor_.error().message().c_str());
    }

  private:
    aio::task<> serve(aio::socket connection) {
        const std::unique_ptr<char[]> buffer(new char[task_.size]);
        const aio::mutable_bytes room(buffer.get(), task_.size);
        for (;;) {
            const auto received = co_await connection.recv(room);
            if (received.value() == 0)
                break;
            for (std::size_t sent = 0; sent < *received;) {
                const aio::bytes rest(buffer.get() + sent, *received - sent);
                const auto count = co_await connection.send(rest);
                sent += count.value();
            }
        }
        const auto ended = co_await connection.close();
        ended.value();
        if (++closed_ == task_.connections)
            acceptor_.request_stop();
    }

    aio::context &ctx_;
    const echo_task &task_;
    decltype(aio::accept_multishot(std::declval<aio::context &>(), 0)) acceptor_ =
        aio::accept_multishot(ctx_, task_.listener);
    uint64_t closed_ = 0;
    aio::scope connections_;
};

} // namespace

void echo_coroutine(const echo_task *task) {
    aio::context ctx({.backend = AIO_BACKEND_URING,
                      .sq_entries = ECHO_SQ_ENTRIES,
                      .cq_entries = ECHO_CQ_ENTRIES});
    server server(ctx, *task);
    ctx.run(server.accept());
}
