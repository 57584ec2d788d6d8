// SPDX-License-Identifier: MIT
// Where a device sits in this machine: its DRM node, PCI address and NUMA node.
#include <dirent.h>
#include <numa.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <xf86drm.h>

#include "vk.h"

static int read_number(const char *path, int otherwise)
{
	FILE *f = fopen(path, "re");
	int value = otherwise;

	if (f) {
		if (fscanf(f, "%d", &value) != 1)
			value = otherwise;
		fclose(f);
	}
	return value;
}

static bool is_node(const char *path, uint32_t major_number, uint32_t minor_number)
{
	struct stat st;

	return path && !stat(path, &st) && S_ISCHR(st.st_mode) && major(st.st_rdev) == major_number && minor(st.st_rdev) == minor_number;
}

static void pci_text(const drmDevice *drm, char *text, size_t size)
{
	const drmPciBusInfo *pci = drm->businfo.pci;

	snprintf(text, size, "%04x:%02x:%02x.%x", pci->domain & 0xffff, pci->bus, pci->dev & 0x1f, pci->func & 7);
}

/* By the node's number where the driver tells it, else by the PCI address: a driver may work without /dev/dri. */
static void match(struct lineup_device *info, drmDevice *drm, bool has_render, uint32_t major_number, uint32_t minor_number)
{
	const char *node = drm->available_nodes & 1 << DRM_NODE_RENDER ? drm->nodes[DRM_NODE_RENDER] : NULL;
	char pci[sizeof(info->pci)] = "";

	if (drm->bustype == DRM_BUS_PCI)
		pci_text(drm, pci, sizeof(pci));
	if (has_render ? !is_node(node, major_number, minor_number) : !info->pci[0] || strcmp(info->pci, pci) != 0)
		return;
	if (node)
		snprintf(info->node, sizeof(info->node), "%s", node);
	if (!info->pci[0])
		snprintf(info->pci, sizeof(info->pci), "%s", pci);
}

enum { DRM_DEVICES_MAX = 64 };

void lineup_vk_locate(struct lineup_device *info, bool has_render, uint32_t major_number, uint32_t minor_number)
{
	drmDevice *drms[DRM_DEVICES_MAX];
	int count = has_render || info->pci[0] ? drmGetDevices2(0, drms, DRM_DEVICES_MAX) : 0;
	char path[96];

	for (int i = 0; i < count && i < DRM_DEVICES_MAX; i++)
		match(info, drms[i], has_render, major_number, minor_number);
	if (count > 0)
		drmFreeDevices(drms, count < DRM_DEVICES_MAX ? count : DRM_DEVICES_MAX);
	info->numa_node = -1;
	if (info->pci[0]) {
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/numa_node", info->pci);
		info->numa_node = read_number(path, -1);
	}
}

bool lineup_vk_nodes_exist(void)
{
	static const char *const single[] = { "/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/dev/mali0", "/dev/pvr_sync" };
	DIR *dir = opendir("/dev/dri");
	struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir)))
		found = !strncmp(entry->d_name, "render", 6) || !strncmp(entry->d_name, "card", 4);
	if (dir)
		closedir(dir);
	for (size_t i = 0; !found && i < ARRAY_SIZE(single); i++)
		found = !access(single[i], F_OK);
	return found;
}

static bool node_matters(int node)
{
	return node >= 0 && numa_available() >= 0 && numa_max_node() > 0 && node <= numa_max_node();
}

void lineup_vk_run_on_node(int node)
{
	if (node_matters(node))
		numa_run_on_node(node);
}

void lineup_vk_bind_to_node(void *memory, size_t size, int node)
{
	if (node_matters(node))
		numa_tonode_memory(memory, size, node);
}
