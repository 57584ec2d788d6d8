// SPDX-License-Identifier: MIT
// The crew's work on a share: who joins, which unit comes next, scanning it, and re-ranking whoever has seen all.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "share.h"

#define NO_UNIT UINT64_MAX

/* ---- leaving ---- */

/* A member has been given all it wants, or wants no more. */
static void leave(struct lineup_share *share, struct lineup_share_seat *seat)
{
	seat->leave = share->unit_next;
	seat->next = NULL;
	*share->leaving_tail = seat;
	share->leaving_tail = &seat->next;
}

static void leave_if_done(struct lineup_share *share, struct lineup_share_seat *seat)
{
	if (!seat->remaining && !seat->journal && !seat->device)
		leave(share, seat);
}

/* Those whose units have all been scanned are ready for re-ranking. */
static void settle(struct lineup_share *share)
{
	uint64_t low = NO_UNIT;
	double now;

	if (!share->leaving)
		return;
	for (uint32_t i = 0; i < lineup_crew_threads(share->crew); i++)
		low = share->active[i] < low ? share->active[i] : low;
	if (share->leaving->leave > low)
		return;
	now = lineup_share_now();
	while (share->leaving && share->leaving->leave <= low) {
		struct lineup_share_seat *seat = share->leaving;

		share->leaving = seat->next;
		if (!share->leaving)
			share->leaving_tail = &share->leaving;
		seat->request->scan_end = now;
		seat->request->read = share->stats.bytes_read - seat->request->read_begin;
		seat->next = NULL;
		*share->finishing_tail = seat;
		share->finishing_tail = &seat->next;
	}
}

/* Drops members that have nothing remaining; those of failed requests have nothing. */
static void drop_members(struct lineup_share *share)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < share->member_count; i++) {
		struct lineup_share_seat *seat = share->members[i];

		if (atomic_load_explicit(&seat->request->err, memory_order_relaxed))
			seat->remaining = 0;
		if (seat->remaining) {
			share->members[kept++] = seat;
			continue;
		}
		if (seat->on_device)
			seat->request->view->device_members--;
		else
			seat->request->view->members--;
		leave_if_done(share, seat);
	}
	share->epoch_stale = share->epoch_stale || kept != share->member_count;
	share->member_count = kept;
	share->cull = false;
	if (!kept) { /* probes are not kept for longer than they are needed */
		lineup_share_epoch_put(share, share->epoch);
		share->epoch = NULL;
	}
}

static void fail_members(struct lineup_share *share, int err, const char *message)
{
	for (uint32_t i = 0; i < share->member_count; i++)
		lineup_share_request_fail(share, share->members[i]->request, err, message);
	drop_members(share);
}

/* ---- joining ---- */

/* What the crew scans for it of the parts. */
static uint64_t rows_for(const struct lineup_share_request *r, bool on_device)
{
	uint64_t rows = r->view->rows;

	for (uint32_t i = 0; on_device && i < r->view->part_count; i++)
		rows -= r->view->parts[i]->covered ? r->view->parts[i]->segment->rows : 0;
	return rows;
}

struct lineup_share_seat *lineup_share_join(struct lineup_share *share, struct lineup_share_request *r, bool on_device)
{
	struct lineup_share_seat *seat = share->seats_free;
	const struct lineup_search_options *o = &r->query.options;

	if (share->test_join)
		share->test_join(share->test_arg, r, r->joined);
	share->seats_free = seat->next;
	seat->next = NULL;
	seat->request = r;
	seat->row = r->joined;
	seat->join = ++share->joins;
	seat->on_device = on_device;
	seat->device = on_device;
	seat->remaining = rows_for(r, on_device);
	seat->journal = r->view->journal_first < r->view->snapshot->segment_count;
	lineup_select_begin(&seat->select, o->k, o->per == LINEUP_PER_SUBJECT, o->flags & LINEUP_SEARCH_THRESHOLD ? &o->threshold : NULL);
	atomic_store_explicit(&seat->threshold, lineup_scan_threshold(seat->select.floor), memory_order_relaxed);
	if (!r->joined || r->last_join != share->unit_next)
		r->joins++;
	r->last_join = share->unit_next;
	if (!r->joined) {
		r->scan_begin = lineup_share_now();
		r->read_begin = share->stats.bytes_read;
	}
	lineup_share_queue_joined(share, r);
	share->scanning++;
	if (seat->remaining) {
		share->members[share->member_count++] = seat;
		if (on_device)
			r->view->device_members++;
		else
			r->view->members++;
		share->epoch_stale = true;
	} else {
		leave_if_done(share, seat);
	}
	return seat;
}

