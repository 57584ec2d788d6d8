// SPDX-License-Identifier: MIT
// What contradicts itself in a gallery is found though every checksum is right.
#include <stdlib.h>
#include <string.h>

#include "victim.h"

static void put_crc(uint8_t *data, size_t crc_at, size_t from, size_t size)
{
	uint32_t crc;

	memset(data + crc_at, 0, sizeof(crc));
	crc = lineup_crc32c(0, data + from, size - from);
	memcpy(data + crc_at, &crc, sizeof(crc));
}

/* Of a segment whose header says @h, all checksums. */
static void seal_segment(uint8_t *data, const struct disk_segment *h)
{
	for (uint64_t i = 0; i < h->block_count; i++)
		put_crc(data + LINEUP_PAGE_BYTES + i * h->block_bytes, offsetof(struct disk_block, crc),
			offsetof(struct disk_block, generation), h->block_bytes);
	for (uint64_t i = 0; i < h->rows; i++)
		put_crc(data + h->records_offset + i * h->record_bytes, 0, 4, h->record_bytes);
	for (uint64_t at = h->index_offset; at < h->file_bytes; at += LINEUP_PAGE_BYTES)
		put_crc(data + at, 0, 4, LINEUP_PAGE_BYTES);
	put_crc(data, offsetof(struct disk_segment, crc), 0, LINEUP_PAGE_BYTES);
}

/* MANIFEST with the header's new checksum. */
static void seal_manifest(struct victim *s, uint32_t generation, uint32_t header_crc)
{
	const struct victim_file *f = victim_find(s, "MANIFEST");
	uint8_t *data = malloc(f->size);
	struct disk_manifest head;

	assert_non_null(data);
	memcpy(data, f->data, f->size);
	memcpy(&head, data, sizeof(head));
	for (uint32_t i = 0; i < head.segments; i++) {
		uint8_t *entry = data + sizeof(head) + head.lists * sizeof(struct disk_list) + i * sizeof(struct disk_manifest_segment);
		struct disk_manifest_segment segment;

		memcpy(&segment, entry, sizeof(segment));
		if (segment.generation == generation)
			segment.header_crc = header_crc;
		memcpy(entry, &segment, sizeof(segment));
	}
	put_crc(data, offsetof(struct disk_manifest, crc), 0, f->size);
	victim_write(f, data, f->size, 0);
	free(data);
}

static bool within(size_t at, size_t from, size_t bytes)
{
	return at >= from && at < from + bytes;
}

/*
 * Whether a wrong byte here contradicts something else. The vectors themselves, the numbers of operations long past, and what only
 * counts upwards do not, nor do the checksums, which are made right again.
 */
static bool segment_contradicts(const struct disk_segment *h, size_t at)
{
	if (at < LINEUP_PAGE_BYTES)
		return !within(at, offsetof(struct disk_segment, crc), 4);
	if (at < h->records_offset) {
		size_t in = (at - LINEUP_PAGE_BYTES) % h->block_bytes;

		return !within(in, offsetof(struct disk_block, crc), 4);
	}
	if (at < h->index_offset) {
		size_t in = (at - h->records_offset) % h->record_bytes;

		if (at >= h->records_offset + h->rows * h->record_bytes)
			return true;
		return in >= 4 && !within(in, sizeof(struct disk_record), (h->store ? 2u : 4u) * h->dim);
	}
	if (at < h->ops_offset)
		return (at - h->index_offset) % LINEUP_PAGE_BYTES >= 4;
	at = (at - h->ops_offset) % LINEUP_PAGE_BYTES;
	if (at < 4)
		return false;
	if (at < offsetof(struct disk_page, data) || at >= offsetof(struct disk_page, data) + h->ops * sizeof(struct disk_op))
		return true;
	return (at - offsetof(struct disk_page, data)) % sizeof(struct disk_op) >= offsetof(struct disk_op, kind);
}

