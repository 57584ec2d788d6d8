/* SPDX-License-Identifier: MIT */
/* The functions of the command table, by the file that holds them. docs/commands.md is their reference. */
#ifndef LINEUPD_COMMANDS_H
#define LINEUPD_COMMANDS_H

#include "server.h"

typedef void command_fn(struct server *server, struct request *request);

/* command_connection.c */
command_fn command_ping, command_echo, command_quit, command_reset, command_select, command_client;
/* command_auth.c */
command_fn command_auth, command_hello;
/* command_info.c */
command_fn command_info, command_command, command_config;
/* command_keys.c */
command_fn command_keys, command_scan, command_exists, command_type, command_dbsize, command_del;
/* command_element.c */
command_fn command_vadd, command_vrem, command_vsetattr, command_vgetattr;
/* command_read.c */
command_fn command_vcard, command_vdim, command_vinfo, command_vemb, command_vismember, command_vrandmember, command_vlinks;
/* command_search.c */
command_fn command_vsim, command_lineup_search, command_lineup_verify;
/* command_enrol.c */
command_fn command_lineup_enrol, command_lineup_delete;
/* command_gallery.c */
command_fn command_lineup_lists, command_lineup_info, command_lineup_create, command_lineup_attach, command_lineup_detach,
	command_lineup_maintain;
/* command_stats.c */
command_fn command_lineup_stats;

#endif
