// SPDX-License-Identifier: MIT
// The module's sample card.
#include "capture.h"

static int edu_start(struct lineup_capture *c, const struct lineup_capture_options *o)
{
	(void)o;
	return lineup_fail(c->ctx, -ENOTSUP, "edu: not yet");
}

static void edu_stop(struct lineup_capture *c)
{
	(void)c;
}

const struct lineup_capture_ops lineup_capture_edu = { .start = edu_start, .stop = edu_stop };
