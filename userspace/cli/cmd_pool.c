// SPDX-License-Identifier: MIT
// lineup pool: pools of frames of the kernel module, who owns them, and the quota.
#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char help[] =
	"Usage: lineup pool [--format table|json]\n"
	"Shows the frame pools of the kernel module lineup that this user may see (all, with CAP_SYS_ADMIN), their owners, and\n"
	"what is charged and allowed.\n";

struct list {
	struct lineup_frames_quota quota;
	struct lineup_frames_info *pools;
	size_t count, room;
};

/* Kept first, printed when all are known: the quota comes before them, and a failure in between prints nothing. */
static int keep(void *arg, const struct lineup_frames_info *info)
{
	struct list *l = arg;

	if (l->count == l->room) {
		size_t room = l->room ? 2 * l->room : 16;
		void *more = reallocarray(l->pools, room, sizeof(l->pools[0]));

		if (!more)
			return -ENOMEM;
		l->pools = more;
		l->room = room;
	}
	l->pools[l->count++] = *info;
	return 0;
}

static const struct {
	uint32_t flag;
	const char *name;
} flag_names[] = {
	{ LINEUP_FRAMES_CONTIGUOUS, "contiguous" },
	{ LINEUP_FRAMES_UNCACHED, "uncached" },
	{ LINEUP_FRAMES_SHMEM, "shmem" },
	{ LINEUP_FRAMES_SYNC_CHECK, "sync-check" },
};

/* A pool of the heap has no descriptor that could be open. */
static const char *state(const struct lineup_frames_info *p)
{
	return p->revoked ? "revoked" : p->heap ? "heap" : p->closed ? "closed" : "open";
}

/* A process may call itself anything. */
static void print_command(const char *command)
{
	for (; *command; command++)
		putchar((unsigned char)*command < 0x20 || *command == 0x7f ? '?' : *command);
}

static void print_limit(const char *what, uint64_t used, uint64_t most)
{
	char a[CLI_SIZE_TEXT], b[CLI_SIZE_TEXT];

	printf("%s  %s of %s\n", what, cli_size(a, used), most == UINT64_MAX ? "any amount" : cli_size(b, most));
}

static void print_table(const struct list *l)
{
	const struct lineup_frames_quota *q = &l->quota;

	print_limit("module      ", q->bytes, q->bytes_max);
	print_limit("this user   ", q->user_locked_bytes, q->user_bytes_max);
	printf("refused       %" PRIu64 " pools: %" PRIu64 " by a user's limit, %" PRIu64 " by the module's, %" PRIu64
	       " for lack of memory\n",
	       q->refused_user + q->refused_module + q->refused_memory, q->refused_user, q->refused_module, q->refused_memory);
	printf("pools         %" PRIu32 ", %zu of them visible; frames out: %" PRIu32 ", held back: %" PRIu32 "\n", q->pools,
	       l->count, q->frames_out, q->frames_held_back);
	if (l->count)
		printf("\n    id  state    frames  free   out  held      bytes  node      user       pid  command\n");
	for (size_t i = 0; i < l->count; i++) {
		const struct lineup_frames_info *p = &l->pools[i];
		const struct passwd *user = getpwuid(p->uid);
		char size[CLI_SIZE_TEXT], uid[16], node[16] = "any";

		snprintf(uid, sizeof(uid), "%" PRIu32, p->uid);
		if (p->node >= 0)
			snprintf(node, sizeof(node), "%" PRId32, p->node);
		printf("%6" PRIu64 "  %-7s  %6" PRIu32 "  %4" PRIu32 "  %4" PRIu32 "  %4" PRIu32 "  %9s  %4s  %8s  %8" PRIu32 "  ",
		       p->id, state(p), p->frames, p->frames_free, p->frames_out, p->frames_held_back, cli_size(size, p->bytes),
		       node, user ? user->pw_name : uid, p->pid);
		print_command(p->command);
		for (size_t f = 0; f < ARRAY_SIZE(flag_names); f++)
			if (p->flags & flag_names[f].flag)
				printf(" [%s]", flag_names[f].name);
		putchar('\n');
	}
}

