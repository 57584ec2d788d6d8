// SPDX-License-Identifier: MIT
// Groups: enrolments, replacements and deletions that become durable by one write and one sync.
#include <stdlib.h>
#include <string.h>

#include "enrol.h"

enum { GROUP_BYTES_MAX = 32 << 20 }; /* of records; one alone may be longer */

struct lineup_group {
	struct lineup_gallery *gallery;
	struct lineup_enrol *enrol; /* used again for each operation */
};

uint64_t lineup_group_rows_max(const struct lineup_gallery *g)
{
	return lineup_enrol_rows_max(g);
}

int lineup_group_begin(struct lineup_gallery *g, struct lineup_group **group)
{
	struct lineup_fault fault = { .text = "no memory for a group" };
	struct lineup_group *p;
	int err = lineup_gallery_enter(g);

	if (err)
		return err;
	p = calloc(1, sizeof(*p));
	err = p ? lineup_enrol_new(g, lineup_enrol_rows_max(g), &p->enrol, &fault) : -ENOMEM;
	if (err) {
		free(p);
		lineup_gallery_leave(g);
		return lineup_gallery_fail(g, err, &fault);
	}
	p->gallery = g;
	*group = p;
	return 0;
}

int lineup_group_list(struct lineup_group *group, const char *name, uint64_t *mask)
{
	return lineup_enrol_list(group->enrol, name, mask);
}

uint32_t lineup_group_operations(const struct lineup_group *group)
{
	return group->gallery->stage.operations;
}

static bool full(const struct lineup_gallery *g, uint64_t content_bytes)
{
	const struct lineup_stage *stage = &g->stage;

	return stage->operations == LINEUP_GROUP_OPERATIONS_MAX ||
	       (stage->operations && stage->size + content_bytes > GROUP_BYTES_MAX);
}

static int check_enrol(const struct lineup_gallery *g, const struct lineup_group_options *opt, const struct lineup_enrol_batch *batch)
{
	uint64_t rows_max = lineup_enrol_rows_max(g);

	if (opt->flags & ~(uint32_t)LINEUP_GROUP_REPLACE)
		return lineup_fail(g->ctx, -EINVAL, "lineup_group_options: unknown flags 0x%x", opt->flags);
	if (opt->flags & LINEUP_GROUP_REPLACE && !batch->subjects)
		return lineup_fail(g->ctx, -EINVAL, "gallery %s: a replacement needs the names of its subjects", g->path);
	if (!batch->vectors.rows)
		return lineup_fail(g->ctx, -EINVAL, "gallery %s: an enrolment of no rows", g->path);
	if (batch->vectors.rows > rows_max)
		return lineup_fail(g->ctx, -E2BIG, "gallery %s: %llu rows in an enrolment of a group, which takes %llu at most", g->path,
				   (unsigned long long)batch->vectors.rows, (unsigned long long)rows_max);
	return full(g, batch->vectors.rows * g->state.shape.record_bytes) ? -ENOBUFS : 0;
}

static int stage(struct lineup_gallery *g, struct lineup_enrol *e, const struct lineup_group_options *options,
		 const struct lineup_enrol_batch *batch)
{
	struct lineup_group_options opt;
	struct lineup_fault fault;
	int err = lineup_options_copy(g->ctx, "lineup_group_options", &opt, sizeof(opt), options);

	if (!err)
		err = check_enrol(g, &opt, batch);
	if (err)
		return err;
	err = lineup_enrol_start(e, opt.op_id, opt.flags & LINEUP_GROUP_REPLACE ? LINEUP_OP_REPLACE : LINEUP_OP_ENROL, &fault);
	if (err)
		return lineup_gallery_fail(g, err, &fault);
	err = lineup_enrol_add(e, batch);
	if (!err && !e->repeated) {
		err = lineup_enrol_stage(e, &fault);
		if (err)
			lineup_gallery_fail(g, err, &fault);
	}
	return err;
}

int lineup_group_enrol(struct lineup_group *group, const struct lineup_group_options *options, const struct lineup_enrol_batch *batch,
		       struct lineup_enrol_result *result)
{
	struct lineup_gallery *g = group->gallery;
	struct lineup_enrol *e = group->enrol;
	int err = stage(g, e, options, batch);

	if (!err)
		lineup_enrol_result(e, result);
	if (batch->vectors.rows <= e->waiting_max)
		explicit_bzero(e->records, batch->vectors.rows * g->state.shape.record_bytes);
	e->waiting = 0;
	e->lists = g->state.lists; /* a list that this operation did not bring in is none of the next one's */
	return err;
}

int lineup_group_delete(struct lineup_group *group, const struct lineup_delete_options *options, struct lineup_delete_result *result)
{
	struct lineup_gallery *g = group->gallery;

	return full(g, 0) ? -ENOBUFS : lineup_delete_stage(g, &group->enrol->lookup, options, result);
}

static void end(struct lineup_group *group)
{
	lineup_enrol_free(group->enrol);
	lineup_gallery_leave(group->gallery);
	free(group);
}

int lineup_group_commit(struct lineup_group *group)
{
	struct lineup_gallery *g = group->gallery;
	bool any = g->stage.operations;
	struct lineup_fault fault;
	int err = lineup_stage_commit(g, &fault);

	if (err)
		lineup_gallery_fail(g, err, &fault);
	else if (any)
		lineup_gallery_seal(g);
	end(group);
	return err;
}

void lineup_group_abort(struct lineup_group *group)
{
	if (!group)
		return;
	lineup_stage_undo(group->gallery);
	end(group);
}
