// SPDX-License-Identifier: MIT
// lineup info: describes a gallery, or this build and what it can use on this machine.
#include <errno.h>
#include <inttypes.h>
#include <liburing.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remote.h"

/* The Makefile says of which Vulkan the headers are; without them there is none in this build. */
#ifndef CLI_VULKAN_HEADERS
#define CLI_VULKAN_HEADERS ""
#endif

static const char help[] =
	"Usage: lineup info GALLERY [--device LIST [--device-memory SIZE]] [--format table|json]\n"
	"       lineup info --build [--format table|json]\n"
	"Describes a gallery without reading its templates, or this build: its version, and what it can use on this machine.\n\n"
	"  --device LIST        and what of it would stay in the memory of these GPUs, and what would stream: index, UUID or PCI address\n"
	"                       of each, or auto for all that are no software devices; see `lineup devices`\n"
	"  --device-memory SIZE of each, for rows: a number with K, M, G or T (80 % of what is free)\n\n"
	REMOTE_HELP;

struct backends {
	bool table;
	json_t *array;
};

static void show_backend(void *arg, const char *name, const char *why_not)
{
	struct backends *b = arg;

	if (b->table)
		printf("backend         %s: %s\n", name, why_not ? why_not : "available");
	else
		json_array_append_new(b->array, json_pack("{s:s, s:b, s:s*}", "name", name, "available", !why_not, "reason", why_not));
}

/* Why io_uring cannot be used here; NULL if it can. */
static const char *uring_why_not(void)
{
	struct io_uring ring;
	int err = io_uring_queue_init(2, &ring, 0);

	if (err)
		return strerror(-err);
	io_uring_queue_exit(&ring);
	return NULL;
}

static int print_build(struct cli *cli, unsigned int format)
{
	struct backends b = { .table = format == CLI_TABLE, .array = json_array() };
	const char *why_not = uring_why_not(), *vulkan = CLI_VULKAN_HEADERS;
	json_t *build;
	int status = 0;

	if (b.table) {
		printf("version         %s\ngallery format  %u\ncompiler        %s\n", lineup_version(), LINEUP_FORMAT_VERSION,
		       __VERSION__);
		lineup_backends(show_backend, &b);
		printf("io_uring        %s\n", why_not ? why_not : "available");
		printf("libsodium       %s\njansson         %s\n", sodium_version_string(), JANSSON_VERSION);
		if (vulkan[0])
			printf("optional parts  Vulkan, with the headers of %s\n", vulkan);
		else
			printf("optional parts  Vulkan no\n");
		printf("extractors      %s\nDRM import      %s\n", lineup_extractor_support(), lineup_frame_drm_support());
		json_decref(b.array);
	} else {
		lineup_backends(show_backend, &b);
		build = json_pack("{s:s, s:i, s:s, s:o, s:{s:b, s:s*}, s:s, s:s, s:{s:b, s:s*, s:b, s:b}}", "version", lineup_version(), "format",
				  (int)LINEUP_FORMAT_VERSION, "compiler", __VERSION__, "backends", b.array, "io_uring", "available",
				  !why_not, "reason", why_not, "libsodium", sodium_version_string(), "jansson", JANSSON_VERSION,
				  "optional", "vulkan", vulkan[0] != 0, "vulkan_headers", vulkan[0] ? vulkan : NULL,
				  "extractors", !strcmp(lineup_extractor_support(), "yes"), "drm", !strcmp(lineup_frame_drm_support(), "yes"));
		status = cli_print_json(cli, build);
	}
	return status ? status : cli_flush(cli, NULL);
}

static const char *const stores[] = { [LINEUP_STORE_FLOAT32] = "float32", [LINEUP_STORE_FLOAT16] = "float16" };

/* ---- on which device rows would be ---- */

struct plan {
	const char *choice;        /* NULL: not asked for */
	uint64_t memory_max;       /* 0: 80 % of what is available */
	uint32_t count;
	struct lineup_device device[LINEUP_DEVICES_MAX];
	uint64_t memory[LINEUP_DEVICES_MAX];
	struct lineup_device_share share[LINEUP_DEVICES_MAX];
};

static void plan_add(void *arg, const struct lineup_device *device)
{
	struct plan *plan = arg;

	if (!cli_device_chosen(device, plan->choice) || plan->count == LINEUP_DEVICES_MAX)
		return;
	plan->device[plan->count] = *device;
	plan->memory[plan->count++] = plan->memory_max ? plan->memory_max : device->memory_available / 10 * 8;
}

