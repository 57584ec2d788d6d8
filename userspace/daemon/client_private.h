/* SPDX-License-Identifier: MIT */
/* What the files of the client stage share. Grouped by the file that defines it. */
#ifndef LINEUPD_CLIENT_PRIVATE_H
#define LINEUPD_CLIENT_PRIVATE_H

#include "client.h"
#include "tls.h"

enum {
	CLIENT_NAME_BYTES_MAX = 64,
	CLIENT_INPUT_BYTES = 65536,              /* received and not taken, while requests wait: more is left with the kernel */
	CLIENT_MOVED_BYTES = 65536,              /* a request this long takes over the input's memory */
	CLIENT_OUTPUT_FACTOR = 10,               /* times client_output_bytes_max: closed */
	CLIENT_HANDSHAKE_MS = 10000,
	CLIENT_AUTH_MS = 60000,                  /* for nobody yet to become somebody */
	CLIENT_LINGER_MS = 1000,                 /* for the last reply to be read before the connection goes */
	CLIENT_LINGER_BYTES = 1 << 20,           /* that are received, and dropped, meanwhile */
	CLIENT_UNKNOWN_ARGUMENTS_MAX = 10,       /* as Redis before AUTH */
	CLIENT_UNKNOWN_REQUEST_BYTES_MAX = 16384,
	CLIENT_ACCEPT_PAUSE_MS = 50,
	CLIENT_ACCEPT_REFUSED_MAX = 64,          /* by the spare descriptor before the next pause */
};

/*
 *	OPEN ---> LAST ------------> LINGER -----------> DEAD ---> freed
 *	  |       no more requests:  all was sent, the   the socket is shut: waits for what the kernel holds of it, then for
 *	  |       QUIT, EOF, error   peer has been told  requests under way; nobody reads their replies
 *	  +-------------------------- client_close, errors ------^
 */
enum client_state { CLIENT_OPEN, CLIENT_LAST, CLIENT_LINGER, CLIENT_DEAD };

struct listener {
	struct loop_op accept;
	struct loop_timer pause;
	struct clients *clients;
	struct config_endpoint endpoint;
	uint64_t device, inode;  /* of the Unix socket that was bound here, which is removed at the end; 0: inherited, or none */
	char address[160];       /* for messages */
	int fd;
	bool armed;
};

struct client {
	struct loop_op receive, send, close;
	struct loop_timer deadline; /* idle, handshake, AUTH, linger: whichever is next */
	struct loop_timer rate;     /* when the next request may be taken */
	struct clients *clients;
	struct client *next, *previous;
	int fd;
	uint8_t kind;               /* CONFIG_UNIX ... */
	uint8_t state;
	uint8_t version;
	bool receiving, stopping;   /* a receive is under way; and is being cancelled */
	bool sending, closing, closed;
	bool end_of_input;
	bool blocked;               /* whole requests may wait in the input */
	bool pumping, busy;

	struct buffer input;
	size_t taken;               /* of it */
	struct resp_parser parser;
	struct request *first, *last, *held; /* in their order; held is the last */
	uint32_t under_way;
	uint32_t pending[REQUEST_PENDINGS]; /* requests under way, by what they were marked as */
	uint64_t rate_at_ns;

	struct buffer output, flight; /* to be sent next; being sent */
	size_t flight_sent;
	size_t dropped;             /* received while it lingers */
	struct tls_session *tls;

	struct session session;
	uint64_t id, connected_ns, last_ns, requests, bytes_in, bytes_out;
	char peer[80];
	char name[CLIENT_NAME_BYTES_MAX + 1];
};

struct clients {
	struct clients_setup setup;
	struct loop *loop;
	const struct config *config;
	struct access *access;
	struct tls *tls;
	struct listener listener[DAEMON_LISTENERS_MAX];
	uint32_t listeners;
	struct client *first;
	uint32_t count, busy;
	uint64_t last_id;
	int spare_fd;            /* given up to refuse connections when descriptors run out */
	bool exhausted;          /* and that has been logged */
	bool draining, destroying;
	struct loop_timer drain;
	void (*drained)(void *arg);
	void *drained_arg;
};

#define CONTAINER(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))

/* client.c */

/* Of a connection that was accepted; @fd is taken over. */
void client_create(struct listener *listener, int fd);
/* Does whatever can be done now: takes requests, sends, receives, closes. The client may be gone afterwards. */
void client_pump(struct client *client);
/* No more requests: what is under way is answered, then the connection closes. */
void client_last(struct client *client);
void client_kill(struct client *client);
size_t client_unsent(const struct client *client);
void client_set_deadline(struct client *client);

/* client_io.c */

/* Begins or ends to receive, as the client's state asks. */
void client_receive(struct client *client);
void client_send(struct client *client);
/* Appends plain bytes to the output, through TLS where there is. False: no memory, and the client is being closed. */
bool client_write(struct client *client, struct buffer *reply);

/* client_request.c */

/* Takes requests from the input and dispatches them, as far as limits allow. */
void client_take(struct client *client);
void client_requests_drop(struct client *client); /* what was not dispatched */

/* client_listen.c */

int listeners_open(struct clients *clients);
void listeners_close(struct clients *clients);
bool listeners_armed(const struct clients *clients);

#endif
