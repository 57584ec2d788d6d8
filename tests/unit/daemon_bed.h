/* SPDX-License-Identifier: MIT */
/* A server of the client stage alone for tests: an echo on a Unix socket whose loop goes round in the test's own thread. */
#ifndef DAEMON_BED_H
#define DAEMON_BED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client.h"

/*
 * Commands: ECHO x -> x. BIG n -> n bytes. LATER x -> x, when the test says so; WRITE x likewise, a write. SEARCH x -> x, held
 * back while writes are under way. LOGIN -> OK, and somebody from then on, when the test says so. BAD -> ends without a reply.
 * KILL -> closes its own connection. QUIT -> OK, and the connection closes. COUNT a b ... -> how many arguments. Others: an
 * error.
 */
struct bed {
	struct loop *loop;
	struct config config;
	struct access *access;
	struct clients *clients;
	char directory[128], path[160];
	struct request *later[64]; /* in the order of their dispatch; NULL: ended */
	uint32_t laters;
	uint32_t dispatched, closed;
	bool drained;
};

/* @change may be NULL; changes the configuration before it is used. @single: without multishot operations. */
void wire_open(struct bed *bed, bool single, void (*change)(struct config *config));
/* Likewise, with one listening socket that is inherited. */
void wire_open_inherited(struct bed *bed, bool single, void (*change)(struct config *config), int listener);
void wire_close(struct bed *bed);
/* A connection: not blocking. */
int wire_connect(struct bed *bed);
void wire_turn(struct bed *bed);
/* Goes round the loop while it sends all. */
void wire_send(struct bed *bed, int fd, const void *data, size_t size);
void wire_say(struct bed *bed, int fd, const char *text);
/*
 * Goes round until exactly @text was received, and fails if anything else comes; and that then comes the end, or nothing more
 * for some rounds.
 */
void wire_expect(struct bed *bed, int fd, const char *text);
void wire_expect_bytes(struct bed *bed, int fd, const void *data, size_t size);
void wire_expect_end(struct bed *bed, int fd);
void wire_expect_nothing(struct bed *bed, int fd);
/* Ends the request number @index of those that wait. */
void wire_end(struct bed *bed, uint32_t index);
/* Goes round until @condition holds, or fails after ten seconds. */
#define BED_UNTIL(bed, condition)                                                                                                \
	do {                                                                                                                     \
		uint64_t until_ = now_ns() + 10000000000ull;                                                                     \
		while (!(condition)) {                                                                                           \
			wire_turn(bed);                                                                                           \
			assert_true(now_ns() < until_);                                                                          \
		}                                                                                                                \
	} while (0)

#endif