static int plan_make(struct cli *cli, struct lineup_gallery *gallery, struct plan *plan)
{
	const char *why_none = NULL;
	int status = cli_status(cli, lineup_devices(cli->ctx, 0, plan_add, plan, &why_none));

	if (status)
		return status;
	if (!plan->count && why_none)
		return cli_fail(cli, "--device: there is no Vulkan device: %s", why_none);
	if (!plan->count && strcmp(plan->choice, "auto") == 0)
		return cli_fail(cli, "--device: there is no GPU, and a software device is only taken if it is named, as in --device 0");
	if (!plan->count)
		return cli_fail(cli, "--device: there is no Vulkan device '%s'; see `lineup devices`", plan->choice);
	return cli_status(cli, lineup_gallery_shares(gallery, plan->count, plan->memory, plan->share));
}

static void print_plan(const struct plan *plan)
{
	char kept[CLI_SIZE_TEXT], room[CLI_SIZE_TEXT], rest[CLI_SIZE_TEXT];

	for (uint32_t i = 0; i < plan->count; i++) {
		const struct lineup_device_share *s = &plan->share[i];

		printf("device %-9" PRIu32 "%s%s: %" PRIu64 " of its %" PRIu64 " rows stay in its memory, %s of %s; %s stream in each pass\n",
		       plan->device[i].index, plan->device[i].name, plan->device[i].type == LINEUP_DEVICE_SOFTWARE ? " (software)" : "",
		       s->rows_kept, s->rows, cli_size(kept, s->bytes_kept), cli_size(room, plan->memory[i]),
		       s->rows == s->rows_kept ? "none" : cli_size(rest, s->bytes - s->bytes_kept));
	}
}

static json_t *plan_json(const struct plan *plan)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < plan->count; i++) {
		const struct lineup_device_share *s = &plan->share[i];

		json_array_append_new(array, json_pack("{s:i, s:s, s:b, s:I, s:I, s:I, s:I, s:I}", "index", (int)plan->device[i].index, "name",
						       plan->device[i].name, "software", plan->device[i].type == LINEUP_DEVICE_SOFTWARE,
						       "memory", (json_int_t)plan->memory[i], "rows", (json_int_t)s->rows, "bytes",
						       (json_int_t)s->bytes, "rows_kept", (json_int_t)s->rows_kept, "bytes_kept",
						       (json_int_t)s->bytes_kept));
	}
	return array;
}

/* ---- the gallery ---- */

static void print_table(const struct lineup_gallery_info *i)
{
	char digest[2 * LINEUP_DIGEST_BYTES + 1], model_digest[2 * LINEUP_DIGEST_BYTES + 1], size[CLI_SIZE_TEXT];

	cli_hex(digest, i->digest, sizeof(i->digest));
	cli_hex(model_digest, i->model_digest, sizeof(i->model_digest));
	printf("templates       %" PRIu64 " of %" PRIu64 " subjects\n", i->templates, i->subjects);
	printf("deleted         %" PRIu64 "%s\n", i->templates_deleted, i->templates_deleted ? " (on disk until compaction)" : "");
	printf("next template   %" PRIu64 "\n", i->templates_next);
	printf("components      %" PRIu32 ", stored as %s\n", i->dim, stores[i->store]);
	printf("model           %s\nmodel digest    %s\n", i->model, model_digest);
	printf("sequence        %" PRIu64 "\ndigest          %s\n", i->sequence, digest);
	printf("lists           ");
	for (uint32_t l = 0; l < i->lists; l++)
		printf("%s%s", l ? ", " : "", i->list[l]);
	printf("%s\n", i->lists ? "" : "none");
	printf("files           %s (%" PRIu64 " bytes), format %" PRIu32 "\n", cli_size(size, i->bytes), i->bytes, i->format);
	printf("segments        %" PRIu32 "\n", i->segments);
	printf("journal         %s, %" PRIu64 " templates\n", cli_size(size, i->journal_bytes), i->journal_templates);
	printf("one pass reads  %s\n", cli_size(size, i->scan_bytes));
}

