// SPDX-License-Identifier: MIT
// Which variant a device gets: drivers that refuse, crash, hang or compute wrongly are found out; and what rates are measured.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "vulkan_kernels.h"

/* What goes wrong when a pipeline is made of @shader, or in every pipeline if it is -1. */
static struct {
	int shader;
	VkResult result;
	bool crash, hang;      /* in a child only */
	bool no_child;         /* no device can be opened in a child */
	int kill;              /* a signal that ends each child */
	bool silent;           /* nothing that is submitted ever ends */
	bool no_memory;
	pid_t parent;
	VkShaderModule module;
	uint32_t made;         /* pipelines of @shader, or tried */
	void (*bend)(void *push, uint32_t size); /* changes what a kernel is told */
} fault;

static PFN_vkCreateShaderModule create_shader_module;
static PFN_vkCreateComputePipelines create_compute_pipelines;
static PFN_vkCmdPushConstants cmd_push_constants;
static PFN_vkWaitSemaphores wait_semaphores;
static PFN_vkAllocateMemory allocate_memory;

static VkResult VKAPI_CALL faulty_create_shader_module(VkDevice device, const VkShaderModuleCreateInfo *info,
						       const VkAllocationCallbacks *callbacks, VkShaderModule *module)
{
	VkResult result = create_shader_module(device, info, callbacks, module);

	if (fault.shader >= 0 && info->pCode == lineup_vk_shader((enum lineup_vk_shader)fault.shader).words)
		fault.module = *module;
	return result;
}

static VkResult VKAPI_CALL faulty_create_compute_pipelines(VkDevice device, VkPipelineCache cache, uint32_t count,
							   const VkComputePipelineCreateInfo *infos, const VkAllocationCallbacks *callbacks,
							   VkPipeline *pipelines)
{
	if (fault.shader < 0 || infos[0].stage.module == fault.module) {
		fault.made++;
		if (fault.crash && getpid() != fault.parent)
			raise(SIGSEGV);
		if (fault.kill && getpid() != fault.parent)
			raise(fault.kill);
		while (fault.hang && getpid() != fault.parent)
			pause();
		if (fault.result)
			return fault.result;
	}
	return create_compute_pipelines(device, cache, count, infos, callbacks, pipelines);
}

static void VKAPI_CALL faulty_cmd_push_constants(VkCommandBuffer commands, VkPipelineLayout layout, VkShaderStageFlags stages,
						 uint32_t offset, uint32_t size, const void *values)
{
	uint8_t bent[128];

	memcpy(bent, values, size);
	if (fault.bend)
		fault.bend(bent, size);
	cmd_push_constants(commands, layout, stages, offset, size, bent);
}

static VkResult VKAPI_CALL no_semaphore(VkDevice device, const VkSemaphoreCreateInfo *info, const VkAllocationCallbacks *callbacks,
					VkSemaphore *semaphore)
{
	(void)device;
	(void)info;
	(void)callbacks;
	(void)semaphore;
	return VK_ERROR_INITIALIZATION_FAILED;
}

static VkResult VKAPI_CALL faulty_wait_semaphores(VkDevice device, const VkSemaphoreWaitInfo *info, uint64_t timeout)
{
	return fault.silent ? VK_TIMEOUT : wait_semaphores(device, info, timeout);
}

static VkResult VKAPI_CALL faulty_allocate_memory(VkDevice device, const VkMemoryAllocateInfo *info,
						  const VkAllocationCallbacks *callbacks, VkDeviceMemory *memory)
{
	return fault.no_memory ? VK_ERROR_OUT_OF_DEVICE_MEMORY : allocate_memory(device, info, callbacks, memory);
}

static void wrap(void *arg, struct lineup_vk_api *api)
{
	(void)arg;
	create_shader_module = api->CreateShaderModule;
	create_compute_pipelines = api->CreateComputePipelines;
	cmd_push_constants = api->CmdPushConstants;
	wait_semaphores = api->WaitSemaphores;
	allocate_memory = api->AllocateMemory;
	api->WaitSemaphores = faulty_wait_semaphores;
	api->AllocateMemory = faulty_allocate_memory;
	api->CreateShaderModule = faulty_create_shader_module;
	api->CreateComputePipelines = faulty_create_compute_pipelines;
	api->CmdPushConstants = faulty_cmd_push_constants;
	if (fault.no_child && getpid() != fault.parent)
		api->CreateSemaphore = no_semaphore;
}

