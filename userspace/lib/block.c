// SPDX-License-Identifier: MIT
// Blocks and records, the units of a segment: their shape, how a block is filled, and whether one that was read is whole.
#include <assert.h>
#include <string.h>

#include "gallery.h"
#include "probe.h"

enum {
	BLOCK_MAGIC = 'L' | 'U' << 8 | 'B' << 16 | 'K' << 24,
	CODE_ZERO = 128, /* the byte of code 0 */
	CRC_FROM = 8,    /* offset of the first byte that a block's crc covers */
};

static size_t codes_offset(uint64_t block_rows)
{
	return sizeof(struct disk_block) + 36 * block_rows;
}

void lineup_shape_init(struct lineup_shape *shape, uint32_t dim, uint32_t store, uint64_t rows)
{
	uint64_t panels = (rows + LINEUP_PANEL_ROWS - 1) / LINEUP_PANEL_ROWS, panels_max;

	memset(shape, 0, sizeof(*shape));
	shape->dim = dim;
	shape->store = store;
	shape->groups = (dim + 3) / 4;
	shape->panel_bytes = LINEUP_PANEL_ROWS * 4 * shape->groups;
	panels_max = (LINEUP_BLOCK_BYTES_MAX - sizeof(struct disk_block)) / (LINEUP_PANEL_ROWS * 36 + shape->panel_bytes);
	if (panels > panels_max)
		panels = panels_max;
	if (!panels)
		panels = 1;
	shape->block_rows = (uint32_t)panels * LINEUP_PANEL_ROWS;
	shape->block_bytes = round_up(codes_offset(shape->block_rows) + panels * shape->panel_bytes, LINEUP_PAGE_BYTES);
	shape->record_bytes = (uint32_t)round_up(sizeof(struct disk_record) + (size_t)dim * (store == LINEUP_STORE_FLOAT16 ? 2 : 4), 8);
}

void lineup_block_columns(const struct lineup_shape *shape, const void *block, struct lineup_columns *columns)
{
	const uint8_t *base = (const uint8_t *)block + sizeof(struct disk_block);
	size_t rows = shape->block_rows;

	columns->scale = (const float *)base;
	columns->resid = (const float *)(base + 4 * rows);
	columns->lists = (const uint64_t *)(base + 8 * rows);
	columns->expires = (const int64_t *)(base + 16 * rows);
	columns->template_id = (const uint64_t *)(base + 24 * rows);
	columns->subject = (const uint32_t *)(base + 32 * rows);
	columns->codes = base + 36 * rows;
}

void lineup_block_begin(const struct lineup_shape *shape, void *block)
{
	size_t codes = codes_offset(shape->block_rows), end = codes + (size_t)shape->block_rows * 4 * shape->groups;

	memset(block, 0, codes);
	memset((uint8_t *)block + codes, CODE_ZERO, end - codes);
	memset((uint8_t *)block + end, 0, shape->block_bytes - end);
}

void lineup_block_put(const struct lineup_shape *shape, void *block, uint32_t row, const struct disk_record *record, const float *vector)
{
	uint8_t *base = (uint8_t *)block + sizeof(struct disk_block), *panel;
	size_t rows = shape->block_rows;
	int8_t codes[LINEUP_DIM_MAX + 4];

	assert(row < rows);
	memset(codes + shape->dim, 0, 4);
	lineup_probe_quantise(vector, shape->dim, codes, (float *)base + row, (float *)(base + 4 * rows) + row);
	((uint64_t *)(base + 8 * rows))[row] = record->lists;
	((int64_t *)(base + 16 * rows))[row] = record->expires;
	((uint64_t *)(base + 24 * rows))[row] = record->template_id;
	((uint32_t *)(base + 32 * rows))[row] = record->subject;
	panel = base + 36 * rows + (size_t)(row / LINEUP_PANEL_ROWS) * shape->panel_bytes + row % LINEUP_PANEL_ROWS * 4;
	for (uint32_t g = 0; g < shape->groups; g++) {
		uint32_t four;

		memcpy(&four, codes + 4 * g, 4);
		four ^= 0x80808080u; /* code + 128 in each byte */
		memcpy(panel + (size_t)g * LINEUP_PANEL_ROWS * 4, &four, 4);
	}
}