static json_t *info_json(const struct lineup_gallery_info *i)
{
	json_t *lists = json_array();

	for (uint32_t l = 0; l < i->lists; l++)
		json_array_append_new(lists, json_string(i->list[l]));
	return json_pack("{s:i, s:s, s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:i, s:o, s:I, s:I, s:I, s:I, s:i}",
			 "dim", (int)i->dim, "store", stores[i->store], "model", i->model,
			 "model_digest", cli_json_hex(i->model_digest, sizeof(i->model_digest)),
			 "digest", cli_json_hex(i->digest, sizeof(i->digest)), "sequence", (json_int_t)i->sequence,
			 "templates", (json_int_t)i->templates, "templates_deleted", (json_int_t)i->templates_deleted,
			 "subjects", (json_int_t)i->subjects, "templates_next", (json_int_t)i->templates_next,
			 "segments", (int)i->segments, "lists", lists, "journal_bytes", (json_int_t)i->journal_bytes,
			 "journal_templates", (json_int_t)i->journal_templates, "bytes", (json_int_t)i->bytes,
			 "scan_bytes", (json_int_t)i->scan_bytes, "format", (int)i->format);
}

static int print_info(struct cli *cli, const struct lineup_gallery_info *info, const struct plan *plan, unsigned int format)
{
	json_t *json;
	int status = 0;

	if (format == CLI_TABLE) {
		print_table(info);
		print_plan(plan);
	} else {
		json = info_json(info);
		if (plan->choice)
			json_object_set_new(json, "devices", plan_json(plan));
		status = cli_print_json(cli, json);
	}
	return status ? status : cli_flush(cli, NULL);
}

static int print_gallery(struct cli *cli, const char *path, struct plan *plan, unsigned int format)
{
	struct lineup_gallery_options open = { .size = sizeof(open) };
	struct lineup_gallery_info info;
	struct lineup_gallery *gallery;
	int status = cli_status(cli, lineup_gallery_open(cli->ctx, path, &open, &gallery));

	if (status)
		return status;
	lineup_gallery_info(gallery, &info);
	if (plan->choice)
		status = plan_make(cli, gallery, plan);
	lineup_gallery_close(gallery);
	return status ? status : print_info(cli, &info, plan, format);
}

static int print_remote(struct cli *cli, const struct remote_options *options, const char *name, const struct plan *plan,
			unsigned int format)
{
	struct lineup_gallery_info info;
	struct remote *remote = NULL;
	int status = plan->choice ? cli_usage(cli, "--device: of a gallery that lineupd serves, lineupd chooses the devices") : 0;

	status = status ? status : remote_open(cli, options, name, &remote);
	status = status ? status : remote_info(remote, NULL, &info);
	remote_close(remote);
	return status ? status : print_info(cli, &info, plan, format);
}

int cmd_info(struct cli *cli, int argc, char **argv)
{
	enum { BUILD = CLI_OPTION_FIRST, DEVICE, DEVICE_MEMORY, FORMAT };
	static const struct option options[] = {
		{ "build", no_argument, NULL, BUILD }, { "format", required_argument, NULL, FORMAT },
		{ "device", required_argument, NULL, DEVICE }, { "device-memory", required_argument, NULL, DEVICE_MEMORY },
		{ "help", no_argument, NULL, 'h' },    REMOTE_OPTIONS,
		{ 0 },
	};
	static const char *const formats[] = { "table", "json", NULL };
	static struct plan plan;
	struct remote_options remote = { 0 };
	const char *path = NULL, *name;
	unsigned int word = 0;
	bool build = false;
	int c, status = 0;

	while (!status && (c = cli_option(cli, argc, argv, ":h", options)) != -1) {
		switch (c) {
		case BUILD: build = true; break;
		case DEVICE: plan.choice = optarg; break;
		case DEVICE_MEMORY: status = cli_parse_size(cli, "--device-memory", optarg, &plan.memory_max); break;
		case FORMAT: status = cli_parse_word(cli, "--format", optarg, formats, &word); break;
		case 'h': return cli_help(cli, help);
		default:
			if (!remote_option(&remote, c))
				return CLI_USAGE;
		}
	}
	if (!status && build && optind < argc)
		status = cli_usage(cli, "--build is about the program, not about a gallery");
	if (!status && (build || !plan.choice) && (plan.choice || plan.memory_max))
		status = cli_usage(cli, build ? "--build is about the program, not about a gallery" : "--device-memory needs --device");
	if (!status && !build)
		status = cli_positional(cli, argc, argv, "GALLERY", &path);
	if (status)
		return status;
	if (build)
		return print_build(cli, word ? CLI_JSON : CLI_TABLE);
	name = remote_name(&remote, path);
	if (name)
		return print_remote(cli, &remote, name, &plan, word ? CLI_JSON : CLI_TABLE);
	status = remote_check_local(cli, &remote, path);
	return status ? status : print_gallery(cli, path, &plan, word ? CLI_JSON : CLI_TABLE);
}
