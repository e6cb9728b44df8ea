//go:build ignore

// A bare epoll WebSocket echo loop: one thread, level-triggered, no timeouts,
// no limits, no fragments. It is the floor of the comparison, nothing to run.
//
//   echo -listen 127.0.0.1:9001 [-reuse-port]
//
// It prints "listening ADDRESS" when it accepts connections.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUF = 1 << 16, EVENTS = 1024, MAXHEAD = 8192 };

// A connection's buffers exist only while they hold something.
struct conn {
	unsigned char *in, *out;
	uint32_t nin, nout;
	uint8_t open;
};

static struct conn *conns;
static size_t nconns;
static unsigned char *rbuf, *wbuf;
static size_t rcap = BUF, wcap = BUF, wlen;
static int ep;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void *grow(void *p, size_t n)
{
	p = realloc(p, n);
	if (!p)
		die("realloc");
	return p;
}

static void put(const void *p, size_t n)
{
	if (wlen + n > wcap) {
		while (wlen + n > wcap)
			wcap *= 2;
		wbuf = grow(wbuf, wcap);
	}
	memcpy(wbuf + wlen, p, n);
	wlen += n;
}

static void watch(int op, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.fd = fd };
	if (epoll_ctl(ep, op, fd, &ev) < 0)
		die("epoll_ctl");
}

// SHA-1 of FIPS 180-4, of a message shorter than 119 bytes: two blocks.
static uint32_t rol(uint32_t x, int n)
{
	return x << n | x >> (32 - n);
}

static void block(uint32_t h[5], const unsigned char *p)
{
	uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
	for (int i = 0; i < 16; i++)
		w[i] = (uint32_t)p[4 * i] << 24 | p[4 * i + 1] << 16 | p[4 * i + 2] << 8 | p[4 * i + 3];
	for (int i = 16; i < 80; i++)
		w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	for (int i = 0; i < 80; i++) {
		uint32_t f, k;
		if (i < 20) {
			f = (b & c) | (~b & d);
			k = 0x5a827999;
		} else if (i < 40) {
			f = b ^ c ^ d;
			k = 0x6ed9eba1;
		} else if (i < 60) {
			f = (b & c) | (b & d) | (c & d);
			k = 0x8f1bbcdc;
		} else {
			f = b ^ c ^ d;
			k = 0xca62c1d6;
		}
		uint32_t t = rol(a, 5) + f + e + k + w[i];
		e = d;
		d = c;
		c = rol(b, 30);
		b = a;
		a = t;
	}
	h[0] += a;
	h[1] += b;
	h[2] += c;
	h[3] += d;
	h[4] += e;
}

static void sha1(const void *msg, size_t n, unsigned char out[20])
{
	uint32_t h[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
	unsigned char b[128] = { 0 };
	size_t total = n + 9 <= 64 ? 64 : 128;
	memcpy(b, msg, n);
	b[n] = 0x80;
	b[total - 2] = n * 8 >> 8;
	b[total - 1] = n * 8;
	for (size_t i = 0; i < total; i += 64)
		block(h, b + i);
	for (int i = 0; i < 20; i++)
		out[i] = h[i / 4] >> (24 - 8 * (i % 4));
}

// 20 bytes in base64 are 28 characters, the last of them padding.
static void base64(const unsigned char p[20], char out[29])
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *o = out;
	for (int i = 0; i < 21; i += 3) {
		uint32_t v = p[i] << 16 | (i + 1 < 20 ? p[i + 1] << 8 : 0) | (i + 2 < 20 ? p[i + 2] : 0);
		*o++ = set[v >> 18];
		*o++ = set[v >> 12 & 63];
		*o++ = set[v >> 6 & 63];
		*o++ = set[v & 63];
	}
	out[27] = '=';
	out[28] = 0;
}