void lineup_block_cut(const struct lineup_shape *shape, void *block, uint32_t rows)
{
	uint8_t *base = (uint8_t *)block + sizeof(struct disk_block);
	size_t all = shape->block_rows, left = all - rows;

	assert(rows <= all);
	memset(block, 0, sizeof(struct disk_block));
	memset(base + 4 * (size_t)rows, 0, 4 * left);
	memset(base + 4 * all + 4 * (size_t)rows, 0, 4 * left);
	memset(base + 8 * all + 8 * (size_t)rows, 0, 8 * left);
	memset(base + 16 * all + 8 * (size_t)rows, 0, 8 * left);
	memset(base + 24 * all + 8 * (size_t)rows, 0, 8 * left);
	memset(base + 32 * all + 4 * (size_t)rows, 0, 4 * left);
	for (size_t row = rows; row < all;) {
		uint8_t *panel = base + 36 * all + row / LINEUP_PANEL_ROWS * shape->panel_bytes;
		size_t at = row % LINEUP_PANEL_ROWS, count = LINEUP_PANEL_ROWS - at;

		for (uint32_t g = 0; g < shape->groups; g++)
			memset(panel + ((size_t)g * LINEUP_PANEL_ROWS + at) * 4, CODE_ZERO, count * 4);
		row += count;
	}
}

void lineup_block_end(const struct lineup_shape *shape, void *block, uint32_t generation, uint64_t index, uint32_t rows)
{
	struct disk_block *header = block;

	assert(rows && rows <= shape->block_rows);
	*header = (struct disk_block){ .magic = BLOCK_MAGIC, .generation = generation, .rows = rows, .index = index };
	header->crc = lineup_crc32c(0, (const uint8_t *)block + CRC_FROM, shape->block_bytes - CRC_FROM);
}

static bool all_zero(const void *data, size_t size)
{
	const uint8_t *p = data;

	while (size && !*p)
		p++, size--;
	return !size;
}

int lineup_block_verify(const struct lineup_shape *shape, const void *block, uint32_t generation, uint64_t index, uint32_t rows,
			const char **why)
{
	const struct disk_block *header = block;

	if (header->magic != BLOCK_MAGIC)
		*why = "no block begins here";
	else if (header->crc != lineup_crc32c(0, (const uint8_t *)block + CRC_FROM, shape->block_bytes - CRC_FROM))
		*why = "the block's checksum is wrong";
	else if (header->generation != generation)
		*why = "the block belongs to another segment";
	else if (header->index != index)
		*why = "the block belongs to another place in the segment";
	else if (header->rows != rows)
		*why = "the block's number of rows is wrong";
	else if (!all_zero(header->zero, sizeof(header->zero)))
		*why = "unused bytes of the block's header are not zero";
	else
		return 0;
	return -EBADMSG;
}

/* The certificate of probe.h stands on the stored norms; a NaN fails both comparisons. */
static bool norm_good(const struct lineup_shape *shape, const struct disk_record *record)
{
	double slack = (shape->store == LINEUP_STORE_FLOAT16 ? LINEUP_NORM_MAX_FLOAT16 : LINEUP_NORM_MAX_FLOAT32) - 1, square;
	float buffer[LINEUP_DIM_MAX];
	const float *v = lineup_record_vector(shape, record, buffer);

	square = lineup_dot(v, v, shape->dim);
	return square >= (1 - slack) * (1 - slack) && square <= (1 + slack) * (1 + slack);
}

int lineup_record_verify(const struct lineup_shape *shape, const struct disk_record *record, const char **why)
{
	size_t used = sizeof(*record) + (size_t)shape->dim * (shape->store == LINEUP_STORE_FLOAT16 ? 2 : 4);

	if (record->crc != lineup_crc32c(0, (const uint8_t *)record + 4, shape->record_bytes - 4))
		*why = "the record's checksum is wrong";
	else if (!record->name_bytes || record->name_bytes > LINEUP_SUBJECT_BYTES_MAX)
		*why = "the length of the record's subject is wrong";
	else if (memchr(record->name, 0, record->name_bytes))
		*why = "the record's subject holds a NUL";
	else if (!all_zero(record->name + record->name_bytes, LINEUP_SUBJECT_BYTES_MAX - record->name_bytes) ||
		 !all_zero(record->zero, sizeof(record->zero)) ||
		 !all_zero((const uint8_t *)record + used, shape->record_bytes - used))
		*why = "unused bytes of the record are not zero";
	else if (!norm_good(shape, record))
		*why = "the record's vector is not of length 1";
	else
		return 0;
	return -EBADMSG;
}

const float *lineup_record_vector(const struct lineup_shape *shape, const struct disk_record *record, float *buffer)
{
	const uint16_t *half = (const uint16_t *)(record + 1);

	if (shape->store == LINEUP_STORE_FLOAT32)
		return (const float *)(record + 1);
	for (uint32_t i = 0; i < shape->dim; i++)
		buffer[i] = lineup_half_to_float(half[i]);
	return buffer;
}
