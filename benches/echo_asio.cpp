// The echo server on Boost.Asio: one io_context that is told that one thread runs it, handlers that
// are lambdas (whose memory Asio recycles), async_read_some and async_write.
#include "echo.h"

#include <boost/asio.hpp>
#include <cstdlib>
#include <memory>
#include <vector>

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

struct server {
    asio::io_context context{1};
    tcp::acceptor acceptor{context};
    const echo_task *task = nullptr;
    std::uint64_t closed = 0;
};

class connection : public std::enable_shared_from_this<connection> {
  public:
    connection(server &owner, tcp::socket socket)
        : owner_(owner), socket_(std::move(socket)), buffer_(owner.task->size) {}

    void receive() {
        socket_.async_read_some(asio::buffer(buffer_), [self = shared_from_this()](
                                                           error_code error, std::size_t received) {
            if (error == asio::error::eof)
                self->end();
            else if (error)
                bench_die("async_read_some: %s", error.message().c_str());
            else
                self->send(received);
        });
    }

  private:
    void send(std::size_t received) {
        asio::async_write(socket_, asio::buffer(buffer_.data(), received),
                          [self = shared_from_this()](error_code error, std::size_t) {
                              if (error)
                                  bench_die("async_write: %s", error.message().c_str());
                              self->receive();
                          });
    }

    void end() {
        socket_.close();
        if (++owner_.closed == owner_.task->connections)
            owner_.acceptor.close();
    }

    server &owner_;
    tcp::socket socket_;
    std::vector<char> buffer_;
};

void accept(server &owner) {
    owner.acceptor.async_accept([&owner](error_code error, tcp::socket socket) {
        if (error == asio::error::operation_aborted)
            return;
        if (error)
            bench_die("async_accept: %s", error.message().c_str());
        std::make_shared<connection>(owner, std::move(socket))->receive();
        accept(owner);
    });
}

} // namespace

void echo_asio(const echo_task *task) {
    server owner;
    owner.task = task;
    owner.acceptor.assign(tcp::v4(), task->listener);
    accept(owner);
    owner.context.run();
}
