// SPDX-License-Identifier: MIT
// lineup compact: makes deleted templates leave the disk.
#include <inttypes.h>
#include <stdio.h>

#include "cli.h"

static const char help[] =
	"Usage: lineup compact GALLERY\n"
	"Rewrites the gallery without its deleted templates, overwrites the old files and removes them. What searches find, template\n"
	"ids, digest and sequence stay the same.\n";

int cmd_compact(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
	struct lineup_gallery_options open = { .size = sizeof(open), .flags = LINEUP_GALLERY_WRITE };
	char before[CLI_SIZE_TEXT], after[CLI_SIZE_TEXT];
	struct lineup_gallery *gallery = NULL;
	struct lineup_compact_result r;
	struct cli_progress progress;
	const char *path = NULL;
	int c, status;

	while ((c = cli_option(cli, argc, argv, ":h", options)) != -1)
		return c == 'h' ? cli_help(cli, help) : CLI_USAGE;
	status = cli_positional(cli, argc, argv, "GALLERY", &path);
	status = status ? status : cli_status(cli, lineup_gallery_open(cli->ctx, path, &open, &gallery));
	if (status)
		return status;
	cli_progress_begin(&progress, "compact", CLI_ROWS);
	status = cli_status(cli, lineup_gallery_compact(gallery, cli_progress_update, &progress, &r));
	cli_progress_clear();
	lineup_gallery_close(gallery);
	if (status)
		return status;
	printf("rows dropped    %" PRIu64 "\nbytes before    %" PRIu64 " (%s)\nbytes after     %" PRIu64 " (%s)\nfiles held      %" PRIu32
	       "\n", r.rows_dropped, r.bytes_before, cli_size(before, r.bytes_before), r.bytes_after, cli_size(after, r.bytes_after),
	       r.files_held);
	if (r.files_held)
		printf("Other processes still read old files, which hold deleted templates: compact again when they have ended.\n");
	return cli_flush(cli, "but the gallery is compacted");
}
