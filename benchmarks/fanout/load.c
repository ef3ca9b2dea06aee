/* The load client: N WebSocket connections that count what they are sent. It must never be what is measured.
 *
 *   load <port> <control port> <clients> <seconds> <burst> <least bytes> <missed> <path> [message...]
 *
 * It connects, sends each connection the texts, and waits until each has got as many messages as it missed, and nothing
 * has come for a while. Then it prints a line, waits for one on its input, and plays a closed loop for so many seconds: it writes "go <burst>" to the
 * control port and waits until every connection has received that many messages of at least so many bytes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IN_FLIGHT = 256, BUFFER = 256 * 1024, EVENTS = 1024, MOST_ROUNDS = 1 << 22 };
static const double QUIET = 0.3, PATIENCE = 30;

enum state { CONNECTING, SHAKING, OPEN };
struct client {
    int fd;
    enum state state;
    int matched;         /* of "\r\n\r\n" */
    unsigned char head[14];
    int head_length;     /* bytes of the frame's header that are here */
    uint64_t left;       /* bytes of its payload that are not */
    uint64_t size;
    int is_ping, is_fin_text;
    uint64_t lines;      /* so far, less one: some servers put several messages in a frame, one on each line */
};

static struct client *clients;
static int epoll_fd, count, opened, started;
static uint64_t messages, bytes, least;
static unsigned short port;
static char request[1024];
static int request_length, hello_count;
static char **hellos;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "the server said something else");
    exit(1);
}

static int dial(unsigned short to, int flags) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(to), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | flags, 0), one = 1;
    if (fd < 0) die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) die("connect");
    return fd;
}

static void start_one(void) {
    struct client *c = &clients[started++];
    c->fd = dial(port, SOCK_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e) < 0) die("epoll_ctl");
}

static void send_all(int fd, const void *data, size_t length) {
    if (send(fd, data, length, MSG_NOSIGNAL) != (ssize_t)length) die("send");
}

static void send_frame(int fd, int opcode, const char *text, size_t length) {
    unsigned char frame[4096 + 8] = {0x80 | opcode};
    size_t head = 2;
    if (length > 4096) die("message too long");
    if (length < 126) frame[1] = 0x80 | length;
    else frame[1] = 0x80 | 126, frame[2] = length >> 8, frame[3] = length, head = 4;
    memcpy(frame + head + 4, text, length); /* the mask is zero */
    send_all(fd, frame, head + 4 + length);
}

static void open_up(struct client *c) {
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
    c->state = OPEN;
    opened++;
    for (int i = 0; i < hello_count; i++) send_frame(c->fd, 1, hellos[i], strlen(hellos[i]));
    if (started < count) start_one();
}

static const unsigned char *read_head(struct client *c, const unsigned char *at, const unsigned char *end) {
    while (at < end) {
        c->head[c->head_length++] = *at++;
        if (c->head_length < 2) continue;
        int length = c->head[1] & 127, wanted = length == 126 ? 4 : length == 127 ? 10 : 2;
        if (c->head_length < wanted) continue;
        uint64_t size = length < 126 ? length : 0;
        for (int i = 2; i < wanted; i++) size = size << 8 | c->head[i];
        c->size = c->left = size;
        int opcode = c->head[0] & 15;
        if (opcode == 8) die("the server closed a connection");
        c->is_ping = opcode == 9;
        c->is_fin_text = opcode < 3;
        c->head_length = 0;
        if (!size && c->is_ping) send_frame(c->fd, 10, "", 0);
        return at;
    }
    return at;
}

static uint64_t ends_of_line(const unsigned char *at, uint64_t length) {
    const unsigned char *end = at + length;
    uint64_t found = 0;
    while ((at = memchr(at, '\n', end - at)) && ++at < end) found++; /* one at the very end begins no line */
    return found;
}

