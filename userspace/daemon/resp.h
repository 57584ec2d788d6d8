/* SPDX-License-Identifier: MIT */
/* RESP, the Redis protocol: requests are parsed as their bytes come, replies are written in version 2 or 3. */
#ifndef LINEUPD_RESP_H
#define LINEUPD_RESP_H

#include "buffer.h"

enum {
	RESP_ARGUMENTS_MAX = 1 << 20,
	RESP_INLINE_BYTES_MAX = 65536,
	RESP_DEPTH_MAX = 8,
	RESP_NUMBER_BYTES_MAX = 32, /* of a line that says how many arguments, or how many bytes, follow */
};

struct resp_argument {
	const char *data; /* not ended by NUL */
	size_t size;
};

/*
 * A parser over the bytes of one connection. It remembers how far it has come, so that a request that arrives byte by byte
 * costs linear time. Offsets, not pointers: the buffer may move between calls.
 */
struct resp_parser {
	size_t position;         /* parsed so far */
	uint64_t arguments;      /* that the request has; 0: its head is not there yet */
	uint64_t length;         /* of it; UINT64_MAX: its head is not there yet */
	struct resp_span { size_t offset, size; } *span; /* [span_max] */
	uint64_t spans, span_max;
	uint64_t request_bytes_max;
	uint64_t arguments_max;  /* 0: RESP_ARGUMENTS_MAX; before AUTH a client is given less */
	char error[96];
};

/*
 * Looks for a whole request at the front of @data[@size], which begins with the bytes of the calls before since resp_next. 1:
 * there is one, of *@bytes bytes, whose arguments are parser->span[0..spans); the caller consumes those bytes and calls
 * resp_next. 0: more bytes are needed. -EPROTO, with parser->error for the client ("ERR Protocol error: ..."); -ENOMEM. An
 * inline request ("PING\r\n") is split at spaces, with quotes, as redis-cli does, and its escapes are undone in place. An empty
 * line, and "*0\r\n", is skipped: spans is 0 then.
 */
int resp_parse(struct resp_parser *parser, char *data, size_t size, size_t *bytes);
void resp_next(struct resp_parser *parser); /* ready for the next request; keeps its memory, unless that was much */
void resp_fini(struct resp_parser *parser);

/* Replies. @version is 2 or 3 as HELLO set it; maps, sets, doubles, booleans and null are written in 2 as Redis writes them. */
void resp_simple(struct buffer *b, const char *text);                       /* +OK; text without CR LF */
void resp_error(struct buffer *b, const char *format, ...) DAEMON_PRINTF(2, 3); /* -CODE text; CR and LF become spaces */
void resp_integer(struct buffer *b, long long value);
void resp_bulk(struct buffer *b, const void *data, size_t size);
void resp_text(struct buffer *b, const char *text);                         /* bulk */
void resp_null(struct buffer *b, int version);
void resp_null_array(struct buffer *b, int version);
void resp_array(struct buffer *b, uint64_t count);                          /* count elements follow */
void resp_map(struct buffer *b, int version, uint64_t pairs);               /* in 2: an array of 2 * pairs */
void resp_set(struct buffer *b, int version, uint64_t count);
void resp_double(struct buffer *b, int version, double value);              /* the fewest digits that read back as the same; in 2: bulk */
void resp_float(struct buffer *b, int version, float value);                /* likewise as the same float */
void resp_boolean(struct buffer *b, int version, bool value);
void resp_verbatim(struct buffer *b, int version, const char *format, const char *text); /* "txt"; in 2: bulk */

#endif
