// SPDX-License-Identifier: MIT
// The table of commands, and what is checked before one runs.
#include "command.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "commands.h"
#include "job.h"

enum {
	READ = ACCESS_SEARCHER | ACCESS_ADMIN,
	WRITE = ACCESS_ENROLLER | ACCESS_ADMIN,
	LOOK = ACCESS_SEARCHER | ACCESS_ENROLLER | ACCESS_AUDITOR | ACCESS_ADMIN,
	AUDIT = ACCESS_AUDITOR | ACCESS_ADMIN,
	ADMIN = ACCESS_ADMIN,
};

const struct command commands[] = {
	{ "PING", -1, LOOK, COMMAND_FAST, 0, command_ping, "Answers PONG, or its argument" },
	{ "ECHO", 2, LOOK, COMMAND_FAST, 0, command_echo, "Answers its argument" },
	{ "QUIT", -1, 0, COMMAND_FAST | COMMAND_NOAUTH, 0, command_quit, "Closes the connection" },
	{ "RESET", 1, 0, COMMAND_FAST | COMMAND_NOAUTH, 0, command_reset, "Forgets HELLO, AUTH and CLIENT SETNAME" },
	{ "HELLO", -1, 0, COMMAND_FAST | COMMAND_NOAUTH, 0, command_hello, "Chooses the protocol, and authenticates" },
	{ "AUTH", -2, 0, COMMAND_NOAUTH, 0, command_auth, "Authenticates the connection" },
	{ "SELECT", 2, LOOK, COMMAND_FAST, 0, command_select, "Accepts 0, the only database" },
	{ "CLIENT", -2, LOOK, 0, 0, command_client, "Tells of connections, names and closes them" },
	{ "COMMAND", -1, LOOK, 0, 0, command_command, "Tells of commands" },
	{ "CONFIG", -2, LOOK, 0, 0, command_config, "Tells what clients of Redis ask for" },
	{ "INFO", -1, AUDIT | ACCESS_SEARCHER | ACCESS_ENROLLER, 0, 0, command_info, "Tells of the server, as text" },
	{ "KEYS", 2, LOOK, COMMAND_SEARCH, 0, command_keys, "Names of galleries that match a pattern" },
	{ "SCAN", -2, LOOK, COMMAND_SEARCH, 0, command_scan, "Names of galleries, all at once" },
	{ "EXISTS", -2, LOOK, COMMAND_SEARCH, 0, command_exists, "How many of these galleries exist" },
	{ "TYPE", 2, LOOK, COMMAND_SEARCH | COMMAND_FAST, 0, command_type, "vectorset for a gallery, else none" },
	{ "DBSIZE", 1, LOOK, COMMAND_SEARCH | COMMAND_FAST, 0, command_dbsize, "How many galleries there are" },
	{ "DEL", -2, WRITE, 0, 0, command_del, "Refused: LINEUP.DETACH closes a gallery" },
	{ "UNLINK", -2, WRITE, 0, 0, command_del, "Refused: LINEUP.DETACH closes a gallery" },
	{ "VADD", -5, WRITE, COMMAND_WRITE, 1, command_vadd, "Adds an element, or replaces it" },
	{ "VREM", 3, WRITE, COMMAND_WRITE, 1, command_vrem, "Removes an element" },
	{ "VSETATTR", 4, WRITE, COMMAND_WRITE, 1, command_vsetattr, "Sets or removes an element's attributes" },
	{ "VGETATTR", 3, READ, COMMAND_SEARCH | COMMAND_QUEUED, 1, command_vgetattr, "An element's attributes" },
	{ "VSIM", -4, READ, COMMAND_SEARCH | COMMAND_QUEUED, 1, command_vsim, "The elements most like a vector or an element, exactly" },
	{ "VCARD", 2, LOOK, COMMAND_SEARCH | COMMAND_FAST, 1, command_vcard, "How many elements a gallery has" },
	{ "VDIM", 2, LOOK, COMMAND_FAST, 1, command_vdim, "A gallery's dimension" },
	{ "VINFO", 2, LOOK, COMMAND_SEARCH | COMMAND_FAST, 1, command_vinfo, "What Redis tells of a vector set" },
	{ "VEMB", -3, READ, COMMAND_SEARCH, 1, command_vemb, "An element's vector" },
	{ "VISMEMBER", 3, READ, COMMAND_SEARCH, 1, command_vismember, "Whether an element exists" },
	{ "VRANDMEMBER", -2, READ, COMMAND_SEARCH, 1, command_vrandmember, "Elements picked at random" },
	{ "VLINKS", -3, READ, COMMAND_FAST, 1, command_vlinks, "Refused: there is no graph" },
	{ "LINEUP.SEARCH", -6, READ, COMMAND_SEARCH | COMMAND_QUEUED, 1, command_lineup_search, "Searches for a batch of probes" },
	{ "LINEUP.VERIFY", -7, READ, COMMAND_SEARCH, 1, command_lineup_verify, "Compares probes with one subject" },
	{ "LINEUP.ENROL", -6, WRITE, COMMAND_WRITE, 1, command_lineup_enrol, "Enrols a batch of templates as one operation" },
	{ "LINEUP.DELETE", -4, WRITE, COMMAND_WRITE, 1, command_lineup_delete, "Deletes a subject or a template" },
	{ "LINEUP.LISTS", 2, LOOK, COMMAND_SEARCH | COMMAND_QUEUED, 1, command_lineup_lists, "The names of a gallery's lists" },
	{ "LINEUP.INFO", 2, LOOK, COMMAND_SEARCH | COMMAND_QUEUED, 1, command_lineup_info, "What a gallery is and holds" },
	{ "LINEUP.STATS", -1, AUDIT, 0, 0, command_lineup_stats, "Counters, rates and latencies" },
	{ "LINEUP.CREATE", -4, ADMIN, COMMAND_WRITE, 0, command_lineup_create, "Creates a gallery" },
	{ "LINEUP.ATTACH", 3, ADMIN, COMMAND_WRITE, 0, command_lineup_attach, "Serves a gallery that is on disk" },
	{ "LINEUP.DETACH", 2, ADMIN, COMMAND_WRITE, 0, command_lineup_detach, "Closes a gallery" },
	{ "LINEUP.MAINTAIN", -2, ADMIN, 0, 1, command_lineup_maintain, "Seals and compacts now" },
};
const uint32_t command_count = ARRAY_SIZE(commands);

