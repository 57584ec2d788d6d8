// SPDX-License-Identifier: MIT
// Making a gallery resident: one pass of the stream that copies instead of scoring.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search.h"

static uint64_t segment_bytes(const struct lineup_segment *segment)
{
	return segment->blocks ? 0 : segment->block_count * segment->shape.block_bytes;
}

uint64_t lineup_searcher_load_bytes(const struct lineup_searcher *searcher)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < searcher->snapshot->segment_count; i++)
		bytes += segment_bytes(&searcher->snapshot->segments[i]);
	return bytes;
}

uint64_t lineup_search_memory(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;
	char line[128];

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			break;
	fclose(f);
	return kib * 1024 / 10 * 8;
}

bool lineup_searcher_fits(const struct lineup_searcher *searcher)
{
	return lineup_searcher_load_bytes(searcher) <= (searcher->memory_max ? searcher->memory_max : lineup_search_memory());
}

static void load_thread(void *arg, uint32_t thread)
{
	struct lineup_searcher *searcher = arg;
	struct lineup_worker *worker = &searcher->workers[thread];

	while (!lineup_searcher_failed(searcher)) {
		struct lineup_stream_block block;
		int err = lineup_stream_next(searcher->stream, &block);

		if (!err && !block.data)
			return;
		if (!err) {
			uint64_t bytes = searcher->snapshot->segments[block.segment].shape.block_bytes;

			err = lineup_stream_verify(searcher->stream, &block);
			if (!err)
				memcpy(searcher->resident[block.segment] + block.block * bytes, block.data, bytes);
			lineup_stream_release(searcher->stream, &block);
			lineup_worker_progress(worker, bytes);
		}
		if (err)
			lineup_searcher_fail(searcher, err);
	}
}

static int allocate(struct lineup_searcher *searcher)
{
	const struct lineup_snapshot *snapshot = searcher->snapshot;

	if (!lineup_searcher_fits(searcher))
		return -ENOMEM;
	searcher->resident = calloc(snapshot->segment_count + 1, sizeof(*searcher->resident));
	if (!searcher->resident)
		return -ENOMEM;
	for (uint32_t i = 0; i < snapshot->segment_count; i++) {
		uint64_t size = segment_bytes(&snapshot->segments[i]);

		if (!size)
			continue;
		searcher->resident[i] = lineup_pages_alloc(searcher->ctx, size);
		if (!searcher->resident[i])
			return -ENOMEM;
	}
	return 0;
}

int lineup_searcher_load(struct lineup_searcher *searcher)
{
	int err = allocate(searcher);

	if (!err && searcher->stream) {
		searcher->progress_total = lineup_searcher_load_bytes(searcher);
		atomic_store(&searcher->progress_bytes, 0);
		atomic_store(&searcher->error, 0);
		err = lineup_stream_begin(searcher->stream, NULL, NULL);
		if (!err) {
			lineup_pool_run(searcher->pool, load_thread, searcher);
			err = atomic_load(&searcher->error);
		}
		lineup_stream_end(searcher->stream);
	}
	if (err) {
		lineup_searcher_unload(searcher);
		return err;
	}
	/* The ring is not needed any more. */
	lineup_stream_destroy(searcher->stream);
	searcher->stream = NULL;
	searcher->is_resident = true;
	return 0;
}

void lineup_searcher_unload(struct lineup_searcher *searcher)
{
	if (!searcher->resident)
		return;
	for (uint32_t i = 0; i < searcher->snapshot->segment_count; i++)
		lineup_pages_free(searcher->resident[i], segment_bytes(&searcher->snapshot->segments[i]));
	free(searcher->resident);
	searcher->resident = NULL;
	searcher->is_resident = false;
}