/* Those of @seats from @first on who want the journal of the view of @seats[@first] scan it together; they are put in front. */
static uint32_t begin_journal(struct lineup_share *share, struct lineup_share_seat **seats, uint32_t first, uint32_t count)
{
	struct lineup_share_view *view = seats[first]->request->view;
	struct lineup_share_journal *batch = &seats[first]->batch;
	uint32_t same = first;
	int err;

	for (uint32_t i = first; i < count; i++) {
		struct lineup_share_seat *seat = seats[i];

		if (seat->request->view != view)
			continue;
		seats[i] = seats[same];
		seats[same++] = seat;
	}
	*batch = (struct lineup_share_journal){ .view = view, .segment = view->journal_first };
	err = lineup_share_epoch_make(share, seats + first, same - first, &batch->epoch);
	if (!err) {
		*share->journals_tail = batch;
		share->journals_tail = &batch->next;
		return same;
	}
	for (uint32_t i = first; i < same; i++) {
		lineup_share_request_fail(share, seats[i]->request, err, "no memory for the probes that scan together");
		seats[i]->journal = false;
		leave_if_done(share, seats[i]);
	}
	return same;
}

void lineup_share_begin_journals(struct lineup_share *share, struct lineup_share_seat **seats, uint32_t count)
{
	for (uint32_t i = 0; i < count;)
		i = seats[i]->journal ? begin_journal(share, seats, i, count) : i + 1;
}

void lineup_share_left_device(struct lineup_share *share, struct lineup_share_seat *seat)
{
	seat->device = false;
	leave_if_done(share, seat);
	settle(share);
}

/* Gives seats to those who wait. */
static void admit(struct lineup_share *share)
{
	uint32_t joiners = 0;

	while (share->waiting && share->seats_free && share->member_count < share->probes_max && joiners < share->probes_max) {
		struct lineup_share_request *r = lineup_share_queue_first(share);
		struct lineup_share_seat *seat;

		if (lineup_share_gpu_takes(share, r))
			break;
		seat = lineup_share_join(share, r, false);
		if (seat->journal)
			share->joiners[joiners++] = seat;
	}
	lineup_share_begin_journals(share, share->joiners, joiners);
}

static void prepare(struct lineup_share *share)
{
	if (share->cull)
		drop_members(share);
	lineup_share_queue_expire(share);
	admit(share);
	if (share->cull)
		drop_members(share);
	settle(share);
}

/* ---- units ---- */

static void number(struct lineup_share *share, struct lineup_crew_worker *worker, struct lineup_share_unit *unit,
		   struct lineup_share_epoch *epoch)
{
	unit->epoch = epoch;
	epoch->references++;
	unit->number = share->unit_next++;
	share->active[worker->index] = unit->number;
}

static void give_journal(struct lineup_share *share, struct lineup_crew_worker *worker, struct lineup_share_unit *unit)
{
	struct lineup_share_journal *batch = share->journals;

	unit->view = batch->view;
	unit->segment_index = batch->segment++;
	unit->segment = &batch->view->snapshot->segments[unit->segment_index];
	unit->rows = (uint32_t)unit->segment->rows;
	number(share, worker, unit, batch->epoch);
	if (batch->segment < batch->view->snapshot->segment_count)
		return;
	share->journals = batch->next;
	if (!share->journals)
		share->journals_tail = &share->journals;
	for (uint32_t i = 0; i < batch->epoch->set.count; i++) {
		struct lineup_share_seat *seat = batch->epoch->seats[i];

		seat->journal = false;
		leave_if_done(share, seat);
	}
	lineup_share_epoch_put(share, batch->epoch);
}

/* The members as they are now, packed. */
static int make_epoch(struct lineup_share *share)
{
	struct lineup_share_epoch *epoch;
	int err;

	if (share->epoch && !share->epoch_stale)
		return 0;
	err = lineup_share_epoch_make(share, share->members, share->member_count, &epoch);
	if (err)
		return err;
	lineup_share_epoch_put(share, share->epoch);
	share->epoch = epoch;
	share->epoch_stale = false;
	for (uint32_t i = 0; i < share->member_count; i++)
		if (share->members[i]->request->most < share->member_count)
			share->members[i]->request->most = share->member_count;
	return 0;
}

static bool view_has(const struct lineup_share_view *view, const struct lineup_share_part *part)
{
	return part->slot < view->slots && view->segment_of[part->slot] != LINEUP_SHARE_NONE;
}

static bool wants(const struct lineup_share_seat *seat, const struct lineup_share_part *part)
{
	return view_has(seat->request->view, part) && !(seat->on_device && part->covered);
}

