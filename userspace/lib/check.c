// SPDX-License-Identifier: MIT
// Reading every byte of a gallery and verifying that blocks, indexes and counts follow from the records.
#include <stdlib.h>
#include <string.h>

#include "gallery_files.h"

enum { PIECE_PAGES = 256 };

struct check {
	struct lineup_gallery *gallery;
	struct lineup_state state; /* read anew from the files */
	struct lineup_fault *fault;
	lineup_progress_fn *progress;
	void *progress_arg;
	uint64_t done, total; /* bytes */
	uint8_t *subjects; /* bitmap: has a template that is not deleted */
	uint64_t subjects_live;
	uint8_t *sequences; /* bitmap of operations seen */
	/* of one segment */
	const struct lineup_segment *segment;
	const struct lineup_bits *bits;
	uint8_t *block, *expected; /* block_bytes each */
	uint8_t *records; /* of a block's rows */
	struct disk_index_entry *index; /* as it should be */
	uint64_t template_next; /* rows' ids are at least this */
	uint8_t op_id[LINEUP_OP_ID_BYTES]; /* of the operation before */
};

static int bad(struct check *c, uint64_t offset, const char *why)
{
	return lineup_fault_set(c->fault, -EBADMSG, "segment-%08x: byte %llu: %s", c->segment->generation,
				(unsigned long long)offset, why);
}

static int no_memory(struct check *c)
{
	return lineup_fault_set(c->fault, -ENOMEM, "no memory to check it");
}

static int progressed(struct check *c, uint64_t bytes)
{
	c->done += bytes;
	if (c->progress && !c->progress(c->progress_arg, c->done, c->total))
		return lineup_fault_set(c->fault, -ECANCELED, "stopped");
	return 0;
}

static int read_at(struct check *c, void *data, size_t size, uint64_t offset)
{
	int err = lineup_io_read(c->gallery->ctx, c->segment->fd, data, size, offset);

	if (err)
		return lineup_fault_set(c->fault, err == -ENODATA ? -EBADMSG : err, "segment-%08x: byte %llu: cannot read: %s",
					c->segment->generation, (unsigned long long)offset, strerror(-err));
	return progressed(c, size);
}

static int check_zero(struct check *c, uint64_t from, uint64_t to)
{
	uint8_t *piece = malloc(LINEUP_GALLERY_PIECE_BYTES);
	int err = piece ? 0 : no_memory(c);

	while (!err && from < to) {
		size_t size = to - from < LINEUP_GALLERY_PIECE_BYTES ? to - from : LINEUP_GALLERY_PIECE_BYTES;

		err = read_at(c, piece, size, from);
		for (size_t i = 0; !err && i < size && !lineup_files_zero(piece, size); i++)
			if (piece[i])
				err = bad(c, from + i, "an unused byte is not zero");
		from += size;
	}
	free(piece);
	return err;
}

static void count_subject(struct check *c, uint32_t subject)
{
	uint8_t bit = (uint8_t)(1 << subject % 8);

	c->subjects_live += !(c->subjects[subject / 8] & bit);
	c->subjects[subject / 8] |= bit;
}

/* A record that is whole; its place among the others, and what it refers to. */
static int check_record(struct check *c, uint64_t row, const struct disk_record *r)
{
	uint64_t offset = c->segment->records_offset + row * c->segment->shape.record_bytes;
	const struct disk_manifest *head = &c->state.manifest.head;
	char name[LINEUP_SUBJECT_BYTES_MAX + 1] = { 0 };

	memcpy(name, r->name, r->name_bytes);
	if (r->template_id < c->template_next || (!row && r->template_id != c->template_next))
		return bad(c, offset, "template ids do not ascend from the one that the header names");
	if (r->subject >= head->subject_next)
		return bad(c, offset, "the record's subject number was never given");
	if (head->lists < LINEUP_LISTS_MAX && r->lists >> head->lists)
		return bad(c, offset, "the record is on a list that does not exist");
	if (lineup_subject_check(name))
		return bad(c, offset, "the record's subject is not UTF-8 without controls");
	c->template_next = r->template_id + 1;
	c->index[row] = (struct disk_index_entry){ lineup_name_hash(r->name, r->name_bytes), (uint32_t)row, r->subject };
	if (!c->bits || !(c->bits->bits[row / 8] >> row % 8 & 1))
		count_subject(c, r->subject);
	return 0;
}

