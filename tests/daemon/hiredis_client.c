// SPDX-License-Identifier: MIT
// The daemon as a C program sees it through hiredis: blocking, pipelined and asynchronous, in RESP2,
// which is all that hiredis 0.14 (Debian 12) knows. hiredis_client SOCKET prints TAP.
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <math.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIM = 8, ELEMENTS = 20 };

static const char *path;
static bool right; /* what the present fact has shown so far */

#define CHECK(x) check((x), #x, __LINE__)

static bool check(bool is, const char *what, int line)
{
	if (!is) {
		printf("# line %d: %s\n", line, what);
		right = false;
	}
	return is;
}

static redisContext *connected(void)
{
	redisContext *c = redisConnectUnix(path);

	if (!c || c->err) {
		printf("Bail out! %s: %s\n", path, c ? c->errstr : "no memory");
		exit(1);
	}
	return c;
}

/* Of element @i: mostly along one axis, so that its nearest is known. */
static void vector(uint32_t i, float v[DIM])
{
	for (uint32_t d = 0; d < DIM; d++)
		v[d] = (d == i % DIM ? 8.0f : 0.0f) + (d == i / DIM ? 1.0f : 0.0f);
}

static double cosine(const float *a, const float *b)
{
	double ab = 0, aa = 0, bb = 0;

	for (uint32_t d = 0; d < DIM; d++) {
		ab += (double)a[d] * b[d];
		aa += (double)a[d] * a[d];
		bb += (double)b[d] * b[d];
	}
	return ab / sqrt(aa * bb);
}

/* A reply that is to be of @type; freed by the caller. */
static redisReply *typed(redisReply *reply, int type, int line)
{
	if (!reply || reply->type != type) {
		printf("# line %d: reply of type %d, not %d: %s\n", line, reply ? reply->type : -1, type, reply && reply->str ? reply->str : "");
		right = false;
	}
	return reply;
}

#define TYPED(reply, type) typed(reply, type, __LINE__)

static void fill(redisContext *c, const char *key)
{
	float v[DIM];

	for (uint32_t i = 0; i < ELEMENTS; i++) {
		vector(i, v);
		redisAppendCommand(c, "VADD %s FP32 %b e%u", key, v, sizeof(v), i);
	}
	for (uint32_t i = 0; i < ELEMENTS; i++) {
		redisReply *reply = NULL;

		CHECK(redisGetReply(c, (void **)&reply) == REDIS_OK);
		CHECK(reply && reply->type == REDIS_REPLY_INTEGER && reply->integer == 1);
		freeReplyObject(reply);
	}
}

static void a_pipeline_of_vadd_is_answered_in_order(void)
{
	redisContext *c = connected();
	redisReply *reply;

	fill(c, "hired");
	reply = TYPED(redisCommand(c, "VCARD hired"), REDIS_REPLY_INTEGER);
	CHECK(reply && reply->integer == ELEMENTS);
	freeReplyObject(reply);
	reply = TYPED(redisCommand(c, "VDIM hired"), REDIS_REPLY_INTEGER);
	CHECK(reply && reply->integer == DIM);
	freeReplyObject(reply);
	for (uint32_t i = 0; i < 1000; i++)
		redisAppendCommand(c, i % 2 ? "VCARD hired" : "ECHO %u", i);
	for (uint32_t i = 0; i < 1000; i++) {
		char text[16];

		snprintf(text, sizeof(text), "%u", i);
		if (!CHECK(redisGetReply(c, (void **)&reply) == REDIS_OK))
			break;
		CHECK(i % 2 ? reply->type == REDIS_REPLY_INTEGER : reply->type == REDIS_REPLY_STRING && !strcmp(reply->str, text));
		freeReplyObject(reply);
	}
	redisFree(c);
}

static void vsim_tells_elements_and_scores_best_first(void)
{
	redisContext *c = connected();
	redisReply *reply;
	float probe[DIM], v[DIM];
	double last = 2;

	vector(3, probe);
	reply = TYPED(redisCommand(c, "VSIM hired FP32 %b WITHSCORES COUNT %d", probe, sizeof(probe), ELEMENTS), REDIS_REPLY_ARRAY);
	CHECK(reply && reply->elements == (size_t)2 * ELEMENTS);
	for (size_t i = 0; reply && i + 1 < reply->elements; i += 2) {
		const redisReply *name = reply->element[i], *score = reply->element[i + 1];
		double s;

		if (!CHECK(name->type == REDIS_REPLY_STRING && name->str[0] == 'e' && score->type == REDIS_REPLY_STRING))
			break;
		s = strtod(score->str, NULL);
		vector((uint32_t)strtoul(name->str + 1, NULL, 10), v);
		CHECK(fabs(s - (1 + cosine(probe, v)) / 2) < 2e-7);
		CHECK(s <= last);
		last = s;
	}
	CHECK(reply && reply->elements && !strcmp(reply->element[0]->str, "e3"));
	freeReplyObject(reply);
	redisFree(c);
}