const struct command *command_find(const char *name, size_t size)
{
	for (uint32_t i = 0; i < command_count; i++)
		if (strlen(commands[i].name) == size && !strncasecmp(commands[i].name, name, size))
			return &commands[i];
	return NULL;
}

/* As Redis words it, with the arguments that follow, cut short. They may be a probe: only what is text is shown. */
static void unknown(struct request *request)
{
	const struct resp_argument *a = request->argument;
	char name[129];
	size_t size = a->size < sizeof(name) - 1 ? a->size : sizeof(name) - 1;

	for (size_t i = 0; i < size; i++)
		name[i] = a->data[i] > ' ' && a->data[i] < 127 ? a->data[i] : '?';
	name[size] = '\0';
	request_error(request, METRIC_ERROR_INVALID, "ERR unknown command '%s'", name);
}

static bool arity_fits(const struct command *c, uint64_t arguments)
{
	return c->arity >= 0 ? arguments == (uint64_t)c->arity : arguments >= (uint64_t)-c->arity;
}

static bool allowed(const struct command *c, struct request *request)
{
	struct session *session = client_session(request->client);
	const char *key = NULL;
	char name[DAEMON_NAME_BYTES_MAX + 1];
	bool fits;

	if (!c->roles)
		return true;
	if (!session->known) {
		request_error(request, METRIC_ERROR_DENIED, "NOAUTH Authentication required.");
		return false;
	}
	if (c->key) {
		const struct resp_argument *a = &request->argument[c->key];

		if (gallery_name_ok(a->data, a->size)) {
			memcpy(name, a->data, a->size);
			name[a->size] = '\0';
			key = name;
		}
	}
	/* What is about no gallery is for everybody who has one of the roles for some gallery, but what an admin does. */
	if (key)
		fits = access_allows(session, c->roles, key);
	else
		fits = c->roles == ADMIN ? access_allows(session, ADMIN, NULL) : access_allows_any(session, c->roles);
	if (fits)
		return true;
	request_error(request, METRIC_ERROR_DENIED, "NOPERM this user has no permissions to run the '%s' command%s", c->name,
		      key ? " on this gallery" : "");
	return false;
}

/* A gallery that is there and cannot be opened is no missing one, which would be empty. */
static bool failed(struct server *server, struct request *request, const struct resp_argument *key)
{
	const char *why = gallery_failure(server->galleries, key->data, key->size);

	if (why)
		request_error(request, METRIC_ERROR_STORAGE, "STORAGE the gallery is not served: %s", why);
	return why;
}

/* A gallery that is being opened or closed: the request goes on when that has ended. */
static void go_on(void *arg, int err, const char *message)
{
	struct request *request = arg;
	const struct command *c = request->command;
	struct server *server = request->work;

	(void)err;
	(void)message;
	request->work = NULL;
	if (failed(server, request, &request->argument[c->key]))
		request_end(request);
	else
		c->run(server, request);
}

void command_dispatch(void *arg, struct request *request)
{
	struct server *server = arg;
	const struct command *c = command_find(request->argument->data, request->argument->size);

	if (server->stopping) {
		request_error(request, METRIC_ERROR_INTERNAL, "ERR lineupd ends");
	} else if (!c) {
		unknown(request);
	} else if (!arity_fits(c, request->arguments)) {
		char name[32];

		snprintf(name, sizeof(name), "%s", c->name);
		for (char *p = name; *p; p++)
			*p |= *p >= 'A' && *p <= 'Z' ? 32 : 0;
		request_error(request, METRIC_ERROR_INVALID, "ERR wrong number of arguments for '%s' command", name);
	} else if (allowed(c, request)) {
		const struct resp_argument *key = &request->argument[c->key];

		request->command = c;
		if (c->flags & COMMAND_WRITE)
			request_pending(request, REQUEST_WRITE);
		request->work = server;
		if (c->key && gallery_wait(server->galleries, key->data, key->size, go_on, request))
			return;
		request->work = NULL;
		if (!c->key || !failed(server, request, key)) {
			c->run(server, request);
			return;
		}
	}
	request_end(request);
}

/*
 * A client's requests take effect in their order, though they are carried out side by side: changes and queued reads
 * go through one keeper, in order; searches take their state when they are dispatched, or in the keeper's queue,
 * behind queued reads of their client.
 */
bool command_holds(void *arg, const struct request *request)
{
	const struct command *c = command_find(request->argument->data, request->argument->size);
	const struct client *client = request->client;

	(void)arg;
	if (client_pending(client, REQUEST_ALONE))
		return true;
	if (!c || !(c->flags & COMMAND_SEARCH))
		return false;
	return client_pending(client, REQUEST_WRITE) || (!(c->flags & COMMAND_QUEUED) && client_pending(client, REQUEST_QUEUED));
}
