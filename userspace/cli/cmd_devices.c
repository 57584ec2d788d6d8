// SPDX-License-Identifier: MIT
// lineup devices: lists the GPUs that searches can run on, what runs there, and what was refused and why.
#include <inttypes.h>
#include <stdio.h>

#include "cli.h"

static const char help[] =
	"Usage: lineup devices [--no-measure] [--format table|json]\n"
	"Lists the Vulkan devices: GPUs first, then devices that are software, which searches use only if they are named.\n"
	"Each is opened, its variants of the scan are compiled and tested, and what it can do at most is measured, in about a second: reading its\n"
	"memory, multiply-adds, uploads.\n\n"
	"  --no-measure  do not measure\n";

static const char *const types[] = {
	[LINEUP_DEVICE_OTHER] = "other",     [LINEUP_DEVICE_INTEGRATED] = "integrated", [LINEUP_DEVICE_DISCRETE] = "discrete",
	[LINEUP_DEVICE_VIRTUAL] = "virtual", [LINEUP_DEVICE_SOFTWARE] = "software",
};

struct listing {
	bool measured;
	uint32_t count;
	json_t *array; /* NULL: print tables */
};

enum { UUID_TEXT = 37 };

static void uuid_text(char text[UUID_TEXT], const uint8_t uuid[16])
{
	for (int i = 0; i < 16; i++)
		text += sprintf(text, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
}

static void print_place(const struct lineup_device *d)
{
	const char *between = "";

	printf("  place     ");
	if (!d->pci[0] && !d->node[0] && d->numa_node < 0)
		printf("unknown");
	if (d->pci[0]) {
		printf("PCI %s", d->pci);
		between = ", ";
	}
	if (d->node[0]) {
		printf("%s%s", between, d->node);
		between = ", ";
	}
	if (d->numa_node >= 0)
		printf("%sNUMA node %" PRId32, between, d->numa_node);
	putchar('\n');
}

static void print_rate(const char *name, double rate, double unit, const char *unit_name)
{
	if (rate > 0)
		printf("  %-9s %.1f %s\n", name, rate / unit, unit_name);
	else
		printf("  %-9s could not be measured\n", name);
}

static void print_device(const struct lineup_device *d, bool measured)
{
	char uuid[UUID_TEXT], total[CLI_SIZE_TEXT], available[CLI_SIZE_TEXT];

	uuid_text(uuid, d->uuid);
	printf("device %" PRIu32 ": %s, %s\n", d->index, d->name, types[d->type]);
	printf("  driver    %s, Vulkan %s\n  uuid      %s\n", d->driver, d->vulkan, uuid);
	print_place(d);
	printf("  memory    %s, %s available\n", cli_size(total, d->memory_bytes), cli_size(available, d->memory_available));
	if (d->why_not)
		printf("  refused   %s\n", d->why_not);
	if (d->variant)
		printf("  variant   %s\n", d->variant);
	for (uint32_t i = 0; i < LINEUP_DEVICE_VARIANTS && d->variants[i].name; i++)
		if (d->variants[i].why_not[0])
			printf("    not %s: %s\n", d->variants[i].name, d->variants[i].why_not);
	if (measured && d->variant) {
		print_rate("reads", d->read_bytes, 1e9, "GB/s of its memory");
		print_rate("computes", d->multiply_adds, 1e9, "G int8 multiply-adds/s");
		print_rate("uploads", d->upload_bytes, 1e9, "GB/s from host memory");
	}
	putchar('\n');
}

/* A rate that could not be measured is null. */
static json_t *rate_json(double rate)
{
	return rate > 0 ? json_real(rate) : json_null();
}

static json_t *device_json(const struct lineup_device *d, bool measured)
{
	json_t *variants = json_array(), *device;
	char uuid[UUID_TEXT];

	for (uint32_t i = 0; i < LINEUP_DEVICE_VARIANTS && d->variants[i].name; i++) {
		const char *why_not = d->variants[i].why_not[0] ? d->variants[i].why_not : NULL;

		json_array_append_new(variants, json_pack("{s:s, s:b, s:s*}", "name", d->variants[i].name, "available", !why_not, "reason",
							  why_not));
	}
	uuid_text(uuid, d->uuid);
	device = json_pack("{s:i, s:s, s:s, s:b, s:s, s:s, s:s, s:s?, s:s?, s:o, s:I, s:I, s:s?, s:s?, s:o}", "index", (int)d->index, "name",
			   d->name, "type", types[d->type], "software", d->type == LINEUP_DEVICE_SOFTWARE, "driver", d->driver, "vulkan",
			   d->vulkan, "uuid", uuid, "pci", d->pci[0] ? d->pci : NULL, "node", d->node[0] ? d->node : NULL, "numa_node",
			   d->numa_node < 0 ? json_null() : json_integer(d->numa_node), "memory_bytes", (json_int_t)d->memory_bytes,
			   "memory_available", (json_int_t)d->memory_available, "refused", d->why_not, "variant", d->variant, "variants",
			   variants);
	if (device && measured && d->variant) {
		json_object_set_new(device, "read_bytes_per_second", rate_json(d->read_bytes));
		json_object_set_new(device, "multiply_adds_per_second", rate_json(d->multiply_adds));
		json_object_set_new(device, "upload_bytes_per_second", rate_json(d->upload_bytes));
	}
	return device;
}

static void show_device(void *arg, const struct lineup_device *device)
{
	struct listing *listing = arg;

	listing->count++;
	if (!listing->array) {
		print_device(device, listing->measured);
		fflush(stdout); /* the next one may take a while */
	} else {
		json_array_append_new(listing->array, device_json(device, listing->measured));
	}
}

static int list(struct cli *cli, struct listing *listing)
{
	uint32_t flags = LINEUP_DEVICES_PROBE | (listing->measured ? LINEUP_DEVICES_MEASURE : 0);
	const char *why_none = NULL;
	int status = cli_status(cli, lineup_devices(cli->ctx, flags, show_device, listing, &why_none));

	if (status) {
		json_decref(listing->array);
		return status;
	}
	if (listing->array)
		status = cli_print_json(cli, json_pack("{s:o, s:s?}", "devices", listing->array, "why_none", why_none));
	else if (!listing->count)
		printf("no device: %s\n", why_none);
	return status ? status : cli_flush(cli, NULL);
}

int cmd_devices(struct cli *cli, int argc, char **argv)
{
	enum { FORMAT = CLI_OPTION_FIRST, NO_MEASURE };
	static const struct option options[] = {
		{ "format", required_argument, NULL, FORMAT },
		{ "no-measure", no_argument, NULL, NO_MEASURE },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	static const char *const formats[] = { "table", "json", NULL };
	struct listing listing = { .measured = true };
	unsigned int word = 0;
	int c, status = 0;

	while (!status && (c = cli_option(cli, argc, argv, ":h", options)) != -1) {
		switch (c) {
		case FORMAT: status = cli_parse_word(cli, "--format", optarg, formats, &word); break;
		case NO_MEASURE: listing.measured = false; break;
		case 'h': return cli_help(cli, help);
		default: return CLI_USAGE;
		}
	}
	if (!status && optind < argc)
		status = cli_usage(cli, "unexpected argument '%s'", argv[optind]);
	if (status)
		return status;
	if (word) {
		listing.array = json_array();
		if (!listing.array)
			return cli_fail(cli, "no memory for a result");
	}
	return list(cli, &listing);
}