/* The unit is the members'; false: there was no memory, and no member stays. */
static bool assign(struct lineup_share *share, struct lineup_crew_worker *worker, struct lineup_share_unit *unit)
{
	bool ended = false;

	if (make_epoch(share)) {
		fail_members(share, -ENOMEM, "no memory for the probes that scan together");
		return false;
	}
	number(share, worker, unit, share->epoch);
	for (uint32_t i = 0; i < share->member_count; i++) {
		struct lineup_share_seat *seat = share->members[i];

		if (!wants(seat, unit->part))
			continue;
		seat->remaining -= unit->rows < seat->remaining ? unit->rows : seat->remaining;
		ended = ended || !seat->remaining;
	}
	if (ended)
		drop_members(share);
	return true;
}

/* Rows of a unit in memory: a block, or less where there are too few blocks to keep every thread busy to the end. */
static uint32_t unit_rows(const struct lineup_share *share, const struct lineup_shape *shape)
{
	uint64_t panels = share->circle_rows / LINEUP_PANEL_ROWS / (16 * lineup_crew_threads(share->crew)) + 1;
	uint64_t rows = panels * LINEUP_PANEL_ROWS;

	rows = rows < LINEUP_SHARE_UNIT_ROWS_MIN ? LINEUP_SHARE_UNIT_ROWS_MIN : rows;
	return rows < shape->block_rows ? (uint32_t)rows : shape->block_rows;
}

/* The cursor's rows, which are in memory. */
static void give_memory(struct lineup_share *share, struct lineup_share_unit *unit)
{
	struct lineup_share_part *part = share->at;
	const struct lineup_shape *shape = &part->segment->shape;
	uint64_t left = part->segment->rows - share->at_block * shape->block_rows;
	uint32_t rows = (uint32_t)(left < shape->block_rows ? left : shape->block_rows), most = unit_rows(share, shape);

	unit->part = part;
	unit->segment = part->segment;
	unit->block = share->at_block;
	unit->data = part->memory + unit->block * shape->block_bytes;
	unit->row = share->at_row;
	unit->rows = rows - unit->row < most ? rows - unit->row : most;
	share->at_row += unit->rows;
	if (share->at_row < rows)
		return;
	share->at_row = 0;
	if (++share->at_block < part->segment->block_count)
		return;
	share->at_block = 0;
	share->at = part->next;
}

/* A block of the stream, whoever came while it was read included; false: the cursor is elsewhere now, or the members are gone. */
static bool give_streamed(struct lineup_share *share, struct lineup_crew_worker *worker, struct lineup_share_unit *unit)
{
	int err;

	share->fetching = true;
	err = lineup_share_fetch(share, unit);
	share->fetching = false;
	if (err && !unit->part)
		fail_members(share, err, unit->message);
	if (!unit->part)
		return false;
	unit->err = err;
	prepare(share);
	unit->keep = !err && unit->part->memory && !unit->part->present[unit->block];
	if (share->member_count && assign(share, worker, unit))
		return true;
	/* Everybody who wanted it has gone. */
	pthread_mutex_unlock(&share->mutex);
	lineup_share_release(share, unit);
	pthread_mutex_lock(&share->mutex);
	unit->part = NULL;
	return false;
}

static bool next_unit(struct lineup_share *share, struct lineup_crew_worker *worker, struct lineup_share_unit *unit)
{
	if (share->journals) {
		give_journal(share, worker, unit);
		return true;
	}
	while (share->member_count && !share->fetching) {
		struct lineup_share_part *part = share->at;

		if (share->cull)
			drop_members(share);
		else if (!part || part->streamed || !lineup_share_part_resident(part)) {
			if (give_streamed(share, worker, unit))
				return true;
		} else if (!lineup_share_part_wanted(share, part)) {
			share->at = part->next;
			share->at_block = 0;
			share->at_row = 0;
		} else {
			give_memory(share, unit);
			return assign(share, worker, unit);
		}
	}
	return false;
}

/* ---- scanning ---- */

struct scan {
	struct lineup_share *share;
	struct lineup_crew_worker *worker;
	const struct lineup_share_unit *unit;
	uint64_t row_first;         /* of the columns below, in the segment */
	struct lineup_columns columns;
};

static struct lineup_rerank rerank_of(struct lineup_share *share, struct lineup_crew_worker *worker, const struct lineup_share_seat *seat)
{
	return (struct lineup_rerank){
		.ctx = share->ctx,
		.snapshot = seat->request->view->snapshot,
		.score = share->score,
		.record = worker->record,
		.vector = worker->vector,
		.probe = seat->request->vectors + seat->row * share->dim,
	};
}

