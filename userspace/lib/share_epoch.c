// SPDX-License-Identifier: MIT
// Epochs: the probes that scan at one time, packed as the backends read them.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "share.h"

static void epoch_free(struct lineup_share_epoch *epoch)
{
	if (!epoch)
		return;
	lineup_secret_free(epoch->set.memory, epoch->set.memory_size);
	free(epoch->thresholds);
	free(epoch->seats);
	free(epoch->joins);
	free(epoch);
}

static struct lineup_share_epoch *epoch_create(struct lineup_share *share)
{
	struct lineup_share_epoch *epoch = calloc(1, sizeof(*epoch));
	struct lineup_probe_set *set;
	size_t codes, sums, scales, bounds;
	uint8_t *p;

	if (!epoch)
		return NULL;
	set = &epoch->set;
	set->dim = share->dim;
	set->groups = share->groups;
	set->capacity = (uint32_t)round_up(share->probes_max, LINEUP_PROBE_TILE);
	codes = round_up((size_t)set->capacity * set->groups * 4, 64);
	sums = round_up(set->capacity * sizeof(*set->code_sum), 64);
	scales = round_up(set->capacity * sizeof(*set->scale), 64);
	bounds = round_up(set->capacity * sizeof(*set->c0), 64);
	set->memory_size = codes + sums + scales + 2 * bounds;
	set->memory = lineup_secret_alloc(share->ctx, set->memory_size);
	epoch->thresholds = calloc(set->capacity, sizeof(*epoch->thresholds));
	epoch->seats = calloc(set->capacity, sizeof(*epoch->seats));
	epoch->joins = calloc(set->capacity, sizeof(*epoch->joins));
	if (!set->memory || !epoch->thresholds || !epoch->seats || !epoch->joins) {
		epoch_free(epoch);
		return NULL;
	}
	p = set->memory;
	set->codes = (int8_t *)p;
	set->code_sum = (int32_t *)(p += codes);
	set->scale = (float *)(p += sums);
	set->c0 = (double *)(p += scales);
	set->c1 = (double *)(p + bounds);
	return epoch;
}

void lineup_share_pack(struct lineup_probe_set *set, uint32_t at, const struct lineup_share_seat *seat)
{
	const struct lineup_share_request *r = seat->request;
	const int8_t *codes = r->codes + seat->row * set->groups * 4;
	int8_t *tile = set->codes + (size_t)(at / LINEUP_PROBE_TILE) * set->groups * LINEUP_PROBE_TILE * 4;

	for (uint32_t g = 0; g < set->groups; g++)
		memcpy(tile + ((size_t)g * LINEUP_PROBE_TILE + at % LINEUP_PROBE_TILE) * 4, codes + g * 4, 4);
	set->code_sum[at] = r->code_sum[seat->row];
	set->scale[at] = r->scale[seat->row];
	set->c0[at] = r->c0[seat->row];
	set->c1[at] = r->c1[seat->row];
}

/* Whether the epoch before has the same probes in this tile, so that it can be copied. */
static bool same_tile(const struct lineup_share_epoch *from, struct lineup_share_seat *const *seats, uint32_t count, uint32_t tile)
{
	uint32_t first = tile * LINEUP_PROBE_TILE, end = first + LINEUP_PROBE_TILE;

	if (!from || end > count || end > from->set.count)
		return false;
	for (uint32_t i = first; i < end; i++)
		if (from->joins[i] != seats[i]->join)
			return false;
	return true;
}

static void copy_tile(struct lineup_probe_set *to, const struct lineup_probe_set *from, uint32_t tile)
{
	size_t bytes = (size_t)to->groups * LINEUP_PROBE_TILE * 4;
	uint32_t first = tile * LINEUP_PROBE_TILE;

	memcpy(to->codes + tile * bytes, from->codes + tile * bytes, bytes);
	memcpy(to->code_sum + first, from->code_sum + first, LINEUP_PROBE_TILE * sizeof(*to->code_sum));
	memcpy(to->scale + first, from->scale + first, LINEUP_PROBE_TILE * sizeof(*to->scale));
	memcpy(to->c0 + first, from->c0 + first, LINEUP_PROBE_TILE * sizeof(*to->c0));
	memcpy(to->c1 + first, from->c1 + first, LINEUP_PROBE_TILE * sizeof(*to->c1));
}

int lineup_share_epoch_make(struct lineup_share *share, struct lineup_share_seat *const *seats, uint32_t count,
			    struct lineup_share_epoch **out)
{
	struct lineup_share_epoch *epoch = share->epochs_free, *before = share->epoch;
	struct lineup_probe_set *set;

	if (epoch)
		share->epochs_free = epoch->next;
	else
		epoch = epoch_create(share);
	if (!epoch)
		return -ENOMEM;
	set = &epoch->set;
	epoch->next = NULL;
	epoch->references = 1;
	set->count = count;
	set->tiles = (count + LINEUP_PROBE_TILE - 1) / LINEUP_PROBE_TILE;
	for (uint32_t tile = 0; tile < set->tiles; tile++) {
		if (same_tile(before, seats, count, tile)) {
			copy_tile(set, &before->set, tile);
			continue;
		}
		for (uint32_t i = tile * LINEUP_PROBE_TILE; i < (tile + 1) * LINEUP_PROBE_TILE && i < count; i++)
			lineup_share_pack(set, i, seats[i]);
	}
	for (uint32_t i = 0; i < count; i++) {
		epoch->seats[i] = seats[i];
		epoch->joins[i] = seats[i]->join;
	}
	for (uint32_t i = count; i < set->tiles * LINEUP_PROBE_TILE; i++)
		atomic_store_explicit(&epoch->thresholds[i], INFINITY, memory_order_relaxed);
	*out = epoch;
	return 0;
}

void lineup_share_epoch_put(struct lineup_share *share, struct lineup_share_epoch *epoch)
{
	struct lineup_probe_set *set;

	if (!epoch || --epoch->references)
		return;
	set = &epoch->set;
	explicit_bzero(set->codes, (size_t)set->tiles * LINEUP_PROBE_TILE * set->groups * 4);
	explicit_bzero(set->code_sum, set->count * sizeof(*set->code_sum));
	explicit_bzero(set->scale, set->count * sizeof(*set->scale));
	explicit_bzero(set->c0, set->count * sizeof(*set->c0));
	explicit_bzero(set->c1, set->count * sizeof(*set->c1));
	set->count = set->tiles = 0;
	epoch->next = share->epochs_free;
	share->epochs_free = epoch;
}

void lineup_share_epochs_free(struct lineup_share *share)
{
	while (share->epochs_free) {
		struct lineup_share_epoch *epoch = share->epochs_free;

		share->epochs_free = epoch->next;
		epoch_free(epoch);
	}
}
