// SPDX-License-Identifier: MIT
// A frame of the module in a DRM device: the object holds the frame when nobody else does, and gives it back.
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "capture.h"
#include "search_bed.h"

static int any_pool(void *arg, const struct lineup_frames_info *info)
{
	(void)arg;
	(void)info;
	return 0;
}

/* Of all pools on this machine. What the kernel does a moment later is waited for. */
static bool frames_out_become(struct lineup_ctx *ctx, uint32_t want)
{
	struct lineup_frames_quota quota;

	for (int n = 0; n < 1000; n++) {
		assert_int_equal(lineup_frames_list(ctx, &quota, any_pool, NULL), 0);
		if (quota.frames_out == want)
			return true;
		usleep(10000);
	}
	return false;
}

static void an_object_holds_the_frame(void **state)
{
	struct lineup_frames_options pool = {
		.size = sizeof(pool), .kind = LINEUP_FRAMES_MODULE, .frame_bytes = 65536, .count = 1
	};
	struct lineup_ctx_options options = { .size = sizeof(options) };
	int drm = open("/dev/dri/card0", O_RDWR | O_CLOEXEC);
	struct lineup_frames *frames;
	struct lineup_frame *frame;
	struct lineup_ctx *ctx;
	uint32_t handle = 0;

	(void)state;
	if (drm < 0 || access("/dev/lineup", R_OK | W_OK) || strcmp(lineup_frame_drm_support(), "yes")) {
		print_message("no DRM device, no module, or no libdrm here\n");
		skip();
	}
	assert_int_equal(lineup_ctx_create(&options, &ctx), 0);
	assert_int_equal(lineup_frames_create(ctx, &pool, &frames), 0);
	assert_int_equal(lineup_frame_take(frames, &frame), 0);
	assert_int_equal(lineup_frame_drm(frame, drm, &handle), 0);
	assert_int_not_equal(handle, 0);
	lineup_frame_put(frame);
	usleep(100000);
	assert_true(frames_out_become(ctx, 1));
	assert_int_equal(lineup_frame_take(frames, &frame), -EAGAIN);
	lineup_frame_drm_close(drm, handle);
	assert_true(frames_out_become(ctx, 0));
	assert_int_equal(lineup_frame_take(frames, &frame), 0);
	lineup_frame_put(frame);
	lineup_frames_destroy(frames);
	lineup_ctx_destroy(ctx);
	close(drm);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(an_object_holds_the_frame) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
