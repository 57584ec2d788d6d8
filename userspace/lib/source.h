/* SPDX-License-Identifier: MIT */
/* Bytes of a file, a pipe or the caller's memory, read once from front to back: what the file readers stand on. */
#ifndef LINEUP_SOURCE_H
#define LINEUP_SOURCE_H

#include "internal.h"

enum {
	LINEUP_SOURCE_BUFFER_BYTES = 1 << 20, /* stays in the second cache between the read and the conversion */
	LINEUP_SOURCE_SHOW_BYTES = 48,        /* of foreign text in a message */
};

/* One thread at a time. The bytes behind @data may hold templates: they are in secret memory, or the caller's. */
struct lineup_source {
	struct lineup_ctx *ctx;
	char *name;           /* for messages */
	int fd;               /* -1: memory */
	bool end;             /* nothing comes after data[size] */
	uint64_t bytes;       /* from the beginning to the end; UINT64_MAX: only the end will tell (pipe, terminal) */
	const uint8_t *data;  /* the next bytes, @size of them; valid until the next peek or close */
	size_t size;
	uint8_t *buffer;      /* NULL: memory */
};

/* Opens @path, or standard input for "-". Directories are refused with -EISDIR. Logs. On failure @source is closed. */
int lineup_source_open(struct lineup_ctx *ctx, const char *path, struct lineup_source *source);
/* Borrows @data until the close. -ENOMEM. */
int lineup_source_open_memory(struct lineup_ctx *ctx, const char *name, const void *data, size_t size,
			      struct lineup_source *source);
/* Takes a zeroed source with fd -1 and a closed one too. */
void lineup_source_close(struct lineup_source *source);
/*
 * Sees to it that source->size is at least @size (at most LINEUP_SOURCE_BUFFER_BYTES), or all there is before the end. Waits for no
 * byte more than that. Errors of read(2), logged.
 */
int lineup_source_peek(struct lineup_source *source, size_t size);

static inline void lineup_source_skip(struct lineup_source *source, size_t size)
{
	source->data += size;
	source->size -= size;
}

/* Makes text from a file fit to be shown: printable ASCII, cut short with "...". Returns @out. */
const char *lineup_source_show(const void *text, size_t size, char out[LINEUP_SOURCE_SHOW_BYTES]);

#endif
