// download: fetches many files over plain HTTP/1.1, several at a time but no more than four.
//
//     download FOLDER URL...              each into the folder, under the last part of its name
//
// A scope with a limit begins a download when another one has ended. Each has a minute for all of
// it: name, connection, question, answer. One that fails does not stop the others.
#include <aio/connect.hpp>
#include <aio/file.hpp>
#include <aio/scope.hpp>
#include <aio/socket.hpp>
#include <aio/stream.hpp>

#include <algorithm>
#include <charconv>
#include <iostream>
#include <stdexcept>
#include <string>

using namespace std::chrono_literals;

struct location {
    std::string host;
    std::string port = "80";
    std::string path = "/";
};

location parse_url(std::string_view url) {
    constexpr std::string_view scheme = "http://";
    if (!url.starts_with(scheme))
        throw std::runtime_error("not a URL of plain HTTP");
    url.remove_prefix(scheme.size());
    location found;
    const std::size_t slash = url.find('/');
    if (slash != url.npos)
        found.path = url.substr(slash);
    const std::string_view host = url.substr(0, slash);
    const std::size_t colon = host.find(':');
    if (colon != host.npos)
        found.port = host.substr(colon + 1);
    found.host = host.substr(0, colon);
    return found;
}

/// The contents' length; only answers that tell it are understood here.
uint64_t length_of(std::string_view head) {
    constexpr std::string_view field = "\r\nContent-Length: ";
    if (head.substr(8, 5) != " 200 ")
        throw std::runtime_error(std::string(head.substr(0, head.find('\r'))));
    const std::size_t at = head.find(field);
    uint64_t length = 0;
    const char *const begin = head.data() + std::min(head.size(), at) + field.size();
    if (at == head.npos ||
        std::from_chars(begin, head.data() + head.size(), length).ec != std::errc())
        throw std::runtime_error("an answer without a length");
    return length;
}

aio::task<uint64_t> fetch(aio::context &ctx, location from, std::string name) {
    aio::socket server = (co_await aio::connect(ctx, from.host, from.port)).value();
    const std::string question =
        "GET " + from.path + " HTTP/1.1\r\nHost: " + from.host + "\r\nConnection: close\r\n\r\n";
    (co_await server.send_all(question)).value();

    aio::io_buffer input(64 * 1024);
    const aio::bytes head = (co_await aio::read_until(server, input, "\r\n\r\n")).value();
    const uint64_t length = length_of(aio::as_text(head));
    input.consume(head.size());

    aio::file to =
        (co_await aio::file::open(ctx, name, O_WRONLY | O_CREAT | O_TRUNC, 0644)).value();
    for (uint64_t left = length;;) {
        const std::size_t some = std::min<uint64_t>(left, input.size());
        (co_await to.write_all(aio::bytes(input.data().data(), some))).value();
        input.consume(some);
        left -= some;
        if (left == 0)
            break;
        (co_await aio::read_more(server, input)).value();
    }
    (co_await to.close()).value();
    co_return length;
}

struct totals {
    int failed = 0;
    int running = 0;
    int most = 0;
};

aio::task<> download(aio::context &ctx, std::string folder, std::string url, totals &all) {
    all.most = std::max(all.most, ++all.running);
    try {
        const std::string name = url.substr(url.rfind('/') + 1);
        const std::string to = folder + '/' + (name.empty() ? "index.html" : name);
        const auto got = co_await aio::with_timeout(fetch(ctx, parse_url(url), to), 1min);
        std::cout << url << ": " << got.value() << " bytes\n";
    } catch (const std::exception &error) {
        std::cout << url << ": " << error.what() << '\n';
        all.failed++;
    }
    all.running--;
}

aio::task<totals> download_all(aio::context &ctx, std::string folder,
                               std::vector<std::string> urls) {
    totals all;
    aio::scope downloads(ctx, {.concurrency = 4});
    for (std::string &url : urls)
        downloads.spawn(download(ctx, folder, std::move(url), all));
    (co_await downloads.join()).value();
    co_return all;
}

int main(int argc, char **argv) try {
    if (argc < 3) {
        std::cerr << "usage: download FOLDER URL...\n";
        return 2;
    }
    aio::context ctx;
    const totals all = ctx.run(download_all(ctx, argv[1], {argv + 2, argv + argc}));
    std::cout << argc - 2 << " files, " << all.failed << " failed, at most " << all.most
              << " at a time\n";
    return all.failed == 0 ? 0 : 1;
} catch (const std::exception &error) {
    std::cerr << "download: " << error.what() << '\n';
    return 1;
}