/* Block @i is made again from its rows' records: it must be the same to the last bit. */
static int check_block(struct check *c, uint64_t i)
{
	const struct lineup_segment *s = c->segment;
	const struct lineup_shape *shape = &s->shape;
	uint64_t first = i * shape->block_rows, offset = s->blocks_offset + i * shape->block_bytes, at = 0;
	uint32_t rows = (uint32_t)(s->rows - first < shape->block_rows ? s->rows - first : shape->block_rows);
	float buffer[LINEUP_DIM_MAX];
	const char *why = NULL;
	int err = read_at(c, c->block, shape->block_bytes, offset);

	if (err)
		return err;
	if (lineup_block_verify(shape, c->block, s->generation, i, rows, &why))
		return bad(c, offset, why);
	err = lineup_segment_records(c->gallery->ctx, s, first, rows, c->records, c->fault);
	if (!err)
		err = progressed(c, (uint64_t)rows * shape->record_bytes);
	lineup_block_begin(shape, c->expected);
	for (uint32_t row = 0; !err && row < rows; row++) {
		const struct disk_record *r = (const void *)(c->records + (size_t)row * shape->record_bytes);

		err = check_record(c, first + row, r);
		lineup_block_put(shape, c->expected, row, r, lineup_record_vector(shape, r, buffer));
	}
	if (err)
		return err;
	lineup_block_end(shape, c->expected, s->generation, i, rows);
	if (!memcmp(c->expected, c->block, shape->block_bytes))
		return 0;
	/* Past the header, whose checksum differs wherever anything does. */
	for (at = sizeof(struct disk_block); at < shape->block_bytes - 1 && c->expected[at] == c->block[at];)
		at++;
	return bad(c, offset + at, "the block does not follow from its records");
}

static int check_rows(struct check *c)
{
	const struct lineup_segment *s = c->segment;
	int err = 0;

	for (uint64_t i = 0; !err && i < s->block_count; i++)
		err = check_block(c, i);
	if (!err && s->rows && c->template_next != s->template_last + 1)
		err = bad(c, s->records_offset, "the segment's last template is not the one that its header names");
	if (!err)
		err = check_zero(c, s->blocks_offset + s->block_count * s->shape.block_bytes, s->records_offset);
	if (!err)
		err = check_zero(c, s->records_offset + s->rows * s->shape.record_bytes, s->index_offset);
	return err;
}

/* Reads a region's pages and gives each whole one to @each. */
static int check_pages(struct check *c, uint64_t offset, size_t entry_bytes, uint64_t count,
		       const char *(*each)(struct check *c, const void *entries, uint64_t first, uint32_t n))
{
	uint64_t pages = lineup_pages_bytes(entry_bytes, count) / LINEUP_PAGE_BYTES, entry = 0;
	struct disk_page *piece = malloc(PIECE_PAGES * sizeof(*piece));
	int err = piece ? 0 : no_memory(c);

	for (uint64_t first = 0; !err && first < pages; first += PIECE_PAGES) {
		uint64_t n = pages - first < PIECE_PAGES ? pages - first : PIECE_PAGES;

		err = read_at(c, piece, n * sizeof(*piece), offset + first * sizeof(*piece));
		for (uint64_t i = 0; !err && i < n; i++) {
			const char *why = lineup_pages_verify(&piece[i], entry_bytes, count, first + i);

			if (!why)
				why = each(c, piece[i].data, entry, piece[i].entries);
			if (why)
				err = bad(c, offset + (first + i) * sizeof(*piece), why);
			entry += piece[i].entries;
		}
	}
	free(piece);
	return err;
}

static const char *check_index(struct check *c, const void *entries, uint64_t first, uint32_t n)
{
	return memcmp(entries, c->index + first, n * sizeof(*c->index)) ? "the index does not follow from the records" : NULL;
}

static const char *check_ops(struct check *c, const void *entries, uint64_t first, uint32_t n)
{
	const struct disk_manifest *head = &c->state.manifest.head;

	for (uint32_t i = 0; i < n; i++) {
		struct disk_op op;
		uint64_t bit;

		memcpy(&op, (const uint8_t *)entries + i * sizeof(op), sizeof(op));
		if (first + i && memcmp(c->op_id, op.op_id, sizeof(op.op_id)) >= 0)
			return "operation ids do not ascend";
		memcpy(c->op_id, op.op_id, sizeof(op.op_id));
		if ((op.kind != LINEUP_OP_ENROL && op.kind != LINEUP_OP_DELETE && op.kind != LINEUP_OP_REPLACE) || op.zero || !op.rows)
			return "an operation is malformed";
		if (op.template_first > head->template_next || op.rows > head->template_next - op.template_first)
			return "an operation names templates that were never given";
		if (!op.sequence || op.sequence > head->sequence)
			return "an operation's sequence number is out of range";
		bit = op.sequence - 1;
		if (c->sequences[bit / 8] >> bit % 8 & 1)
			return "two operations have the same sequence number";
		c->sequences[bit / 8] |= (uint8_t)(1 << bit % 8);
	}
	return NULL;
}

