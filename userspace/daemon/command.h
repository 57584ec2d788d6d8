/* SPDX-License-Identifier: MIT */
/* The table of commands: names, arities, roles, and the functions that carry them out. */
#ifndef LINEUPD_COMMAND_H
#define LINEUPD_COMMAND_H

#include "client.h"
#include "gallery.h"

struct server;

struct command {
	const char *name;        /* upper case */
	int arity;               /* with the name; negative: at least */
	uint32_t roles;          /* enum access_role, any of them; 0: anybody, before AUTH too */
	uint32_t flags;
	int key;                 /* position of the gallery's name, 0: none */
	void (*run)(struct server *server, struct request *request); /* ends the request, now or later */
	const char *summary;     /* for COMMAND DOCS */
};

enum command_flags {
	COMMAND_WRITE = 1 << 0,
	COMMAND_SEARCH = 1 << 1, /* reads: held back while writes of its client are under way */
	COMMAND_FAST = 1 << 2,
	COMMAND_NOAUTH = 1 << 3,
	COMMAND_QUEUED = 1 << 4, /* a read that goes through the keeper's queue, or can */
};

extern const struct command commands[];
extern const uint32_t command_count;

const struct command *command_find(const char *name, size_t size); /* any case; NULL: unknown */
/*
 * Checks arity and rights, then runs; unknown commands and refusals are answered as Redis does ("ERR unknown command
 * ...", "NOPERM ...", "NOAUTH Authentication required.").
 */
void command_dispatch(void *server, struct request *request);
bool command_holds(void *server, const struct request *request);

#endif
