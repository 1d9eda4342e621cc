// file_server: serves the files below a folder over HTTP/1.1, on connections that stay.
//
//     file_server FOLDER [ADDRESS:PORT]   GET and HEAD of names that need no decoding
//
// A file's contents go from the page cache to the socket, by sendfile. No request leads out of the
// folder: the kernel resolves the path beneath it (openat2), links included.
#include <aio/file.hpp>
#include <aio/scope.hpp>
#include <aio/socket.hpp>
#include <aio/stream.hpp>
#include <aio/time.hpp>

#include <linux/openat2.h>

#include <algorithm>
#include <iostream>
#include <string>

using namespace std::chrono_literals;

/// A regular file beneath the folder, and its size.
aio::task<aio::result<std::pair<aio::file, uint64_t>>> find(aio::context &ctx, int folder,
                                                            std::string path) {
    open_how how{};
    how.flags = O_RDONLY | O_NONBLOCK; // a FIFO is opened at once, and not served
    how.resolve = RESOLVE_BENEATH;
    auto opened = co_await aio::openat2(ctx, folder, path, how, sizeof how);
    if (!opened)
        co_return aio::unexpected(opened.error());
    aio::file file(ctx, std::move(*opened));
    struct statx about{};
    if (const auto known = co_await file.stat(about); !known)
        co_return aio::unexpected(known.error());
    if (!S_ISREG(about.stx_mode))
        co_return aio::unexpected(std::errc::permission_denied);
    co_return std::pair(std::move(file), uint64_t{about.stx_size});
}

std::string_view take_word(std::string_view &text) {
    const std::string_view word = text.substr(0, text.find_first_of(" \r"));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
    return word;
}

std::string head(std::string_view status, uint64_t length) {
    return "HTTP/1.1 " + std::string(status) + "\r\nContent-Length: " + std::to_string(length) +
           "\r\n\r\n";
}

/// One request; false is the last.
aio::task<bool> answer(aio::context &ctx, aio::socket &peer, int folder, std::string_view request) {
    const std::string_view method = take_word(request);
    const std::string path(take_word(request));
    const bool stays =
        take_word(request) == "HTTP/1.1" && request.find("Connection: close\r\n") == request.npos;
    std::string reply;
    if (method != "GET" && method != "HEAD")
        reply = head("405 Method Not Allowed", 0);
    else if (!path.starts_with('/'))
        reply = head("400 Bad Request", 0);
    if (!reply.empty())
        co_return co_await peer.send_all(reply).timeout(30s) && stays;

    const std::string name = path == "/" ? "index.html" : path.substr(1);
    auto found = co_await find(ctx, folder, name);
    if (!found) {
        reply = head("404 Not Found", 0);
        co_return co_await peer.send_all(reply).timeout(30s) && stays;
    }
    auto &[file, size] = *found;
    reply = head("200 OK", size);
    // With more to come the head waits for the contents, in one packet.
    const bool has_contents = method == "GET" && size != 0;
    if (!co_await peer.send_all(reply, has_contents ? MSG_MORE : 0).timeout(30s))
        co_return false;
    if (has_contents && !co_await aio::sendfile(ctx, peer, file.native(), 0, size).timeout(10min))
        co_return false;
    co_return stays;
}

aio::task<> serve(aio::context &ctx, aio::socket peer, int folder) {
    aio::io_buffer input(8 * 1024); // a longer head is refused
    for (;;) {
        const auto request = co_await aio::read_until(peer, input, "\r\n\r\n", SIZE_MAX, 30s);
        if (!request || !co_await answer(ctx, peer, folder, aio::as_text(*request)))
            co_return;
        input.consume(request->size());
    }
}

aio::task<> serve_all(aio::context &ctx, std::string folder, aio::tcp_listener listener) {
    const aio::file root = (co_await aio::file::open(ctx, folder, O_PATH | O_DIRECTORY)).value();
    std::cout << "listening on " << listener.local_endpoint().value().to_string() << std::endl;
    aio::scope connections(ctx);
    for (;;) {
        auto incoming = listener.accept_multishot();
        while (auto connection = co_await incoming.next())
            connections.spawn(serve(ctx, aio::socket(ctx, std::move(*connection)), root.native()));
        std::cout << "accept: " << incoming.error().message() << std::endl;
        (co_await aio::sleep_for(ctx, 100ms)).value(); // until some have ended
    }
}

int main(int argc, char **argv) try {
    if (argc < 2) {
        std::cerr << "usage: file_server FOLDER [ADDRESS:PORT]\n";
        return 2;
    }
    aio::context ctx;
    const auto address = aio::endpoint::parse(argc > 2 ? argv[2] : "127.0.0.1:0").value();
    ctx.run(serve_all(ctx, argv[1], aio::tcp_listener::bind(ctx, address).value()));
} catch (const std::exception &error) {
    std::cerr << "file_server: " << error.what() << '\n';
    return 1;
}