static bool eligible(const struct lineup_share_request *r, const struct lineup_segment *segment, const struct scan *scan, uint32_t row)
{
	const struct lineup_columns *c = &scan->columns;
	uint32_t subject = c->subject[row];

	if (lineup_segment_row_deleted(segment, scan->row_first + row))
		return false;
	if (c->expires[row] > 0 && c->expires[row] <= r->now)
		return false;
	if (r->query.options.lists && !(c->lists[row] & r->query.options.lists))
		return false;
	return !r->query.subjects || (subject < r->query.subjects_numbers && (r->query.subjects[subject / 8] >> (subject % 8) & 1));
}

static void fail_request(struct lineup_share *share, struct lineup_share_request *r, int err)
{
	pthread_mutex_lock(&share->mutex);
	lineup_share_request_fail(share, r, err, lineup_errors_text());
	lineup_share_unlock(share);
}

/* A backend found rows of a panel that may pass: decide in float64, keep what may still be in the result. */
static void hit(void *arg, uint32_t probe, uint32_t row, uint64_t mask, const int32_t acc[LINEUP_PANEL_ROWS])
{
	struct scan *scan = arg;
	const struct lineup_share_unit *unit = scan->unit;
	struct lineup_share_epoch *epoch = unit->epoch;
	struct lineup_share_seat *seat = epoch->seats[probe];
	struct lineup_share_request *r = seat->request;
	struct lineup_select *select = &seat->select;
	const struct lineup_segment *segment;
	uint32_t index = unit->segment_index;
	float threshold;
	int err = 0;

	if (unit->part && !wants(seat, unit->part))
		return;
	if (unit->part)
		index = r->view->segment_of[unit->part->slot];
	segment = &r->view->snapshot->segments[index];
	pthread_mutex_lock(&select->mutex);
	for (; mask && !err; mask &= mask - 1) {
		uint32_t b = (uint32_t)__builtin_ctzll(mask), at = row + b;
		struct lineup_interval score = lineup_score_interval(&epoch->set, probe, acc[b], scan->columns.scale[at], scan->columns.resid[at]);
		struct lineup_rerank rerank;
		struct lineup_entry entry;

		if (score.high < select->floor || !eligible(r, segment, scan, at))
			continue;
		entry.subject = scan->columns.subject[at];
		entry.template_id = scan->columns.template_id[at];
		entry.segment = index;
		entry.row = (uint32_t)(scan->row_first + at);
		if (!lineup_select_put(select, &entry, score.low, score.high))
			continue;
		rerank = rerank_of(scan->share, scan->worker, seat);
		err = lineup_rerank_select(&rerank, select);
	}
	threshold = lineup_scan_threshold(select->floor);
	atomic_store_explicit(&seat->threshold, threshold, memory_order_relaxed);
	pthread_mutex_unlock(&select->mutex);
	atomic_store_explicit(&epoch->thresholds[probe], threshold, memory_order_relaxed);
	if (err)
		fail_request(scan->share, r, err);
}

/* Scans @rows rows of the unit's block number @block, which lies at @data, from @row on. */
static void scan_rows(struct scan *scan, uint64_t block, const uint8_t *data, uint32_t row, uint32_t rows)
{
	const struct lineup_shape *shape = &scan->unit->segment->shape;
	struct lineup_share_epoch *epoch = scan->unit->epoch;
	struct lineup_scan what = { .probes = &epoch->set, .threshold = epoch->thresholds, .hit = hit, .arg = scan };
	struct lineup_columns c;

	lineup_block_columns(shape, data, &c);
	scan->columns = (struct lineup_columns){
		.scale = c.scale + row,
		.resid = c.resid + row,
		.lists = c.lists + row,
		.expires = c.expires + row,
		.template_id = c.template_id + row,
		.subject = c.subject + row,
		.codes = c.codes + (size_t)(row / LINEUP_PANEL_ROWS) * shape->panel_bytes,
	};
	scan->row_first = block * shape->block_rows + row;
	scan->share->score->scan(&what, &scan->columns, rows);
}

/* A streamed block is checked, copied if it may stay, and given back as soon as its bytes are not needed any more. */
static void receive(struct lineup_share *share, struct lineup_share_unit *unit)
{
	uint64_t bytes = unit->segment->shape.block_bytes;
	uint8_t *to;

	if (!unit->err)
		unit->err = lineup_stream_verify(share->stream, &unit->stream_block);
	if (unit->err) {
		if (!unit->message[0])
			snprintf(unit->message, sizeof(unit->message), "%s", lineup_errors_text());
		lineup_share_release(share, unit);
		return;
	}
	if (!unit->keep)
		return;
	to = unit->part->memory + unit->block * bytes;
	memcpy(to, unit->data, bytes);
	pthread_mutex_lock(&share->mutex);
	lineup_share_part_filled(share, unit->part, unit->block);
	lineup_share_unlock(share);
	unit->data = to;
	lineup_share_release(share, unit);
}

