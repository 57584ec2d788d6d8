// SPDX-License-Identifier: MIT
// Searches and 1:1 by lineupd: LINEUP.SEARCH, LINEUP.VERIFY.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remote_wire.h"

static void add_probes(struct cli *cli, struct remote_command *c, const struct lineup_matrix *probes)
{
	bool wide = probes->dtype == LINEUP_FLOAT64;

	command_text(cli, c, "PROBES");
	command_unsigned(cli, c, probes->rows);
	command_text(cli, c, wide ? "F64" : "FP32");
	command_data(cli, c, probes->data, probes->rows * probes->dim * (wide ? sizeof(double) : sizeof(float)));
}

static int wrong(struct remote *r)
{
	return cli_fail(r->cli, "lineupd at %s: a reply that is not understood; is it of another version?", r->address);
}

int remote_search_send(struct remote *r, const struct remote_query *q)
{
	struct remote_command c = { 0 };
	int status;

	command_begin(r->cli, &c, "LINEUP.SEARCH");
	command_text(r->cli, &c, r->name);
	add_probes(r->cli, &c, q->probes);
	command_text(r->cli, &c, "K");
	command_unsigned(r->cli, &c, q->options->k);
	command_text(r->cli, &c, "PER");
	command_text(r->cli, &c, q->options->per == LINEUP_PER_TEMPLATE ? "TEMPLATE" : "SUBJECT");
	if (q->options->flags & LINEUP_SEARCH_THRESHOLD) {
		command_text(r->cli, &c, "THRESHOLD");
		command_real(r->cli, &c, (double)q->options->threshold);
	}
	for (uint32_t i = 0; i < q->lists->count; i++) {
		command_text(r->cli, &c, "LIST");
		command_text(r->cli, &c, q->lists->name[i]);
	}
	if (q->options->now) {
		command_text(r->cli, &c, "NOW");
		command_number(r->cli, &c, q->options->now);
	}
	command_text(r->cli, &c, "MODEL");
	command_hex(r->cli, &c, q->model_digest, LINEUP_DIGEST_BYTES);
	command_finish(&c);
	status = remote_send(r, &c);
	command_fini(&c);
	return status;
}

static bool read_candidate(const redisReply *reply, struct lineup_candidate *candidate)
{
	const redisReply *subject, *score, *id;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 3)
		return false;
	subject = reply->element[0];
	score = reply->element[1];
	id = reply->element[2];
	if (subject->type != REDIS_REPLY_STRING || score->type != REDIS_REPLY_STRING || id->type != REDIS_REPLY_INTEGER ||
	    strlen(subject->str) > LINEUP_SUBJECT_BYTES_MAX)
		return false;
	*candidate = (struct lineup_candidate){ .template_id = (uint64_t)id->integer, .score = strtof(score->str, NULL) };
	strcpy(candidate->subject, subject->str);
	return true;
}

static bool read_facts(struct remote *r, const redisReply *reply, struct lineup_search_facts *f)
{
	snprintf(r->backend, sizeof(r->backend), "%s", reply_text(reply, "backend"));
	snprintf(r->io, sizeof(r->io), "%s", reply_text(reply, "io"));
	snprintf(r->staging, sizeof(r->staging), "%s", reply_text(reply, "staging"));
	*f = (struct lineup_search_facts){
		.sequence = reply_unsigned(reply, "sequence"), .rows = reply_unsigned(reply, "rows"),
		.rows_scanned = reply_unsigned(reply, "rows_scanned"), .rows_reranked = reply_unsigned(reply, "rows_reranked"),
		.bytes_read = reply_unsigned(reply, "bytes_read"), .passes = (uint32_t)reply_unsigned(reply, "passes"),
		.threads = (uint32_t)reply_unsigned(reply, "threads"), .resident = reply_unsigned(reply, "resident") != 0,
		.devices = (uint32_t)reply_unsigned(reply, "devices"), .rows_on_device = reply_unsigned(reply, "rows_on_device"),
		.bytes_on_device = reply_unsigned(reply, "bytes_on_device"), .bytes_uploaded = reply_unsigned(reply, "bytes_uploaded"),
		.overflows = (uint32_t)reply_unsigned(reply, "overflows"), .staging = r->staging,
		.backend = r->backend, .io = r->io, .seconds = reply_real(reply, "seconds"),
		.seconds_scan = reply_real(reply, "seconds_scan"), .seconds_rerank = reply_real(reply, "seconds_rerank"),
	};
	return reply_hex(reply, "digest", f->gallery_digest, sizeof(f->gallery_digest));
}

int remote_search_receive(struct remote *r, uint64_t rows, uint32_t k, struct lineup_candidate *candidates, uint32_t *counts,
			  struct lineup_search_facts *facts)
{
	redisReply *reply = NULL;
	const redisReply *lists;
	int status = remote_answer(r, &reply);
	bool fine;

	if (status)
		return status;
	lists = reply_field(reply, "candidates");
	fine = read_facts(r, reply, facts) && lists && lists->type == REDIS_REPLY_ARRAY && lists->elements == rows;
	for (uint64_t i = 0; fine && i < rows; i++) {
		const redisReply *list = lists->element[i];

		fine = list->type == REDIS_REPLY_ARRAY && list->elements <= k;
		counts[i] = fine ? (uint32_t)list->elements : 0;
		for (uint32_t j = 0; fine && j < counts[i]; j++)
			fine = read_candidate(list->element[j], &candidates[i * k + j]);
	}
	freeReplyObject(reply);
	return fine ? 0 : wrong(r);
}

int remote_verify(struct remote *r, const struct lineup_matrix *probes, const char *subject, int64_t now,
		  const uint8_t *model_digest, struct lineup_candidate *candidates)
{
	struct remote_command c = { 0 };
	redisReply *reply = NULL;
	int status;
	bool fine;

	command_begin(r->cli, &c, "LINEUP.VERIFY");
	command_text(r->cli, &c, r->name);
	command_text(r->cli, &c, subject);
	add_probes(r->cli, &c, probes);
	if (now) {
		command_text(r->cli, &c, "NOW");
		command_number(r->cli, &c, now);
	}
	command_text(r->cli, &c, "MODEL");
	command_hex(r->cli, &c, model_digest, LINEUP_DIGEST_BYTES);
	status = remote_ask(r, &c, &reply);
	command_fini(&c);
	if (status)
		return status;
	fine = reply->type == REDIS_REPLY_ARRAY && reply->elements == probes->rows;
	for (uint64_t i = 0; fine && i < probes->rows; i++)
		fine = read_candidate(reply->element[i], &candidates[i]);
	freeReplyObject(reply);
	return fine ? 0 : wrong(r);
}
