#!/bin/bash
# SPDX-License-Identifier: MIT
# lineupd from its command line and through redis-cli: it starts, serves, creates galleries that the program opens, reloads, drains.
# Facts are called by their names, arguments may be names of files, and $0 belongs to the inner shell:
# shellcheck disable=SC2317,SC2094,SC2016
# shellcheck source=tests/integration/tap
. "$(dirname "$0")/tap"

LINEUPD=${LINEUPD:-$(dirname "$LINEUP")/lineupd}

daemon_is_there()
{
	[ -x "$LINEUPD" ] || skip 'this build has no lineupd'
	command -v redis-cli >/dev/null || skip 'redis-cli is not installed'
}

# serve: lineupd over ./galleries, until the fact ends. Its log is ./log.
serve()
{
	mkdir -p galleries
	XDG_RUNTIME_DIR=$PWD "$LINEUPD" galleries 2>log &
	daemon=$!
	trap 'kill -KILL $daemon 2>/dev/null || true' EXIT
	for _ in $(seq 300); do
		[ "$(ask PING 2>/dev/null)" = PONG ] && return
		kill -0 "$daemon" || break
		sleep 0.1
	done
	cat log
	return 1
}

ask()
{
	redis-cli -s lineup.sock "$@"
}

stop()
{
	kill -TERM "$daemon"
	wait "$daemon"
}

the_command_line_is_checked()
{
	daemon_is_there
	"$LINEUPD" --version >out
	grep -q '^lineupd [0-9]' out
	"$LINEUPD" --help-config >out
	grep -q clients_max out
	status 2 "$LINEUPD" --nonsense
	status 2 "$LINEUPD" a b
	printf '[server]\nnonsense = 1\n' >bad.conf
	status 2 "$LINEUPD" --config bad.conf --check-config
	grep -q 'bad.conf:2' err
	printf '[server]\nlisten = unix:%s/s\ndirectory = %s\n' "$PWD" "$PWD" >good.conf
	status 0 "$LINEUPD" --config good.conf --check-config
}

what_redis_cli_adds_is_found_and_kept()
{
	daemon_is_there
	serve
	equal "$(ask VADD faces VALUES 3 1 0 0 ann)" 1
	equal "$(ask VADD faces VALUES 3 0 1 0 bob)" 1
	equal "$(ask VADD faces VALUES 3 0.6 0.8 0 ann)" 0
	equal "$(ask VSIM faces VALUES 3 0 1 0 WITHSCORES | tr '\n' ' ')" 'bob 1 ann 0.9000000059604645 '
	equal "$(ask VREM faces bob)" 1
	equal "$(ask VCARD faces)" 1
	stop
	lineup check galleries/faces
	equal "$(lineup info galleries/faces --format json >info; field subjects info)" 1
	serve
	equal "$(ask VSIM faces ELE ann)" ann
	equal "$(ask VISMEMBER faces bob)" 0
	stop
}

a_killed_daemon_keeps_what_it_acknowledged()
{
	daemon_is_there
	serve
	for i in $(seq 20); do
		equal "$(ask VADD faces VALUES 2 1 "$i" "e$i" SETATTR "{\"n\":$i}")" 1
	done
	kill -KILL "$daemon"
	wait "$daemon" || true
	serve
	equal "$(ask VCARD faces)" 20
	equal "$(ask VGETATTR faces e7)" '{"n":7}'
	equal "$(ask VSIM faces VALUES 2 1 0 FILTER '.n > 18' | tr '\n' ' ')" 'e19 e20 '
	stop
}

sigterm_drains_and_a_gallery_that_came_is_served_after_sighup()
{
	daemon_is_there
	serve
	vectors random a.npy 5 4 1
	lineup enrol galleries/new --vectors a.npy >/dev/null
	equal "$(ask VCARD new)" 0
	kill -HUP "$daemon"
	for _ in $(seq 100); do
		[ "$(ask VCARD new)" = 5 ] && break
		sleep 0.1
	done
	equal "$(ask VCARD new)" 5
	stop
	grep -q 'event=drained' log
}

no_name_and_no_score_is_in_the_log()
{
	daemon_is_there
	serve
	ask VADD faces VALUES 2 1 0 secretive SETATTR '{"hidden":1}' >/dev/null
	ask VSIM faces ELE secretive WITHSCORES WITHATTRIBS >/dev/null
	ask VADD faces VALUES 3 1 0 1 secretive >/dev/null
	ask VADD faces VALUES 2 nan 1 secretive >/dev/null
	ask LINEUP.DELETE faces SUBJECT secretive2 >/dev/null
	ask LINEUP.VERIFY faces secretive2 PROBES 1 FP32 12345678 >/dev/null
	stop
	! grep -E 'secretive|hidden' log
}

facts the_command_line_is_checked what_redis_cli_adds_is_found_and_kept a_killed_daemon_keeps_what_it_acknowledged \
	sigterm_drains_and_a_gallery_that_came_is_served_after_sighup no_name_and_no_score_is_in_the_log
