// SPDX-License-Identifier: MIT
// What a Vulkan device offers and does, in the order a new GPU is looked at: vulkan_list [DEVICE] [MiB of an upload]
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "vulkan/kernels.h"
#include "vulkan/vk.h"

enum {
	SLOTS = 3,           /* copies in flight at most */
	SLOT_MIB = 64,
	COPIES = 24,         /* of one measurement */
	WAIT_NS = 2000000000,
	EXTENSIONS_MAX = 512,
};

static int failures;

static double now_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void say(void *arg, enum lineup_log_level level, const char *message)
{
	(void)arg;
	(void)level;
	printf("    (%s)\n", message);
}

/* ---- 1. what it is ---- */

static const char *const extensions_wanted[] = {
	"VK_KHR_cooperative_matrix", "VK_NV_cooperative_matrix", "VK_NV_cooperative_matrix2", "VK_KHR_shader_integer_dot_product",
	"VK_EXT_external_memory_host", "VK_EXT_external_memory_dma_buf", "VK_KHR_external_memory_fd", "VK_EXT_physical_device_drm",
	"VK_EXT_pci_bus_info", "VK_EXT_memory_budget", "VK_EXT_device_fault", "VK_EXT_subgroup_size_control",
	"VK_EXT_pipeline_creation_cache_control",
};

static void list_extensions(struct lineup_vk_device *d)
{
	static VkExtensionProperties have[EXTENSIONS_MAX];
	uint32_t count = EXTENSIONS_MAX;

	if (d->api.EnumerateDeviceExtensionProperties(d->physical, NULL, &count, have) < 0)
		count = 0;
	printf("  extensions      %" PRIu32 ", of which\n", count);
	for (size_t w = 0; w < ARRAY_SIZE(extensions_wanted); w++) {
		uint32_t i = 0;

		while (i < count && strcmp(have[i].extensionName, extensions_wanted[w]) != 0)
			i++;
		if (i < count)
			printf("    %-40s revision %" PRIu32 "\n", extensions_wanted[w], have[i].specVersion);
		else
			printf("    %-40s no\n", extensions_wanted[w]);
	}
}

static void list_memory(struct lineup_vk_device *d)
{
	static const char *const bits[] = { "device-local", "host-visible", "coherent", "cached", "lazy" };

	for (uint32_t i = 0; i < d->memory.memoryHeapCount; i++)
		printf("  heap %" PRIu32 "          %.1f GiB%s\n", i, (double)d->memory.memoryHeaps[i].size / (1 << 30),
		       d->memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT ? ", device-local" : "");
	for (uint32_t i = 0; i < d->memory.memoryTypeCount; i++) {
		printf("  memory type %-3" PRIu32 " heap %" PRIu32 ":", i, d->memory.memoryTypes[i].heapIndex);
		for (size_t b = 0; b < ARRAY_SIZE(bits); b++)
			if (d->memory.memoryTypes[i].propertyFlags & 1u << b)
				printf(" %s", bits[b]);
		printf("\n");
	}
}

static void list_imports(struct lineup_vk_device *d)
{
	static const struct {
		const char *name;
		VkExternalMemoryHandleTypeFlagBits type;
	} handles[] = {
		{ "host pointer", VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT },
		{ "dma-buf", VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT },
		{ "opaque fd", VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT },
	};

	for (size_t i = 0; i < ARRAY_SIZE(handles); i++) {
		VkPhysicalDeviceExternalBufferInfo info = {
			.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_BUFFER_INFO,
			.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT,
			.handleType = handles[i].type,
		};
		VkExternalBufferProperties properties = { .sType = VK_STRUCTURE_TYPE_EXTERNAL_BUFFER_PROPERTIES };

		d->api.GetPhysicalDeviceExternalBufferProperties(d->physical, &info, &properties);
		VkExternalMemoryFeatureFlags f = properties.externalMemoryProperties.externalMemoryFeatures;

		printf("  %-14s  import %s, export %s\n", handles[i].name, f & VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT ? "yes" : "no",
		       f & VK_EXTERNAL_MEMORY_FEATURE_EXPORTABLE_BIT ? "yes" : "no");
	}
}

