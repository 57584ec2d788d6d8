// SPDX-License-Identifier: MIT
// Parts of a gallery's state: segments opened and verified, chunks of the journal's rows in memory, and which rows are deleted.
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "gallery_files.h"

static const char magic[8] = "LINEUPSG";

static int bad(struct lineup_fault *fault, uint32_t generation, size_t offset, const char *why)
{
	return lineup_fault_set(fault, -EBADMSG, "segment-%08x: byte %zu: %s", generation, offset, why);
}

static bool header_crc_right(const void *data)
{
	struct disk_segment head;
	uint32_t crc;

	memcpy(&head, data, sizeof(head));
	crc = head.crc;
	head.crc = 0;
	return crc == lineup_crc32c(lineup_crc32c(0, &head, sizeof(head)), (const uint8_t *)data + sizeof(head),
				    LINEUP_PAGE_BYTES - sizeof(head));
}

/* Where the regions must lie, each computed from the one before; counts are small enough by now not to overflow. */
static const char *layout_fault(const struct disk_segment *h, const struct lineup_shape *shape)
{
	uint64_t blocks_end = LINEUP_PAGE_BYTES + h->block_count * h->block_bytes;
	uint64_t records = h->rows * shape->record_bytes;

	if (h->block_count != (h->rows + h->block_rows - 1) / h->block_rows)
		return "the number of blocks is wrong";
	if (h->ops > UINT32_MAX)
		return "the number of operations is out of range";
	if (h->records_offset < blocks_end || h->records_offset % LINEUP_PAGE_BYTES || h->records_offset > INT64_MAX / 4)
		return "the records' place is wrong";
	if (h->index_offset != round_up(h->records_offset + records, LINEUP_PAGE_BYTES))
		return "the index's place is wrong";
	if (h->ops_offset != h->index_offset + lineup_pages_bytes(sizeof(struct disk_index_entry), h->rows))
		return "the operations' place is wrong";
	if (h->file_bytes != h->ops_offset + lineup_pages_bytes(sizeof(struct disk_op), h->ops))
		return "the file's size does not follow from its counts";
	return NULL;
}

static const char *header_fault(const struct disk_segment *h, const struct disk_manifest *m, const struct disk_manifest_segment *e,
				struct lineup_shape *shape)
{
	if (memcmp(h->uuid, m->uuid, sizeof(h->uuid)) || memcmp(h->model_digest, m->model_digest, sizeof(h->model_digest)))
		return "the segment belongs to another gallery";
	if (h->generation != e->generation)
		return "the segment is another than its name says";
	if (h->dim != m->dim || h->store != m->store)
		return "dimension or storage type is not the gallery's";
	if (h->rows != e->rows || h->template_first != e->template_first || h->template_last != e->template_last ||
	    h->file_bytes != e->file_bytes || h->crc != e->header_crc)
		return "the segment is not as MANIFEST says";
	lineup_shape_init(shape, h->dim, h->store, h->block_rows);
	if (shape->block_rows != h->block_rows || shape->block_bytes != h->block_bytes || shape->record_bytes != h->record_bytes)
		return "the sizes of blocks and records do not fit the dimension";
	return h->zero ? "unused bytes are not zero" : layout_fault(h, shape);
}

int lineup_segment_parse(const void *data, size_t size, const struct disk_manifest *manifest,
			 const struct disk_manifest_segment *entry, struct lineup_segment *segment, struct lineup_fault *fault)
{
	struct disk_segment h;
	struct lineup_shape shape;
	const char *why;

	if (size < LINEUP_PAGE_BYTES)
		return bad(fault, entry->generation, size, "the file ends in its header");
	memcpy(&h, data, sizeof(h));
	if (memcmp(h.magic, magic, sizeof(magic)))
		return bad(fault, entry->generation, 0, "is not a segment");
	if (h.version > LINEUP_FORMAT_VERSION)
		return lineup_fault_set(fault, -ENOTSUP, "segment-%08x: format version %u is newer than this library's %u",
					entry->generation, h.version, LINEUP_FORMAT_VERSION);
	if (h.version != LINEUP_FORMAT_VERSION)
		return bad(fault, entry->generation, 8, "there is no such format version");
	if (!header_crc_right(data))
		return bad(fault, entry->generation, offsetof(struct disk_segment, crc), "the header's checksum is wrong");
	why = header_fault(&h, manifest, entry, &shape);
	if (!why && !lineup_files_zero((const uint8_t *)data + sizeof(h), LINEUP_PAGE_BYTES - sizeof(h)))
		why = "unused bytes of the header are not zero";
	if (why)
		return bad(fault, entry->generation, 0, why);
	*segment = (struct lineup_segment){
		.shape = shape,
		.generation = h.generation,
		.rows = h.rows,
		.template_first = h.template_first,
		.template_last = h.template_last,
		.block_count = h.block_count,
		.blocks_offset = LINEUP_PAGE_BYTES,
		.records_offset = h.records_offset,
		.index_offset = h.index_offset,
		.ops_offset = h.ops_offset,
		.ops = h.ops,
		.file_bytes = h.file_bytes,
		.fd = -1,
		.fd_direct = -1,
	};
	return 0;
}

