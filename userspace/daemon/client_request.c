// SPDX-License-Identifier: MIT
// Requests: taken from a client's bytes in order, dispatched, and answered in order.
#include <stdlib.h>
#include <string.h>

#include "client_private.h"
#include "metrics.h"

static void memory_free(struct request *request)
{
	/* In front of the bytes, or of its own: see memory_copy and memory_move. */
	if ((char *)request->argument != request->memory.data)
		free(request->argument);
	request->argument = NULL;
	buffer_fini(&request->memory);
}

static void request_free(struct request *request)
{
	memory_free(request);
	buffer_fini(&request->reply);
	free(request);
}

static void arguments_point(struct request *request, const struct resp_parser *parser, const char *bytes)
{
	for (uint64_t i = 0; i < parser->spans; i++)
		request->argument[i] = (struct resp_argument){ bytes + parser->span[i].offset, parser->span[i].size };
}

/* The request's bytes are the whole of the input, nearly: they stay where they are, and the input begins anew with the rest. */
static bool memory_move(struct client *client, struct request *request, size_t bytes)
{
	const struct resp_parser *parser = &client->parser;
	struct buffer rest = { 0 };

	request->argument = calloc(parser->spans, sizeof(*request->argument));
	buffer_append(&rest, client->input.data + bytes, client->input.size - bytes);
	if (!request->argument || rest.failed) {
		buffer_fini(&rest);
		return false;
	}
	request->memory = client->input;
	client->input = rest;
	arguments_point(request, parser, request->memory.data);
	return true;
}

static bool memory_copy(struct client *client, struct request *request, size_t bytes)
{
	const struct resp_parser *parser = &client->parser;
	size_t head = parser->spans * sizeof(*request->argument);
	char *from = client->input.data + client->taken, *to;

	to = buffer_reserve(&request->memory, head + bytes);
	if (!to)
		return false;
	request->memory.size = head + bytes;
	request->argument = (struct resp_argument *)to;
	memcpy(to + head, from, bytes);
	explicit_bzero(from, bytes);
	arguments_point(request, parser, to + head);
	client->taken += bytes;
	return true;
}

/* Of the parser's request, whose bytes are taken. NULL: no memory. */
static struct request *request_create(struct client *client, size_t bytes)
{
	struct request *request = calloc(1, sizeof(*request));
	bool whole = bytes >= CLIENT_MOVED_BYTES && !client->taken;

	if (!request)
		return NULL;
	if (whole ? !memory_move(client, request, bytes) : !memory_copy(client, request, bytes)) {
		request_free(request);
		return NULL;
	}
	request->client = client;
	request->arguments = client->parser.spans;
	request->version = client->version;
	request->begun_ns = now_ns();
	return request;
}

static void request_append(struct client *client, struct request *request)
{
	if (client->last)
		client->last->next = request;
	else
		client->first = request;
	client->last = request;
	client->under_way++;
	client->requests++;
	metrics_count(METRIC_REQUESTS, 1);
}

/* Sends the replies that are ready: those of the first requests, as far as they have ended. */
static void replies_send(struct client *client)
{
	while (client->first && client->first->ended) {
		struct request *request = client->first;

		client->first = request->next;
		if (!client->first)
			client->last = NULL;
		client->under_way--;
		if (client->state < CLIENT_LINGER)
			client_write(client, &request->reply);
		request_free(request);
	}
}

void request_end(struct request *request)
{
	struct client *client = request->client;

	if (request->reply.failed || !request->reply.size) {
		bool failed = request->reply.failed;

		buffer_fini(&request->reply);
		resp_error(&request->reply, "%s", failed ? "ERR out of memory for the reply" :
			   "ERR internal error: the command gave no reply");
		metrics_count(failed ? METRIC_ERROR_MEMORY : METRIC_ERROR_INTERNAL, 1);
	}
	/* What it was about is not needed for the reply, which may wait long for a slow reader. */
	memory_free(request);
	request->ended = true;
	if (request->marked)
		client->pending[request->pending]--;
	request->marked = false;
	replies_send(client);
	/* @request may be gone from here on. */
	client_pump(client);
}

void request_close(struct request *request)
{
	struct client *client = request->client;

	client_last(client);
	request_end(request);
}

bool request_gone(const struct request *request)
{
	return request->client->state == CLIENT_DEAD;
}

void request_pending(struct request *request, enum request_pending as)
{
	if (request->marked)
		return;
	request->marked = true;
	request->pending = as;
	request->client->pending[as]++;
}

uint32_t client_pending(const struct client *client, enum request_pending as)
{
	return client->pending[as];
}

