// SPDX-License-Identifier: MIT
// What lineup capture prints: candidates as they come, and the counts at the end.
#include <inttypes.h>
#include <stdio.h>

#include "capture.h"

static void fourcc_text(uint32_t fourcc, char text[5])
{
	for (unsigned int i = 0; i < 4; i++) {
		char c = (char)(fourcc >> (8 * i));

		text[i] = c;
		if (c < 0x20 || c > 0x7e)
			text[i] = '?';
	}
	text[4] = 0;
}

int capture_print_start(struct cli *cli, unsigned int format, const struct lineup_capture_info *info)
{
	char fourcc[5];

	if (format != CLI_TABLE)
		return 0;
	fourcc_text(info->fourcc, fourcc);
	printf("%s (%s): %s, %" PRIu32 " x %" PRIu32 ", %" PRIu32 " frames of %s\n\n", info->card, info->driver, fourcc,
	       info->width, info->height, info->buffers, lineup_frames_kind_name(info->kind));
	return cli_flush(cli, NULL);
}

static json_t *candidates_json(const struct lineup_candidate *candidates, uint32_t count)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < count; i++)
		if (json_array_append_new(array, json_pack("{s:i, s:s, s:I, s:f}", "rank", (int)i + 1, "subject",
							   candidates[i].subject, "template", (json_int_t)candidates[i].template_id,
							   "score", (double)candidates[i].score))) {
			json_decref(array);
			return NULL;
		}
	return array;
}

static json_t *answer_json(const struct capture_answer *a, uint32_t i)
{
	const struct lineup_face *face = &a->faces[i];
	const struct lineup_search_facts *f = a->facts;

	return json_pack("{s:I, s:f, s:i, s:[f, f, f, f], s:f, s:o, s:o, s:I, s:s, s:s, s:I, s:I, s:I}",
			 "frame", (json_int_t)a->shot->sequence, "timestamp", (double)a->shot->timestamp_ns * 1e-9, "face", (int)i,
			 "box", (double)face->x, (double)face->y, (double)face->width, (double)face->height,
			 "quality", (double)face->quality,
			 "candidates", candidates_json(a->candidates + (size_t)i * a->k, a->counts[i]),
			 "gallery_digest", cli_json_hex(f->gallery_digest, sizeof(f->gallery_digest)),
			 "sequence", (json_int_t)f->sequence,
			 "model", a->model, "backend", f->backend, "rows", (json_int_t)f->rows,
			 "rows_scanned", (json_int_t)f->rows_scanned,
			 "rows_reranked", (json_int_t)f->rows_reranked);
}

static void print_tsv(const struct capture_answer *a, uint32_t i)
{
	const struct lineup_candidate *c = a->candidates + (size_t)i * a->k;

	for (uint32_t r = 0; r < a->counts[i]; r++)
		printf("%" PRIu64 "\t%" PRIu32 "\t%" PRIu32 "\t%s\t%" PRIu64 "\t%.6f\n", a->shot->sequence, i, r + 1, c[r].subject,
		       c[r].template_id, (double)c[r].score);
}

int capture_print_answer(struct cli *cli, unsigned int format, const struct capture_answer *answer)
{
	const struct lineup_face *face;
	int status = 0;

	for (uint32_t i = 0; i < answer->count && !status; i++) {
		if (format == CLI_JSON) {
			status = cli_print_json(cli, answer_json(answer, i));
		} else if (format == CLI_TSV) {
			print_tsv(answer, i);
		} else {
			face = &answer->faces[i];
			printf("frame %" PRIu64 ", face %" PRIu32
			       " at %.0f,%.0f of %.0f x %.0f, quality %.2f, gallery at operation %" PRIu64 "\n",
			       answer->shot->sequence, i, (double)face->x, (double)face->y, (double)face->width,
			       (double)face->height, (double)face->quality, answer->facts->sequence);
			cli_print_table(i, answer->candidates + (size_t)i * answer->k, answer->counts[i], answer->threshold);
		}
	}
	return status ? status : cli_flush(cli, NULL);
}

static uint64_t failed(const struct capture_counts *c)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < LINEUP_FATES; i++)
		n += c->failed[i];
	return n;
}

static void print_text(FILE *file, const struct capture_counts *c)
{
	fprintf(file, "frames: %" PRIu64 " captured, %" PRIu64 " dropped by the device, %" PRIu64 " failed", c->captured,
		c->dropped, failed(c));
	for (unsigned int i = 1; i < LINEUP_FATES; i++)
		if (c->failed[i])
			fprintf(file, " [%s %" PRIu64 "]", lineup_fate_name((enum lineup_fate)i), c->failed[i]);
	fprintf(file, ", %" PRIu64 " without a template, %" PRIu64 " searched", c->empty, c->searched);
	if (c->unsearched)
		fprintf(file, ", %" PRIu64 " not searched to the end", c->unsearched);
	fprintf(file, "\nprobes: %" PRIu64 " searched, %" PRIu64 " candidates\n", c->probes, c->candidates);
}

static json_t *counts_json(const struct capture_counts *c, const char *ended)
{
	json_t *causes = json_object();

	for (unsigned int i = 1; i < LINEUP_FATES; i++)
		json_object_set_new(causes, lineup_fate_name((enum lineup_fate)i), json_integer((json_int_t)c->failed[i]));
	return json_pack("{s:{s:{s:I, s:I, s:I, s:o, s:I, s:I, s:I}, s:I, s:I}, s:s}", "counts", "frames", "captured",
			 (json_int_t)c->captured, "dropped", (json_int_t)c->dropped, "failed", (json_int_t)failed(c), "causes",
			 causes, "empty", (json_int_t)c->empty, "searched", (json_int_t)c->searched, "unsearched",
			 (json_int_t)c->unsearched, "probes", (json_int_t)c->probes, "candidates", (json_int_t)c->candidates,
			 "ended", ended);
}

int capture_print_counts(struct cli *cli, unsigned int format, const struct capture_counts *counts, enum capture_end end)
{
	static const char *const ended[] = {
		[CAPTURE_END_FRAMES] = "frames", [CAPTURE_END_INTERRUPTED] = "interrupted", [CAPTURE_END_FAILED] = "failed",
	};
	int status = 0;

	cli_progress_clear();
	if (format == CLI_JSON) {
		status = cli_print_json(cli, counts_json(counts, ended[end]));
	} else if (format == CLI_TABLE) {
		print_text(stdout, counts);
		printf("These are candidates. A score says how alike two templates are; who it is, a person decides.\n");
	}
	status = status ? status : cli_flush(cli, NULL);
	if (status || format == CLI_TSV)
		print_text(stderr, counts);
	return status;
}
