// SPDX-License-Identifier: MIT
// Galleries as the keys that clients of Redis look for: KEYS, SCAN, EXISTS, TYPE, DBSIZE, DEL.
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "job.h"

enum { ANY_ROLE = ACCESS_SEARCHER | ACCESS_ENROLLER | ACCESS_AUDITOR | ACCESS_ADMIN };

struct names {
	const struct session *session;
	const char *pattern;      /* NULL: all */
	struct buffer *buffer;    /* NULL: only counted */
	uint64_t count;
};

static void take_name(void *arg, struct gallery *gallery)
{
	struct names *n = arg;
	const char *name = gallery_name(gallery);

	if (!access_allows(n->session, ANY_ROLE, name) || (n->pattern && fnmatch(n->pattern, name, 0)))
		return;
	n->count++;
	if (n->buffer)
		resp_text(n->buffer, name);
}

/* Writes an array of names. */
static void write_names(struct server *server, struct request *request, const struct resp_argument *pattern)
{
	struct buffer found = { 0 };
	char text[2 * DAEMON_NAME_BYTES_MAX + 1];
	struct names n = { .session = client_session(request->client), .buffer = &found };

	if (pattern && pattern->size < sizeof(text) && !memchr(pattern->data, '\0', pattern->size)) {
		memcpy(text, pattern->data, pattern->size);
		text[pattern->size] = '\0';
		n.pattern = text;
	}
	if (!pattern || n.pattern)
		galleries_each(server->galleries, take_name, &n);
	resp_array(&request->reply, n.count);
	buffer_append(&request->reply, found.data, found.size);
	buffer_fini(&found);
}

void command_keys(struct server *server, struct request *request)
{
	write_names(server, request, &request->argument[1]);
	request_end(request);
}

void command_scan(struct server *server, struct request *request)
{
	struct args args = { .request = request, .at = 1, .count = request->arguments };
	const struct resp_argument *pattern = NULL;
	uint64_t cursor, ignored;
	bool ok = args_u64(&args, 0, UINT64_MAX, &cursor), none = false;

	if (!ok)
		request_error(request, METRIC_ERROR_INVALID, "ERR invalid cursor");
	while (ok && args_left(&args)) {
		if (args_option(&args, "MATCH"))
			pattern = args_next(&args);
		else if (args_option(&args, "TYPE"))
			none |= !argument_is(args_next(&args), "vectorset");
		else
			ok = args_option(&args, "COUNT") && args_u64(&args, 1, INT64_MAX, &ignored);
		if (!ok)
			request_error(request, METRIC_ERROR_INVALID, "ERR syntax error");
	}
	if (ok) {
		/* They are few: one round tells them all. */
		resp_array(&request->reply, 2);
		resp_text(&request->reply, "0");
		if (none || cursor)
			resp_array(&request->reply, 0);
		else
			write_names(server, request, pattern);
	}
	request_end(request);
}

static bool exists(struct server *server, struct request *request, const struct resp_argument *key)
{
	struct gallery *gallery = gallery_get(server->galleries, key->data, key->size);
	bool visible = gallery && access_allows(client_session(request->client), ANY_ROLE, gallery_name(gallery));

	if (gallery)
		gallery_put(gallery);
	return visible;
}

void command_exists(struct server *server, struct request *request)
{
	long long count = 0;

	for (uint64_t i = 1; i < request->arguments; i++)
		count += exists(server, request, &request->argument[i]);
	resp_integer(&request->reply, count);
	request_end(request);
}

void command_type(struct server *server, struct request *request)
{
	resp_simple(&request->reply, exists(server, request, &request->argument[1]) ? "vectorset" : "none");
	request_end(request);
}

void command_dbsize(struct server *server, struct request *request)
{
	struct names n = { .session = client_session(request->client) };

	galleries_each(server->galleries, take_name, &n);
	resp_integer(&request->reply, (long long)n.count);
	request_end(request);
}

void command_del(struct server *server, struct request *request)
{
	(void)server;
	request_error(request, METRIC_ERROR_INVALID,
		      "ERR a gallery is not deleted from here: LINEUP.DETACH closes it, and its directory can then be moved or removed");
	request_end(request);
}
