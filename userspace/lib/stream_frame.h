/* SPDX-License-Identifier: MIT */
/* Blocks of a gallery read straight into a frame, from where a device can take them without another copy. */
#ifndef LINEUP_STREAM_FRAME_H
#define LINEUP_STREAM_FRAME_H

#include "capture.h"
#include "stream.h"

/*
 * Reads blocks [first, first + count) of segment @segment, which must be on disk, to the beginning of @frame, one behind the
 * other, and verifies them. @engine NULL: io_uring, with the frame as a registered buffer where the kernel registers it (Linux
 * 6.1: frames backed by shmem), else by plain reads, else pread; each lesser way is said once. One thread. Errors: -EINVAL (no
 * such blocks, or the frame is too small for them), -EBADMSG, -EIO ..., -ENODEV (the frame was revoked); logged. Nothing is in
 * flight when it returns; should the kernel not say so for 10 s, the frame is never given to anybody again.
 */
int lineup_stream_frame(struct lineup_snapshot *snapshot, uint32_t segment, uint64_t first, uint32_t count,
			struct lineup_frame *frame, const struct lineup_engine *engine);

#endif
