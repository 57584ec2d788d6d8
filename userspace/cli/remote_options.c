// SPDX-License-Identifier: MIT
// Which galleries are lineupd's, and the options that say where it is.
#include <string.h>

#include "remote.h"

static const char scheme[] = "lineup://";

bool remote_option(struct remote_options *options, int c)
{
	switch (c) {
	case REMOTE_SOCKET: options->socket = optarg; return true;
	case REMOTE_USER: options->user = optarg; return true;
	case REMOTE_SECRET_FILE: options->secret_file = optarg; return true;
	default: return false;
	}
}

const char *remote_name(const struct remote_options *options, const char *gallery)
{
	if (strncmp(gallery, scheme, strlen(scheme)) == 0)
		return gallery + strlen(scheme);
	return options->socket ? gallery : NULL;
}

int remote_check_local(struct cli *cli, const struct remote_options *options, const char *gallery)
{
	if (options->user || options->secret_file)
		return cli_usage(cli, "--user and --secret-file are for lineup://NAME, not for the directory %s", gallery);
	return 0;
}
