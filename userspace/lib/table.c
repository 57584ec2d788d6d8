// SPDX-License-Identifier: MIT
// Names, operations and history as numbers: a hash table from hashes to numbers, and the digest of all operations.
#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "gallery_files.h"

int lineup_table_reserve(struct lineup_table *table, uint64_t more)
{
	struct lineup_table bigger = { 0 };
	uint64_t size = table->slot ? table->mask + 1 : 0, wanted = 16;

	while (wanted < (table->count + more) * 2)
		wanted *= 2;
	if (wanted <= size)
		return 0;
	bigger.slot = calloc(wanted, sizeof(*bigger.slot));
	if (!bigger.slot)
		return -ENOMEM;
	bigger.mask = wanted - 1;
	for (uint64_t i = 0; i < size; i++)
		if (table->slot[i].value_plus_1)
			lineup_table_add(&bigger, table->slot[i].hash, table->slot[i].value_plus_1 - 1);
	free(table->slot);
	*table = bigger;
	return 0;
}

void lineup_table_add(struct lineup_table *table, uint64_t hash, uint32_t value)
{
	uint64_t i = hash & table->mask;

	assert(table->slot && table->count < table->mask);
	while (table->slot[i].value_plus_1)
		i = (i + 1) & table->mask;
	table->slot[i].hash = hash;
	table->slot[i].value_plus_1 = value + 1;
	table->count++;
}

bool lineup_table_next(const struct lineup_table *table, uint64_t hash, uint64_t *cursor, uint32_t *value)
{
	if (!table->slot)
		return false;
	for (;;) {
		const struct lineup_table_slot *slot = &table->slot[(hash + *cursor) & table->mask];

		if (!slot->value_plus_1)
			return false;
		(*cursor)++;
		if (slot->hash == hash) {
			*value = slot->value_plus_1 - 1;
			return true;
		}
	}
}

void lineup_table_clear(struct lineup_table *table)
{
	if (table->count)
		memset(table->slot, 0, (table->mask + 1) * sizeof(*table->slot));
	table->count = 0;
}

void lineup_table_fini(struct lineup_table *table)
{
	free(table->slot);
	memset(table, 0, sizeof(*table));
}

uint64_t lineup_name_hash(const char *name, size_t size)
{
	uint8_t digest[32];
	uint64_t hash;

	crypto_generichash(digest, sizeof(digest), (const uint8_t *)name, size, NULL, 0);
	memcpy(&hash, digest, sizeof(hash));
	return hash;
}

uint64_t lineup_op_hash(const uint8_t op_id[LINEUP_OP_ID_BYTES])
{
	uint64_t half[2];

	memcpy(half, op_id, sizeof(half));
	/* Callers may count their ids: spread them. */
	return (half[0] ^ half[1] * 0x9e3779b97f4a7c15u) * 0xd6e8feb86659fd93u;
}

const char *lineup_op_name(uint32_t kind)
{
	return kind == LINEUP_OP_ENROL ? "an enrolment" : kind == LINEUP_OP_REPLACE ? "a replacement" : "a deletion";
}

static crypto_generichash_state *state_of(struct lineup_history *history)
{
	_Static_assert(sizeof(crypto_generichash_state) <= sizeof(history->state), "lineup_history");
	return (crypto_generichash_state *)history->state;
}

static void add(struct lineup_history *history, const void *data, size_t size)
{
	crypto_generichash_update(state_of(history), data, size);
}

void lineup_history_begin(struct lineup_history *history)
{
	crypto_generichash_init(state_of(history), NULL, 0, LINEUP_DIGEST_BYTES);
}

static int compare_lists(const void *a, const void *b)
{
	return memcmp(*(const struct disk_list *const *)a, *(const struct disk_list *const *)b, sizeof(struct disk_list));
}

static void add_lists(struct lineup_history *history, const struct disk_list *lists, uint64_t mask)
{
	const struct disk_list *on[LINEUP_LISTS_MAX];
	uint8_t count = 0;

	for (int i = 0; i < LINEUP_LISTS_MAX; i++)
		if (mask >> i & 1)
			on[count++] = &lists[i];
	qsort(on, count, sizeof(on[0]), compare_lists);
	add(history, &count, 1);
	for (int i = 0; i < count; i++)
		add(history, on[i], sizeof(*on[i]));
}

void lineup_history_record(struct lineup_history *history, const struct lineup_shape *shape, const struct disk_list *lists,
			   const struct disk_record *record)
{
	add(history, &record->name_bytes, 1);
	add(history, record->name, record->name_bytes);
	add_lists(history, lists, record->lists);
	add(history, &record->expires, sizeof(record->expires));
	add(history, record + 1, (size_t)shape->dim * (shape->store == LINEUP_STORE_FLOAT16 ? 2 : 4));
}

void lineup_history_ids(struct lineup_history *history, const uint64_t *ids, uint64_t count)
{
	add(history, ids, count * sizeof(*ids));
}

void lineup_history_end(struct lineup_history *history, const struct disk_op *op, uint8_t digest[LINEUP_DIGEST_BYTES])
{
	uint8_t content[LINEUP_DIGEST_BYTES];

	crypto_generichash_final(state_of(history), content, sizeof(content));
	lineup_history_begin(history);
	add(history, digest, LINEUP_DIGEST_BYTES);
	add(history, &op->kind, sizeof(op->kind));
	add(history, &op->sequence, sizeof(op->sequence));
	add(history, op->op_id, sizeof(op->op_id));
	add(history, &op->rows, sizeof(op->rows));
	add(history, content, sizeof(content));
	crypto_generichash_final(state_of(history), digest, LINEUP_DIGEST_BYTES);
}

void lineup_history_origin(const struct disk_manifest *manifest, uint8_t digest[LINEUP_DIGEST_BYTES])
{
	struct lineup_history history;

	lineup_history_begin(&history);
	add(&history, manifest->model_digest, sizeof(manifest->model_digest));
	add(&history, &manifest->dim, sizeof(manifest->dim));
	add(&history, &manifest->store, sizeof(manifest->store));
	crypto_generichash_final(state_of(&history), digest, LINEUP_DIGEST_BYTES);
}