static json_t *pool_json(const struct lineup_frames_info *p)
{
	json_t *flags = json_array();
	char command[sizeof(p->command)];

	memcpy(command, p->command, sizeof(command));
	for (char *c = command; *c; c++)
		if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
			*c = '?';
	for (size_t f = 0; f < ARRAY_SIZE(flag_names); f++)
		if (p->flags & flag_names[f].flag)
			json_array_append_new(flags, json_string(flag_names[f].name));
	return json_pack("{s:I, s:s, s:I, s:I, s:{s:I, s:I, s:I, s:I, s:I, s:I}, s:o, s:o, s:I, s:I, s:I, s:s, s:I, s:I, s:I, s:I}",
			 "id", (json_int_t)p->id, "state", state(p), "frame_bytes", (json_int_t)p->frame_bytes,
			 "bytes", (json_int_t)p->bytes,
			 "frames", "made", (json_int_t)p->frames, "free", (json_int_t)p->frames_free,
			 "out", (json_int_t)p->frames_out,
			 "held_back", (json_int_t)p->frames_held_back, "freed", (json_int_t)p->frames_freed,
			 "lost", (json_int_t)p->frames_lost,
			 "flags", flags, "node", p->node >= 0 ? json_integer(p->node) : json_null(),
			 "dma_bits", (json_int_t)p->dma_bits,
			 "uid", (json_int_t)p->uid, "pid", (json_int_t)p->pid, "command", command, "gets", (json_int_t)p->gets,
			 "returns", (json_int_t)p->returns, "revokes", (json_int_t)p->revokes,
			 "sync_violations", (json_int_t)p->sync_violations);
}

static json_t *limit_json(uint64_t most)
{
	return most > INT64_MAX ? json_null() : json_integer((json_int_t)most);
}

static json_t *list_json(const struct list *l)
{
	const struct lineup_frames_quota *q = &l->quota;
	json_t *pools = json_array();

	for (size_t i = 0; i < l->count; i++)
		json_array_append_new(pools, pool_json(&l->pools[i]));
	return json_pack("{s:{s:I, s:o, s:I, s:I, s:o, s:I, s:I, s:I}, s:I, s:I, s:I, s:I, s:I, s:o}", "quota", "bytes",
			 (json_int_t)q->bytes, "bytes_max", limit_json(q->bytes_max), "user_bytes", (json_int_t)q->user_bytes,
			 "user_locked_bytes", (json_int_t)q->user_locked_bytes, "user_bytes_max", limit_json(q->user_bytes_max),
			 "refused_user", (json_int_t)q->refused_user, "refused_module", (json_int_t)q->refused_module,
			 "refused_memory", (json_int_t)q->refused_memory, "frames_out", (json_int_t)q->frames_out,
			 "frames_held_back", (json_int_t)q->frames_held_back, "gets", (json_int_t)q->gets, "returns",
			 (json_int_t)q->returns, "sync_violations", (json_int_t)q->sync_violations, "pools", pools);
}

int cmd_pool(struct cli *cli, int argc, char **argv)
{
	enum { FORMAT = CLI_OPTION_FIRST };
	static const struct option options[] = {
		{ "format", required_argument, NULL, FORMAT }, { "help", no_argument, NULL, 'h' }, { 0 },
	};
	static const char *const formats[] = { "table", "json", NULL };
	struct list list = { 0 };
	unsigned int word = 0;
	int c, status = 0;

	while (!status && (c = cli_option(cli, argc, argv, ":h", options)) != -1) {
		switch (c) {
		case FORMAT: status = cli_parse_word(cli, "--format", optarg, formats, &word); break;
		case 'h': return cli_help(cli, help);
		default: return CLI_USAGE;
		}
	}
	if (!status && optind < argc)
		status = cli_usage(cli, "'%s' is too much", argv[optind]);
	status = status ? status : cli_status(cli, lineup_frames_list(cli->ctx, &list.quota, keep, &list));
	if (!status && word)
		status = cli_print_json(cli, list_json(&list));
	else if (!status)
		print_table(&list);
	free(list.pools);
	return status ? status : cli_flush(cli, NULL);
}
