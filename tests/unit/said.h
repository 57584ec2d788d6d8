/* SPDX-License-Identifier: MIT */
/* A context that remembers what it was told, for tests of messages. Include after cmocka.h. */
#ifndef SAID_H
#define SAID_H

#include <stdio.h>
#include <string.h>

#include "lineup.h"

struct said {
	struct lineup_ctx *ctx;
	unsigned int errors;  /* messages of level error since the last said_clear */
	char message[2048];   /* the last of them */
};

static void said_log(void *arg, enum lineup_log_level level, const char *message)
{
	struct said *said = arg;

	if (level != LINEUP_LOG_ERROR)
		return;
	said->errors++;
	snprintf(said->message, sizeof(said->message), "%s", message);
}

static inline void said_init(struct said *said)
{
	struct lineup_ctx_options options = { .size = sizeof(options), .log = said_log, .log_arg = said };

	memset(said, 0, sizeof(*said));
	assert_int_equal(lineup_ctx_create(&options, &said->ctx), 0);
}

static inline void said_fini(struct said *said)
{
	lineup_ctx_destroy(said->ctx);
}

static inline void said_clear(struct said *said)
{
	said->errors = 0;
	said->message[0] = '\0';
}

/* One message since the last clear, one line, with each of the texts up to NULL in it. */
static inline void said_once(struct said *said, const char *const *texts)
{
	assert_int_equal(said->errors, 1);
	assert_null(strchr(said->message, '\n'));
	for (; *texts; texts++)
		if (!strstr(said->message, *texts))
			fail_msg("\"%s\" does not say \"%s\"", said->message, *texts);
	said_clear(said);
}

#define SAID_ONCE(said, ...) said_once(said, (const char *const[]){ __VA_ARGS__, NULL })

#endif
