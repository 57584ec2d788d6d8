// SPDX-License-Identifier: MIT
// Work that lets others go first: no more bytes a second than allowed, and a question now and then whether to go on.
#include <time.h>

#include "gallery_files.h"

static const double often = 0.01; /* seconds of sleep from one question to the next */

double lineup_pace_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool go_on(struct lineup_pace *p)
{
	if (!p->stopped && p->progress)
		p->stopped = !p->progress(p->progress_arg, p->done, p->total);
	return !p->stopped;
}

int lineup_pace_spend(struct lineup_pace *p, uint64_t bytes)
{
	double now;

	if (!p)
		return 0;
	now = lineup_pace_now();
	if (p->due < now)
		p->due = now;
	if (p->bytes_per_second)
		p->due += (double)bytes / (double)p->bytes_per_second;
	while (go_on(p) && now < p->due) {
		double wait = p->due - now < often ? p->due - now : often;
		struct timespec t = { .tv_nsec = (long)(wait * 1e9) };

		nanosleep(&t, NULL);
		now = lineup_pace_now();
	}
	return p->stopped ? -ECANCELED : 0;
}