static void take(struct client *c, const unsigned char *at, const unsigned char *end) {
    while (at < end) {
        if (!c->left) {
            at = read_head(c, at, end);
            if (!c->left) continue;
        }
        uint64_t here = (uint64_t)(end - at) < c->left ? (uint64_t)(end - at) : c->left;
        if (c->is_ping) send_frame(c->fd, 10, (const char *)at, here);
        else c->lines += ends_of_line(at, here);
        c->left -= here;
        at += here;
        if (c->left) continue;
        if (c->is_fin_text && c->size >= least) messages += 1 + c->lines;
        c->lines = 0;
    }
}

static void shake(struct client *c, const unsigned char *at, const unsigned char *end) {
    static const char mark[] = "\r\n\r\n";
    if (c->state == CONNECTING) {
        if (end - at < 12 || memcmp(at, "HTTP/1.1 101", 12)) die("no upgrade");
        c->state = SHAKING;
    }
    while (at < end && c->matched < 4) {
        c->matched = *at == mark[c->matched] ? c->matched + 1 : *at == '\r';
        at++;
    }
    if (c->matched == 4) {
        open_up(c);
        take(c, at, end);
    }
}

static int turn(double wait) {
    static unsigned char buffer[BUFFER];
    static struct epoll_event events[EVENTS];
    int n = epoll_wait(epoll_fd, events, EVENTS, wait < 0 ? 0 : (int)(wait * 1000));
    for (int i = 0; i < n; i++) {
        struct client *c = events[i].data.ptr;
        if (events[i].events & EPOLLOUT) {
            struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
            epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
            send_all(c->fd, request, request_length);
        }
        if (!(events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) continue;
        ssize_t got = recv(c->fd, buffer, sizeof buffer, 0);
        if (got < 0 && errno == EAGAIN) continue;
        if (got <= 0) die("a connection ended");
        bytes += got;
        if (c->state == OPEN) take(c, buffer, buffer + got);
        else shake(c, buffer, buffer + got);
    }
    return n;
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc < 9) die("usage");
    port = atoi(argv[1]);
    count = atoi(argv[3]);
    least = atoi(argv[6]);
    double seconds = atof(argv[4]);
    int burst = atoi(argv[5]);
    uint64_t missed = atoi(argv[7]);
    hellos = argv + 9, hello_count = argc - 9;
    request_length = snprintf(request, sizeof request,
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", argv[8], port);
    clients = calloc(count, sizeof *clients);
    epoll_fd = epoll_create1(0);
    double began = now(), heard = began;
    for (int i = 0; i < IN_FLIGHT && started < count; i++) start_one();
    while (opened < count || messages < count * missed) {
        turn(1);
        if (now() - began > PATIENCE * 4) die("not all connected");
    }
    double connected = now() - began;
    for (heard = now(); now() - heard < QUIET;)
        if (turn(QUIET / 10)) heard = now();
    printf("{\"clients\": %d, \"handshakes_per_s\": %.0f, \"seconds\": %.3f}\n", count, count / connected, connected);
    fflush(stdout);
    if (getchar() == EOF) return 0;

    int control = dial(atoi(argv[2]), 0);
    char go[32];
    int go_length = snprintf(go, sizeof go, "go %d\n", burst);
    float *rounds = calloc(MOST_ROUNDS, sizeof *rounds);
    int done = 0;
    messages = bytes = 0;
    began = now();
    while (now() - began < seconds && done < MOST_ROUNDS) {
        uint64_t wanted = messages + (uint64_t)count * burst;
        double sent = now();
        send_all(control, go, go_length);
        while (messages < wanted) {
            turn(1);
            if (now() - sent > PATIENCE) die("messages are missing");
        }
        rounds[done++] = now() - sent;
    }
    double took = now() - began;
    qsort(rounds, done, sizeof *rounds, ascending);
    printf("{\"messages\": %llu, \"bytes\": %llu, \"seconds\": %.3f, \"rounds\": %d, \"p50_ms\": %.3f, \"p99_ms\": %.3f}\n",
        (unsigned long long)messages, (unsigned long long)bytes, took, done, 1e3 * rounds[done / 2],
        1e3 * rounds[done - 1 - done / 100]);
    return 0;
}