static void nothing_is_null(void)
{
	redisContext *c = connected();

	freeReplyObject(TYPED(redisCommand(c, "VEMB hired nobody"), REDIS_REPLY_NIL));
	freeReplyObject(TYPED(redisCommand(c, "VGETATTR hired e1"), REDIS_REPLY_NIL));
	redisFree(c);
}

static void errors_are_errors_and_the_connection_lives_on(void)
{
	redisContext *c = connected();
	float v[DIM + 1] = { 1 };

	freeReplyObject(TYPED(redisCommand(c, "VADD hired FP32 %b e1", v, sizeof(v)), REDIS_REPLY_ERROR));
	freeReplyObject(TYPED(redisCommand(c, "VSIM hired FP32 %b COUNT 0", v, DIM * sizeof(float)), REDIS_REPLY_ERROR));
	freeReplyObject(TYPED(redisCommand(c, "NOSUCHCOMMAND"), REDIS_REPLY_ERROR));
	freeReplyObject(TYPED(redisCommand(c, "PING"), REDIS_REPLY_STATUS));
	redisFree(c);
}

/* ---- asynchronous, with a loop of the smallest kind ---- */

static struct {
	bool reading, writing;
	uint32_t answered;
	bool over;
} loop;

static void add_read(void *arg)
{
	(void)arg;
	loop.reading = true;
}

static void del_read(void *arg)
{
	(void)arg;
	loop.reading = false;
}

static void add_write(void *arg)
{
	(void)arg;
	loop.writing = true;
}

static void del_write(void *arg)
{
	(void)arg;
	loop.writing = false;
}

static void answered(redisAsyncContext *c, void *r, void *arg)
{
	redisReply *reply = r;

	(void)c;
	CHECK(reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 3);
	CHECK((uintptr_t)arg == loop.answered);
	loop.answered++;
}

static void gone(const redisAsyncContext *c, int status)
{
	(void)c;
	CHECK(status == REDIS_OK);
	loop.over = true;
}

static void asynchronous_searches_are_answered_in_order(void)
{
	redisAsyncContext *c = redisAsyncConnectUnix(path);
	float probe[DIM];

	if (!CHECK(c && !c->err))
		return;
	c->ev.addRead = add_read;
	c->ev.delRead = del_read;
	c->ev.addWrite = add_write;
	c->ev.delWrite = del_write;
	loop.writing = true;
	redisAsyncSetDisconnectCallback(c, gone);
	for (uintptr_t i = 0; i < 200; i++) {
		vector((uint32_t)i % ELEMENTS, probe);
		redisAsyncCommand(c, answered, (void *)i, "VSIM hired FP32 %b COUNT 3", probe, sizeof(probe));
	}
	redisAsyncDisconnect(c);
	while (!loop.over) {
		struct pollfd p = { c->c.fd, (short)((loop.reading ? POLLIN : 0) | (loop.writing ? POLLOUT : 0)), 0 };

		if (!CHECK(poll(&p, 1, 60000) == 1))
			return;
		if (p.revents & POLLOUT)
			redisAsyncHandleWrite(c);
		if (!loop.over && p.revents & (POLLIN | POLLHUP | POLLERR))
			redisAsyncHandleRead(c);
	}
	CHECK(loop.answered == 200);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*fact)(void);
	} facts[] = {
#define FACT(f) { #f, f }
		FACT(a_pipeline_of_vadd_is_answered_in_order),
		FACT(vsim_tells_elements_and_scores_best_first),
		FACT(nothing_is_null),
		FACT(errors_are_errors_and_the_connection_lives_on),
		FACT(asynchronous_searches_are_answered_in_order),
	};
	enum { FACTS = sizeof(facts) / sizeof(facts[0]) };
	bool all = true;

	if (argc != 2) {
		fprintf(stderr, "usage: hiredis_client SOCKET\n");
		return 2;
	}
	path = argv[1];
	printf("1..%d\n", FACTS);
	for (uint32_t i = 0; i < FACTS; i++) {
		right = true;
		facts[i].fact();
		printf("%sok %u - %s\n", right ? "" : "not ", i + 1, facts[i].name);
		all = all && right;
	}
	return all ? 0 : 1;
}
