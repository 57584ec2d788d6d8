// SPDX-License-Identifier: MIT
// What decides about a row that passed a scan: the interval its score lies in, the exact score of its record, and the answer made of the best.
#include <fcntl.h>
#include <math.h>
#include <string.h>

#include "search.h"

int lineup_rerank_record(const struct lineup_rerank *rerank, const struct lineup_entry *entry, const struct disk_record **record)
{
	const struct lineup_segment *segment = &rerank->snapshot->segments[entry->segment];
	int err;

	if (segment->records) {
		*record = (const struct disk_record *)(segment->records + (uint64_t)entry->row * segment->shape.record_bytes);
		return 0;
	}
	err = lineup_segment_record(rerank->ctx, segment, entry->row, rerank->record);
	if (err)
		return err;
	if (rerank->record->template_id != entry->template_id)
		return lineup_fail(rerank->ctx, -EBADMSG, "%s: row %u: the record is of template %llu, the block says %llu", segment->path,
				   entry->row, (unsigned long long)rerank->record->template_id, (unsigned long long)entry->template_id);
	*record = rerank->record;
	return 0;
}

static int rerank_score(void *arg, const struct lineup_entry *entry, float *score)
{
	const struct lineup_rerank *rerank = arg;
	const struct lineup_shape *shape = &rerank->snapshot->segments[entry->segment].shape;
	const struct disk_record *record;
	const float *vector;
	int err = lineup_rerank_record(rerank, entry, &record);

	if (err)
		return err;
	vector = lineup_record_vector(shape, record, rerank->vector);
	*score = (float)(rerank->score->dot ? rerank->score->dot : lineup_dot)(rerank->probe, vector, shape->dim);
	return 0;
}

/* Lets the kernel begin all these reads together; that it may not is its business. */
static void rerank_soon(void *arg, const struct lineup_entry *entries, uint32_t count)
{
	const struct lineup_rerank *rerank = arg;

	for (uint32_t i = 0; i < count; i++) {
		const struct lineup_segment *segment = &rerank->snapshot->segments[entries[i].segment];

		if (!segment->records)
			posix_fadvise(segment->fd, (off_t)(segment->records_offset + (uint64_t)entries[i].row * segment->shape.record_bytes),
				      segment->shape.record_bytes, POSIX_FADV_WILLNEED);
	}
}

int lineup_rerank_select(struct lineup_rerank *rerank, struct lineup_select *select)
{
	return lineup_select_rerank(select, rerank_score, rerank_soon, rerank);
}

int lineup_rerank_deliver(struct lineup_rerank *rerank, struct lineup_select *select, struct lineup_candidate *row, uint32_t *count)
{
	struct lineup_topk *exact = &select->exact;

	lineup_topk_finish(exact);
	for (uint32_t i = 0; i < exact->count; i++) {
		const struct disk_record *record;
		int err = lineup_rerank_record(rerank, &exact->heap[i], &record);

		if (err)
			return err;
		row[i].template_id = exact->heap[i].template_id;
		row[i].score = exact->heap[i].score;
		memset(row[i].subject, 0, sizeof(row[i].subject));
		memcpy(row[i].subject, record->name, record->name_bytes);
	}
	*count = exact->count;
	return 0;
}

float lineup_scan_threshold(double floor)
{
	float f = (float)floor;

	return f > floor ? nextafterf(f, -INFINITY) : f;
}

struct lineup_interval lineup_score_interval(const struct lineup_probe_set *probes, uint32_t probe, int32_t acc, float scale, float resid)
{
	double estimate = (double)probes->scale[probe] * (double)scale * acc;
	double bound = probes->c0[probe] + probes->c1[probe] * (double)resid;

	return (struct lineup_interval){ estimate - bound, estimate + bound };
}
