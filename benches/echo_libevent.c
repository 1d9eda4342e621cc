/* The echo server on libevent: an event per connection, persistent, with recv and send in its
 * callback, which is its fastest way (buffer events copy everything twice); on epoll with
 * EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST and without locks. What does not fit waits for an event of
 * its own, with reading stopped. */
#include "echo.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct event_server {
    struct event_base *base;
    const struct echo_task *task;
    uint64_t closed;
};

struct event_connection {
    struct event_server *server;
    struct event *readable, *writable;
    size_t received, sent;
    char buffer[];
};

static void event_close(struct event_connection *connection, int fd) {
    struct event_server *server = connection->server;
    event_free(connection->readable);
    event_free(connection->writable);
    free(connection);
    close(fd);
    if (++server->closed == server->task->connections)
        event_base_loopbreak(server->base);
}

/* Returns whether all was sent. */
static bool event_send(struct event_connection *connection, int fd) {
    ssize_t sent = send(fd, connection->buffer + connection->sent,
                        connection->received - connection->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        bench_die("send: %d", errno);
    connection->sent += sent < 0 ? 0 : (size_t)sent;
    return connection->sent == connection->received;
}

static void on_writable(evutil_socket_t fd, short what, void *arg) {
    struct event_connection *connection = arg;
    (void)what;
    if (event_send(connection, fd))
        bench_check(event_add(connection->readable, NULL), "event_add");
    else
        bench_check(event_add(connection->writable, NULL), "event_add");
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
    struct event_connection *connection = arg;
    (void)what;
    ssize_t received = recv(fd, connection->buffer, connection->server->task->size, MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN)
        return;
    if (received < 0)
        bench_die("recv: %d", errno);
    if (received == 0) {
        event_close(connection, fd);
        return;
    }
    connection->received = (size_t)received;
    connection->sent = 0;
    if (!event_send(connection, fd)) {
        bench_check(event_del(connection->readable), "event_del");
        bench_check(event_add(connection->writable, NULL), "event_add");
    }
}

static void on_connection(struct evconnlistener *listener, evutil_socket_t fd,
                          struct sockaddr *address, int length, void *arg) {
    struct event_server *server = arg;
    (void)listener, (void)address, (void)length;
    struct event_connection *connection = malloc(sizeof *connection + server->task->size);
    if (!connection)
        bench_die("no memory");
    connection->server = server;
    connection->readable =
        event_new(server->base, fd, EV_READ | EV_PERSIST, on_readable, connection);
    connection->writable = event_new(server->base, fd, EV_WRITE, on_writable, connection);
    if (!connection->readable || !connection->writable || event_add(connection->readable, NULL) < 0)
        bench_die("event_new");
}

void echo_libevent(const struct echo_task *task) {
    struct event_server server = {.task = task};
    struct event_config *config = event_config_new();
    if (!config || event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK |
                                                     EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST) < 0)
        bench_die("event_config");
    server.base = event_base_new_with_config(config);
    event_config_free(config);
    if (!server.base)
        bench_die("event_base_new_with_config");
    struct evconnlistener *listener = evconnlistener_new(server.base, on_connection, &server,
                                                         LEV_OPT_CLOSE_ON_EXEC, 0, task->listener);
    if (!listener || evutil_make_socket_nonblocking(task->listener) < 0)
        bench_die("evconnlistener_new");
    bench_check(event_base_dispatch(server.base), "event_base_dispatch");
    evconnlistener_free(listener);
    event_base_free(server.base);
}
