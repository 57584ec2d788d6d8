// SPDX-License-Identifier: MIT
// One pass: every thread takes blocks, scans them, and puts what passes into the probes' selections; then the re-ranking.
#include <math.h>
#include <time.h>

#include "search.h"

static double seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void lineup_searcher_fail(struct lineup_searcher *searcher, int err)
{
	int none = 0;

	atomic_compare_exchange_strong(&searcher->error, &none, err);
}

bool lineup_searcher_failed(struct lineup_searcher *searcher)
{
	return atomic_load_explicit(&searcher->error, memory_order_relaxed) != 0;
}

void lineup_worker_progress(struct lineup_worker *worker, uint64_t bytes)
{
	struct lineup_searcher *searcher = worker->searcher;
	uint64_t done = atomic_fetch_add_explicit(&searcher->progress_bytes, bytes, memory_order_relaxed) + bytes;

	if (!worker->index && searcher->progress && !searcher->progress(searcher->progress_arg, done, searcher->progress_total))
		lineup_searcher_fail(searcher, -ECANCELED);
}

static struct lineup_rerank rerank_of(struct lineup_worker *worker, uint32_t probe)
{
	struct lineup_searcher *searcher = worker->searcher;

	return (struct lineup_rerank){
		.ctx = searcher->ctx,
		.snapshot = searcher->snapshot,
		.score = searcher->score,
		.record = worker->record,
		.vector = worker->vector,
		.probe = searcher->probes.vectors + (size_t)probe * searcher->probes.dim,
	};
}

static int rerank_probe(struct lineup_worker *worker, uint32_t probe)
{
	struct lineup_rerank rerank = rerank_of(worker, probe);

	return lineup_rerank_select(&rerank, &worker->searcher->selects[probe]);
}

/* Deleted since the snapshot. */
static bool gone(const struct lineup_searcher *searcher, uint32_t segment, uint64_t row)
{
	const uint8_t *bits = searcher->deleted ? searcher->deleted[segment] : NULL;

	return bits && (bits[row / 8] >> (row % 8) & 1);
}

static bool eligible(const struct lineup_worker *worker, uint32_t row)
{
	const struct lineup_searcher *searcher = worker->searcher;
	const struct lineup_columns *c = &worker->columns;

	if (lineup_segment_row_deleted(worker->segment, worker->row_first + row) ||
	    gone(searcher, worker->segment_index, worker->row_first + row))
		return false;
	if (c->expires[row] > 0 && c->expires[row] <= searcher->now)
		return false;
	return !searcher->options->lists || (c->lists[row] & searcher->options->lists);
}

/* The selection's mutex is held. */
static int put(struct lineup_worker *worker, uint32_t probe, struct lineup_entry *entry, struct lineup_interval score)
{
	bool full = lineup_select_put(&worker->searcher->selects[probe], entry, score.low, score.high);

	return full ? rerank_probe(worker, probe) : 0;
}

/* A backend found rows of a panel that may pass: decide in float64, keep what may still be in the result. */
static void hit(void *arg, uint32_t probe, uint32_t row, uint64_t mask, const int32_t acc[LINEUP_PANEL_ROWS])
{
	struct lineup_worker *worker = arg;
	struct lineup_searcher *searcher = worker->searcher;
	const struct lineup_columns *c = &worker->columns;
	struct lineup_select *select = &searcher->selects[probe];

	pthread_mutex_lock(&select->mutex);
	for (; mask; mask &= mask - 1) {
		uint32_t b = (uint32_t)__builtin_ctzll(mask), r = row + b;
		struct lineup_interval score = lineup_score_interval(&searcher->probes, probe, acc[b], c->scale[r], c->resid[r]);
		struct lineup_entry entry;
		int err;

		if (score.high < select->floor || !eligible(worker, r))
			continue;
		entry.subject = c->subject[r];
		entry.template_id = c->template_id[r];
		entry.segment = worker->segment_index;
		entry.row = (uint32_t)(worker->row_first + r);
		err = put(worker, probe, &entry, score);
		if (err)
			lineup_searcher_fail(searcher, err);
	}
	atomic_store_explicit(&searcher->thresholds[probe], lineup_scan_threshold(select->floor), memory_order_relaxed);
	pthread_mutex_unlock(&select->mutex);
}