static struct lineup_part *part_new(struct lineup_ctx *ctx)
{
	struct lineup_part *part = calloc(1, sizeof(*part));

	if (part) {
		atomic_init(&part->references, 1);
		part->ctx = ctx;
		part->segment.fd = part->segment.fd_direct = -1;
	}
	return part;
}

static int open_into(const struct lineup_files *files, const char *name, const struct disk_manifest *manifest,
		     const struct disk_manifest_segment *entry, struct lineup_part *part, struct lineup_fault *fault)
{
	const struct lineup_io *io = files->ctx->io;
	uint8_t header[LINEUP_PAGE_BYTES];
	struct lineup_segment segment;
	struct stat st;
	int fd = -1, err = lineup_files_open(files, name, O_RDONLY, &fd, fault);

	if (err)
		return err;
	part->segment.fd = fd;
	err = io->flock(files->ctx->io_arg, fd, LOCK_SH | LOCK_NB);
	if (err)
		return lineup_fault_io(fault, err, name, "lock");
	err = io->fstat(files->ctx->io_arg, fd, &st);
	if (err)
		return lineup_fault_io(fault, err, name, "read its size");
	if ((uint64_t)st.st_size != entry->file_bytes)
		return lineup_fault_set(fault, -EBADMSG, "%s: byte %lld: the file ends here, MANIFEST says at %llu", name,
					(long long)st.st_size, (unsigned long long)entry->file_bytes);
	err = lineup_io_read(files->ctx, fd, header, sizeof(header), 0);
	if (err == -ENODATA)
		return lineup_fault_set(fault, -EBADMSG, "%s: the file ends in its header", name);
	if (err)
		return lineup_fault_io(fault, err, name, "read");
	err = lineup_segment_parse(header, sizeof(header), manifest, entry, &segment, fault);
	if (err)
		return err;
	segment.fd = fd;
	segment.path = part->segment.path;
	part->segment = segment;
	part->header_crc = entry->header_crc;
	fd = io->open(files->ctx->io_arg, files->dir, name, O_RDONLY | O_DIRECT | O_NOFOLLOW, 0);
	if (fd < 0 && fd != -EINVAL && fd != -EOPNOTSUPP)
		return lineup_fault_io(fault, fd, name, "open");
	part->segment.fd_direct = fd < 0 ? -1 : fd; /* not every file system has O_DIRECT */
	return 0;
}

int lineup_part_open(const struct lineup_files *files, const char *path, const struct disk_manifest *manifest,
		     const struct disk_manifest_segment *entry, struct lineup_part **part, struct lineup_fault *fault)
{
	struct lineup_part *p = part_new(files->ctx);
	char name[LINEUP_GALLERY_NAME_BYTES];
	int err;

	lineup_files_name(name, "segment", entry->generation);
	if (!p || asprintf(&p->segment.path, "gallery %s: %s", path, name) < 0) {
		free(p);
		return lineup_fault_set(fault, -ENOMEM, "%s: no memory", name);
	}
	err = open_into(files, name, manifest, entry, p, fault);
	if (err)
		lineup_part_put(p);
	else
		*part = p;
	return err;
}

int lineup_part_memory(struct lineup_ctx *ctx, const char *path, const struct disk_manifest *manifest, uint32_t generation,
		       struct lineup_part **part)
{
	struct lineup_part *p = part_new(ctx);
	struct lineup_segment *s;

