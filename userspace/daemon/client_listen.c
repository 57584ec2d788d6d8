// SPDX-License-Identifier: MIT
// Listening sockets: bound or inherited, and how connections are accepted, or refused when there is no room.
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "client_private.h"
#include "metrics.h"

enum { LISTEN_BACKLOG = 4096 };

static int fail(const char *address, const char *what, int err)
{
	char text[400];

	log_event(LOG_ERROR, "listen", "address=%s what=%s error=\"%s\"", log_quote(text, sizeof(text), address), what,
		  strerror(-err));
	return err;
}

/* ---- accepting ---- */

static void accept_arm(struct listener *listener);

static void accept_paused(struct loop_timer *timer)
{
	accept_arm(CONTAINER(timer, struct listener, pause));
}

/* Says why and closes; never waits. To a TLS client nothing can be said before its handshake. */
static void refuse(struct listener *listener, int fd)
{
	static const char text[] = "-ERR max number of clients reached\r\n";

	if (listener->endpoint.kind != CONFIG_TCP_TLS && send(fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		log_event(LOG_DEBUG, "client", "what=\"refused without a word\"");
	close(fd);
	metrics_count(METRIC_CONNECTIONS_REFUSED, 1);
}

/*
 * No descriptor for a new connection. Those that wait would hang without a word: the spare descriptor is given up to take each
 * in turn, say so and close it. Then a pause, since the ring would fail again at once.
 */
static void exhausted(struct listener *listener, int err)
{
	struct clients *clients = listener->clients;
	int flags = fcntl(listener->fd, F_GETFL);

	metrics_count(METRIC_ACCEPT_FAILED, 1);
	if (!clients->exhausted)
		log_event(LOG_ERROR, "listen",
			  "address=\"%s\" what=\"cannot accept: refusing connections until it can\" error=\"%s\" clients=%u",
			  listener->address, strerror(-err), clients->count);
	clients->exhausted = true;
	if (clients->spare_fd >= 0) {
		close(clients->spare_fd);
		clients->spare_fd = -1;
		fcntl(listener->fd, F_SETFL, flags | O_NONBLOCK);
		for (int i = 0; i < CLIENT_ACCEPT_REFUSED_MAX; i++) {
			int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);

			if (fd < 0)
				break;
			refuse(listener, fd);
		}
		fcntl(listener->fd, F_SETFL, flags & ~O_NONBLOCK);
	}
	clients->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	loop_timer_set(clients->loop, &listener->pause, CLIENT_ACCEPT_PAUSE_MS);
}

static void accepted(struct loop_op *op, int result, uint32_t flags)
{
	struct listener *listener = CONTAINER(op, struct listener, accept);
	struct clients *clients = listener->clients;

	listener->armed = flags & IORING_CQE_F_MORE;
	if (result < 0 && clients->draining)
		return; /* the listener has been closed */
	if (result >= 0 && (clients->draining || clients->count >= clients->config->clients_max)) {
		refuse(listener, result);
	} else if (result >= 0) {
		if (clients->exhausted)
			log_event(LOG_INFO, "listen", "address=\"%s\" what=\"accepts again\"", listener->address);
		clients->exhausted = false;
		client_create(listener, result);
	} else if (result == -EINVAL && loop_multishot(clients->loop)) {
		loop_single(clients->loop); /* a kernel without multishot accept: before 5.19 */
	} else if (result == -EMFILE || result == -ENFILE || result == -ENOMEM || result == -ENOBUFS) {
		exhausted(listener, result);
	} else if (result != -ECANCELED && result != -ECONNABORTED && result != -EINTR && result != -EAGAIN) {
		/* What else there may be must not turn into a loop of failures. */
		metrics_count(METRIC_ACCEPT_FAILED, 1);
		fail(listener->address, "accept", result);
		loop_timer_set(clients->loop, &listener->pause, CLIENT_ACCEPT_PAUSE_MS);
	}
	accept_arm(listener);
}

static void accept_arm(struct listener *listener)
{
	struct loop *loop = listener->clients->loop;
	struct io_uring_sqe *sqe;

	if (listener->armed || listener->pause.at_ns || listener->clients->draining)
		return;
	listener->accept.done = accepted;
	sqe = loop_sqe(loop, &listener->accept);
	if (loop_multishot(loop))
		io_uring_prep_multishot_accept(sqe, listener->fd, NULL, NULL, SOCK_CLOEXEC);
	else
		io_uring_prep_accept(sqe, listener->fd, NULL, NULL, SOCK_CLOEXEC);
	listener->armed = true;
}

/* ---- opening ---- */

/* Whether the file at @path is a socket that nobody listens on: one that a daemon left behind. */
static bool is_stale(const struct sockaddr_un *un)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;
	bool stale;

	if (fd < 0)
		return false;
	stale = !lstat(un->sun_path, &st) && S_ISSOCK(st.st_mode) && connect(fd, (const struct sockaddr *)un, sizeof(*un)) &&
		errno == ECONNREFUSED;
	close(fd);
	return stale;
}