// upgrade answers a request head; it returns 0 to refuse.
static int upgrade(const char *head, size_t n)
{
	static const char name[] = "\r\nSec-WebSocket-Key:";
	const size_t len = sizeof name - 1;
	for (size_t i = 0; i + len + 25 < n; i++) {
		if (head[i] != '\r' || strncasecmp(head + i, name, len))
			continue;
		const char *key = head + i + len;
		while (*key == ' ')
			key++;
		char text[61], accept[29], answer[160];
		unsigned char sum[20];
		memcpy(text, key, 24);
		memcpy(text + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 37);
		sha1(text, 60, sum);
		base64(sum, accept);
		int m = snprintf(answer, sizeof answer,
				 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
				 "Sec-WebSocket-Accept: %s\r\n\r\n", accept);
		put(answer, m);
		return 1;
	}
	static const char no[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
	put(no, sizeof no - 1);
	return 0;
}

// frame answers the frame at p and returns its length, 0 while incomplete, -1
// for nonsense. *last is set by a Close frame.
static long frame(const unsigned char *p, size_t n, int *last)
{
	if (n < 6)
		return 0;
	if (!(p[1] & 0x80))
		return -1;
	size_t at = 2, len = p[1] & 0x7f;
	if (len == 126) {
		if (n < 8)
			return 0;
		len = p[2] << 8 | p[3];
		at = 4;
	} else if (len == 127) {
		if (n < 14)
			return 0;
		len = 0;
		for (int i = 2; i < 10; i++)
			len = len << 8 | p[i];
		if (len > 1 << 30)
			return -1;
		at = 10;
	}
	size_t end = at + 4 + len;
	if (end > n)
		return 0;
	int op = p[0] & 0x0f;
	*last = op == 8;
	if (op == 10)
		return end;
	unsigned char first = op == 9 ? 0x8a : p[0], second = p[1] & 0x7f;
	put(&first, 1);
	put(&second, 1);
	put(p + 2, at - 2);
	size_t from = wlen, i = 0;
	put(p + at + 4, len);
	uint32_t key;
	memcpy(&key, p + at, 4);
	uint64_t wide = (uint64_t)key << 32 | key;
	unsigned char *q = wbuf + from;
	for (; i + 8 <= len; i += 8) {
		uint64_t v;
		memcpy(&v, q + i, 8);
		v ^= wide;
		memcpy(q + i, &v, 8);
	}
	for (; i < len; i++)
		q[i] ^= p[at + (i & 3)];
	return end;
}

static void end(int fd)
{
	free(conns[fd].in);
	free(conns[fd].out);
	memset(&conns[fd], 0, sizeof conns[fd]);
	close(fd);
}

static void keep(unsigned char **p, uint32_t *len, const void *from, size_t n)
{
	if (n == 0) {
		free(*p);
		*p = NULL;
	} else {
		*p = grow(*p, n);
		memcpy(*p, from, n);
	}
	*len = n;
}

// flush writes wbuf; the rest waits, and reading with it. 0 is a broken socket.
static int flush(int fd, struct conn *c)
{
	ssize_t n = send(fd, wbuf, wlen, MSG_NOSIGNAL);
	if (n < 0) {
		if (errno != EAGAIN)
			return 0;
		n = 0;
	}
	int had = c->nout > 0;
	keep(&c->out, &c->nout, wbuf + n, wlen - n);
	if (!had != !c->nout)
		watch(EPOLL_CTL_MOD, fd, c->nout ? EPOLLOUT : EPOLLIN);
	return 1;
}

static void readable(int fd)
{
	struct conn *c = &conns[fd];
	if (c->nin * 2 > rcap) {
		rcap *= 2;
		rbuf = grow(rbuf, rcap);
	}
	if (c->nin)
		memcpy(rbuf, c->in, c->nin);
	ssize_t n = recv(fd, rbuf + c->nin, rcap - c->nin, 0);
	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			end(fd);
		return;
	}
	size_t have = c->nin + n, used = 0;
	int last = 0;
	wlen = 0;
	if (!c->open) {
		unsigned char *blank = memmem(rbuf, have, "\r\n\r\n", 4);
		if (blank) {
			used = blank - rbuf + 4;
			c->open = upgrade((char *)rbuf, used);
			last = !c->open;
		} else {
			last = have > MAXHEAD;
		}
	}
	while (c->open && !last && used < have) {
		long m = frame(rbuf + used, have - used, &last);
		if (m < 0)
			last = 1;
		if (m <= 0)
			break;
		used += m;
	}
	if (c->nin || used < have)
		keep(&c->in, &c->nin, rbuf + used, have - used);
	if ((wlen && !flush(fd, c)) || last)
		end(fd);
}

static void writable(int fd)
{
	struct conn *c = &conns[fd];
	wlen = 0;
	put(c->out, c->nout);
	if (!flush(fd, c))
		end(fd);
}

static void take(int lfd)
{
	for (;;) {
		int fd = accept4(lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
		if (fd < 0)
			return;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		if ((size_t)fd >= nconns) {
			size_t n = nconns ? nconns * 2 : 1024;
			while (n <= (size_t)fd)
				n *= 2;
			conns = grow(conns, n * sizeof *conns);
			memset(conns + nconns, 0, (n - nconns) * sizeof *conns);
			nconns = n;
		}
		watch(EPOLL_CTL_ADD, fd, EPOLLIN);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	const char *addr = "127.0.0.1:9001";
	int reuse = 0, on = 1;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-listen") && i + 1 < argc)
			addr = argv[++i];
		else if (!strcmp(argv[i], "-reuse-port"))
			reuse = 1;
	}
	char host[64] = { 0 };
	const char *colon = strrchr(addr, ':');
	if (!colon || (size_t)(colon - addr) >= sizeof host) {
		fprintf(stderr, "echo: -listen wants ip:port\n");
		return 2;
	}
	memcpy(host, addr, colon - addr);
	sa.sin_port = htons(atoi(colon + 1));
	if (inet_pton(AF_INET, host, &sa.sin_addr) != 1) {
		fprintf(stderr, "echo: -listen wants ip:port\n");
		return 2;
	}
	struct rlimit lim;
	if (!getrlimit(RLIMIT_NOFILE, &lim)) {
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
	int lfd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (lfd < 0)
		die("socket");
	setsockopt(lfd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (reuse)
		setsockopt(lfd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
	if (bind(lfd, (struct sockaddr *)&sa, sizeof sa) < 0)
		die("bind");
	if (listen(lfd, 1 << 16) < 0)
		die("listen");
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (ep < 0)
		die("epoll_create1");
	watch(EPOLL_CTL_ADD, lfd, EPOLLIN);
	rbuf = grow(NULL, rcap);
	wbuf = grow(NULL, wcap);
	printf("listening %s\n", addr);
	fflush(stdout);
	static struct epoll_event evs[EVENTS];
	for (;;) {
		int n = epoll_wait(ep, evs, EVENTS, -1);
		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			int fd = evs[i].data.fd;
			if (fd == lfd)
				take(lfd);
			else if (evs[i].events & EPOLLOUT)
				writable(fd);
			else
				readable(fd);
		}
	}
}
