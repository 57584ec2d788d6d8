/* SPDX-License-Identifier: MIT */
/* FILTER expressions of VSIM over JSON attributes, with the grammar and the meaning that Redis gives them. */
#ifndef LINEUPD_FILTER_H
#define LINEUPD_FILTER_H

#include <jansson.h>

#include "daemon.h"

struct filter;

/* -EINVAL, with @error saying what is wrong and at which byte; -ENOMEM. Depth and length are limited. */
int filter_compile(const char *text, size_t size, struct filter **filter, char error[256]);
void filter_destroy(struct filter *filter);
/*
 * Whether the element with these attributes (NULL: none, which never match) matches. An element that lacks a field the
 * expression names, or has an object there, does not. Otherwise as in Redis: a string is the number it spells where a number
 * is needed, else 0; true and false are 1 and 0. Any thread.
 */
bool filter_matches(const struct filter *filter, const json_t *attributes);

#endif