static int bind_unix(struct listener *listener, uint32_t mode)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&listener->endpoint.address;
	struct stat st;
	mode_t before;
	int err = 0;

	if (is_stale(un))
		unlink(un->sun_path);
	/* Nobody else can connect before the mode is what it shall be. */
	before = umask(0177);
	if (bind(listener->fd, (const struct sockaddr *)un, listener->endpoint.address_bytes))
		err = fail(listener->address, "bind", -errno);
	umask(before);
	if (err)
		return err;
	if (!lstat(un->sun_path, &st)) {
		listener->device = st.st_dev;
		listener->inode = st.st_ino;
	}
	if (chmod(un->sun_path, (mode_t)mode))
		return fail(listener->address, "chmod", -errno);
	return 0;
}

static int bind_tcp(struct listener *listener)
{
	static const int one = 1;

	setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (listener->endpoint.address.ss_family == AF_INET6)
		setsockopt(listener->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(listener->fd, (const struct sockaddr *)&listener->endpoint.address, listener->endpoint.address_bytes))
		return fail(listener->address, "bind", -errno);
	return 0;
}

static int listener_open(struct clients *clients, const char *address)
{
	struct listener *listener = &clients->listener[clients->listeners];
	char error[512];
	int err;

	*listener = (struct listener){ .clients = clients, .fd = -1, .pause.fire = accept_paused };
	snprintf(listener->address, sizeof(listener->address), "%s", address);
	if (config_endpoint(address, &listener->endpoint, error)) {
		char text[1100];

		log_event(LOG_ERROR, "listen", "error=%s", log_quote(text, sizeof(text), error));
		return -EINVAL;
	}
	listener->fd = socket(listener->endpoint.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener->fd < 0)
		return fail(address, "socket", -errno);
	clients->listeners++; /* listeners_close closes it from here on */
	err = listener->endpoint.kind == CONFIG_UNIX ? bind_unix(listener, clients->config->unix_mode) : bind_tcp(listener);
	if (err)
		return err;
	if (listen(listener->fd, LISTEN_BACKLOG))
		return fail(address, "listen", -errno);
	return 0;
}

static uint16_t port_of(const struct sockaddr_storage *address)
{
	return address->ss_family == AF_INET ? ((const struct sockaddr_in *)address)->sin_port :
	       address->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)address)->sin6_port : 0;
}

/* Whether the configuration's @address is that of an inherited socket: its path, or its port. */
static bool is_same(const struct config_endpoint *a, const struct sockaddr_storage *b)
{
	const struct sockaddr_un *a_un = (const struct sockaddr_un *)&a->address, *b_un = (const struct sockaddr_un *)b;

	if (a->address.ss_family == AF_UNIX)
		return b->ss_family == AF_UNIX && !strcmp(a_un->sun_path, b_un->sun_path);
	return a->address.ss_family == b->ss_family && port_of(&a->address) == port_of(b);
}

