// SPDX-License-Identifier: MIT
// Reading every byte of a gallery and verifying that it follows from the records.
#include "gallery_files.h"

int lineup_gallery_check(struct lineup_gallery *g, lineup_progress_fn *progress, void *progress_arg)
{
	struct lineup_fault fault;
	struct lineup_state state;
	int err = lineup_gallery_load(&g->files, g->path, NULL, &state, &fault);

	(void)progress;
	(void)progress_arg;
	if (err)
		return lineup_gallery_fail(g, err, &fault);
	lineup_state_fini(&state);
	return 0;
}
