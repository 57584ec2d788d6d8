// SPDX-License-Identifier: MIT
// How a gallery would be shared out among devices: for people who plan, with the arithmetic of the passes.
#include <errno.h>
#include <string.h>

#include "place.h"

int lineup_gallery_shares(struct lineup_gallery *gallery, uint32_t devices, const uint64_t *memory, struct lineup_device_share *shares)
{
	struct lineup_snapshot *snapshot = lineup_gallery_snapshot(gallery);
	uint64_t bytes_max = LINEUP_PIECE_BYTES_MAX;
	struct lineup_place place;
	int err;

	if (!snapshot)
		return -ENOMEM;
	if (snapshot->ctx->gpu_test.piece_bytes)
		bytes_max = snapshot->ctx->gpu_test.piece_bytes;
	if (!devices || devices > LINEUP_DEVICES_MAX)
		err = lineup_fail(snapshot->ctx, -EINVAL, "devices: %u is not from 1 to %d", devices, LINEUP_DEVICES_MAX);
	else
		err = lineup_place_init(&place, snapshot, devices, bytes_max);
	if (err) {
		if (err == -EOVERFLOW)
			err = lineup_fail(snapshot->ctx, -ENOTSUP, "vulkan: the gallery has %llu rows: the limit is %u",
					  (unsigned long long)snapshot->rows, UINT32_MAX);
		goto out;
	}
	memset(shares, 0, devices * sizeof(*shares));
	for (uint32_t i = 0; i < devices; i++)
		lineup_place_keep(&place, i, memory[i]);
	for (uint32_t i = 0; i < place.count; i++) {
		const struct lineup_piece *piece = &place.pieces[i];
		struct lineup_device_share *share = &shares[piece->device];

		share->rows += piece->rows;
		share->bytes += piece->bytes;
		if (piece->kept) {
			share->rows_kept += piece->rows;
			share->bytes_kept += piece->bytes;
		}
	}
	lineup_place_fini(&place);
out:
	lineup_snapshot_put(snapshot);
	return err;
}
