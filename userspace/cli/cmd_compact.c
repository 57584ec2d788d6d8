// SPDX-License-Identifier: MIT
// lineup compact: makes deleted templates leave the disk.
#include <inttypes.h>
#include <stdio.h>

#include "remote.h"

static const char help[] =
	"Usage: lineup compact GALLERY\n"
	"Rewrites the gallery without its deleted templates, overwrites the old files and removes them. What searches find, template\n"
	"ids, digest and sequence stay the same.\n\n"
	REMOTE_HELP;

static int compact_local(struct cli *cli, const char *path, struct lineup_compact_result *result)
{
	struct lineup_gallery_options open = { .size = sizeof(open), .flags = LINEUP_GALLERY_WRITE };
	struct lineup_gallery *gallery = NULL;
	struct cli_progress progress;
	int status = cli_status(cli, lineup_gallery_open(cli->ctx, path, &open, &gallery));

	if (status)
		return status;
	cli_progress_begin(&progress, "compact", CLI_ROWS);
	status = cli_status(cli, lineup_gallery_compact(gallery, cli_progress_update, &progress, result));
	cli_progress_clear();
	lineup_gallery_close(gallery);
	return status;
}

static int compact_remote(struct cli *cli, const struct remote_options *options, const char *name,
			  struct lineup_compact_result *result)
{
	struct remote *remote = NULL;
	int status = remote_open(cli, options, name, &remote);

	status = status ? status : remote_compact(remote, result);
	remote_close(remote);
	return status;
}

int cmd_compact(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' }, REMOTE_OPTIONS, { 0 } };
	char before[CLI_SIZE_TEXT], after[CLI_SIZE_TEXT];
	struct remote_options remote = { 0 };
	struct lineup_compact_result r;
	const char *path = NULL, *name;
	int c, status;

	while ((c = cli_option(cli, argc, argv, ":h", options)) != -1)
		if (!remote_option(&remote, c))
			return c == 'h' ? cli_help(cli, help) : CLI_USAGE;
	status = cli_positional(cli, argc, argv, "GALLERY", &path);
	if (status)
		return status;
	name = remote_name(&remote, path);
	status = name ? 0 : remote_check_local(cli, &remote, path);
	if (!status)
		status = name ? compact_remote(cli, &remote, name, &r) : compact_local(cli, path, &r);
	if (status)
		return status;
	printf("rows dropped    %" PRIu64 "\nbytes before    %" PRIu64 " (%s)\nbytes after     %" PRIu64 " (%s)\nfiles held      %" PRIu32
	       "\n", r.rows_dropped, r.bytes_before, cli_size(before, r.bytes_before), r.bytes_after, cli_size(after, r.bytes_after),
	       r.files_held);
	if (r.files_held)
		printf("Other processes still read old files, which hold deleted templates: compact again when they have ended.\n");
	return cli_flush(cli, "but the gallery is compacted");
}