	if (!p)
		return -ENOMEM;
	s = &p->segment;
	lineup_shape_init(&s->shape, manifest->dim, manifest->store, LINEUP_GALLERY_CHUNK_ROWS);
	s->generation = generation;
	s->blocks_size = s->shape.block_bytes * ((LINEUP_GALLERY_CHUNK_ROWS + s->shape.block_rows - 1) / s->shape.block_rows);
	s->records_size = (size_t)LINEUP_GALLERY_CHUNK_ROWS * s->shape.record_bytes;
	s->blocks = aligned_alloc(LINEUP_PAGE_BYTES, s->blocks_size);
	s->records = malloc(s->records_size);
	if (!s->blocks || !s->records || asprintf(&s->path, "gallery %s: journal-%08x", path, generation) < 0) {
		s->path = NULL;
		lineup_part_put(p);
		return -ENOMEM;
	}
	*part = p;
	return 0;
}

/* Blocks that hold @rows rows, the last one without those that come after. *@last: rows of that one. */
static uint64_t cut_blocks(const struct lineup_shape *shape, uint8_t *blocks, uint64_t rows, uint32_t *last)
{
	uint64_t count = (rows + shape->block_rows - 1) / shape->block_rows;

	*last = rows ? (uint32_t)((rows - 1) % shape->block_rows) + 1 : 0;
	if (rows % shape->block_rows)
		lineup_block_cut(shape, blocks + (count - 1) * shape->block_bytes, *last);
	return count;
}

static uint64_t template_at(const struct lineup_segment *s, uint64_t row)
{
	return ((const struct disk_record *)(s->records + row * s->shape.record_bytes))->template_id;
}

int lineup_part_copy(const struct lineup_part *part, uint64_t rows, struct lineup_part **copy)
{
	const struct lineup_segment *from = &part->segment;
	const struct lineup_shape *shape = &from->shape;
	struct lineup_part *p = part_new(part->ctx);
	struct lineup_segment *s;
	uint32_t last;

	assert(rows && rows <= from->rows);
	if (!p)
		return -ENOMEM;
	s = &p->segment;
	*s = *from;
	s->rows = rows;
	s->block_count = (rows + shape->block_rows - 1) / shape->block_rows;
	s->template_last = template_at(from, rows - 1);
	s->blocks_size = s->block_count * shape->block_bytes;
	s->records_size = rows * shape->record_bytes;
	s->blocks = aligned_alloc(LINEUP_PAGE_BYTES, s->blocks_size);
	s->records = malloc(s->records_size);
	s->path = strdup(from->path);
	if (!s->blocks || !s->records || !s->path) {
		lineup_part_put(p);
		return -ENOMEM;
	}
	memcpy(s->blocks, from->blocks, s->blocks_size);
	memcpy(s->records, from->records, s->records_size);
	cut_blocks(shape, s->blocks, rows, &last);
	lineup_block_end(shape, s->blocks + (s->block_count - 1) * shape->block_bytes, s->generation, s->block_count - 1, last);
	*copy = p;
	return 0;
}

void lineup_part_cut(struct lineup_part *part, uint64_t rows)
{
	struct lineup_segment *s = &part->segment;
	uint32_t last;

	if (rows >= s->rows)
		return;
	explicit_bzero(s->records + rows * s->shape.record_bytes, (s->rows - rows) * s->shape.record_bytes);
	s->block_count = cut_blocks(&s->shape, s->blocks, rows, &last);
	s->rows = rows;
	if (rows)
		s->template_last = template_at(s, rows - 1);
}

void lineup_part_append(struct lineup_part *part, const struct disk_record *record)
{
	struct lineup_segment *s = &part->segment;
	const struct lineup_shape *shape = &s->shape;
	uint32_t row = (uint32_t)(s->rows % shape->block_rows);
	uint8_t *block = s->blocks + s->rows / shape->block_rows * shape->block_bytes;
	float buffer[LINEUP_DIM_MAX];

	assert(s->rows < LINEUP_GALLERY_CHUNK_ROWS);
	if (!row) {
		lineup_block_begin(shape, block);
		s->block_count++;
	}
	if (!s->rows)
		s->template_first = record->template_id;
	s->template_last = record->template_id;
	memcpy(s->records + s->rows * shape->record_bytes, record, shape->record_bytes);
	lineup_block_put(shape, block, row, record, lineup_record_vector(shape, record, buffer));
	s->rows++;
	if (row + 1 == shape->block_rows || s->rows == LINEUP_GALLERY_CHUNK_ROWS)
		lineup_block_end(shape, block, s->generation, s->block_count - 1, row + 1);
}

struct lineup_part *lineup_part_get(struct lineup_part *part)
{
	atomic_fetch_add(&part->references, 1);
	return part;
}