static void list_device(struct lineup_vk_device *d)
{
	static const char *const types[] = { "other", "integrated GPU", "discrete GPU", "virtual GPU", "SOFTWARE DEVICE, no GPU" };

	printf("1. %s\n  type            %s\n  driver          %s\n  Vulkan          %s\n", d->info.name, types[d->info.type], d->info.driver,
	       d->info.vulkan);
	printf("  PCI, node, NUMA %s, %s, %d\n", d->info.pci[0] ? d->info.pci : "-", d->info.node[0] ? d->info.node : "-", d->info.numa_node);
	printf("  memory          %.1f GiB, available %.1f GiB\n", (double)d->info.memory_bytes / (1 << 30),
	       (double)lineup_vk_memory_available(d) / (1 << 30));
	printf("  one buffer      %.2f GiB at most\n  shared memory   %" PRIu32 " bytes\n  workgroup       %" PRIu32 " invocations\n",
	       (double)d->allocation_max / (1 << 30), d->shared_bytes, d->invocations_max);
	printf("  subgroup        %" PRIu32 ", can be required from %" PRIu32 " to %" PRIu32 "%s\n", d->subgroup_size, d->subgroup_min,
	       d->subgroup_max, d->full_subgroups ? ", full ones too" : "");
	printf("  packed dot      %s%s\n", d->dot ? "yes" : "no", d->dot_accelerated ? ", accelerated" : "");
	printf("  queues          compute of family %" PRIu32 ", copies %s\n", d->compute.family,
	       d->transfer.queue ? "on a queue of their own" : "on the same");
	printf("  timestamps      %.3f ns a tick\n  import          in multiples of %" PRIu64 " bytes\n", d->timestamp_ns, d->import_alignment);
	list_extensions(d);
	list_memory(d);
	list_imports(d);
	printf("  cooperative matrices, s8 x s8 + s32 -> s32, subgroup scope: %" PRIu32 "\n", d->shape_count);
	for (uint32_t i = 0; i < d->shape_count; i++)
		printf("    %" PRIu32 " x %" PRIu32 " x %" PRIu32 " (%s): `.length()` of a sum should be %g with subgroups of %" PRIu32 "\n",
		       d->shapes[i].m, d->shapes[i].n, d->shapes[i].k, d->shapes[i].khr ? "KHR" : "NV",
		       (double)d->shapes[i].m * d->shapes[i].n / d->subgroup_size, d->subgroup_size);
}

/* ---- 2 and 3. variants: each is compared with the CPU when its pipelines are made; then its rates ---- */

static const char *const variants[] = { "scalar", "dot", "coopmat", "coopmat-nv", "emulated" };

static const char *refusal(const struct lineup_vk_device *d, const char *variant)
{
	for (size_t i = 0; i < LINEUP_DEVICE_VARIANTS; i++)
		if (d->info.variants[i].name && strcmp(d->info.variants[i].name, variant) == 0)
			return d->info.variants[i].why_not;
	return "";
}

static void print_rate(const char *what, double rate, const char *unit)
{
	if (rate > 0)
		printf("; %s %.2f %s", what, rate / 1e9, unit);
	else
		printf("; %s not measured", what);
}

static void list_variant(struct lineup_vk_device *d, const char *variant)
{
	struct lineup_vk_kernels *kernels;
	struct lineup_vk_rates rates = { 0 };
	double begin = now_seconds();
	int err = lineup_vk_kernels_create(d, variant, &kernels);

	if (err) {
		printf("  %-12s refused: %s\n", variant, refusal(d, variant));
		/* Of what every device must be able to do. */
		failures += strcmp(variant, "scalar") == 0;
		return;
	}
	printf("  %-12s equals the CPU (%.2f s to make and test)", variant, now_seconds() - begin);
	err = lineup_vk_rates_measure(kernels, &rates);
	if (err) {
		printf("; measuring its rates failed: %s\n", strerror(-err));
		failures++;
	} else {
		print_rate("multiply peak", rates.multiply_adds, "GMAC/s");
		print_rate("device read", rates.read_bytes, "GB/s");
		print_rate("upload", rates.upload_bytes, "GB/s");
		printf("\n");
	}
	lineup_vk_kernels_destroy(kernels);
}