/* Opens a device of its own for a test, with no fault yet. */
static bool begin(struct kernels_bed *bed)
{
	struct lineup_gpu_test test = { .wrap = wrap, .child_ms = 20000 };

	memset(&fault, 0, sizeof(fault));
	fault.parent = getpid();
	fault.shader = LINEUP_VK_SHADER_read; /* which no variant needs */
	if (kbed_open(bed, &test, 0))
		return true;
	kbed_close(bed);
	return false;
}

#define BEGIN(bed) \
	do { \
		if (!begin(bed)) \
			skip(); \
	} while (0)

static const char *why_not(struct kernels_bed *bed, enum lineup_vk_variant variant)
{
	assert_string_equal(bed->device->info.variants[variant].name, lineup_vk_variant_name(variant));
	return bed->device->info.variants[variant].why_not;
}

static void some_variant_is_chosen_and_the_others_say_why_not(void **state)
{
	struct lineup_vk_kernels *kernels;
	struct kernels_bed bed;

	(void)state;
	BEGIN(&bed);
	assert_int_equal(lineup_vk_kernels_create(bed.device, NULL, &kernels), 0);
	assert_string_not_equal(lineup_vk_kernels_variant(kernels), "emulated");
	assert_string_equal(bed.device->info.variant, lineup_vk_kernels_variant(kernels));
	for (uint32_t v = 0; v < LINEUP_VK_VARIANTS; v++) {
		const char *no = lineup_vk_variant_why_not(bed.device, (enum lineup_vk_variant)v);

		assert_string_equal(why_not(&bed, (enum lineup_vk_variant)v), v == LINEUP_VK_EMULATED ? "for tests" : no ? no : "");
	}
	lineup_vk_kernels_destroy(kernels);
	kbed_close(&bed);
}

static void a_name_that_is_none_is_refused(void **state)
{
	struct lineup_vk_kernels *kernels = NULL;
	struct kernels_bed bed;

	(void)state;
	BEGIN(&bed);
	assert_int_equal(lineup_vk_kernels_create(bed.device, "tensor", &kernels), -ENOTSUP);
	assert_non_null(strstr(bed.message, "tensor"));
	assert_null(kernels);
	kbed_close(&bed);
}

static void a_variant_that_does_not_compile_gives_way(void **state)
{
	struct lineup_vk_kernels *kernels;
	struct kernels_bed bed;

	(void)state;
	BEGIN(&bed);
	if (lineup_vk_variant_why_not(bed.device, LINEUP_VK_DOT) || !lineup_vk_variant_why_not(bed.device, LINEUP_VK_COOPMAT)) {
		print_message("this device has no packed dot products, or more than these\n");
		kbed_close(&bed);
		skip();
	}
	fault.shader = LINEUP_VK_SHADER_scan_dot;
	fault.result = VK_ERROR_INVALID_SHADER_NV;
	assert_int_equal(lineup_vk_kernels_create(bed.device, NULL, &kernels), 0);
	assert_string_equal(lineup_vk_kernels_variant(kernels), "scalar");
	assert_string_equal(why_not(&bed, LINEUP_VK_DOT), "its pipeline cannot be made");
	assert_string_equal(why_not(&bed, LINEUP_VK_SCALAR), "");
	assert_int_equal(fault.made, 1);
	lineup_vk_kernels_destroy(kernels);
	assert_int_equal(lineup_vk_kernels_create(bed.device, "dot", &kernels), -ENOTSUP);
	assert_non_null(strstr(bed.message, "its pipeline cannot be made"));
	kbed_close(&bed);
}

