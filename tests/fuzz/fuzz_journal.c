// SPDX-License-Identifier: MIT
// Fuzzes the journal: the input is the file, made the gallery's own, its frames given right checksums; read, and then opened by a writer.
#include "gallery_bed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void seal(uint8_t *file, size_t size, uint32_t generation)
{
	for (uint64_t i = 0; (i + 1) * LINEUP_FRAME_BYTES <= size; i++) {
		uint8_t *frame = file + i * LINEUP_FRAME_BYTES;
		uint32_t seed[3] = { generation, (uint32_t)i, (uint32_t)(i >> 32) }, crc;
		bool zero = true;

		for (size_t b = 0; b < LINEUP_FRAME_BYTES; b++)
			zero &= !frame[b];
		if (zero)
			continue;
		crc = lineup_crc32c(lineup_crc32c(0, seed, sizeof(seed)), frame + 4, LINEUP_FRAME_BYTES - 4);
		memcpy(frame, &crc, sizeof(crc));
	}
}

/* The records' own checksums too, so that what is inside them is reached: they follow from the frames' payload, laid end to end. */
static void seal_records(uint8_t *file, size_t size, uint32_t record_bytes)
{
	const size_t payload = sizeof(((struct disk_frame *)0)->payload), head = offsetof(struct disk_frame, payload);
	size_t frames = size / LINEUP_FRAME_BYTES, first = 1;

	while (first < frames) {
		struct disk_journal_record r;
		size_t count = 1;
		uint8_t *record;

		while (first + count < frames && !(file[(first + count - 1) * LINEUP_FRAME_BYTES + 10] & LINEUP_FRAME_LAST))
			count++;
		record = malloc(count * payload);
		bed_need(record, "malloc");
		for (size_t i = 0; i < count; i++)
			memcpy(record + i * payload, file + (first + i) * LINEUP_FRAME_BYTES + head, payload);
		memcpy(&r, record, sizeof(r));
		for (uint64_t i = 0, at = sizeof(r) + (uint64_t)(r.lists_new % 65) * sizeof(struct disk_list);
		     r.op.kind != LINEUP_OP_DELETE && i < r.op.rows && at + record_bytes <= count * payload; i++, at += record_bytes) {
			uint32_t crc = lineup_crc32c(0, record + at + 4, record_bytes - 4);

			memcpy(record + at, &crc, sizeof(crc));
		}
		for (size_t i = 0; i < count; i++)
			memcpy(file + (first + i) * LINEUP_FRAME_BYTES + head, record + i * payload, payload);
		free(record);
		first += count;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lineup_gallery_options options = { .size = sizeof(options), .flags = LINEUP_GALLERY_WRITE };
	struct bed *bed = bed_make();
	const size_t head = offsetof(struct disk_frame, payload);
	struct lineup_gallery *gallery;
	struct lineup_shape shape;
	char name[32];
	uint8_t *file;

	if (size > BED_FILE_BYTES_MAX)
		return -1;
	file = malloc(size + 1);
	bed_need(file, "malloc");
	memcpy(file, data, size);
	if (size >= LINEUP_FRAME_BYTES) {
		struct disk_journal h;

		memcpy(&h, file + head, sizeof(h));
		memcpy(h.uuid, bed->manifest.uuid, sizeof(h.uuid));
		h.generation = bed->manifest.journal;
		memcpy(file + head, &h, sizeof(h));
	}
	lineup_shape_init(&shape, BED_DIM, LINEUP_STORE_FLOAT32, 1);
	seal_records(file, size, shape.record_bytes);
	seal(file, size, bed->manifest.journal);
	snprintf(name, sizeof(name), "journal-%08x", bed->manifest.journal);
	bed_file(bed, name, file, size);
	free(file);
	bed_read(bed);
	if (!lineup_gallery_open(bed->ctx, bed->path, &options, &gallery)) {
		bed_write(gallery);
		lineup_gallery_close(gallery);
		bed_read(bed);
	}
	return 0;
}
