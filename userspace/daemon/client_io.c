// SPDX-License-Identifier: MIT
// What a client receives and sends: one receive and one send under way at most, and what comes back of them.
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "client_private.h"
#include "metrics.h"

enum {
	SEND_BYTES_MAX = 1 << 30,
	SINGLE_BYTES_MAX = 4 * LOOP_BUFFER_BYTES, /* taken at once from a socket that is ready, before others get their turn */
};

/* ---- receiving ---- */

static void tls_take(struct client *client, const char *data, size_t size)
{
	bool ready = tls_session_ready(client->tls);
	int got = tls_session_receive(client->tls, data, size, &client->input, &client->output);
	char cn[256], sha256[65];

	if (got < 0) {
		metrics_count(METRIC_ERROR_PROTOCOL, 1);
		log_event(LOG_INFO, "client", "id=%llu peer=\"%s\" what=tls error=\"%s\"", (unsigned long long)client->id,
			  client->peer, tls_session_error(client->tls));
		client_last(client);
		return;
	}
	if (got > 0)
		client->end_of_input = true;
	if (ready || !tls_session_ready(client->tls))
		return;
	if (tls_session_peer(client->tls, cn, sha256) &&
	    access_certificate(client->clients->access, cn, sha256, &client->session))
		log_event(LOG_INFO, "client", "id=%llu peer=\"%s\" what=\"certificate of no user\"", (unsigned long long)client->id,
			  client->peer);
}

static void take(struct client *client, const char *data, size_t size)
{
	client->bytes_in += size;
	metrics_count(METRIC_BYTES_IN, size);
	if (client->state != CLIENT_OPEN) {
		/* Nobody reads it: it is received so that the peer can finish sending, and then reads the last reply. */
		client->dropped += size;
		if (client->dropped > CLIENT_LINGER_BYTES)
			client_kill(client);
		return;
	}
	client->last_ns = now_ns();
	if (client->taken) {
		buffer_consume(&client->input, client->taken);
		client->taken = 0;
	}
	if (client->tls)
		tls_take(client, data, size);
	else
		buffer_append(&client->input, data, size);
	if (client->input.failed || client->output.failed) {
		metrics_count(METRIC_ERROR_MEMORY, 1);
		log_event(LOG_WARN, "client", "id=%llu peer=\"%s\" what=\"closed: out of memory\"", (unsigned long long)client->id,
			  client->peer);
		client_kill(client);
	}
}

/* Without multishot receives the ring only tells that there is something: idle clients have no buffer then either. */
static int take_single(struct client *client)
{
	char data[LOOP_BUFFER_BYTES];
	ssize_t size;
	size_t all = 0;

	do {
		size = recv(client->fd, data, sizeof(data), MSG_DONTWAIT);
		if (size > 0)
			take(client, data, (size_t)size);
		all += size > 0 ? (size_t)size : 0;
	} while (size == sizeof(data) && all < SINGLE_BYTES_MAX && client->state != CLIENT_DEAD);
	size = size < 0 ? -errno : size;
	explicit_bzero(data, all < sizeof(data) ? all : sizeof(data));
	return (int)size;
}

static void received(struct loop_op *op, int result, uint32_t flags)
{
	struct client *client = CONTAINER(op, struct client, receive);
	struct loop *loop = client->clients->loop;

	client->receiving = flags & IORING_CQE_F_MORE;
	if (!client->receiving)
		client->stopping = false;
	if (flags & IORING_CQE_F_BUFFER) {
		if (result > 0)
			take(client, loop_buffer(loop, flags), (size_t)result);
		loop_buffer_return(loop, flags, result > 0 ? (size_t)result : 0);
	} else if (result > 0) {
		result = take_single(client);
	} else if (result == -EINVAL && loop_multishot(loop)) {
		loop_single(loop); /* a kernel with rings of buffers, but without multishot receive: 5.19 */
		result = -EAGAIN;
	}
	if (!result)
		client->end_of_input = true;
	else if (result < 0 && result != -ECANCELED && result != -ENOBUFS && result != -EAGAIN && result != -EINTR)
		client_kill(client);
	client_pump(client);
}

static bool wants_bytes(const struct client *client)
{
	if (client->end_of_input)
		return false;
	if (client->state == CLIENT_OPEN)
		return !client->clients->draining && !(client->blocked && client->input.size - client->taken >= CLIENT_INPUT_BYTES);
	return client->state == CLIENT_LINGER;
}

void client_receive(struct client *client)
{
	struct loop *loop = client->clients->loop;
	struct io_uring_sqe *sqe;

	if (!wants_bytes(client)) {
		if (client->receiving && !client->stopping) {
			client->stopping = true;
			loop_cancel(loop, &client->receive);
		}
		return;
	}
	if (client->receiving)
		return;
	client->receive.done = received;
	sqe = loop_sqe(loop, &client->receive);
	if (loop_multishot(loop)) {
		io_uring_prep_recv_multishot(sqe, client->fd, NULL, 0, 0);
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = LOOP_BUFFER_GROUP;
	} else {
		io_uring_prep_poll_add(sqe, client->fd, POLLIN);
	}
	client->receiving = true;
}

/* ---- sending ---- */

size_t client_unsent(const struct client *client)
{
	return client->output.size + client->flight.size - client->flight_sent;
}

static void sent(struct loop_op *op, int result, uint32_t flags)
{
	struct client *client = CONTAINER(op, struct client, send);

	(void)flags;
	client->sending = false;
	if (result > 0) {
		client->flight_sent += (size_t)result;
		client->bytes_out += (uint64_t)result;
		client->last_ns = now_ns();
		metrics_count(METRIC_BYTES_OUT, (uint64_t)result);
	} else if (result != -EINTR && result != -EAGAIN && result != -ENOBUFS) {
		client_kill(client);
	}
	client_pump(client);
}

void client_send(struct client *client)
{
	size_t size;

	if (client->sending || client->state == CLIENT_DEAD)
		return;
	if (client->flight_sent == client->flight.size) {
		buffer_fini(&client->flight);
		client->flight = client->output;
		memset(&client->output, 0, sizeof(client->output));
		client->flight_sent = 0;
	}
	size = client->flight.size - client->flight_sent;
	if (!size)
		return;
	client->send.done = sent;
	io_uring_prep_send(loop_sqe(client->clients->loop, &client->send), client->fd, client->flight.data + client->flight_sent,
			   size < SEND_BYTES_MAX ? size : SEND_BYTES_MAX, MSG_NOSIGNAL);
	client->sending = true;
}

bool client_write(struct client *client, struct buffer *reply)
{
	uint64_t limit = client->clients->config->client_output_bytes_max;
	const char *why;
	int err = 0;

	if (client->tls)
		err = tls_session_send(client->tls, reply->data, reply->size, &client->output);
	else if (client->output.size)
		buffer_append(&client->output, reply->data, reply->size);
	else {
		buffer_fini(&client->output);
		client->output = *reply;
		memset(reply, 0, sizeof(*reply));
	}
	if (!err && !client->output.failed && client_unsent(client) / CLIENT_OUTPUT_FACTOR <= limit)
		return true;
	metrics_count(client->output.failed ? METRIC_ERROR_MEMORY : METRIC_ERROR_LIMIT, 1);
	why = client->output.failed ? "out of memory" : err ? "TLS cannot send" : "it does not read its replies";
	log_event(LOG_WARN, "client", "id=%llu peer=\"%s\" what=\"closed: %s\" unsent=%zu", (unsigned long long)client->id,
		  client->peer, why, client_unsent(client));
	client_kill(client);
	return false;
}