int lineup_worker_survivor(struct lineup_worker *worker, uint32_t probe, struct lineup_entry *entry, int32_t acc, float scale, float resid,
			   double *floor)
{
	struct lineup_select *select = &worker->searcher->selects[probe];
	struct lineup_interval score = lineup_score_interval(&worker->searcher->probes, probe, acc, scale, resid);
	int err = 0;

	pthread_mutex_lock(&select->mutex);
	if (!(score.high < select->floor) && !gone(worker->searcher, entry->segment, entry->row))
		err = put(worker, probe, entry, score);
	*floor = select->floor;
	pthread_mutex_unlock(&select->mutex);
	return err;
}

/* Scans @rows rows of @block from @row on. */
static void scan_rows(struct lineup_worker *worker, uint32_t segment_index, uint64_t block_index, const void *block, uint32_t row, uint32_t rows)
{
	struct lineup_searcher *searcher = worker->searcher;
	const struct lineup_segment *segment = &searcher->snapshot->segments[segment_index];
	const struct lineup_shape *shape = &segment->shape;
	struct lineup_scan scan = {
		.probes = &searcher->probes,
		.threshold = searcher->thresholds,
		.hit = hit,
		.arg = worker,
	};
	struct lineup_columns c;

	lineup_block_columns(shape, block, &c);
	worker->columns = (struct lineup_columns){
		.scale = c.scale + row,
		.resid = c.resid + row,
		.lists = c.lists + row,
		.expires = c.expires + row,
		.template_id = c.template_id + row,
		.subject = c.subject + row,
		.codes = c.codes + (size_t)(row / LINEUP_PANEL_ROWS) * shape->panel_bytes,
	};
	worker->segment = segment;
	worker->segment_index = segment_index;
	worker->row_first = block_index * shape->block_rows + row;
	searcher->score->scan(&scan, &worker->columns, rows);
	worker->rows_scanned += rows;
}

static void scan_stream(struct lineup_worker *worker)
{
	struct lineup_searcher *searcher = worker->searcher;

	while (!lineup_searcher_failed(searcher)) {
		struct lineup_stream_block block;
		uint64_t bytes;
		int err = lineup_stream_next(searcher->stream, &block);

		if (!err && !block.data)
			return;
		if (!err) {
			bytes = searcher->snapshot->segments[block.segment].shape.block_bytes;
			err = lineup_stream_verify(searcher->stream, &block);
			if (!err)
				scan_rows(worker, block.segment, block.block, block.data, 0, block.rows);
			lineup_stream_release(searcher->stream, &block);
			lineup_worker_progress(worker, bytes);
		}
		if (err)
			lineup_searcher_fail(searcher, err);
	}
}

/* The blocks of a segment that are in memory, or NULL. */
static const uint8_t *blocks_in_memory(const struct lineup_searcher *searcher, uint32_t segment)
{
	const struct lineup_segment *s = &searcher->snapshot->segments[segment];

	return s->blocks ? s->blocks : searcher->resident ? searcher->resident[segment] : NULL;
}

/* Rows of a unit: a block, or less where there are too few blocks to keep every thread busy to the end. */
static uint32_t unit_rows(const struct lineup_searcher *searcher, const struct lineup_shape *shape)
{
	uint64_t panels = searcher->snapshot->rows / LINEUP_PANEL_ROWS / (16 * searcher->threads) + 1;
	uint64_t rows = panels * LINEUP_PANEL_ROWS;

	return rows < shape->block_rows ? (uint32_t)rows : shape->block_rows;
}