static uint64_t forge_segment(struct victim *s, const struct victim_file *f, size_t stride)
{
	uint8_t *data = malloc(f->size);
	struct disk_segment h, now;
	uint64_t forged = 0;

	assert_non_null(data);
	memcpy(&h, f->data, sizeof(h));
	for (size_t i = 0; i < f->size; i += stride) {
		int err;

		if (!victim_worth(f, i, false) || !segment_contradicts(&h, i))
			continue;
		memcpy(data, f->data, f->size);
		data[i] ^= (uint8_t)(1 + (i * 37 + 11) % 255);
		seal_segment(data, &h);
		memcpy(&now, data, sizeof(now));
		seal_manifest(s, h.generation, now.crc);
		victim_write(f, data, f->size, 0);
		err = victim_detect(s);
		REQUIRE(s, err == -EBADMSG || (err == -ENOTSUP && victim_in_version(f, i)),
			"%s: byte %zu of %zu (blocks 4096, records %llu, index %llu, ops %llu) wrong under right checksums: %d", f->name, i,
			f->size, (unsigned long long)h.records_offset, (unsigned long long)h.index_offset,
			(unsigned long long)h.ops_offset, err);
		forged++;
	}
	victim_restore(f);
	victim_restore(victim_find(s, "MANIFEST"));
	free(data);
	return forged;
}

static bool whole_contradicts(const struct victim_file *f, size_t at)
{
	struct disk_manifest head;

	if (within(at, offsetof(struct disk_manifest, crc), 4))
		return false;
	if (!strncmp(f->name, "deleted", 7))
		return true;
	memcpy(&head, f->data, sizeof(head));
	if (within(at, sizeof(head), head.lists * sizeof(struct disk_list)))
		return false;
	return !within(at, offsetof(struct disk_manifest, revision), 16); /* and generation_next */
}

/* MANIFEST and the deleted-file: one checksum for all. */
static uint64_t forge_whole(struct victim *s, const struct victim_file *f)
{
	uint8_t *data = malloc(f->size);
	uint64_t forged = 0;

	assert_non_null(data);
	for (size_t i = 0; i < f->size; i++) {
		int err;

		if (!whole_contradicts(f, i))
			continue;
		memcpy(data, f->data, f->size);
		data[i] ^= (uint8_t)(1 + (i * 37 + 11) % 255);
		put_crc(data, offsetof(struct disk_manifest, crc), 0, f->size);
		victim_write(f, data, f->size, 0);
		err = victim_detect(s);
		REQUIRE(s, err == -EBADMSG || (err == -ENOTSUP && victim_in_version(f, i)), "%s: byte %zu of %zu wrong under right checksums: %d",
			f->name, i, f->size, err);
		forged++;
	}
	victim_restore(f);
	free(data);
	return forged;
}

static void forge_everywhere(enum lineup_store store, size_t stride)
{
	uint64_t forged = 0;
	struct victim s;

	victim_begin(&s, store);
	for (size_t i = 0; i < s.files; i++) {
		const struct victim_file *f = &s.file[i];

		if (!strncmp(f->name, "segment", 7))
			forged += forge_segment(&s, f, getenv("LINEUP_TEST_FULL") ? 1 : stride);
		else if (strncmp(f->name, "journal", 7))
			forged += forge_whole(&s, f);
	}
	assert_int_equal(victim_detect(&s), 0);
	print_message("             %llu bytes\n", (unsigned long long)forged);
	victim_end(&s);
}

static void what_contradicts_itself_is_found_under_right_checksums(void **state)
{
	(void)state;
	forge_everywhere(LINEUP_STORE_FLOAT32, 5);
	forge_everywhere(LINEUP_STORE_FLOAT16, 11);
}

/* The bound of a score stands on the length of what is stored; a NaN would be worse. */
static void a_vector_that_is_not_of_length_1_is_found(void **state)
{
	static const uint32_t values[] = { 0x7fc00000, 0x7f800000, 0x40000000 }; /* NaN, infinity, 2 */
	struct victim s;
	const struct victim_file *f;
	struct disk_segment h;
	uint8_t *data;

	(void)state;
	victim_begin(&s, LINEUP_STORE_FLOAT32);
	f = victim_find(&s, "segment");
	memcpy(&h, f->data, sizeof(h));
	data = malloc(f->size);
	assert_non_null(data);
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		memcpy(data, f->data, f->size);
		memcpy(data + h.records_offset + sizeof(struct disk_record) + 4, &values[i], sizeof(values[i]));
		seal_segment(data, &h);
		victim_write(f, data, f->size, 0);
		assert_int_equal(victim_detect(&s), -EBADMSG);
		REQUIRE(&s, strstr(s.log.text, "length 1"), "found for another reason");
	}
	free(data);
	victim_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_contradicts_itself_is_found_under_right_checksums),
		cmocka_unit_test(a_vector_that_is_not_of_length_1_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
