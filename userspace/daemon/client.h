/* SPDX-License-Identifier: MIT */
/* Connections: bytes in, requests out in order, replies back in order; TLS, limits, and how a connection ends. */
#ifndef LINEUPD_CLIENT_H
#define LINEUPD_CLIENT_H

#include "access.h"
#include "loop.h"
#include "resp.h"

struct client;
struct clients; /* all of them, their listeners and limits */

/* What a request under way is, as far as it matters to those behind it. */
enum request_pending {
	REQUEST_WRITE,  /* a change: reads behind it must see it */
	REQUEST_QUEUED, /* a read in the keeper's queue, without its state yet: reads behind it must not take an older one */
	REQUEST_ALONE,  /* whatever is behind it waits */
	REQUEST_PENDINGS,
};

/*
 * One request under way, made by the client stage and handed to clients_setup.dispatch. Its arguments stay where they are, in
 * memory that is erased afterwards, until request_end. A client's requests are dispatched in their order. Several may be under
 * way; replies are sent in the order of requests. A request whose client is gone goes on until request_end, and should look at
 * request_gone where it could stop early.
 */
struct request {
	struct client *client;
	struct request *next;
	struct resp_argument *argument; /* [arguments], at least 1 */
	uint64_t arguments;
	struct buffer reply;     /* exactly one reply when request_end is called */
	int version;             /* of RESP, for the reply */
	uint64_t begun_ns;
	const void *command;     /* the dispatcher's */
	void *work;              /* the dispatcher's: cleared before request_end */
	bool marked;             /* see request_pending */
	enum request_pending pending;
	bool ended;
	struct buffer memory;    /* behind the arguments */
};

/* The reply is complete: it is sent when those before it were. Loop thread. The request is gone afterwards. */
void request_end(struct request *request);
/* Whether nobody waits for the reply any more. */
bool request_gone(const struct request *request);
/*
 * Marks a request under way. While a client has such, clients_setup.holds decides whether its next request is held back.
 * Requests behind one that is held wait, too: a client's requests are dispatched in their order, always.
 */
void request_pending(struct request *request, enum request_pending as);
/* How many requests of @client are marked so. */
uint32_t client_pending(const struct client *client, enum request_pending as);
/*
 * As request_end, and when @reply was sent, after the replies before it, the connection is closed; what the client sent behind
 * is dropped.
 */
void request_close(struct request *request);

struct clients_setup {
	struct loop *loop;
	const struct config *config;   /* borrowed; clients_reload gives another */
	struct access *access;
	void (*dispatch)(void *arg, struct request *request);
	/* Whether @request must wait for those of its client that are marked. */
	bool (*holds)(void *arg, const struct request *request);
	/* The client is about to be freed: forget it. May be NULL. */
	void (*closed)(void *arg, struct client *client);
	void *arg;
	/*
	 * Listening sockets of socket activation, taken over. TLS is spoken where a "tls:" address of the configuration has their
	 * port.
	 */
	const int *inherited;
	uint32_t inherited_count;
};

/*
 * Binds the listeners, those that are not inherited, and begins to accept. -EADDRINUSE, -EACCES, -EINVAL: logged, naming the
 * address. A stale Unix socket, which nobody listens on, is replaced.
 */
int clients_create(const struct clients_setup *setup, struct clients **clients);
/* Limits and users, for what comes; new certificates. */
void clients_reload(struct clients *clients, const struct config *config, struct access *access);
/*
 * No new connections and requests; @done is called, later and once, when the requests under way have been answered, or after
 * @ms.
 */
void clients_drain(struct clients *clients, uint64_t ms, void (*done)(void *arg), void *arg);
/* Closes all connections, and goes round the loop until their requests have ended, which the dispatcher must see to. Takes NULL. */
void clients_destroy(struct clients *clients);
uint32_t clients_count(const struct clients *clients);
void clients_each(struct clients *clients, void (*each)(void *arg, struct client *client), void *arg);

struct client_info {
	uint64_t id;
	char peer[128];          /* "unix:uid=1000 pid=321", "127.0.0.1:5321" */
	char transport[8];       /* "unix", "tcp", "tls" */
	uint64_t connected_ns, last_ns;
	uint64_t requests, bytes_in, bytes_out;
	uint32_t under_way;
	uint64_t output_bytes;   /* that wait to be sent */
};

void client_info(const struct client *client, struct client_info *info);
struct session *client_session(struct client *client);
int client_version(const struct client *client);
void client_set_version(struct client *client, int version);
/* Free text of CLIENT SETNAME; at most 64 bytes without spaces and controls; -EINVAL. */
int client_set_name(struct client *client, const char *name, size_t size);
const char *client_name(const struct client *client);
void client_close(struct client *client); /* at once, replies that wait are lost: CLIENT KILL of another */

#endif
