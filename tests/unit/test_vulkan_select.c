// SPDX-License-Identifier: MIT
// Which devices a selector names, and where a device sits: on machines with GPUs that are told here, not found.
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <numa.h>
#include <xf86drm.h>

#include "said.h"
#include "vulkan/vk.h"

/* ---- the machine: these functions take the place of the library's, of libdrm's and of libnuma's ---- */

static struct {
	struct lineup_device devices[LINEUP_DEVICES_MAX];
	uint32_t count;
	const char *why;
	uint32_t lists; /* how often drivers were asked */
	int drm_count;
	drmDevice drm[2];
	drmPciBusInfo pci[2];
	char *nodes[2][DRM_NODE_MAX];
	uint32_t drm_freed;
	int numa_nodes;
	int cpu; /* that node 1 has; the others are node 0's */
} machine;

int lineup_vk_list(struct lineup_ctx *ctx, struct lineup_device *devices, uint32_t max, uint32_t *count, const char **why)
{
	(void)ctx;
	machine.lists++;
	memcpy(devices, machine.devices, (machine.count < max ? machine.count : max) * sizeof(*devices));
	*count = machine.count;
	*why = machine.count ? NULL : machine.why;
	return 0;
}

int drmGetDevices2(uint32_t flags, drmDevicePtr devices[], int max)
{
	(void)flags;
	for (int i = 0; i < machine.drm_count && i < max; i++)
		devices[i] = &machine.drm[i];
	return machine.drm_count;
}

void drmFreeDevices(drmDevicePtr devices[], int count)
{
	(void)devices;
	machine.drm_freed += (uint32_t)count;
}

int numa_available(void)
{
	return machine.numa_nodes ? 0 : -1;
}

int numa_max_node(void)
{
	return machine.numa_nodes - 1;
}

int numa_node_to_cpus(int node, struct bitmask *mask)
{
	for (unsigned int cpu = 0; cpu < mask->size; cpu++)
		if ((node == 1) == ((int)cpu == machine.cpu))
			numa_bitmask_setbit(mask, cpu);
	return 0;
}

static void add_device(enum lineup_device_type type, const char *name, uint8_t uuid, const char *pci)
{
	struct lineup_device *d = &machine.devices[machine.count];

	memset(d, 0, sizeof(*d));
	d->index = machine.count++;
	d->type = type;
	snprintf(d->name, sizeof(d->name), "%s", name);
	snprintf(d->pci, sizeof(d->pci), "%s", pci);
	for (uint32_t i = 0; i < sizeof(d->uuid); i++)
		d->uuid[i] = (uint8_t)(uuid + i);
}

/* Two GPUs, one of which lacks something, one behind a bridge with a domain of its own, and software. */
static void make_machine(void)
{
	memset(&machine, 0, sizeof(machine));
	add_device(LINEUP_DEVICE_DISCRETE, "first", 0x10, "0000:c1:00.0");
	add_device(LINEUP_DEVICE_DISCRETE, "old", 0x20, "0000:c2:00.0");
	machine.devices[1].why_not = "it lacks everything";
	add_device(LINEUP_DEVICE_INTEGRATED, "third", 0xa0, "10000:e1:1f.7");
	add_device(LINEUP_DEVICE_SOFTWARE, "software", 0x40, "");
}

static struct said said;
static struct lineup_device chosen[LINEUP_DEVICES_MAX];
static uint32_t count;

static int select_devices(const char *selector, bool software)
{
	said_clear(&said);
	count = 99;
	return lineup_vk_select(said.ctx, selector, software, chosen, &count);
}

static void expect(const char *selector, const char *names)
{
	char text[1024] = "";

	if (select_devices(selector, true))
		fail_msg("%s: %s", selector, said.message);
	for (uint32_t i = 0; i < count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? " " : "", chosen[i].name);
	assert_string_equal(text, names);
	assert_int_equal(said.errors, 0);
}

static void refuse(const char *selector, int err, const char *text)
{
	int found = select_devices(selector, true);

	if (found != err)
		fail_msg("%s: %d, not %d", selector, found, err);
	assert_int_equal(count, 99);
	SAID_ONCE(&said, text);
}

static int begin(void **state)
{
	(void)state;
	said_init(&said);
	make_machine();
	return 0;
}

static int end(void **state)
{
	(void)state;
	said_fini(&said);
	return 0;
}

static void a_device_is_named_in_three_ways(void **state)
{
	(void)state;
	expect("0", "first");
	expect("2", "third");
	expect("3", "software");
	expect("0000:c1:00.0", "first");
	expect("c1:00.0", "first");
	expect("C1:0.0", "first");
	expect("10000:e1:1f.7", "third");
	expect("10111213-1415-1617-1819-1a1b1c1d1e1f", "first");
	expect("101112131415161718191A1B1C1D1E1F", "first");
	expect("a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf", "third");
}

