// SPDX-License-Identifier: MIT
// 1:1: probes against one subject, by the index; the rest of the gallery is not read.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gallery.h"
#include "score.h"

struct verify {
	struct lineup_probe_set *probes;
	const struct lineup_score *score;
	struct lineup_candidate *candidates;
	float *vector;      /* scratch */
	int64_t now;
	uint64_t templates; /* that counted */
};

static int verify_template(void *arg, const struct lineup_segment *segment, uint64_t row, const struct disk_record *record)
{
	struct verify *v = arg;
	const float *vector;

	if (lineup_segment_row_deleted(segment, row) || (record->expires > 0 && record->expires <= v->now))
		return 0;
	vector = lineup_record_vector(&segment->shape, record, v->vector);
	for (uint32_t p = 0; p < v->probes->count; p++) {
		struct lineup_candidate *c = &v->candidates[p];
		const float *probe = v->probes->vectors + (size_t)p * v->probes->dim;
		float score = (float)(v->score->dot ? v->score->dot : lineup_dot)(probe, vector, v->probes->dim);

		/* Templates come in the order of their ids: an equal score does not replace. */
		if (!v->templates || score > c->score) {
			c->score = score;
			c->template_id = record->template_id;
		}
	}
	v->templates++;
	return 0;
}

static int verify_batch(struct lineup_snapshot *snapshot, struct verify *v, const struct lineup_matrix *probes, const char *subject)
{
	uint32_t batch = v->probes->capacity;

	for (uint64_t first = 0; first < probes->rows; first += batch) {
		uint64_t left = probes->rows - first;
		struct lineup_candidate *candidates = v->candidates;
		int err;

		batch = (uint32_t)(left < batch ? left : batch);
		err = lineup_probe_set_fill(snapshot->ctx, v->probes, probes, first, batch, LINEUP_NORM_MAX_FLOAT32);
		if (err)
			return err;
		v->templates = 0;
		err = lineup_snapshot_subject(snapshot, subject, verify_template, v);
		if (err)
			return err;
		if (!v->templates)
			return lineup_fail(snapshot->ctx, -ENOENT, "verify: the gallery has no template of subject %s that is neither deleted nor expired",
					   subject);
		for (uint32_t p = 0; p < batch; p++)
			strcpy(candidates[p].subject, subject);
		v->candidates += batch;
	}
	return 0;
}

int lineup_verify(struct lineup_gallery *gallery, const struct lineup_matrix *probes, const char *subject, int64_t now,
		  struct lineup_candidate *candidates)
{
	struct lineup_snapshot *snapshot = lineup_gallery_snapshot(gallery);
	struct lineup_probe_set set = { 0 };
	struct verify v = { .probes = &set, .candidates = candidates, .now = now ? now : (int64_t)time(NULL) };
	uint32_t capacity = probes->rows < LINEUP_PROBES_MAX ? (uint32_t)round_up(probes->rows + 1, LINEUP_PROBE_TILE) : LINEUP_PROBES_MAX;
	int err = -EINVAL;

	if (!snapshot)
		return -ENOMEM;
	if (lineup_subject_check(subject))
		lineup_fail(snapshot->ctx, err, "verify: that is no subject id: 1 to %d bytes of UTF-8 without control characters",
			    LINEUP_SUBJECT_BYTES_MAX);
	else if (!lineup_probe_check(snapshot->ctx, probes, snapshot->dim))
		err = lineup_score_choose(snapshot->ctx, NULL, &v.score);
	if (err)
		goto out;
	v.vector = calloc(snapshot->dim, sizeof(*v.vector));
	if (!v.vector) {
		err = lineup_fail(snapshot->ctx, -ENOMEM, "verify: no memory");
		goto out;
	}
	err = lineup_probe_set_init(snapshot->ctx, &set, capacity, snapshot->dim);
	if (!err)
		err = verify_batch(snapshot, &v, probes, subject);
out:
	lineup_probe_set_fini(&set);
	free(v.vector);
	lineup_snapshot_put(snapshot);
	return err;
}
