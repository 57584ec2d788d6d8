// SPDX-License-Identifier: MIT
// Frames in a Vulkan device: what is written to a frame arrives on the device, by host pointer; and by dma-buf with a driver
// that is made to import them.
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vulkan/frame.h"
#include "vulkan_bed.h"

enum { BYTES = 65536 };

static struct {
	struct lineup_ctx *ctx;
	struct messages messages;
	struct lineup_vk_device *device;
	struct lineup_frames *frames;
	struct lineup_frame *frame;
	uint8_t *data;
} here;

static int set_up(void **state)
{
	struct lineup_ctx_options options = { .size = sizeof(options), .log = messages_log, .log_arg = &here.messages };
	struct lineup_frames_options pool = {
		.size = sizeof(pool), .kind = LINEUP_FRAMES_MEMORY, .frame_bytes = BYTES, .count = 1
	};

	(void)state;
	pthread_mutex_init(&here.messages.lock, NULL);
	assert_int_equal(lineup_ctx_create(&options, &here.ctx), 0);
	assert_int_equal(lineup_frames_create(here.ctx, &pool, &here.frames), 0);
	assert_int_equal(lineup_frame_take(here.frames, &here.frame), 0);
	assert_int_equal(lineup_frame_map(here.frame, (void **)&here.data), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	lineup_vk_close(here.device);
	here.device = NULL;
	lineup_frame_put(here.frame);
	lineup_frames_destroy(here.frames);
	lineup_ctx_destroy(here.ctx);
	return 0;
}

/* The device that other tests take, too; skips where there is none. */
static struct lineup_vk_device *open_device(void)
{
	const struct vulkan *vulkan = vulkan_here();
	struct lineup_device devices[LINEUP_DEVICES_MAX];
	uint32_t count = 0;

	assert_int_equal(lineup_vk_select(here.ctx, vulkan->device, true, devices, &count), 0);
	assert_int_equal(lineup_vk_open(here.ctx, &devices[0], &here.device), 0);
	return here.device;
}

/* Copies @buffer on the device and looks at the copy. */
static void expect_on_device(struct lineup_vk_device *d, const struct lineup_vk_buffer *buffer, const uint8_t *want)
{
	struct lineup_vk_commands commands;
	struct lineup_vk_buffer back;
	uint64_t value;

	assert_int_equal(lineup_vk_buffer_create(d, LINEUP_VK_READBACK, BYTES, "test", &back), 0);
	assert_int_equal(lineup_vk_commands_create(d, &d->compute, "test", &commands), 0);
	assert_int_equal(lineup_vk_begin(d, &commands), 0);
	lineup_vk_copy(d, &commands, buffer, 0, &back, 0, BYTES);
	lineup_vk_barrier(d, &commands);
	assert_int_equal(lineup_vk_submit(d, &d->compute, &commands, NULL, 0, &value), 0);
	assert_int_equal(lineup_vk_wait(d, &d->compute, value, 60000000000ull), 0);
	assert_memory_equal(back.map, want, BYTES);
	lineup_vk_commands_destroy(d, &commands);
	lineup_vk_buffer_destroy(d, &back);
}

static void fill(struct rng *rng)
{
	for (uint32_t i = 0; i < BYTES; i++)
		here.data[i] = (uint8_t)rng_u64(rng);
}

static void a_frame_is_seen_by_host_pointer(void **state)
{
	struct lineup_vk_device *d = open_device();
	struct rng rng = { test_seed() };
	struct lineup_vk_buffer buffer;
	const char *how = NULL;
	int err;

	(void)state;
	fill(&rng);
	err = lineup_vk_frame_import(d, here.frame, &buffer, &how);
	if (err == -ENOTSUP) {
		print_message("%s imports no host memory\n", d->info.name);
		skip();
	}
	assert_int_equal(err, 0);
	assert_string_equal(how, "host pointer");
	assert_ptr_equal(buffer.map, here.data);
	expect_on_device(d, &buffer, here.data);
	/* No copy: what is written afterwards is seen as well. */
	fill(&rng);
	expect_on_device(d, &buffer, here.data);
	lineup_vk_buffer_destroy(d, &buffer);
}

static void a_lost_device_takes_no_frame(void **state)
{
	struct lineup_vk_device *d = open_device();
	struct lineup_vk_buffer buffer;

	(void)state;
	atomic_store(&d->lost, true);
	assert_int_equal(lineup_vk_frame_import(d, here.frame, &buffer, NULL), -ENODEV);
	atomic_store(&d->lost, false);
}

/* ---- a driver that imports dma-bufs: the real one, with memory of its own in the place of the import ---- */

static struct {
	PFN_vkGetDeviceProcAddr get;
	PFN_vkAllocateMemory allocate;
	PFN_vkGetPhysicalDeviceExternalBufferProperties external;
	VkResult result;
	uint32_t imports;
	int imported_fd;
} fake;

static VKAPI_ATTR VkResult VKAPI_CALL fake_query(VkDevice device, VkExternalMemoryHandleTypeFlagBits type, int fd,
						 VkMemoryFdPropertiesKHR *properties)
{
	(void)device;
	assert_int_equal(type, VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT);
	assert_int_equal(fd, lineup_frame_fd(here.frame));
	properties->memoryTypeBits = UINT32_MAX;
	return VK_SUCCESS;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL fake_get(VkDevice device, const char *name)
{
	return strcmp(name, "vkGetMemoryFdPropertiesKHR") ? fake.get(device, name) : (PFN_vkVoidFunction)fake_query;
}

static VKAPI_ATTR void VKAPI_CALL fake_external(VkPhysicalDevice physical, const VkPhysicalDeviceExternalBufferInfo *info,
						VkExternalBufferProperties *properties)
{
	if (info->handleType != VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT)
		fake.external(physical, info, properties);
	else
		properties->externalMemoryProperties.externalMemoryFeatures = VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT;
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_allocate(VkDevice device, const VkMemoryAllocateInfo *info,
						    const VkAllocationCallbacks *callbacks, VkDeviceMemory *memory)
{
	const VkMemoryAllocateFlagsInfo *flags = info->pNext;
	const VkImportMemoryFdInfoKHR *import = flags->pNext;
	VkMemoryAllocateFlagsInfo plain_flags = *flags;
	VkMemoryAllocateInfo plain = *info;
	struct stat a, b;

	if (!import || import->sType != VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR)
		return fake.allocate(device, info, callbacks, memory);
	assert_int_equal(import->handleType, VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT);
	assert_int_equal(info->allocationSize, BYTES);
	/* A descriptor of its own, of the same memory. */
	assert_int_not_equal(import->fd, lineup_frame_fd(here.frame));
	assert_int_equal(fstat(import->fd, &a), 0);
	assert_int_equal(fstat(lineup_frame_fd(here.frame), &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	fake.imports++;
	fake.imported_fd = import->fd;
	if (fake.result)
		return fake.result;
	close(import->fd); /* it is the driver's now */
	plain_flags.pNext = NULL;
	plain.pNext = &plain_flags;
	return fake.allocate(device, &plain, callbacks, memory);
}

static void wrap(void *arg, struct lineup_vk_api *api)
{
	(void)arg;
	fake.get = api->GetDeviceProcAddr;
	fake.allocate = api->AllocateMemory;
	fake.external = api->GetPhysicalDeviceExternalBufferProperties;
	api->GetDeviceProcAddr = fake_get;
	api->AllocateMemory = fake_allocate;
	api->GetPhysicalDeviceExternalBufferProperties = fake_external;
}

static void a_dma_buf_is_imported_where_the_driver_can(void **state)
{
	struct lineup_vk_buffer buffer;
	struct lineup_vk_device *d;
	const char *how = NULL;

	(void)state;
	fake.result = VK_SUCCESS;
	fake.imports = 0;
	vulkan_here();
	here.ctx->gpu_test.wrap = wrap;
	d = open_device();
	here.frame->dma_buf = true;
	assert_int_equal(lineup_vk_frame_import(d, here.frame, &buffer, &how), 0);
	assert_string_equal(how, "dma-buf");
	assert_int_equal(fake.imports, 1);
	assert_null(buffer.map);
	assert_true(buffer.address != 0);
	lineup_vk_buffer_destroy(d, &buffer);
	here.frame->dma_buf = false;
}

/* The descriptor that was made for a refused import is closed, and the other way is gone. */
static void a_refused_import_falls_back_to_the_host_pointer(void **state)
{
	struct lineup_vk_buffer buffer;
	struct lineup_vk_device *d;
	const char *how = NULL;
	int err;

	(void)state;
	fake.result = VK_ERROR_INVALID_EXTERNAL_HANDLE;
	fake.imports = 0;
	vulkan_here();
	here.ctx->gpu_test.wrap = wrap;
	d = open_device();
	here.frame->dma_buf = true;
	err = lineup_vk_frame_import(d, here.frame, &buffer, &how);
	here.frame->dma_buf = false;
	assert_int_equal(fake.imports, 1);
	assert_true(fcntl(fake.imported_fd, F_GETFD) < 0 && errno == EBADF);
	if (err == -ENOTSUP)
		skip();
	assert_int_equal(err, 0);
	assert_string_equal(how, "host pointer");
	lineup_vk_buffer_destroy(d, &buffer);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_frame_is_seen_by_host_pointer),
		TEST(a_lost_device_takes_no_frame),
		TEST(a_dma_buf_is_imported_where_the_driver_can),
		TEST(a_refused_import_falls_back_to_the_host_pointer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