static void several_are_taken_in_their_order(void **state)
{
	(void)state;
	expect("2,0", "third first");
	expect("0,0,c1:00.0", "first first first");
	expect("3,10111213-1415-1617-1819-1a1b1c1d1e1f", "software first");
}

static void auto_takes_no_software(void **state)
{
	(void)state;
	machine.devices[0].why_not = NULL;
	expect(NULL, "first third");
	expect("auto", "first third");
	/* Unless there is nothing else and Vulkan was asked for. */
	machine.devices[0].why_not = machine.devices[2].why_not = "it is old";
	expect(NULL, "software");
	machine.devices[3].why_not = "it is soft";
	refuse(NULL, -ENODEV, "there is none for Vulkan");
	machine.count = 0;
	machine.why = "there is no Vulkan driver";
	refuse("auto", -ENODEV, "there is no Vulkan driver");
}

static void auto_takes_a_card_once_though_two_drivers_show_it(void **state)
{
	(void)state;
	machine.count--;
	add_device(LINEUP_DEVICE_DISCRETE, "first, by another driver", 0x70, "0000:c1:00.0");
	add_device(LINEUP_DEVICE_DISCRETE, "of an unknown place", 0x80, "");
	add_device(LINEUP_DEVICE_DISCRETE, "of another", 0x90, "");
	assert_int_equal(select_devices("auto", true), 0);
	assert_int_equal(count, 4);
	assert_string_equal(chosen[0].name, "first");
	assert_string_equal(chosen[3].name, "of another");
}

static void auto_without_device_nodes_asks_no_driver(void **state)
{
	(void)state;
	if (lineup_vk_nodes_exist()) {
		print_message("skipped: this machine has a GPU's device node\n");
		skip();
	}
	assert_int_equal(select_devices(NULL, false), -ENODEV);
	assert_int_equal(select_devices("auto", false), -ENODEV);
	assert_int_equal(machine.lists, 0);
	assert_int_equal(said.errors, 0);
}

static void what_names_nothing_is_refused(void **state)
{
	static const char *const malformed[] = { "x", "-1", "+1", " 0", "0 ", "0x1", "12345", "1.0", "c1:00", "c1:00.0.0", "c1:00.8", "c1:20.0",
						 "c1:00.00", "123:00.0", ":00.0", "c1::0.0", "0000:c1:00", "100000:c1:00.0", "0:0:c1:00.0",
						 "+1:00.0", "10111213-1415-1617-1819-1a1b1c1d1e1", "101112131415161718191a1b1c1d1e1f1",
						 "GPU-10111213-1415-1617-1819-1a1b1c1d1e1f" };
	char many[3 * LINEUP_DEVICES_MAX + 3] = "", uuid_like[100];

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(malformed); i++)
		refuse(malformed[i], -EINVAL, "is no index, UUID or PCI address");
	refuse("", -EINVAL, "empty");
	refuse("0,", -EINVAL, "empty");
	refuse(",0", -EINVAL, "empty");
	refuse("0,,1", -EINVAL, "empty");
	memset(uuid_like, '1', sizeof(uuid_like));
	uuid_like[99] = 0;
	refuse(uuid_like, -EINVAL, "too long");
	refuse("0,auto", -EINVAL, "'auto'");
	refuse("4", -ENODEV, "there is none such");
	refuse("0,9999", -ENODEV, "device '9999'");
	refuse("c3:00.0", -ENODEV, "there is none such");
	refuse("10111213-1415-1617-1819-1a1b1c1d1e1e", -ENODEV, "there is none such");
	refuse("1", -ENOTSUP, "it lacks everything");
	refuse("0,c2:00.0", -ENOTSUP, "old");
	for (uint32_t i = 0; i <= LINEUP_DEVICES_MAX; i++)
		strcat(many, i ? ",0" : "0");
	refuse(many, -EINVAL, "the limit is 64");
	machine.count = 0;
	machine.why = "the Vulkan loader (libvulkan.so.1) is not installed";
	refuse("0", -ENODEV, "is not installed");
}

/* ---- where a device sits ---- */

/* DRM nodes are character devices of a number: so are these. */
static void make_drm(void)
{
	static const char *const paths[] = { "/dev/null", "/dev/zero" };

	machine.drm_count = 2;
	for (int i = 0; i < 2; i++) {
		machine.pci[i] = (drmPciBusInfo){ .domain = 0, .bus = (uint8_t)(0xc1 + i), .dev = 0, .func = 0 };
		machine.nodes[i][DRM_NODE_RENDER] = (char *)(uintptr_t)paths[i];
		machine.drm[i] = (drmDevice){
			.nodes = machine.nodes[i], .available_nodes = 1 << DRM_NODE_RENDER, .bustype = DRM_BUS_PCI,
			.businfo.pci = &machine.pci[i],
		};
	}
}

