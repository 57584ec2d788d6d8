// SPDX-License-Identifier: MIT
// Connections from their first byte to their last: states, deadlines, and what others may know of them.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client_private.h"
#include "metrics.h"

static const char *const transports[] = { [CONFIG_UNIX] = "unix", [CONFIG_TCP] = "tcp", [CONFIG_TCP_TLS] = "tls" };

/* ---- deadlines ---- */

/* When the client is to be closed, as things stand; 0: never. */
static uint64_t deadline_ns(const struct client *client)
{
	uint64_t idle_s = client->clients->config->client_idle_s, at = 0;

	if (client->state == CLIENT_LINGER)
		return client->last_ns + CLIENT_LINGER_MS * 1000000ull;
	if (idle_s)
		at = (client->under_way ? now_ns() : client->last_ns) + idle_s * 1000000000;
	if (client->tls && !tls_session_ready(client->tls)) {
		uint64_t handshake = client->connected_ns + CLIENT_HANDSHAKE_MS * 1000000ull;

		at = at && at < handshake ? at : handshake;
	} else if (!client->session.known && !client->under_way) {
		uint64_t auth = client->connected_ns + CLIENT_AUTH_MS * 1000000ull;

		at = at && at < auth ? at : auth;
	}
	return at;
}

void client_set_deadline(struct client *client)
{
	uint64_t at = deadline_ns(client), now = now_ns();

	if (at)
		loop_timer_set(client->clients->loop, &client->deadline, at > now ? (at - now) / 1000000 + 1 : 0);
	else
		loop_timer_clear(client->clients->loop, &client->deadline);
}

/* The timer is not moved at every byte: it looks, when it fires, whether the deadline has moved. */
static void deadline_fire(struct loop_timer *timer)
{
	struct client *client = CONTAINER(timer, struct client, deadline);
	uint64_t at = deadline_ns(client);

	if (!at || at > now_ns()) {
		client_set_deadline(client);
		return;
	}
	if (client->state != CLIENT_LINGER)
		log_event(LOG_INFO, "client", "id=%llu peer=\"%s\" what=\"closed: %s\"", (unsigned long long)client->id,
			  client->peer,
			  client->tls && !tls_session_ready(client->tls) ? "no TLS handshake in time" :
			  client->session.known ? "idle" : "idle, or nobody known in time");
	client_kill(client);
	client_pump(client);
}

static void rate_fire(struct loop_timer *timer)
{
	client_pump(CONTAINER(timer, struct client, rate));
}

/* ---- how it begins ---- */

static void describe_peer(struct client *client)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} address = { .any.sa_family = AF_UNSPEC };
	struct ucred cred = { .uid = (uid_t)-1 };
	socklen_t size = client->kind == CONFIG_UNIX ? sizeof(cred) : sizeof(address);
	char host[INET6_ADDRSTRLEN] = "?";

	if (client->kind == CONFIG_UNIX) {
		if (getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &cred, &size))
			return;
		snprintf(client->peer, sizeof(client->peer), "unix:uid=%u pid=%d", cred.uid, cred.pid);
		access_peer(client->clients->access, cred.uid, &client->session);
		return;
	}
	if (getpeername(client->fd, &address.any, &size))
		return;
	if (address.any.sa_family == AF_INET) {
		inet_ntop(AF_INET, &address.in.sin_addr, host, sizeof(host));
		snprintf(client->peer, sizeof(client->peer), "%s:%u", host, ntohs(address.in.sin_port));
	} else {
		inet_ntop(AF_INET6, &address.in6.sin6_addr, host, sizeof(host));
		snprintf(client->peer, sizeof(client->peer), "[%s]:%u", host, ntohs(address.in6.sin6_port));
	}
}