static void list_variants(struct lineup_vk_device *d)
{
	struct lineup_vk_kernels *kernels;

	printf("2, 3. variants: one tile and more against the CPU, then rates\n");
	for (size_t i = 0; i < ARRAY_SIZE(variants); i++)
		list_variant(d, variants[i]);
	if (lineup_vk_kernels_create(d, NULL, &kernels)) {
		failures++;
		return;
	}
	printf("  chosen by timing: %s\n", lineup_vk_kernels_variant(kernels));
	lineup_vk_kernels_destroy(kernels);
}

/* ---- 5. uploads ---- */

enum source { IMPORTED, DRIVER, COPIED, SOURCES };
static const char *const source_names[SOURCES] = { "imported", "driver", "copied" };

struct uploads {
	struct lineup_vk_device *device;
	const struct lineup_vk_queue *queue;
	uint64_t slot_bytes;
	uint8_t *host;                           /* [SLOTS][slot_bytes], anonymous pages */
	struct lineup_vk_buffer from[SLOTS];
	struct lineup_vk_buffer to[SLOTS];
	struct lineup_vk_commands commands[SLOTS];
};

/* Copies until all are done, @depth in flight; the rate in bytes a second, or a negative errno. */
static double upload(struct uploads *u, enum source source, uint32_t depth)
{
	struct lineup_vk_device *d = u->device;
	uint64_t value[SLOTS] = { 0 };
	double begin = now_seconds();
	int err = 0;

	for (uint32_t n = 0; !err && n < COPIES; n++) {
		uint32_t slot = n % depth;

		if (value[slot])
			err = lineup_vk_wait(d, u->queue, value[slot], WAIT_NS);
		if (!err && source == COPIED)
			memcpy(u->from[slot].map, u->host + slot * u->slot_bytes, u->slot_bytes);
		if (!err)
			err = lineup_vk_begin(d, &u->commands[slot]);
		if (err)
			break;
		lineup_vk_copy(d, &u->commands[slot], &u->from[slot], 0, &u->to[slot], 0, u->slot_bytes);
		err = lineup_vk_submit(d, (struct lineup_vk_queue *)u->queue, &u->commands[slot], NULL, 0, &value[slot]);
	}
	for (uint32_t slot = 0; !err && slot < depth; slot++)
		err = lineup_vk_wait(d, u->queue, value[slot], WAIT_NS);
	return err ? err : (double)COPIES * (double)u->slot_bytes / (now_seconds() - begin);
}

/* Whether O_DIRECT reads land in @memory. */
static const char *direct_read(void *memory, uint64_t size)
{
	static char answer[96];
	char path[] = "/var/tmp/lineup-direct-XXXXXX";
	int fd = mkstemp(path);
	int direct = fd < 0 || ftruncate(fd, (off_t)size) ? -1 : open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	ssize_t n = direct < 0 ? -1 : pread(direct, memory, size, 0);

	snprintf(answer, sizeof(answer), "%s", n == (ssize_t)size ? "lands" : n < 0 ? strerror(errno) : "short");
	if (direct >= 0)
		close(direct);
	if (fd >= 0) {
		close(fd);
		unlink(path);
	}
	return answer;
}

static int uploads_source(struct uploads *u, enum source source)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < SLOTS; i++) {
		if (source == IMPORTED)
			err = lineup_vk_buffer_import(u->device, u->host + i * u->slot_bytes, u->slot_bytes, "imported slot", &u->from[i]);
		else
			err = lineup_vk_buffer_create(u->device, source == DRIVER ? LINEUP_VK_READBACK : LINEUP_VK_UPLOAD, u->slot_bytes,
						      "slot", &u->from[i]);
	}
	return err;
}

