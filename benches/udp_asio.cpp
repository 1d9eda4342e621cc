// The server of datagrams on Boost.Asio: async_receive_from and async_send_to in turn.
#include "udp.h"

#include <array>
#include <boost/asio.hpp>

namespace asio = boost::asio;
using asio::ip::udp;
using boost::system::error_code;

namespace {

class datagrams {
  public:
    explicit datagrams(const echo_task *task) : left_(task->connections) {
        socket_.assign(udp::v4(), task->listener);
    }

    void receive() {
        socket_.async_receive_from(asio::buffer(buffer_), from_,
                                   [this](error_code error, std::size_t received) {
                                       if (error)
                                           bench_die("receive: %s", error.message().c_str());
                                       else if (received)
                                           send(received);
                                       else if (--left_)
                                           receive();
                                   });
    }

    void run() { context_.run(); }

  private:
    void send(std::size_t received) {
        socket_.async_send_to(asio::buffer(buffer_.data(), received), from_,
                              [this](error_code error, std::size_t) {
                                  if (error)
                                      bench_die("send: %s", error.message().c_str());
                                  receive();
                              });
    }

    asio::io_context context_{1};
    udp::socket socket_{context_};
    udp::endpoint from_;
    std::array<char, UDP_SIZE_MAX> buffer_;
    std::uint64_t left_;
};

} // namespace

void udp_asio(const echo_task *task) {
    datagrams server(task);
    server.receive();
    server.run();
}
