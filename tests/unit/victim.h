/* SPDX-License-Identifier: MIT */
/* A small gallery whose files a test breaks, and what opening and checking says to that. */
#ifndef VICTIM_H
#define VICTIM_H

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "gallery.h"
#include "ledger.h"

enum { DIM = 5, FILES_MAX = 16, SETUP = 9, SPARSE = 61 };

struct victim_file {
	char name[64];
	char path[PATH_MAX + 128];
	uint8_t *data;
	size_t size;
};

struct victim {
	char base[PATH_MAX];
	char path[PATH_MAX + 32];
	struct victim_file file[FILES_MAX];
	size_t files;
	struct ledger_log log;
	struct lineup_ctx *ctx;
	struct ledger history[SETUP + 1]; /* after each operation */
	uint8_t digest[SETUP + 1][LINEUP_DIGEST_BYTES];
};

#define REQUIRE(s, condition, ...)                                                                                            \
	do {                                                                                                                  \
		if (!(condition)) {                                                                                           \
			print_error(__VA_ARGS__);                                                                             \
			print_error("\nlog:\n%s", (s)->log.text);                                                             \
			fail();                                                                                               \
		}                                                                                                             \
	} while (0)

/* Two segments, a deleted-file, and a journal with enrolments and a deletion; closed. */
void victim_begin(struct victim *s, enum lineup_store store);
void victim_end(struct victim *s);
int victim_open(struct victim *s, uint32_t flags, struct lineup_gallery **gallery);
/* The first file whose name begins so. */
struct victim_file *victim_find(struct victim *s, const char *kind);
void victim_write(const struct victim_file *f, const void *data, size_t size, size_t offset);
void victim_restore(const struct victim_file *f);
/* What opening and checking says; 0: all is well. One message, if not. */
int victim_detect(struct victim *s);
/* Whether the message names the file. */
bool victim_names(const struct victim *s, const struct victim_file *f);
/* Whether the byte is of the format version, which has an error of its own. */
bool victim_in_version(const struct victim_file *f, size_t offset);
/* Every byte that says something; of long runs of zeros (padding) a sample, all of them with @full. */
bool victim_worth(const struct victim_file *f, size_t offset, bool full);

#endif
