// SPDX-License-Identifier: MIT
// lineup delete: deletes a subject or a template, as one operation.
#include <inttypes.h>
#include <stdio.h>

#include "remote.h"

static const char help[] =
	"Usage: lineup delete GALLERY --subject ID | --template N [OPTION]...\n"
	"Deletes all templates of a subject, or one template: no search finds them again. They leave the disk with the next\n"
	"'lineup compact'.\n\n"
	"  --subject ID   the subject\n"
	"  --template N   the template's id, as search prints it\n"
	"  --model ID     refuse a gallery of another model\n"
	"  --op-id HEX    32 hexadecimal digits: the id of this operation, which is done once however often it is sent\n\n"
	REMOTE_HELP;

struct job {
	const char *path;
	struct remote_options remote;
	const char *model;
	struct lineup_delete_options options;
};

static int parse(struct cli *cli, int argc, char **argv, struct job *job, bool *done)
{
	enum { SUBJECT = CLI_OPTION_FIRST, TEMPLATE, MODEL, OP_ID };
	static const struct option options[] = {
		{ "subject", required_argument, NULL, SUBJECT }, { "template", required_argument, NULL, TEMPLATE },
		{ "model", required_argument, NULL, MODEL },     { "op-id", required_argument, NULL, OP_ID },
		REMOTE_OPTIONS,                                  { "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	bool template = false;
	int c, status = 0;

	while (!status && (c = cli_option(cli, argc, argv, ":h", options)) != -1) {
		switch (c) {
		case SUBJECT: job->options.subject = optarg; break;
		case MODEL: job->model = optarg; break;
		case OP_ID: status = cli_parse_op_id(cli, "--op-id", optarg, job->options.op_id); break;
		case TEMPLATE:
			status = cli_parse_count(cli, "--template", optarg, 0, UINT64_MAX, &job->options.template_id);
			template = true;
			break;
		case 'h': *done = true; return cli_help(cli, help);
		default:
			if (!remote_option(&job->remote, c))
				return CLI_USAGE;
		}
	}
	status = status ? status : cli_positional(cli, argc, argv, "GALLERY", &job->path);
	if (!status && !job->options.subject == !template)
		status = cli_usage(cli, "one of --subject and --template is needed, and one only");
	if (!status && !remote_name(&job->remote, job->path))
		status = remote_check_local(cli, &job->remote, job->path);
	job->options.what = template ? LINEUP_DELETE_TEMPLATE : LINEUP_DELETE_SUBJECT;
	return status;
}

static int print_result(struct cli *cli, const struct lineup_delete_result *r)
{
	char op_id[2 * LINEUP_OP_ID_BYTES + 1];

	cli_hex(op_id, r->op_id, sizeof(r->op_id));
	if (r->repeated)
		printf("this operation was done before; nothing changed\n");
	printf("rows deleted    %" PRIu64 "\nsequence        %" PRIu64 "\nop id           %s\n", r->rows, r->sequence, op_id);
	return cli_flush(cli, "but the rows are deleted");
}

static int delete_local(struct cli *cli, const struct job *job, struct lineup_delete_result *result)
{
	struct lineup_gallery_options open = { .size = sizeof(open), .flags = LINEUP_GALLERY_WRITE, .model = job->model };
	struct lineup_gallery *gallery = NULL;
	int status = cli_status(cli, lineup_gallery_open(cli->ctx, job->path, &open, &gallery));

	status = status ? status : cli_status(cli, lineup_gallery_delete(gallery, &job->options, result));
	lineup_gallery_close(gallery);
	return status;
}

static int delete_remote(struct cli *cli, const struct job *job, const char *name, struct lineup_delete_result *result)
{
	struct lineup_gallery_info info;
	struct remote *remote = NULL;
	int status = remote_open(cli, &job->remote, name, &remote);

	if (!status && job->model)
		status = remote_info(remote, job->model, &info);
	status = status ? status : remote_delete(remote, &job->options, result);
	remote_close(remote);
	return status;
}

int cmd_delete(struct cli *cli, int argc, char **argv)
{
	struct job job = { .options.size = sizeof(job.options) };
	struct lineup_delete_result result;
	const char *name;
	bool done = false;
	int status = parse(cli, argc, argv, &job, &done);

	if (status || done)
		return status;
	name = remote_name(&job.remote, job.path);
	status = name ? delete_remote(cli, &job, name, &result) : delete_local(cli, &job, &result);
	return status ? status : print_result(cli, &result);
}