static void tcp_options(int fd)
{
	static const int one = 1, idle_s = 300, interval_s = 30, probes = 4;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	/* A peer that vanished without a word is found out in some minutes. */
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

void client_create(struct listener *listener, int fd)
{
	struct clients *clients = listener->clients;
	struct client *client = calloc(1, sizeof(*client));

	if (!client)
		goto refuse;
	client->clients = clients;
	client->fd = fd;
	client->kind = (uint8_t)listener->endpoint.kind;
	client->version = 2;
	client->id = ++clients->last_id;
	client->connected_ns = client->last_ns = now_ns();
	client->deadline.fire = deadline_fire;
	client->rate.fire = rate_fire;
	snprintf(client->peer, sizeof(client->peer), "?");
	if (client->kind == CONFIG_TCP_TLS && (!clients->tls || tls_session_create(clients->tls, &client->tls)))
		goto refuse;
	if (client->kind != CONFIG_UNIX)
		tcp_options(fd);
	describe_peer(client);
	client->next = clients->first;
	if (client->next)
		client->next->previous = client;
	clients->first = client;
	metrics_set_clients(++clients->count);
	metrics_count(METRIC_CONNECTIONS, 1);
	log_event(LOG_DEBUG, "client", "id=%llu peer=\"%s\" what=connected", (unsigned long long)client->id, client->peer);
	client_set_deadline(client);
	client_pump(client);
	return;
refuse:
	metrics_count(METRIC_CONNECTIONS_REFUSED, 1);
	log_event(LOG_WARN, "client", "what=\"refused: out of memory\"");
	free(client);
	close(fd);
}

/* ---- how it ends ---- */

void client_last(struct client *client)
{
	if (client->state != CLIENT_OPEN)
		return;
	client->state = CLIENT_LAST;
	client_requests_drop(client);
}

void client_kill(struct client *client)
{
	if (client->state == CLIENT_DEAD)
		return;
	client->state = CLIENT_DEAD;
	/* Ends what the kernel has under way of it, too. */
	shutdown(client->fd, SHUT_RDWR);
	if (client->receiving && !client->stopping) {
		client->stopping = true;
		loop_cancel(client->clients->loop, &client->receive);
	}
	loop_timer_clear(client->clients->loop, &client->deadline);
	loop_timer_clear(client->clients->loop, &client->rate);
	client_requests_drop(client);
	buffer_fini(&client->output);
}

void client_close(struct client *client)
{
	client_kill(client);
	client_pump(client);
}

static void client_free(struct client *client)
{
	struct clients *clients = client->clients;

	if (clients->setup.closed)
		clients->setup.closed(clients->setup.arg, client);
	log_event(LOG_DEBUG, "client", "id=%llu peer=\"%s\" what=gone requests=%llu", (unsigned long long)client->id, client->peer,
		  (unsigned long long)client->requests);
	if (client->previous)
		client->previous->next = client->next;
	else
		clients->first = client->next;
	if (client->next)
		client->next->previous = client->previous;
	metrics_set_clients(--clients->count);
	buffer_fini(&client->input);
	buffer_fini(&client->output);
	buffer_fini(&client->flight);
	resp_fini(&client->parser);
	tls_session_destroy(client->tls);
	session_end(&client->session);
	free(client);
}

static void close_done(struct loop_op *op, int result, uint32_t flags)
{
	struct client *client = CONTAINER(op, struct client, close);

	(void)result, (void)flags;
	client->closed = true;
	client_pump(client);
}

/*
 * Closes the descriptor when the kernel has nothing of it under way, and lets go of the client when nobody needs it. True: it
 * is gone.
 */
static bool dead_settle(struct client *client)
{
	if (client->receiving || client->sending)
		return false;
	if (!client->closing) {
		client->closing = true;
		client->close.done = close_done;
		io_uring_prep_close(loop_sqe(client->clients->loop, &client->close), client->fd);
	}
	if (!client->closed || client->under_way)
		return false;
	client_free(client);
	return true;
}

static void drain_check(struct clients *clients)
{
	if (clients->draining && !clients->busy && clients->drained)
		loop_timer_set(clients->loop, &clients->drain, 0);
}

static void busy_set(struct client *client, bool busy)
{
	if (client->busy == busy)
		return;
	client->busy = busy;
	if (busy)
		client->clients->busy++;
	else if (!--client->clients->busy)
		drain_check(client->clients);
}

/* All was answered and sent: tell the peer, and give it time to read. */
static void linger(struct client *client)
{
	if (client->tls)
		tls_session_bye(client->tls, &client->output);
	client->state = CLIENT_LINGER;
	client->last_ns = now_ns();
	client_set_deadline(client);
}

void client_pump(struct client *client)
{
	/* What is called from here may come back here: a dispatcher that answers at once. */
	if (client->pumping)
		return;
	client->pumping = true;
	client_take(client);
	if (client->state == CLIENT_OPEN && client->end_of_input && !client->blocked && !client->held)
		client_last(client);
	if (client->state == CLIENT_LAST && !client->under_way && !client_unsent(client))
		linger(client);
	client_send(client);
	if (client->state == CLIENT_LINGER && !client_unsent(client)) {
		if (client->end_of_input)
			client_kill(client);
		else
			shutdown(client->fd, SHUT_WR);
	}
	if (client->state != CLIENT_DEAD)
		client_receive(client);
	busy_set(client, client->under_way || (client->state != CLIENT_DEAD && client_unsent(client)));
	client->pumping = false;
	if (client->state == CLIENT_DEAD)
		dead_settle(client);
}

/* ---- what others may know ---- */

void client_info(const struct client *client, struct client_info *info)
{
	memset(info, 0, sizeof(*info));
	info->id = client->id;
	snprintf(info->peer, sizeof(info->peer), "%s", client->peer);
	snprintf(info->transport, sizeof(info->transport), "%s", transports[client->kind]);
	info->connected_ns = client->connected_ns;
	info->last_ns = client->last_ns;
	info->requests = client->requests;
	info->bytes_in = client->bytes_in;
	info->bytes_out = client->bytes_out;
	info->under_way = client->under_way;
	info->output_bytes = client_unsent(client);
}

struct session *client_session(struct client *client)
{
	return &client->session;
}

int client_version(const struct client *client)
{
	return client->version;
}

void client_set_version(struct client *client, int version)
{
	client->version = (uint8_t)version;
}

int client_set_name(struct client *client, const char *name, size_t size)
{
	if (size > CLIENT_NAME_BYTES_MAX)
		return -EINVAL;
	for (size_t i = 0; i < size; i++)
		if (name[i] <= ' ' || name[i] > '~')
			return -EINVAL;
	memcpy(client->name, name, size);
	client->name[size] = '\0';
	return 0;
}

const char *client_name(const struct client *client)
{
	return client->name;
}

/* ---- all of them ---- */

static int tls_load(const struct config *config, struct tls **tls)
{
	char error[512] = "", text[1100];
	int err = tls_create(config, tls, error);

	if (err)
		log_event(LOG_ERROR, "tls", "error=%s", log_quote(text, sizeof(text), error));
	return err;
}

/* Every client is a descriptor, and galleries need some, too. */
static void descriptors_allow(const struct config *config)
{
	struct rlimit limit;
	rlim_t wanted = (rlim_t)config->clients_max + 1024;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = limit.rlim_max == RLIM_INFINITY || limit.rlim_max > wanted ? wanted : limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < wanted)
		log_event(LOG_WARN, "client",
			  "what=\"fewer file descriptors than clients_max needs\" descriptors=%llu clients_max=%u",
			  (unsigned long long)limit.rlim_cur, config->clients_max);
}