static void list_uploads_of(struct uploads *u, enum source source)
{
	int err = uploads_source(u, source);

	if (err) {
		printf("  %-10s cannot be had: %s\n", source_names[source], strerror(-err));
	} else {
		printf("  %-10s", source_names[source]);
		upload(u, source, SLOTS);
		for (uint32_t depth = 1; depth <= SLOTS; depth++) {
			double rate = upload(u, source, depth);

			if (rate < 0) {
				printf("  %s", strerror((int)-rate));
				failures++;
			} else {
				printf("  %" PRIu32 " in flight %6.2f GB/s", depth, rate / 1e9);
			}
		}
		printf("  O_DIRECT %s\n", direct_read(source == IMPORTED ? u->host : u->from[0].map, u->slot_bytes));
	}
	for (uint32_t i = 0; i < SLOTS; i++) {
		lineup_vk_buffer_destroy(u->device, &u->from[i]);
		u->from[i] = (struct lineup_vk_buffer){ 0 };
	}
}

static void list_uploads(struct lineup_vk_device *d, uint64_t slot_bytes)
{
	struct uploads u = { .device = d, .queue = d->transfer.queue ? &d->transfer : &d->compute, .slot_bytes = slot_bytes };
	int err = 0;

	printf("5. uploads of %" PRIu64 " MiB a copy, from imported memory, from the driver's own (cached), or copied into the driver's own first\n",
	       slot_bytes >> 20);
	u.host = lineup_pages_alloc(d->ctx, SLOTS * slot_bytes);
	if (!u.host)
		err = -ENOMEM;
	else
		memset(u.host, 1, SLOTS * slot_bytes);
	for (uint32_t i = 0; !err && i < SLOTS; i++)
		err = lineup_vk_buffer_create(d, LINEUP_VK_DEVICE, slot_bytes, "upload target", &u.to[i]);
	for (uint32_t i = 0; !err && i < SLOTS; i++)
		err = lineup_vk_commands_create(d, u.queue, "upload", &u.commands[i]);
	for (int source = 0; !err && source < SOURCES; source++)
		list_uploads_of(&u, (enum source)source);
	if (err) {
		printf("  failed: %s\n", strerror(-err));
		failures++;
	}
	for (uint32_t i = 0; i < SLOTS; i++) {
		lineup_vk_commands_destroy(d, &u.commands[i]);
		lineup_vk_buffer_destroy(d, &u.to[i]);
	}
	if (u.host)
		lineup_pages_free(u.host, SLOTS * slot_bytes);
}

/* ---- all of it ---- */

int main(int argc, char **argv)
{
	const struct lineup_ctx_options options = { .size = sizeof(options), .log = say };
	static struct lineup_device devices[LINEUP_DEVICES_MAX];
	struct lineup_vk_device *device;
	struct lineup_ctx *ctx;
	const char *why = NULL;
	uint32_t count = 0, which = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;
	uint64_t slot_mib = argc > 2 ? strtoul(argv[2], NULL, 10) : SLOT_MIB;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (lineup_ctx_create(&options, &ctx) || lineup_vk_list(ctx, devices, LINEUP_DEVICES_MAX, &count, &why))
		return EXIT_FAILURE;
	if (which >= count || !slot_mib) {
		printf("no Vulkan device of index %" PRIu32 ": there are %" PRIu32 "%s%s\n", which, count, why ? ", " : "", why ? why : "");
		return EXIT_FAILURE;
	}
	if (lineup_vk_open(ctx, &devices[which], &device))
		return EXIT_FAILURE;
	list_device(device);
	list_variants(device);
	printf("4. the sweep over batch sizes and dimensions is lineup bench's\n");
	list_uploads(device, slot_mib << 20);
	lineup_vk_close(device);
	lineup_ctx_destroy(ctx);
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