static bool is_loopback(const struct sockaddr_storage *address)
{
	if (address->ss_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

static int listener_inherit(struct clients *clients, int fd)
{
	struct listener *listener = &clients->listener[clients->listeners++];
	struct config_endpoint *endpoint = &listener->endpoint;
	socklen_t size = sizeof(endpoint->address);
	int flags = fcntl(fd, F_GETFL), listening = 0;
	int err = 0;
	socklen_t listening_size = sizeof(listening);
	char error[512];

	*listener = (struct listener){ .clients = clients, .fd = fd, .pause.fire = accept_paused };
	snprintf(listener->address, sizeof(listener->address), "inherited:%d", fd);
	if (flags < 0 || getsockname(fd, (struct sockaddr *)&endpoint->address, &size) ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &listening_size))
		err = -errno;
	else if (!listening)
		err = -EINVAL;
	if (err)
		return fail(listener->address, "inherit", err);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	fcntl(fd, F_SETFL, flags & ~O_NONBLOCK); /* the ring waits in our place, and would not with it */
	endpoint->kind = endpoint->address.ss_family == AF_UNIX ? CONFIG_UNIX : CONFIG_TCP;
	for (uint32_t i = 0; i < clients->config->listens; i++) {
		struct config_endpoint e;

		if (config_endpoint(clients->config->listen[i].address, &e, error) || !is_same(&e, &endpoint->address))
			continue;
		endpoint->kind = e.kind;
		snprintf(listener->address, sizeof(listener->address), "%s", clients->config->listen[i].address);
	}
	if (endpoint->kind == CONFIG_TCP && !is_loopback(&endpoint->address)) {
		log_event(LOG_ERROR, "listen", "address=\"%s\" what=\"inherited, not loopback, and no tls: address has its port\"",
			  listener->address);
		return -EACCES;
	}
	return 0;
}

/* Whether an inherited socket serves @address already. */
static bool is_inherited(const struct clients *clients, const char *address, uint32_t inherited)
{
	struct config_endpoint endpoint;
	char error[512];

	if (config_endpoint(address, &endpoint, error))
		return false;
	for (uint32_t i = 0; i < inherited; i++)
		if (is_same(&endpoint, &clients->listener[i].endpoint.address))
			return true;
	return false;
}

int listeners_open(struct clients *clients)
{
	const struct clients_setup *setup = &clients->setup;
	int err = 0;

	clients->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (setup->inherited_count > DAEMON_LISTENERS_MAX)
		return fail("inherited", "count", -E2BIG);
	for (uint32_t i = 0; i < setup->inherited_count && !err; i++)
		err = listener_inherit(clients, setup->inherited[i]);
	for (uint32_t i = 0; i < clients->config->listens && !err; i++) {
		const char *address = clients->config->listen[i].address;

		if (is_inherited(clients, address, setup->inherited_count) ||
		    (setup->inherited_count && clients->config->listens_default))
			continue;
		err = clients->listeners < DAEMON_LISTENERS_MAX ? listener_open(clients, address) : fail(address, "count", -E2BIG);
	}
	if (err)
		return err;
	for (uint32_t i = 0; i < clients->listeners; i++) {
		log_event(LOG_INFO, "listen", "address=\"%s\"", clients->listener[i].address);
		accept_arm(&clients->listener[i]);
	}
	return 0;
}

void listeners_close(struct clients *clients)
{
	for (uint32_t i = 0; i < clients->listeners; i++) {
		struct listener *listener = &clients->listener[i];
		const char *path = ((const struct sockaddr_un *)&listener->endpoint.address)->sun_path;
		struct stat st;

		if (listener->fd < 0)
			continue;
		loop_timer_clear(clients->loop, &listener->pause);
		if (listener->armed)
			loop_cancel(clients->loop, &listener->accept);
		/* Another daemon may have put its own there since. */
		if (listener->inode && !lstat(path, &st) && st.st_dev == listener->device && st.st_ino == listener->inode)
			unlink(path);
		close(listener->fd); /* the ring has a reference of its own for what it waits for */
		listener->fd = -1;
	}
}

bool listeners_armed(const struct clients *clients)
{
	for (uint32_t i = 0; i < clients->listeners; i++)
		if (clients->listener[i].armed)
			return true;
	return false;
}