static void drain_fire(struct loop_timer *timer)
{
	struct clients *clients = CONTAINER(timer, struct clients, drain);
	void (*drained)(void *arg) = clients->drained;

	if (clients->busy)
		log_event(LOG_WARN, "client", "what=\"stopped before all was answered\" clients=%u", clients->busy);
	clients->drained = NULL;
	if (drained)
		drained(clients->drained_arg);
}

int clients_create(const struct clients_setup *setup, struct clients **out)
{
	struct clients *clients = calloc(1, sizeof(*clients));
	int err;

	if (!clients)
		return -ENOMEM;
	clients->setup = *setup;
	clients->loop = setup->loop;
	clients->config = setup->config;
	clients->access = setup->access;
	clients->drain.fire = drain_fire;
	clients->spare_fd = -1;
	descriptors_allow(setup->config);
	err = tls_load(setup->config, &clients->tls);
	if (!err)
		err = listeners_open(clients);
	if (err) {
		clients_destroy(clients);
		return err;
	}
	*out = clients;
	return 0;
}

void clients_reload(struct clients *clients, const struct config *config, struct access *access)
{
	struct tls *tls = NULL;

	clients->config = config;
	clients->access = access;
	descriptors_allow(config);
	/* With files that do not fit, the certificate there was goes on to serve: tls_load has said why. */
	if (!tls_load(config, &tls) && tls) {
		tls_put(clients->tls);
		clients->tls = tls;
	}
	for (struct client *client = clients->first; client; client = client->next) {
		/* With the rights of now; who is no user any more is nobody, until AUTH. */
		if (client->session.known)
			(void)access_renew(access, &client->session);
		if (client->state != CLIENT_DEAD)
			client_set_deadline(client);
	}
}

void clients_drain(struct clients *clients, uint64_t ms, void (*done)(void *arg), void *arg)
{
	struct client *next;

	clients->draining = true;
	clients->drained = done;
	clients->drained_arg = arg;
	listeners_close(clients);
	loop_timer_set(clients->loop, &clients->drain, ms);
	for (struct client *client = clients->first; client; client = next) {
		next = client->next;
		client_pump(client);
	}
	drain_check(clients);
}

void clients_destroy(struct clients *clients)
{
	if (!clients)
		return;
	clients->draining = true;
	clients->drained = NULL;
	listeners_close(clients);
	loop_timer_clear(clients->loop, &clients->drain);
	for (struct client *client = clients->first, *next; client; client = next) {
		next = client->next;
		client_close(client);
	}
	while (clients->first || listeners_armed(clients))
		if (loop_turn(clients->loop, true))
			break;
	if (clients->spare_fd >= 0)
		close(clients->spare_fd);
	tls_put(clients->tls);
	free(clients);
}

uint32_t clients_count(const struct clients *clients)
{
	return clients->count;
}

void clients_each(struct clients *clients, void (*each)(void *arg, struct client *client), void *arg)
{
	for (struct client *client = clients->first, *next; client; client = next) {
		next = client->next;
		each(arg, client);
	}
}