static void a_node_is_found_by_its_number(void **state)
{
	struct lineup_device info = { .numa_node = 7 };

	(void)state;
	make_drm();
	lineup_vk_locate(&info, true, 1, 5); /* of /dev/zero */
	assert_string_equal(info.node, "/dev/zero");
	assert_string_equal(info.pci, "0000:c2:00.0");
	assert_int_equal(machine.drm_freed, 2);
	info = (struct lineup_device){ 0 };
	lineup_vk_locate(&info, true, 1, 99);
	assert_string_equal(info.node, "");
	assert_string_equal(info.pci, "");
	assert_int_equal(info.numa_node, -1);
}

static void a_node_is_found_by_its_pci_address(void **state)
{
	struct lineup_device info = { .pci = "0000:c1:00.0" };

	(void)state;
	make_drm();
	lineup_vk_locate(&info, false, 0, 0);
	assert_string_equal(info.node, "/dev/null");
	/* The number has the last word: two drivers may serve one address. */
	info = (struct lineup_device){ .pci = "0000:c1:00.0" };
	lineup_vk_locate(&info, true, 1, 99);
	assert_string_equal(info.node, "");
	assert_string_equal(info.pci, "0000:c1:00.0");
	/* A device without a render node, or on another bus. */
	machine.drm[0].available_nodes = 1 << DRM_NODE_PRIMARY;
	machine.drm[1].bustype = DRM_BUS_PLATFORM;
	info = (struct lineup_device){ .pci = "0000:c1:00.0" };
	lineup_vk_locate(&info, false, 0, 0);
	assert_string_equal(info.node, "");
	info = (struct lineup_device){ 0 };
	lineup_vk_locate(&info, true, 1, 5);
	assert_string_equal(info.node, "/dev/zero");
	assert_string_equal(info.pci, "");
	/* Nothing is known of a device that tells nothing, and no directory is read for it. */
	machine.drm_freed = 0;
	info = (struct lineup_device){ 0 };
	lineup_vk_locate(&info, false, 0, 0);
	assert_string_equal(info.node, "");
	assert_int_equal(info.numa_node, -1);
	assert_int_equal(machine.drm_freed, 0);
}

static void threads_stay_on_the_cpus_they_were_given(void **state)
{
	cpu_set_t before, after;
	int first = 0;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	while (!CPU_ISSET(first, &before))
		first++;
	machine.numa_nodes = 2;
	machine.cpu = CPU_SETSIZE - 1; /* of node 1, and not ours */
	while (CPU_ISSET(machine.cpu, &before))
		machine.cpu--;
	lineup_vk_run_on_node(1);
	assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
	assert_true(CPU_EQUAL(&before, &after));
	lineup_vk_run_on_node(-1);
	lineup_vk_run_on_node(2); /* there is none */
	assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
	assert_true(CPU_EQUAL(&before, &after));
	machine.cpu = first;
	lineup_vk_run_on_node(1);
	assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
	assert_int_equal(CPU_COUNT(&after), 1);
	assert_true(CPU_ISSET(first, &after));
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
}

static void memory_stays_what_it_is(void **state)
{
	static uint8_t pages[1 << 16] __attribute__((aligned(4096)));

	(void)state;
	for (size_t i = 0; i < sizeof(pages); i++)
		pages[i] = (uint8_t)i;
	machine.numa_nodes = 2;
	for (int node = -1; node < 4; node++)
		lineup_vk_bind_to_node(pages, sizeof(pages), node);
	for (size_t i = 0; i < sizeof(pages); i++)
		assert_int_equal(pages[i], (uint8_t)i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_device_is_named_in_three_ways, begin, end),
		cmocka_unit_test_setup_teardown(several_are_taken_in_their_order, begin, end),
		cmocka_unit_test_setup_teardown(auto_takes_no_software, begin, end),
		cmocka_unit_test_setup_teardown(auto_takes_a_card_once_though_two_drivers_show_it, begin, end),
		cmocka_unit_test_setup_teardown(auto_without_device_nodes_asks_no_driver, begin, end),
		cmocka_unit_test_setup_teardown(what_names_nothing_is_refused, begin, end),
		cmocka_unit_test_setup_teardown(a_node_is_found_by_its_number, begin, end),
		cmocka_unit_test_setup_teardown(a_node_is_found_by_its_pci_address, begin, end),
		cmocka_unit_test_setup_teardown(threads_stay_on_the_cpus_they_were_given, begin, end),
		cmocka_unit_test_setup_teardown(memory_stays_what_it_is, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
