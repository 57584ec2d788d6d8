// SPDX-License-Identifier: MIT
// Commands about the connection: PING, ECHO, QUIT, RESET, SELECT, CLIENT.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "job.h"

void command_ping(struct server *server, struct request *request)
{
	(void)server;
	if (request->arguments > 2)
		request_error(request, METRIC_ERROR_INVALID, "ERR wrong number of arguments for 'ping' command");
	else if (request->arguments == 2)
		resp_bulk(&request->reply, request->argument[1].data, request->argument[1].size);
	else
		resp_simple(&request->reply, "PONG");
	request_end(request);
}

void command_echo(struct server *server, struct request *request)
{
	(void)server;
	resp_bulk(&request->reply, request->argument[1].data, request->argument[1].size);
	request_end(request);
}

void command_quit(struct server *server, struct request *request)
{
	(void)server;
	resp_simple(&request->reply, "OK");
	request_close(request);
}

void command_reset(struct server *server, struct request *request)
{
	(void)server;
	/* Whom the transport knew stays known: there is no AUTH that would bring it back. */
	client_set_version(request->client, 2);
	client_set_name(request->client, "", 0);
	resp_simple(&request->reply, "RESET");
	request_end(request);
}

void command_select(struct server *server, struct request *request)
{
	(void)server;
	if (request->argument[1].size == 1 && request->argument[1].data[0] == '0')
		resp_simple(&request->reply, "OK");
	else
		request_error(request, METRIC_ERROR_INVALID, "ERR DB index is out of range");
	request_end(request);
}

/* ---- CLIENT ---- */

static void write_line(struct buffer *b, struct client *client)
{
	uint64_t now = now_ns();
	struct client_info info;
	char name[160], user[160];

	client_info(client, &info);
	snprintf(name, sizeof(name), "%s", client_name(client));
	snprintf(user, sizeof(user), "%s", client_session(client)->name);
	buffer_printf(b, "id=%" PRIu64 " addr=%s name=%s age=%" PRIu64 " idle=%" PRIu64 " flags=N db=0 sub=0 user=%s resp=%d transport=%s"
		      " requests=%" PRIu64 " under-way=%u tot-net-in=%" PRIu64 " tot-net-out=%" PRIu64 " omem=%" PRIu64 "\n",
		      info.id, info.peer, name, (now - info.connected_ns) / 1000000000, (now - info.last_ns) / 1000000000, user,
		      client_version(client), info.transport, info.requests, info.under_way, info.bytes_in, info.bytes_out, info.output_bytes);
}

static void list_client(void *arg, struct client *client)
{
	write_line(arg, client);
}

static bool admin(struct request *request)
{
	if (access_allows(client_session(request->client), ACCESS_ADMIN, NULL))
		return true;
	request_error(request, METRIC_ERROR_DENIED, "NOPERM this user has no permissions to run this CLIENT subcommand");
	return false;
}

struct kill {
	const struct client *self;
	uint64_t id;             /* 0: any */
	const struct resp_argument *address;
	bool skip_self;
	uint64_t found;
	struct client *victim[64];
};

static void find_victim(void *arg, struct client *client)
{
	struct kill *k = arg;
	struct client_info info;

	client_info(client, &info);
	if (k->id && info.id != k->id)
		return;
	if (k->address && (strlen(info.peer) != k->address->size || memcmp(info.peer, k->address->data, k->address->size)))
		return;
	if (k->skip_self && client == k->self)
		return;
	if (k->found < ARRAY_SIZE(k->victim))
		k->victim[k->found++] = client;
}

static void kill_clients(struct server *server, struct request *request, struct args *args)
{
	struct kill k = { .self = request->client };
	bool old = args->count - args->at == 1, ok = true;

	if (!admin(request))
		return;
	if (old)
		k.address = args_next(args);
	k.skip_self = !old;
	while (ok && args_left(args)) {
		if (args_option(args, "ID"))
			ok = args_u64(args, 1, UINT64_MAX, &k.id);
		else if (args_option(args, "ADDR"))
			k.address = args_next(args);
		else if (args_option(args, "SKIPME"))
			ok = (k.skip_self = args_word(args, "YES"), k.skip_self) || args_word(args, "NO");
		else
			ok = false;
	}
	if (!ok || (!k.id && !k.address)) {
		request_error(request, METRIC_ERROR_INVALID, "ERR syntax error: CLIENT KILL address, or ID id, ADDR address, SKIPME yes|no");
		return;
	}
	clients_each(server->clients, find_victim, &k);
	if (!old)
		resp_integer(&request->reply, (long long)k.found);
	else if (k.found)
		resp_simple(&request->reply, "OK");
	else
		request_error(request, METRIC_ERROR_INVALID, "ERR No such client");
	for (uint64_t i = 0; i < k.found; i++)
		if (k.victim[i] != request->client)
			client_close(k.victim[i]);
}

static void set_name(struct request *request)
{
	const struct resp_argument *a = &request->argument[2];

	if (client_set_name(request->client, a->data, a->size))
		request_error(request, METRIC_ERROR_INVALID, "ERR Client names cannot contain spaces, newlines or special characters.");
	else
		resp_simple(&request->reply, "OK");
}

static void list_clients(struct server *server, struct request *request)
{
	struct buffer text = { 0 };

	if (!admin(request))
		return;
	clients_each(server->clients, list_client, &text);
	resp_bulk(&request->reply, text.data, text.size);
	buffer_fini(&text);
}

void command_client(struct server *server, struct request *request)
{
	const struct resp_argument *sub = &request->argument[1];
	struct args args = { .request = request, .at = 2, .count = request->arguments };
	struct buffer *b = &request->reply;
	struct client_info info;

	client_info(request->client, &info);
	if (argument_is(sub, "ID") && !args_left(&args)) {
		resp_integer(b, (long long)info.id);
	} else if (argument_is(sub, "INFO") && !args_left(&args)) {
		struct buffer text = { 0 };

		write_line(&text, request->client);
		resp_bulk(b, text.data, text.size);
		buffer_fini(&text);
	} else if (argument_is(sub, "LIST")) {
		list_clients(server, request);
	} else if (argument_is(sub, "GETNAME") && !args_left(&args)) {
		if (client_name(request->client)[0])
			resp_text(b, client_name(request->client));
		else
			resp_null(b, request->version);
	} else if (argument_is(sub, "SETNAME") && request->arguments == 3) {
		set_name(request);
	} else if (argument_is(sub, "KILL") && args_left(&args)) {
		kill_clients(server, request, &args);
	} else if ((argument_is(sub, "SETINFO") && request->arguments == 4) ||
		   ((argument_is(sub, "NO-EVICT") || argument_is(sub, "NO-TOUCH")) && request->arguments == 3)) {
		resp_simple(b, "OK"); /* of no consequence here */
	} else {
		request_error(request, METRIC_ERROR_INVALID,
			      "ERR unknown subcommand or wrong number of arguments: CLIENT ID, INFO, LIST, GETNAME, SETNAME, "
			      "SETINFO, KILL, NO-EVICT, NO-TOUCH");
	}
	request_end(request);
}