static int compare_index(const void *a, const void *b)
{
	const struct disk_index_entry *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

static int check_segment(struct check *c, const struct lineup_slot *slot)
{
	const struct lineup_segment *s = &slot->part->segment;
	int err = 0;

	c->segment = s;
	c->bits = slot->bits;
	c->template_next = s->template_first;
	c->block = aligned_alloc(LINEUP_PAGE_BYTES, s->shape.block_bytes);
	c->expected = aligned_alloc(LINEUP_PAGE_BYTES, s->shape.block_bytes);
	c->records = malloc((size_t)s->shape.block_rows * s->shape.record_bytes);
	c->index = calloc(s->rows + 1, sizeof(*c->index));
	if (!c->block || !c->expected || !c->records || !c->index)
		err = no_memory(c);
	if (!err)
		err = check_rows(c);
	if (!err) {
		qsort(c->index, s->rows, sizeof(*c->index), compare_index);
		err = check_pages(c, s->index_offset, sizeof(*c->index), s->rows, check_index);
	}
	if (!err)
		err = check_pages(c, s->ops_offset, sizeof(struct disk_op), s->ops, check_ops);
	free(c->block);
	free(c->expected);
	free(c->records);
	free(c->index);
	return err;
}

/* What only all segments together tell. */
static int check_sums(struct check *c)
{
	const struct lineup_state *state = &c->state;
	uint32_t segments = state->manifest.head.segments;

	if (c->subjects_live != state->manifest.head.subjects && !state->ops)
		return lineup_fault_set(c->fault, -EBADMSG, "MANIFEST: byte %zu: the number of subjects is wrong",
					offsetof(struct disk_manifest, subjects));
	for (uint32_t i = segments; i < state->slots; i++) {
		const struct lineup_segment *s = &state->slot[i].part->segment;

		for (uint64_t row = 0; row < s->rows; row++) {
			const struct disk_record *r = (const void *)(s->records + row * s->shape.record_bytes);

			if (!state->slot[i].bits || !(state->slot[i].bits->bits[row / 8] >> row % 8 & 1))
				count_subject(c, r->subject);
		}
	}
	if (c->subjects_live != state->subjects)
		return lineup_fault_set(c->fault, -EBADMSG, "journal-%08x: the number of subjects is wrong",
					state->manifest.head.journal);
	return 0;
}

static int check_all(struct check *c)
{
	const struct lineup_state *state = &c->state;
	uint32_t segments = state->manifest.head.segments;
	uint64_t ops = 0;
	int err = 0;

	for (uint32_t i = 0; i < segments; i++) {
		ops += state->slot[i].part->segment.ops;
		c->total += state->slot[i].part->segment.file_bytes;
	}
	if (ops != state->manifest.head.sequence)
		return lineup_fault_set(c->fault, -EBADMSG, "MANIFEST: byte %zu: the segments hold %llu operations",
					offsetof(struct disk_manifest, sequence), (unsigned long long)ops);
	c->subjects = calloc(1, state->subject_next / 8 + 1);
	c->sequences = calloc(1, state->manifest.head.sequence / 8 + 1);
	if (!c->subjects || !c->sequences)
		err = no_memory(c);
	for (uint32_t i = 0; !err && i < segments; i++)
		err = check_segment(c, &state->slot[i]);
	return err ? err : check_sums(c);
}

int lineup_gallery_check(struct lineup_gallery *g, lineup_progress_fn *progress, void *progress_arg)
{
	struct lineup_fault fault;
	struct check c = { .gallery = g, .fault = &fault, .progress = progress, .progress_arg = progress_arg };
	int err = lineup_gallery_load(&g->files, g->path, NULL, &c.state, &fault);

	if (!err) {
		err = check_all(&c);
		lineup_state_fini(&c.state);
	}
	free(c.subjects);
	free(c.sequences);
	return err ? lineup_gallery_fail(g, err, &fault) : 0;
}