static void a_driver_that_compiles_nothing_has_no_variant(void **state)
{
	struct lineup_vk_kernels *kernels = NULL;
	struct kernels_bed bed;

	(void)state;
	BEGIN(&bed);
	fault.result = VK_ERROR_INVALID_SHADER_NV;
	fault.shader = LINEUP_VK_SHADER_refresh;
	assert_int_equal(lineup_vk_kernels_create(bed.device, NULL, &kernels), -ENOTSUP);
	fault.shader = LINEUP_VK_SHADER_gemv_scalar;
	assert_int_equal(lineup_vk_kernels_create(bed.device, "scalar", &kernels), -ENOTSUP);
	assert_null(kernels);
	kbed_close(&bed);
}

static void a_device_that_is_lost_meanwhile_ends_the_choice(void **state)
{
	static const int shaders[] = { LINEUP_VK_SHADER_unpack, LINEUP_VK_SHADER_scan_scalar };
	struct lineup_vk_kernels *kernels = NULL;
	struct kernels_bed bed;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(shaders); i++) {
		BEGIN(&bed);
		fault.result = VK_ERROR_DEVICE_LOST;
		fault.shader = shaders[i];
		assert_int_equal(lineup_vk_kernels_create(bed.device, NULL, &kernels), -ENODEV);
		assert_null(kernels);
		kbed_close(&bed);
	}
}

static void a_device_that_does_not_answer_counts_as_lost(void **state)
{
	struct lineup_vk_kernels *kernels = NULL;
	struct kernels_bed bed;

	(void)state;
	BEGIN(&bed);
	fault.silent = true;
	assert_int_equal(lineup_vk_kernels_create(bed.device, NULL, &kernels), -ENODEV);
	assert_non_null(strstr(bed.message, "was lost while its kernels were made"));
	assert_true(atomic_load(&bed.device->lost));
	kbed_close(&bed);
}

static void a_lack_of_memory_is_said(void **state)
{
	struct lineup_vk_kernels *kernels = NULL;
	struct kernels_bed bed;

	(void)state;
	BEGIN(&bed);
	fault.no_memory = true;
	assert_int_equal(lineup_vk_kernels_create(bed.device, NULL, &kernels), -ENOMEM);
	assert_non_null(strstr(bed.message, "no memory for the kernels"));
	kbed_close(&bed);
}

/* ---- the self-test ---- */

#define BEND(name, type, field, value) \
	static void name(void *push, uint32_t size) \
	{ \
		if (size == sizeof(type)) \
			((type *)push)->field = value; \
	}
BEND(bend_rows, struct gpu_scan, rows, ((struct gpu_scan *)push)->rows - 1)
BEND(bend_first, struct gpu_scan, row_first, 0)
BEND(bend_base, struct gpu_scan, row_base, 0)
BEND(bend_probes, struct gpu_scan, probes, 1)
BEND(bend_lists, struct gpu_scan, lists, 0)
BEND(bend_few_lists, struct gpu_scan, lists, 4)
BEND(bend_now, struct gpu_scan, now, ((struct gpu_scan *)push)->now - 1)
BEND(bend_late, struct gpu_scan, now, ((struct gpu_scan *)push)->now + 1)
BEND(bend_pitch, struct gpu_scan, pitch, 4)
BEND(bend_deleted, struct gpu_unpack, deleted, 0)
BEND(bend_groups, struct gpu_unpack, groups, ((struct gpu_unpack *)push)->groups - 1)
BEND(bend_unpacked, struct gpu_unpack, rows, 96)
BEND(bend_k, struct gpu_refresh, k, ((struct gpu_refresh *)push)->k - 1)
BEND(bend_greater_k, struct gpu_refresh, k, ((struct gpu_refresh *)push)->k + 1)
BEND(bend_distinct, struct gpu_refresh, distinct, 1)
BEND(bend_chunk, struct gpu_refresh, chunk, 0)
BEND(bend_cap, struct gpu_refresh, cap, ((struct gpu_refresh *)push)->cap - 1)

