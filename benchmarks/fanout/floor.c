/* The floor: what the kernel lets one core do. A WebSocket server in C that parses nothing it need not.
 *
 *   floor <port> <control port> <joined 0|1> <message bytes>
 *
 * "go <n>" on the control port sends n messages to everybody: with one send each, or joined in one send.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 1024, MOST_FDS = 1 << 17 };
static int epoll_fd, open_count, open_fds[MOST_FDS];
static unsigned char *frames;
static size_t frame_length;

/* The load client always sends the key of RFC 6455 section 1.3, so the answer is known. */
static const char RESPONSE[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void watch(int fd) {
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0) die("epoll_ctl");
}

static int serve(unsigned short port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4096) < 0) die("listen");
    watch(fd);
    return fd;
}

static void send_all(int fd, const unsigned char *data, size_t length) {
    while (length) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) return; /* gone */
        if (sent < 0) {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            poll(&p, 1, 1000);
            continue;
        }
        data += sent, length -= sent;
    }
}

static void broadcast(int count, int joined) {
    for (int i = 0; i < open_count; i++) {
        if (joined) send_all(open_fds[i], frames, frame_length * count);
        else
            for (int n = 0; n < count; n++) send_all(open_fds[i], frames, frame_length);
    }
}

static void prepare(int size) {
    enum { MOST = 1000 };
    frame_length = size + 4;
    frames = malloc(frame_length * MOST);
    for (int n = 0; n < MOST; n++) {
        unsigned char *f = frames + n * frame_length;
        f[0] = 0x81, f[1] = 126, f[2] = size >> 8, f[3] = size;
        memset(f + 4, 'x', size);
    }
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    epoll_fd = epoll_create1(0);
    int joined = atoi(argv[3]), one = 1, control = -1;
    prepare(atoi(argv[4]));
    int listener = serve(atoi(argv[1])), control_listener = serve(atoi(argv[2]));
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        static struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener || fd == control_listener) {
                int accepted;
                while ((accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    if (fd == control_listener) control = accepted;
                    watch(accepted);
                }
                continue;
            }
            char buffer[4096];
            ssize_t got = recv(fd, buffer, sizeof buffer - 1, 0);
            if (got <= 0) {
                if (got < 0 && errno == EAGAIN) continue;
                if (fd != control) return 0; /* the load is over */
                close(fd);
                continue;
            }
            buffer[got] = 0;
            if (fd == control) broadcast(atoi(buffer + 3), joined);
            else if (!strncmp(buffer, "GET ", 4)) {
                send_all(fd, (const unsigned char *)RESPONSE, sizeof RESPONSE - 1);
                open_fds[open_count++] = fd;
            }
        }
    }
}
