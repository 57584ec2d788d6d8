// SPDX-License-Identifier: MIT
// Writing a segment front to back in two streams, blocks and records, without knowing beforehand how many rows will come.
#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "gallery_files.h"

int lineup_segment_create(struct lineup_segment_writer *writer, const struct lineup_files *files,
			  const struct disk_manifest *manifest, uint32_t generation, uint64_t capacity, struct lineup_fault *fault)
{
	struct disk_segment *h = &writer->header;
	uint64_t blocks;

	memset(writer, 0, sizeof(*writer));
	writer->fd = -1;
	writer->files = files;
	writer->capacity = capacity;
	lineup_shape_init(&writer->shape, manifest->dim, manifest->store, capacity);
	blocks = (capacity + writer->shape.block_rows - 1) / writer->shape.block_rows;
	memcpy(h->magic, "LINEUPSG", 8);
	h->version = LINEUP_FORMAT_VERSION;
	memcpy(h->uuid, manifest->uuid, sizeof(h->uuid));
	memcpy(h->model_digest, manifest->model_digest, sizeof(h->model_digest));
	h->generation = generation;
	h->dim = manifest->dim;
	h->store = manifest->store;
	h->block_rows = writer->shape.block_rows;
	h->block_bytes = writer->shape.block_bytes;
	h->record_bytes = writer->shape.record_bytes;
	h->records_offset = LINEUP_PAGE_BYTES + blocks * writer->shape.block_bytes;
	writer->blocks_max = LINEUP_GALLERY_PIECE_BYTES / h->block_bytes ? LINEUP_GALLERY_PIECE_BYTES / h->block_bytes : 1;
	if (writer->blocks_max > blocks && blocks)
		writer->blocks_max = blocks;
	writer->block = aligned_alloc(LINEUP_PAGE_BYTES, writer->blocks_max * h->block_bytes);
	if (!writer->block)
		return lineup_fault_set(fault, -ENOMEM, "no memory to write a segment");
	lineup_files_name(writer->name, "segment", generation);
	return lineup_files_open(files, writer->name, O_RDWR | O_CREAT | O_TRUNC, &writer->fd, fault);
}

static int write_blocks(struct lineup_segment_writer *w, struct lineup_fault *fault)
{
	struct disk_segment *h = &w->header;
	uint64_t count = (w->block_fill + h->block_rows - 1) / h->block_rows;
	int err;

	for (uint64_t i = 0; i < count; i++) {
		uint64_t left = w->block_fill - i * h->block_rows;

		lineup_block_end(&w->shape, w->block + i * h->block_bytes, h->generation, h->block_count + i,
				 (uint32_t)(left < h->block_rows ? left : h->block_rows));
	}
	err = lineup_io_write(w->files->ctx, w->fd, w->block, count * h->block_bytes,
			      LINEUP_PAGE_BYTES + h->block_count * h->block_bytes);
	h->block_count += count;
	w->block_fill = 0;
	return err ? lineup_fault_io(fault, err, w->name, "write") : 0;
}

static int grow_index(struct lineup_segment_writer *w, uint64_t rows, struct lineup_fault *fault)
{
	uint64_t capacity = w->index_capacity ? w->index_capacity : 1024;
	void *p;

	while (capacity < w->header.rows + rows)
		capacity *= 2;
	if (capacity == w->index_capacity)
		return 0;
	p = realloc(w->index, capacity * sizeof(*w->index));
	if (!p)
		return lineup_fault_set(fault, -ENOMEM, "no memory for the index of a segment");
	w->index = p;
	w->index_capacity = capacity;
	return 0;
}

struct lineup_pool *lineup_gallery_pool(void)
{
	uint32_t cpus = lineup_pool_cpus();
	struct lineup_pool *pool = NULL;

	if (cpus > 1 && lineup_pool_create(cpus < LINEUP_GALLERY_THREADS ? cpus : LINEUP_GALLERY_THREADS, &pool))
		pool = NULL;
	return pool;
}

/* Rows for the blocks being filled; threads take them panel by panel. */
struct fill {
	struct lineup_segment_writer *writer;
	const uint8_t *records;
	const uint64_t *hashes;
	uint64_t rows;
	atomic_ullong next;
};

static void fill_rows(void *arg, uint32_t thread)
{
	struct fill *f = arg;
	struct lineup_segment_writer *w = f->writer;
	const struct disk_segment *h = &w->header;
	float buffer[LINEUP_DIM_MAX];
	uint64_t first;

	(void)thread;
	while ((first = atomic_fetch_add(&f->next, LINEUP_PANEL_ROWS)) < f->rows) {
		for (uint64_t i = first; i < f->rows && i < first + LINEUP_PANEL_ROWS; i++) {
			const struct disk_record *r = (const void *)(f->records + i * h->record_bytes);
			uint64_t at = w->block_fill + i;

			lineup_block_put(&w->shape, w->block + at / h->block_rows * h->block_bytes, (uint32_t)(at % h->block_rows),
					 r, lineup_record_vector(&w->shape, r, buffer));
			w->index[h->rows + i] = (struct disk_index_entry){ f->hashes[i], (uint32_t)(h->rows + i), r->subject };
		}
	}
}