static void scan_memory(struct lineup_worker *worker)
{
	struct lineup_searcher *searcher = worker->searcher;
	struct lineup_snapshot *snapshot = searcher->snapshot;
	uint64_t units_before = 0, unit = atomic_fetch_add_explicit(&searcher->unit_next, 1, memory_order_relaxed);

	for (uint32_t s = 0; s < snapshot->segment_count; s++) {
		const struct lineup_segment *segment = &snapshot->segments[s];
		const uint8_t *blocks = blocks_in_memory(searcher, s);
		uint32_t per_unit = unit_rows(searcher, &segment->shape);
		uint64_t per_block = (segment->shape.block_rows + per_unit - 1) / per_unit;
		uint64_t units = blocks ? segment->block_count * per_block : 0;

		for (; unit < units_before + units; unit = atomic_fetch_add_explicit(&searcher->unit_next, 1, memory_order_relaxed)) {
			uint64_t block = (unit - units_before) / per_block;
			uint32_t row = (uint32_t)((unit - units_before) % per_block) * per_unit;
			uint64_t left = segment->rows - block * segment->shape.block_rows;
			uint32_t rows = (uint32_t)(left < segment->shape.block_rows ? left : segment->shape.block_rows);

			if (lineup_searcher_failed(searcher))
				return;
			if (row >= rows)
				continue;
			rows = rows - row < per_unit ? rows - row : per_unit;
			scan_rows(worker, s, block, blocks + block * segment->shape.block_bytes, row, rows);
			lineup_worker_progress(worker, rows * (uint64_t)(segment->shape.block_bytes / segment->shape.block_rows));
		}
		units_before += units;
	}
}

static void scan_thread(void *arg, uint32_t thread)
{
	struct lineup_searcher *searcher = arg;
	struct lineup_worker *worker = &searcher->workers[thread];

	if (searcher->stream)
		scan_stream(worker);
	scan_memory(worker);
}

/* Gives the caller one probe's candidates, with their names. */
static int deliver(struct lineup_worker *worker, uint32_t probe)
{
	struct lineup_searcher *searcher = worker->searcher;
	struct lineup_rerank rerank = rerank_of(worker, probe);

	return lineup_rerank_deliver(&rerank, &searcher->selects[probe], searcher->candidates + (size_t)probe * searcher->options->k,
				     &searcher->counts[probe]);
}

static void rerank_thread(void *arg, uint32_t thread)
{
	struct lineup_searcher *searcher = arg;
	struct lineup_worker *worker = &searcher->workers[thread];
	uint32_t probe;

	while ((probe = atomic_fetch_add(&searcher->select_next, 1)) < searcher->batch && !lineup_searcher_failed(searcher)) {
		int err = rerank_probe(worker, probe);

		if (!err && searcher->candidates)
			err = deliver(worker, probe);
		if (err)
			lineup_searcher_fail(searcher, err);
	}
}

static void begin_selects(struct lineup_searcher *searcher, const float *threshold)
{
	const struct lineup_search_options *options = searcher->options;

	for (uint32_t p = 0; p < searcher->probes.capacity; p++) {
		if (p < searcher->batch)
			lineup_select_begin(&searcher->selects[p], options->k, options->per == LINEUP_PER_SUBJECT, threshold);
		atomic_store(&searcher->thresholds[p], p < searcher->batch ? (threshold ? *threshold : -INFINITY) : INFINITY);
	}
	atomic_store(&searcher->unit_next, 0);
	atomic_store(&searcher->select_next, 0);
}

static void scan_on_cpus(struct lineup_searcher *searcher)
{
	int err = searcher->stream ? lineup_stream_begin(searcher->stream, NULL, NULL) : 0;

	if (err)
		lineup_searcher_fail(searcher, err);
	else
		lineup_pool_run(searcher->pool, scan_thread, searcher);
	if (searcher->stream)
		lineup_stream_end(searcher->stream);
}

int lineup_searcher_pass(struct lineup_searcher *searcher, double *seconds_scan, double *seconds_rerank)
{
	const float *threshold = searcher->options->flags & LINEUP_SEARCH_THRESHOLD ? &searcher->options->threshold : NULL;
	unsigned long long progress = atomic_load(&searcher->progress_bytes);
	double begin = seconds_now(), scanned;

	do {
		atomic_store(&searcher->progress_bytes, progress);
		begin_selects(searcher, threshold);
		if (searcher->gpus)
			lineup_searcher_scan_on_gpus(searcher, threshold);
		else
			scan_on_cpus(searcher);
	} while (lineup_searcher_regain(searcher));
	scanned = seconds_now();
	*seconds_scan += scanned - begin;
	if (!lineup_searcher_failed(searcher))
		lineup_pool_run(searcher->pool, rerank_thread, searcher);
	*seconds_rerank += seconds_now() - scanned;
	searcher->passes_done++;
	return atomic_load(&searcher->error);
}