static bool is_held(const struct client *client, const struct request *request)
{
	const struct clients_setup *setup = &client->clients->setup;

	for (uint32_t i = 0; i < REQUEST_PENDINGS; i++)
		if (client->pending[i])
			return setup->holds && setup->holds(setup->arg, request);
	return false;
}

static void dispatch(struct client *client, struct request *request)
{
	client->clients->setup.dispatch(client->clients->setup.arg, request);
}

/* Answers what cannot be understood, after the replies before, and closes. */
static void protocol_error(struct client *client, int err)
{
	struct request *request = calloc(1, sizeof(*request));

	metrics_count(err == -EPROTO ? METRIC_ERROR_PROTOCOL : METRIC_ERROR_MEMORY, 1);
	log_event(LOG_INFO, "client", "id=%llu peer=\"%s\" what=%s", (unsigned long long)client->id, client->peer,
		  err == -EPROTO ? "\"protocol error\"" : "\"out of memory\"");
	if (!request) {
		client_kill(client);
		return;
	}
	request->client = client;
	resp_error(&request->reply, "%s", err == -EPROTO ? client->parser.error : "ERR out of memory for the request");
	request->ended = true;
	request_append(client, request);
	client_last(client);
	replies_send(client);
}

/*
 * Requests of a client with a limit come one interval apart, after at most a second's worth at once: rate_at_ns is when the
 * next would come at an even pace. False: not yet, the timer will tell.
 */
static bool rate_allows(struct client *client)
{
	uint32_t rate = client->clients->config->client_rate;
	uint64_t now;

	if (!rate)
		return true;
	now = now_ns();
	if (client->rate_at_ns <= now + 1000000000)
		return true;
	if (!client->rate.at_ns)
		loop_timer_set(client->clients->loop, &client->rate, (client->rate_at_ns - now - 1000000000) / 1000000 + 1);
	return false;
}

static void rate_charge(struct client *client)
{
	uint32_t rate = client->clients->config->client_rate;
	uint64_t now;

	if (!rate)
		return;
	now = now_ns();
	client->rate_at_ns = (client->rate_at_ns > now ? client->rate_at_ns : now) + 1000000000 / rate;
}

static bool limits_allow(struct client *client)
{
	const struct config *config = client->clients->config;

	/* What is behind an AUTH is read by the limits of whom it made of the client. */
	if (!client->session.known && client->under_way)
		return false;
	return !client->clients->draining && client->under_way < config->client_pipeline_max &&
	       client_unsent(client) <= config->client_output_bytes_max && rate_allows(client);
}

/* The next whole request of the input. NULL: there is none (yet), or the client is at its end. */
static struct request *request_next(struct client *client)
{
	const struct config *config = client->clients->config;
	struct resp_parser *parser = &client->parser;

	while (client->input.size > client->taken) {
		struct request *request;
		size_t bytes;
		int got;

		parser->request_bytes_max = client->session.known ? config->request_bytes_max : CLIENT_UNKNOWN_REQUEST_BYTES_MAX;
		parser->arguments_max = client->session.known ? 0 : CLIENT_UNKNOWN_ARGUMENTS_MAX;
		got = resp_parse(parser, client->input.data + client->taken, client->input.size - client->taken, &bytes);
		if (got < 0)
			protocol_error(client, got);
		if (got <= 0)
			return NULL;
		if (!parser->spans) {
			client->taken += bytes;
			resp_next(parser);
			continue;
		}
		request = request_create(client, bytes);
		if (!request)
			protocol_error(client, -ENOMEM);
		resp_next(parser);
		return request;
	}
	return NULL;
}

void client_take(struct client *client)
{
	client->blocked = false;
	while (client->state == CLIENT_OPEN) {
		struct request *request = client->held;

		if (request) {
			client->blocked = is_held(client, request);
			if (client->blocked)
				break;
			client->held = NULL;
			dispatch(client, request);
			continue;
		}
		client->blocked = !limits_allow(client);
		if (client->blocked)
			break;
		request = request_next(client);
		if (!request)
			break;
		rate_charge(client);
		request_append(client, request);
		if (is_held(client, request))
			client->held = request;
		else
			dispatch(client, request);
	}
	if (client->taken == client->input.size)
		buffer_fini(&client->input);
	else if (client->taken > client->input.size / 2)
		buffer_consume(&client->input, client->taken);
	else
		return;
	client->taken = 0;
}

void client_requests_drop(struct client *client)
{
	struct request *held = client->held;

	resp_fini(&client->parser);
	buffer_fini(&client->input);
	client->taken = 0;
	if (!held)
		return;
	/* It was never given to the dispatcher: it ends here. */
	client->held = NULL;
	held->ended = true;
	replies_send(client);
}