/* As many rows as there is room for in the blocks being filled. */
static uint64_t fill_blocks(struct lineup_segment_writer *w, const uint8_t *records, const uint64_t *hashes, uint64_t rows)
{
	const struct disk_segment *h = &w->header;
	uint64_t room = w->blocks_max * h->block_rows - w->block_fill, begun = (w->block_fill + h->block_rows - 1) / h->block_rows;
	struct fill fill = { .writer = w, .records = records, .hashes = hashes, .rows = rows < room ? rows : room };

	for (; begun * h->block_rows < w->block_fill + fill.rows; begun++)
		lineup_block_begin(&w->shape, w->block + begun * h->block_bytes);
	if (w->pool && fill.rows > LINEUP_PANEL_ROWS)
		lineup_pool_run(w->pool, fill_rows, &fill);
	else
		fill_rows(&fill, 0);
	w->block_fill += fill.rows;
	return fill.rows;
}

int lineup_segment_put(struct lineup_segment_writer *w, const void *records, const uint64_t *hashes, uint64_t rows,
		       struct lineup_fault *fault)
{
	struct disk_segment *h = &w->header;
	const uint8_t *from = records;
	int err;

	assert(rows <= w->capacity - h->rows);
	err = grow_index(w, rows, fault);
	if (err || !rows)
		return err;
	err = lineup_io_write(w->files->ctx, w->fd, records, rows * h->record_bytes, h->records_offset + h->rows * h->record_bytes);
	if (err)
		return lineup_fault_io(fault, err, w->name, "write");
	if (!h->rows)
		h->template_first = ((const struct disk_record *)records)->template_id;
	h->template_last = ((const struct disk_record *)(from + (rows - 1) * h->record_bytes))->template_id;
	while (!err && rows) {
		uint64_t n = fill_blocks(w, from, hashes, rows);

		h->rows += n;
		from += n * h->record_bytes;
		hashes += n;
		rows -= n;
		if (w->block_fill == w->blocks_max * h->block_rows)
			err = write_blocks(w, fault);
	}
	return err;
}

static int compare_index(const void *a, const void *b)
{
	const struct disk_index_entry *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

static int compare_ops(const void *a, const void *b)
{
	return memcmp(((const struct disk_op *)a)->op_id, ((const struct disk_op *)b)->op_id, LINEUP_OP_ID_BYTES);
}

static int write_tail(struct lineup_segment_writer *w, struct disk_op *ops, uint64_t ops_count)
{
	struct disk_segment *h = &w->header;
	uint8_t header[LINEUP_PAGE_BYTES] = { 0 };
	const struct lineup_files *files = w->files;
	static const uint8_t zero[LINEUP_PAGE_BYTES];
	uint64_t records_end = h->records_offset + h->rows * h->record_bytes;
	int err;

	h->index_offset = round_up(records_end, LINEUP_PAGE_BYTES);
	if (h->rows) /* else there is no index */
		qsort(w->index, h->rows, sizeof(*w->index), compare_index);
	if (ops_count)
		qsort(ops, ops_count, sizeof(*ops), compare_ops);
	h->ops = ops_count;
	err = lineup_io_write(files->ctx, w->fd, zero, h->index_offset - records_end, records_end);
	if (!err)
		err = lineup_pages_write(files, w->fd, h->index_offset, w->index, sizeof(*w->index), h->rows, &h->ops_offset);
	if (!err)
		err = lineup_pages_write(files, w->fd, h->ops_offset, ops, sizeof(*ops), ops_count, &h->file_bytes);
	if (err)
		return err;
	h->crc = 0;
	memcpy(header, h, sizeof(*h));
	h->crc = lineup_crc32c(0, header, sizeof(header));
	memcpy(header, h, sizeof(*h));
	return lineup_io_write(files->ctx, w->fd, header, sizeof(header), 0);
}

int lineup_segment_finish(struct lineup_segment_writer *w, struct disk_op *ops, uint64_t ops_count, uint64_t template_next,
			  struct disk_manifest_segment *entry, struct lineup_fault *fault)
{
	struct disk_segment *h = &w->header;
	int err = w->block_fill ? write_blocks(w, fault) : 0;

	if (err)
		return err;
	if (!h->rows)
		h->template_first = h->template_last = template_next;
	err = write_tail(w, ops, ops_count);
	if (err)
		return lineup_fault_io(fault, err, w->name, "write");
	err = w->files->ctx->io->fdatasync(w->files->ctx->io_arg, w->fd);
	if (err)
		return lineup_fault_io(fault, err, w->name, "sync");
	lineup_files_close(w->files, w->fd);
	w->fd = -1;
	w->name[0] = 0;
	*entry = (struct disk_manifest_segment){
		.generation = h->generation,
		.rows = h->rows,
		.template_first = h->template_first,
		.template_last = h->template_last,
		.file_bytes = h->file_bytes,
		.header_crc = h->crc,
	};
	return 0;
}

void lineup_segment_fini(struct lineup_segment_writer *w)
{
	if (w->files && w->fd >= 0)
		lineup_files_close(w->files, w->fd);
	if (w->files && w->name[0])
		lineup_files_wipe(w->files, w->name);
	free(w->block);
	free(w->index);
	memset(w, 0, sizeof(*w));
	w->fd = -1;
}
