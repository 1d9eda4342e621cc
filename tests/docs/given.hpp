// What the pieces of code of docs/cpp.md are given: the headers, and the names that they use. They
// are compiled, not linked.
#pragma once

#include <aio/broadcast.hpp>
#include <aio/buffers.hpp>
#include <aio/channel.hpp>
#include <aio/combine.hpp>
#include <aio/connect.hpp>
#include <aio/context.hpp>
#include <aio/event.hpp>
#include <aio/execution.hpp>
#include <aio/file.hpp>
#include <aio/mutex.hpp>
#include <aio/notifier.hpp>
#include <aio/operations.hpp>
#include <aio/process.hpp>
#include <aio/pull.hpp>
#include <aio/resolve.hpp>
#include <aio/resume_on.hpp>
#include <aio/scope.hpp>
#include <aio/signal_set.hpp>
#include <aio/socket.hpp>
#include <aio/split.hpp>
#include <aio/stats.hpp>
#include <aio/stop_token.hpp>
#include <aio/stream.hpp>
#include <aio/thread_channel.hpp>
#include <aio/thread_pool.hpp>
#include <aio/timeout.hpp>
#include <aio/watch.hpp>
#include <aio/worker_group.hpp>
#include <aio/yield.hpp>

#include <array>
#include <memory_resource>
#include <poll.h>
#include <stop_token>
#include <string>
#include <vector>

using namespace std::chrono_literals;

extern aio::context ctx, other;
extern aio::file_ref fd;
extern std::array<char, 4096> room;
extern std::string text;
extern std::vector<iovec> vectors;
extern aio::socket peer;
extern aio::tcp_listener listener;
extern aio::udp_socket datagrams;
extern aio::file disk;
extern aio::buffer_pool pool;
extern aio::io_buffer buffer;
extern aio::scope tasks;
extern aio::channel<int> jobs;
extern aio::thread_channel<int> arrived;
extern aio::notifier bell;
extern aio::mutex door;
extern aio::thread_pool threads;
extern aio::signal_set signals;
extern aio::process child;
extern std::stop_token token;

void log(std::string_view text);
template <class T> void use(const T &value);
aio::task<aio::result<int>> work(aio::context &ctx);
aio::task<> talk(aio::socket peer);
aio::task<aio::result<void>> fetch(aio::context &ctx, std::string url);
aio::result<int> parse(aio::pull_reader &in);
aio::task<int> allocated(std::allocator_arg_t, std::allocator<char>, aio::context &ctx);