static void kernels_that_answer_wrongly_are_refused(void **state)
{
	static void (*const bends[])(void *, uint32_t) = {
		bend_rows, bend_first, bend_base, bend_probes, bend_lists, bend_few_lists, bend_now, bend_late, bend_pitch,
		bend_deleted, bend_groups, bend_unpacked, bend_k, bend_greater_k, bend_distinct, bend_chunk, bend_cap,
	};
	struct lineup_vk_kernels *kernels = NULL;
	struct kernels_bed bed;

	(void)state;
	BEGIN(&bed);
	for (size_t i = 0; i < ARRAY_SIZE(bends); i++) {
		fault.bend = bends[i];
		if (lineup_vk_kernels_create(bed.device, "scalar", &kernels) != -ENOTSUP)
			fail_msg("number %zu is not found out", i);
		assert_true(strstr(bed.message, "its scan differs") || strstr(bed.message, "its selection of survivors"));
	}
	fault.bend = NULL;
	assert_int_equal(lineup_vk_kernels_create(bed.device, "scalar", &kernels), 0);
	lineup_vk_kernels_destroy(kernels);
	kbed_close(&bed);
}

/* ---- compiling in a child ---- */

/* A pipeline that every device can make stands for one that some cannot. The cache's place is known once it has been opened. */
static void begin_child(struct kernels_bed *bed, struct lineup_vk_shape_of *shape)
{
	uint8_t hash[32];

	lineup_vk_shaders_hash(hash);
	assert_int_equal(lineup_vk_cache_open(bed->device, hash), 0);
	lineup_vk_shape_wide(bed->device, LINEUP_VK_SCALAR, shape);
	fault.shader = LINEUP_VK_SHADER_scan_scalar;
}

static int try(struct kernels_bed *bed, const struct lineup_vk_shape_of *shape, const char **what)
{
	return lineup_vk_compile_begin(bed->device, shape, 1, sizeof(struct gpu_scan), what);
}

static void what_compiles_in_a_child_is_not_tried_there_again(void **state)
{
	struct lineup_vk_shape_of shape;
	struct kernels_bed bed;
	const char *what;

	(void)state;
	BEGIN(&bed);
	begin_child(&bed, &shape);
	assert_int_equal(try(&bed, &shape, &what), 0);
	lineup_vk_compile_end(bed.device, &shape);
	fault.crash = true; /* which nobody will notice */
	assert_int_equal(try(&bed, &shape, &what), 0);
	kbed_close(&bed);
}

static void a_driver_that_crashes_is_remembered(void **state)
{
	struct lineup_vk_shape_of shape;
	struct kernels_bed bed;
	const char *what;

	(void)state;
	BEGIN(&bed);
	begin_child(&bed, &shape);
	fault.crash = true;
	assert_int_equal(try(&bed, &shape, &what), -EIO);
	assert_string_equal(what, "its driver crashed over the pipeline");
	fault.crash = false;
	assert_int_equal(try(&bed, &shape, &what), -EIO);
	assert_string_equal(what, "its driver crashed over the pipeline in an earlier run");
	kbed_close(&bed);
}

/* By the kernel for want of memory, for one; that is no fault of the pipeline's. */
static void a_child_that_was_killed_is_not_remembered(void **state)
{
	static const int signals[] = { SIGKILL, SIGTERM, SIGINT };
	struct lineup_vk_shape_of shape;
	struct kernels_bed bed;
	const char *what;

	(void)state;
	BEGIN(&bed);
	begin_child(&bed, &shape);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		fault.kill = signals[i];
		assert_int_equal(try(&bed, &shape, &what), -EIO);
		assert_string_equal(what, "the process that tried the pipeline was killed");
	}
	fault.kill = 0;
	assert_int_equal(try(&bed, &shape, &what), 0);
	kbed_close(&bed);
}

static void a_driver_that_hangs_is_stopped(void **state)
{
	struct lineup_vk_shape_of shape;
	struct kernels_bed bed;
	const char *what;

	(void)state;
	BEGIN(&bed);
	begin_child(&bed, &shape);
	fault.hang = true;
	bed.ctx->gpu_test.child_ms = 300;
	assert_int_equal(try(&bed, &shape, &what), -EIO);
	assert_string_equal(what, "its driver did not finish the pipeline");
	kbed_close(&bed);
}

