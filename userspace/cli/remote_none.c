// SPDX-License-Identifier: MIT
// Instead of the other remote_*.c where the program is built without hiredis: no connection is ever opened.
#include "remote.h"

static int none(void)
{
	return CLI_FAILED;
}

static int refuse(struct cli *cli)
{
	return cli_fail(cli, "this build cannot talk to lineupd: it was made without hiredis");
}

int cmd_load(struct cli *cli, int argc, char **argv)
{
	(void)argc, (void)argv;
	return refuse(cli);
}

int cmd_top(struct cli *cli, int argc, char **argv)
{
	(void)argc, (void)argv;
	return refuse(cli);
}

int remote_open(struct cli *cli, const struct remote_options *options, const char *name, struct remote **remote)
{
	(void)options, (void)name, (void)remote;
	return refuse(cli);
}

void remote_close(struct remote *remote)
{
	(void)remote;
}

int remote_info(struct remote *remote, const char *model, struct lineup_gallery_info *info)
{
	(void)remote, (void)model, (void)info;
	return none();
}

int remote_exists(struct remote *remote, bool *exists)
{
	(void)remote, (void)exists;
	return none();
}

int remote_create(struct remote *remote, uint32_t dim, enum lineup_store store, const char *model)
{
	(void)remote, (void)dim, (void)store, (void)model;
	return none();
}

int remote_search_send(struct remote *remote, const struct remote_query *query)
{
	(void)remote, (void)query;
	return none();
}

int remote_search_receive(struct remote *remote, uint64_t rows, uint32_t k, struct lineup_candidate *candidates, uint32_t *counts,
			  struct lineup_search_facts *facts)
{
	(void)remote, (void)rows, (void)k, (void)candidates, (void)counts, (void)facts;
	return none();
}

int remote_verify(struct remote *remote, const struct lineup_matrix *probes, const char *subject, int64_t now,
		  const uint8_t *model_digest, struct lineup_candidate *candidates)
{
	(void)remote, (void)probes, (void)subject, (void)now, (void)model_digest, (void)candidates;
	return none();
}

int remote_enrol(struct remote *remote, const struct remote_rows *rows, struct lineup_enrol_result *result)
{
	(void)remote, (void)rows, (void)result;
	return none();
}

int remote_delete(struct remote *remote, const struct lineup_delete_options *options, struct lineup_delete_result *result)
{
	(void)remote, (void)options, (void)result;
	return none();
}

int remote_compact(struct remote *remote, struct lineup_compact_result *result)
{
	(void)remote, (void)result;
	return none();
}
