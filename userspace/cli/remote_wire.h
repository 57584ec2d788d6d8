/* SPDX-License-Identifier: MIT */
/* Commands and replies of RESP, for the files that talk to lineupd: hiredis connects and reads, what is sent is ours to erase. */
#ifndef LINEUP_CLI_REMOTE_WIRE_H
#define LINEUP_CLI_REMOTE_WIRE_H

#include <hiredis/hiredis.h>

#include "remote.h"

struct remote {
	struct cli *cli;
	const struct remote_options *options;
	const char *name;        /* of the gallery */
	char address[256];       /* for messages */
	redisContext *connection;
	bool lost;               /* the connection: said, unless .quiet */
	bool quiet;
	char backend[32], io[32], staging[32]; /* of the last search */
};

/* A command in memory that is erased; a zeroed one is empty. */
struct remote_command {
	char *data;
	size_t begin, end, capacity; /* its bytes are [begin, end) */
	unsigned int arguments;
	bool failed;             /* no memory, said */
};

/* Begins anew: what it held is erased. */
void command_begin(struct cli *cli, struct remote_command *command, const char *name);
void command_data(struct cli *cli, struct remote_command *command, const void *data, size_t size);
void command_text(struct cli *cli, struct remote_command *command, const char *text);
void command_number(struct cli *cli, struct remote_command *command, int64_t number);
void command_unsigned(struct cli *cli, struct remote_command *command, uint64_t number);
void command_real(struct cli *cli, struct remote_command *command, double number);
void command_hex(struct cli *cli, struct remote_command *command, const uint8_t *bytes, size_t size);
void command_finish(struct remote_command *command); /* it can be sent */
void command_fini(struct remote_command *command);

/* A connected socket whose peer knows who asks; where it is lost, it is made anew. */
int remote_connect(struct remote *remote);
int remote_send(struct remote *remote, const struct remote_command *command);
/* The next reply; one that is an error is returned like any other. The caller frees it with freeReplyObject. */
int remote_receive(struct remote *remote, redisReply **reply);
/* The next reply; an error is said and is CLI_FAILED. */
int remote_answer(struct remote *remote, redisReply **reply);
/* Sends @command and returns its reply, likewise. */
int remote_ask(struct remote *remote, struct remote_command *command, redisReply **reply);
/* Likewise, but goes on until it has got an answer other than BUSY, over as many connections as that takes, up to a limit. */
int remote_insist(struct remote *remote, struct remote_command *command, redisReply **reply);

/* Fields of a map; NULL, 0 or "": there is none. */
const redisReply *reply_field(const redisReply *map, const char *name);
uint64_t reply_unsigned(const redisReply *map, const char *name);
double reply_real(const redisReply *map, const char *name);
const char *reply_text(const redisReply *map, const char *name);
/* The bytes of a field in hex; false: it has not as many. */
bool reply_hex(const redisReply *map, const char *name, uint8_t *bytes, size_t size);

#endif
