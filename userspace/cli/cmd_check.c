// SPDX-License-Identifier: MIT
// lineup check: reads and verifies every byte of a gallery.
#include <inttypes.h>
#include <stdio.h>

#include "cli.h"

static const char help[] =
	"Usage: lineup check GALLERY\n"
	"Reads and verifies every byte: checksums, padding, order, counts, and that codes, columns and indexes follow from the records.\n"
	"The first fault is named, by file and offset, and the exit status is 1. Nothing is repaired.\n";

int cmd_check(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
	struct lineup_gallery_options open = { .size = sizeof(open) };
	struct lineup_gallery *gallery = NULL;
	struct lineup_gallery_info info;
	struct cli_progress progress;
	const char *path = NULL;
	int c, status;

	while ((c = cli_option(cli, argc, argv, ":h", options)) != -1)
		return c == 'h' ? cli_help(cli, help) : CLI_USAGE;
	status = cli_positional(cli, argc, argv, "GALLERY", &path);
	status = status ? status : cli_status(cli, lineup_gallery_open(cli->ctx, path, &open, &gallery));
	if (status)
		return status;
	cli_progress_begin(&progress, "check", CLI_BYTES);
	status = cli_status(cli, lineup_gallery_check(gallery, cli_progress_update, &progress));
	cli_progress_clear();
	lineup_gallery_info(gallery, &info);
	lineup_gallery_close(gallery);
	if (status)
		return status;
	printf("%" PRIu64 " bytes verified, no fault found\n", info.bytes);
	return cli_flush(cli, NULL);
}
