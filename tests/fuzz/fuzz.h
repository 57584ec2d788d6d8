/* SPDX-License-Identifier: MIT */
/* What the fuzz targets of file readers share: a context that counts messages, and checks that stop the process. */
#ifndef FUZZ_H
#define FUZZ_H

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lineup.h"

#define CHECK(condition)                                                                                                         \
	do {                                                                                                                     \
		if (!(condition)) {                                                                                              \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                  \
			abort();                                                                                                 \
		}                                                                                                                \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned int fuzz_errors;   /* messages since fuzz_begin */
static const char *fuzz_name = ""; /* of the input: every message begins with it */

static void fuzz_log(void *arg, enum lineup_log_level level, const char *message)
{
	(void)arg;
	if (level != LINEUP_LOG_ERROR)
		return;
	fuzz_errors++;
	CHECK(!strncmp(message, fuzz_name, strlen(fuzz_name)));
	for (; *message; message++)
		CHECK((unsigned char)*message >= 0x20 && *message != 0x7f);
}

/* The one context of the process, never destroyed, with the count of messages at 0. */
static inline struct lineup_ctx *fuzz_begin(const char *name)
{
	static struct lineup_ctx *ctx;
	struct lineup_ctx_options options = { .size = sizeof(options), .log = fuzz_log };

	if (!ctx)
		CHECK(!lineup_ctx_create(&options, &ctx));
	fuzz_name = name;
	fuzz_errors = 0;
	return ctx;
}

#endif