void lineup_part_put(struct lineup_part *part)
{
	const struct lineup_io *io;

	if (!part || atomic_fetch_sub(&part->references, 1) != 1)
		return;
	io = part->ctx->io;
	if (part->segment.fd >= 0)
		io->close(part->ctx->io_arg, part->segment.fd);
	if (part->segment.fd_direct >= 0)
		io->close(part->ctx->io_arg, part->segment.fd_direct);
	free(part->segment.blocks);
	free(part->segment.records);
	free(part->segment.path);
	free(part);
}

void lineup_bits_put(struct lineup_bits *bits)
{
	if (bits && atomic_fetch_sub(&bits->references, 1) == 1)
		free(bits);
}

int lineup_bits_own(struct lineup_bits **bits, uint64_t rows)
{
	size_t size = (rows + 7) / 8;
	struct lineup_bits *own;

	if (*bits && atomic_load(&(*bits)->references) == 1)
		return 0;
	own = calloc(1, sizeof(*own) + size);
	if (!own)
		return -ENOMEM;
	atomic_init(&own->references, 1);
	if (*bits) {
		own->count = (*bits)->count;
		memcpy(own->bits, (*bits)->bits, size);
	}
	lineup_bits_put(*bits);
	*bits = own;
	return 0;
}

int lineup_segment_records(struct lineup_ctx *ctx, const struct lineup_segment *segment, uint64_t first, uint64_t count,
			   void *records, struct lineup_fault *fault)
{
	const struct lineup_shape *shape = &segment->shape;
	uint64_t offset = segment->records_offset + first * shape->record_bytes;
	const char *why = NULL;
	int err;

	assert(first <= segment->rows && count <= segment->rows - first);
	if (segment->fd < 0) {
		memcpy(records, segment->records + first * shape->record_bytes, count * shape->record_bytes);
		return 0;
	}
	err = lineup_io_read(ctx, segment->fd, records, count * shape->record_bytes, offset);
	if (err)
		return lineup_fault_set(fault, err == -ENODATA ? -EBADMSG : err, "segment-%08x: byte %llu: cannot read: %s",
					segment->generation, (unsigned long long)offset, strerror(-err));
	for (uint64_t i = 0; i < count; i++, offset += shape->record_bytes) {
		const struct disk_record *r = (const void *)((const uint8_t *)records + i * shape->record_bytes);

		err = lineup_record_verify(shape, r, &why);
		if (!err && (r->template_id < segment->template_first || r->template_id > segment->template_last)) {
			why = "the record's template is not one of this segment";
			err = -EBADMSG;
		}
		if (err)
			return lineup_fault_set(fault, err, "segment-%08x: byte %llu: row %llu: %s", segment->generation,
						(unsigned long long)offset, (unsigned long long)(first + i), why);
	}
	return 0;
}

int lineup_segment_record(struct lineup_ctx *ctx, const struct lineup_segment *segment, uint64_t row, struct disk_record *record)
{
	struct lineup_fault fault;
	int err = lineup_segment_records(ctx, segment, row, 1, record, &fault);
	const char *text = fault.text;

	if (!err)
		return 0;
	/* The path already ends in the file's name. */
	if (!strncmp(text, "segment-", 8) && strchr(text, ':'))
		text = strchr(text, ':') + 2;
	return lineup_fail(ctx, err, "%s: %s", segment->path, text);
}

int lineup_segment_find(struct lineup_ctx *ctx, const struct lineup_segment *segment, uint64_t template_id, uint64_t *row,
			struct lineup_fault *fault)
{
	uint64_t gaps = segment->template_last - segment->template_first + 1 - segment->rows, hi, lo;
	struct disk_record *record;
	int err = 0;

	if (!segment->rows || template_id < segment->template_first || template_id > segment->template_last)
		return -ENOENT;
	hi = template_id - segment->template_first;
	lo = hi > gaps ? hi - gaps : 0;
	if (hi >= segment->rows)
		hi = segment->rows - 1;
	record = malloc(segment->shape.record_bytes);
	if (!record)
		return lineup_fault_set(fault, -ENOMEM, "no memory to find a template");
	while (!err && lo < hi) {
		uint64_t middle = lo + (hi - lo) / 2;

		err = lineup_segment_records(ctx, segment, middle, 1, record, fault);
		if (!err && record->template_id < template_id)
			lo = middle + 1;
		else
			hi = middle;
	}
	if (!err)
		err = lineup_segment_records(ctx, segment, lo, 1, record, fault);
	if (!err && record->template_id != template_id)
		err = -ENOENT;
	if (!err)
		*row = lo;
	free(record);
	return err;
}
