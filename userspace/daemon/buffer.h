/* SPDX-License-Identifier: MIT */
/* Bytes that grow, and are erased when they go: requests and replies hold probes and scores. */
#ifndef LINEUPD_BUFFER_H
#define LINEUPD_BUFFER_H

#include "daemon.h"

struct buffer {
	char *data;      /* NULL while empty */
	size_t size;
	size_t capacity;
	bool failed;     /* memory ran out: what was appended since is lost */
};

void buffer_append(struct buffer *buffer, const void *data, size_t size);
void buffer_printf(struct buffer *buffer, const char *format, ...) DAEMON_PRINTF(2, 3);
/* Room for @size more bytes at data + size, or NULL (failed is set). */
void *buffer_reserve(struct buffer *buffer, size_t size);
/* Removes @size bytes from the front; the rest moves. */
void buffer_consume(struct buffer *buffer, size_t size);
/* Erases all bytes and frees; a zeroed buffer is empty. */
void buffer_fini(struct buffer *buffer);

#endif
