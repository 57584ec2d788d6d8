// SPDX-License-Identifier: MIT
// Where a device sits in this machine: its DRM node, PCI address and NUMA node.
#include <dirent.h>
#include <numa.h>
#include <numaif.h>
#include <sched.h>
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

	return path && !stat(path, &st) && S_ISCHR(st.st_mode) && major(st.st_rdev) == major_number &&
	       minor(st.st_rdev) == minor_number;
}

static void pci_text(const drmDevice *drm, char *text, size_t size)
{
	const drmPciBusInfo *pci = drm->businfo.pci;

	snprintf(text, size, "%04x:%02x:%02x.%x", pci->domain, pci->bus, pci->dev & 0x1f, pci->func & 7);
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
	/* NVIDIA's own nodes come without /dev/dri in containers; WSL and some embedded GPUs have none there at all. */
	static const char *const single[] = { "/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/dev/mali0", "/dev/pvr_sync" };
	DIR *dir = opendir("/dev/dri");
	struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir)))
		found = !strncmp(entry->d_name, "renderD", 7);
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

/* Within what the thread may use already: a user who restricts the process means it. */
void lineup_vk_run_on_node(int node)
{
	cpu_set_t allowed, chosen;
	struct bitmask *cpus;

	if (!node_matters(node) || sched_getaffinity(0, sizeof(allowed), &allowed))
		return;
	cpus = numa_allocate_cpumask();
	if (!cpus)
		return;
	CPU_ZERO(&chosen);
	if (!numa_node_to_cpus(node, cpus))
		for (unsigned int cpu = 0; cpu < CPU_SETSIZE && cpu < cpus->size; cpu++)
			if (numa_bitmask_isbitset(cpus, cpu) && CPU_ISSET(cpu, &allowed))
				CPU_SET(cpu, &chosen);
	numa_free_cpumask(cpus);
	if (CPU_COUNT(&chosen))
		sched_setaffinity(0, sizeof(chosen), &chosen);
}

/* Preferred, not forced: memory of another node is better than none. libnuma's own call for it prints errors. */
void lineup_vk_bind_to_node(void *memory, size_t size, int node)
{
	struct bitmask *nodes;

	if (!node_matters(node))
		return;
	nodes = numa_allocate_nodemask();
	if (!nodes)
		return;
	numa_bitmask_setbit(nodes, (unsigned int)node);
	mbind(memory, size, MPOL_PREFERRED, nodes->maskp, nodes->size + 1, MPOL_MF_MOVE);
	numa_free_nodemask(nodes);
}
