/* SPDX-License-Identifier: MIT */
/*
 * What an extractor's process may do: limits, the files it may read while it starts, the system calls it has then and
 * afterwards.
 */
#ifndef LINEUP_EXTRACT_SANDBOX_H
#define LINEUP_EXTRACT_SANDBOX_H

#include <stdint.h>

/* Address space, descriptors, no files written, no core dump, the end with the parent. 0 or -errno. */
int sandbox_limit(uint64_t memory_max);
/*
 * Files: only those below the directory of @plugin and the system's library directories, for reading. 1: done; 0: this kernel
 * cannot; -errno.
 */
int sandbox_files(const char *plugin);
/* System calls of a plug-in that starts, then of one that works; the second for all threads. 0 or -errno. */
int sandbox_calls_starting(void);
int sandbox_calls_working(void);

#endif