static void scan_unit(struct lineup_share *share, struct lineup_crew_worker *worker, struct lineup_share_unit *unit)
{
	struct lineup_share_epoch *epoch = unit->epoch;
	struct scan scan = { .share = share, .worker = worker, .unit = unit };

	if (unit->streamed)
		receive(share, unit);
	if (unit->err)
		return;
	for (uint32_t i = 0; i < epoch->set.count; i++) {
		float threshold = atomic_load_explicit(&epoch->seats[i]->threshold, memory_order_relaxed);

		atomic_store_explicit(&epoch->thresholds[i], threshold, memory_order_relaxed);
	}
	if (unit->part) {
		scan_rows(&scan, unit->block, unit->data, unit->row, unit->rows);
	} else {
		const struct lineup_segment *s = unit->segment;

		for (uint64_t b = 0; b < s->block_count; b++) {
			uint64_t left = s->rows - b * s->shape.block_rows;

			scan_rows(&scan, b, s->blocks + b * s->shape.block_bytes, 0,
				  (uint32_t)(left < s->shape.block_rows ? left : s->shape.block_rows));
		}
	}
	lineup_share_release(share, unit);
}

static void complete(struct lineup_share *share, struct lineup_crew_worker *worker, struct lineup_share_unit *unit)
{
	struct lineup_share_epoch *epoch = unit->epoch;
	const struct lineup_shape *shape = &unit->segment->shape;

	share->active[worker->index] = NO_UNIT;
	for (uint32_t i = 0; unit->err && i < epoch->set.count; i++) {
		if (wants(epoch->seats[i], unit->part))
			lineup_share_request_fail(share, epoch->seats[i]->request, unit->err, unit->message);
	}
	if (!unit->err) {
		share->stats.rows_scanned += unit->rows;
		share->stats.bytes_scanned += unit->rows * (shape->block_bytes / shape->block_rows);
		share->stats.comparisons += (uint64_t)unit->rows * epoch->set.count;
	}
	lineup_share_epoch_put(share, epoch);
	if (share->cull)
		drop_members(share);
	settle(share);
}

/* ---- the answer of a probe ---- */

static void finish(struct lineup_share *share, struct lineup_crew_worker *worker)
{
	struct lineup_share_seat *seat = share->finishing;
	struct lineup_share_request *r = seat->request;
	struct lineup_rerank rerank = rerank_of(share, worker, seat);
	double begin = lineup_share_now();
	int err = r->err;

	share->finishing = seat->next;
	if (!share->finishing)
		share->finishing_tail = &share->finishing;
	if (!err) {
		lineup_share_unlock(share);
		err = lineup_rerank_select(&rerank, &seat->select);
		if (!err)
			err = lineup_rerank_deliver(&rerank, &seat->select, r->candidates + seat->row * r->query.options.k, &r->counts[seat->row]);
		pthread_mutex_lock(&share->mutex);
		if (err)
			lineup_share_request_fail(share, r, err, lineup_errors_text());
		r->seconds_rerank += lineup_share_now() - begin;
	}
	r->reranked += seat->select.reranked;
	share->stats.rows_reranked += seat->select.reranked;
	seat->next = share->seats_free;
	share->seats_free = seat;
	seat->request = NULL;
	share->scanning--;
	if (seat->on_device)
		lineup_share_gpu_seat_freed(share);
	lineup_share_request_done(share, r, 1);
}

bool lineup_share_work(struct lineup_crew_job *job, struct lineup_crew_worker *worker)
{
	struct lineup_share *share = (struct lineup_share *)job;
	struct lineup_share_unit unit = { 0 };
	bool trash, found = true;

	if (share->test_unit)
		share->test_unit(share->test_arg, share);
	pthread_mutex_lock(&share->mutex);
	if (!lineup_share_request_answer(share)) {
		prepare(share);
		if (share->finishing) {
			finish(share, worker);
		} else if (next_unit(share, worker, &unit)) {
			lineup_share_unlock(share);
			scan_unit(share, worker, &unit);
			pthread_mutex_lock(&share->mutex);
			complete(share, worker, &unit);
		} else {
			found = false;
		}
	}
	settle(share);
	trash = share->trash;
	lineup_share_unlock(share);
	if (trash)
		lineup_share_trash_empty(share);
	return found;
}