static void a_refusal_in_the_child_is_not_remembered(void **state)
{
	struct lineup_vk_shape_of shape;
	struct kernels_bed bed;
	const char *what;

	(void)state;
	BEGIN(&bed);
	begin_child(&bed, &shape);
	fault.result = VK_ERROR_INVALID_SHADER_NV;
	assert_int_equal(try(&bed, &shape, &what), -EIO);
	assert_string_equal(what, "its pipeline cannot be made");
	fault.result = VK_SUCCESS;
	assert_int_equal(try(&bed, &shape, &what), 0);
	kbed_close(&bed);
}

static void without_a_child_there_is_one_chance_in_this_process(void **state)
{
	struct lineup_vk_shape_of shape;
	struct kernels_bed bed;
	const char *what;

	(void)state;
	BEGIN(&bed);
	begin_child(&bed, &shape);
	fault.no_child = true;
	assert_int_equal(try(&bed, &shape, &what), 0);
	/* Had it crashed here, the next run would know. */
	assert_int_equal(try(&bed, &shape, &what), -EIO);
	assert_string_equal(what, "its driver crashed over the pipeline in an earlier run");
	lineup_vk_compile_end(bed.device, &shape);
	assert_int_equal(try(&bed, &shape, &what), 0);
	kbed_close(&bed);
}

static void without_a_child_and_a_place_for_notes_there_is_no_chance(void **state)
{
	struct lineup_vk_shape_of shape;
	struct kernels_bed bed;
	const char *what;

	(void)state;
	BEGIN(&bed);
	bed.ctx->gpu_test.cache_dir = "/proc/nowhere";
	begin_child(&bed, &shape);
	fault.no_child = true;
	assert_int_equal(try(&bed, &shape, &what), -EIO);
	fault.no_child = false;
	assert_int_equal(try(&bed, &shape, &what), 0); /* nothing can be noted, but it works */
	lineup_vk_compile_end(bed.device, &shape);
	kbed_close(&bed);
}

/* ---- rates ---- */

static void rates_are_measured(void **state)
{
	struct kernels_bed bed;

	(void)state;
	BEGIN(&bed);
	kbed_make_kernels(&bed);
	for (uint32_t v = 0; v < LINEUP_VK_VARIANTS; v++) {
		struct lineup_vk_rates rates;

		if (!bed.kernels[v])
			continue;
		assert_int_equal(lineup_vk_rates_measure(bed.kernels[v], &rates), 0);
		assert_true(rates.read_bytes > 0);
		assert_true(rates.upload_bytes > 0);
		assert_true(v == LINEUP_VK_EMULATED ? rates.multiply_adds == 0 : rates.multiply_adds > 0);
	}
	kbed_close(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(some_variant_is_chosen_and_the_others_say_why_not),
		cmocka_unit_test(a_name_that_is_none_is_refused),
		cmocka_unit_test(a_variant_that_does_not_compile_gives_way),
		cmocka_unit_test(a_driver_that_compiles_nothing_has_no_variant),
		cmocka_unit_test(a_device_that_is_lost_meanwhile_ends_the_choice),
		cmocka_unit_test(a_device_that_does_not_answer_counts_as_lost),
		cmocka_unit_test(a_lack_of_memory_is_said),
		cmocka_unit_test(kernels_that_answer_wrongly_are_refused),
		cmocka_unit_test(what_compiles_in_a_child_is_not_tried_there_again),
		cmocka_unit_test(a_driver_that_crashes_is_remembered),
		cmocka_unit_test(a_child_that_was_killed_is_not_remembered),
		cmocka_unit_test(a_driver_that_hangs_is_stopped),
		cmocka_unit_test(a_refusal_in_the_child_is_not_remembered),
		cmocka_unit_test(without_a_child_there_is_one_chance_in_this_process),
		cmocka_unit_test(without_a_child_and_a_place_for_notes_there_is_no_chance),
		cmocka_unit_test(rates_are_measured),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
