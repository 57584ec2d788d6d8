/* SPDX-License-Identifier: MIT */
/* A disk under SQLite that loses its power, or fails, at the n-th change: a VFS over the default one. */
#ifndef DAEMON_DISK_H
#define DAEMON_DISK_H

#include <stdint.h>

enum daemon_disk_fault {
	DISK_WHOLE,
	DISK_POWER_LOSS, /* the process ends with status DISK_LOST; of what was not synced an arbitrary part is there */
	DISK_FULL,       /* the write fails, once */
	DISK_FAILS,      /* the write or sync fails, once; what was not synced stays in doubt */
	DISK_STAYS_BAD,  /* from there on every change fails */
};

enum { DISK_LOST = 77 };

/* Makes it SQLite's default. Syncs are taken note of only: what is lost is decided here. */
void daemon_disk_init(void);
/* From now on the changes are counted anew, and the @at-th one (from 1; 0: none) meets @fault. @seed: of what survives. */
void daemon_disk_set(enum daemon_disk_fault fault, uint64_t at, uint64_t seed);
uint64_t daemon_disk_changes(void);
/* What is not synced stays as it is: between tests. */
void daemon_disk_forget(void);

#endif
