#!/bin/bash
# SPDX-License-Identifier: MIT
# The commands on lineup://NAME beside the same ones on a directory, what a lost connection costs, lineup load and lineup top.
# Facts are called by their names, arguments may be names of files, and $0 belongs to the inner shell:
# shellcheck disable=SC2317,SC2094,SC2016
# shellcheck source=tests/integration/tap
. "$(dirname "$0")/tap"

lineupd=${LINEUP%/*}/lineupd

# serve [LINE...]: a lineupd of its own on ./socket over ./served, configured by these lines; it ends with the fact.
serve()
{
	[ -x "$lineupd" ] || skip 'this build has no lineupd'
	mkdir -p served
	{
		printf '[server]\nlisten = unix:%s/socket\ndirectory = %s/served\n' "$PWD" "$PWD"
		printf '%s\n' "$@"
	} >lineup.conf
	export LINEUP_SOCKET=$PWD/socket
	"$lineupd" --config lineup.conf >daemon.log 2>&1 &
	daemon=$!
	trap 'kill $daemon $peers 2>/dev/null || :; wait' EXIT
	wait_for socket
}

wait_for()
{
	for _ in $(seq 500); do
		[ ! -S "$1" ] || return 0
		sleep 0.02
	done
	cat daemon.log
	return 1
}

# peer MODE ARGUMENT...: peer.py on ./peer.
peer()
{
	local mode=$1
	shift
	[ -x "$lineupd" ] || skip 'this build cannot talk to lineupd'
	python3 "$here/peer.py" "$mode" "$PWD/peer" "$@" &
	peers="$peers $!"
	trap 'kill $daemon $peers 2>/dev/null || :; wait' EXIT
	wait_for peer
}

# both COMMAND ARGUMENT...: the command on the directory and on lineupd's gallery prints the same, but for times, residency, and how work was shared.
both()
{
	local command=$1 want=0 got=0 side
	shift
	lineup "$command" local "$@" >here || want=$?
	lineup "$command" lineup://g "$@" >there || got=$?
	equal "$got" "$want"
	for side in here there; do
		sed -i -E 's/"(seconds|resident|io|bytes_read|threads|probes|passes|rows_scanned|rows_reranked)":[^,}]+/"\1":X/g
			s/^(seconds|rows\/second) .*/\1/; s/[0-9]+ re-ranked, .*/X/' "$side"
	done
	diff here there >difference || { head -n 6 difference; return 1; }
}

sides()
{
	vectors random gallery.npy 3000 24 1
	vectors random probes.npy 300 24 2
	{
		echo subject,lists,expires
		for i in $(seq 3000); do
			echo "s$((i % 700)),l$((i % 3));all,$([ $((i % 5)) != 0 ] || echo 2100-01-01)"
		done
	} >people.csv
	both enrol --vectors gallery.npy --subjects people.csv --lists extra --model m1 --op-id 00000000000000000000000000000001
}

every_command_prints_what_it_prints_of_a_directory()
{
	serve
	sides
	both info
	both info --format json
	both search --probes probes.npy --format tsv
	both search --probes probes.npy --format tsv --per template -k 20 --lists l1,l2 --threshold 0.3 --now 2200-01-01
	both search --probes probes.npy --model m1
	both search --probes probes.npy --format json -k 3
	both verify --probes probes.npy --subject s5
	both verify --probes probes.npy --subject s5 --format json
	both verify --probes probes.npy --subject s5 --format tsv
	both enrol --vectors gallery.npy --op-id 00000000000000000000000000000001 --subjects people.csv
	both delete --subject s5 --op-id 00000000000000000000000000000002
	both delete --subject s5 --op-id 00000000000000000000000000000002
	both delete --template 7 --op-id 00000000000000000000000000000003
	both info
	both compact
	both info
	both search --probes probes.npy --format tsv --per template
	both search --probes probes.npy --format tsv -k 700
}

what_is_refused_is_refused_there_too()
{
	serve
	sides
	vectors random other.npy 2 25 1
	for wrong in 'delete X --subject nobody' 'delete X --template 999999' 'search X --probes other.npy' 'search X --probes probes.npy --lists none' \
		'search X --probes probes.npy --model m2' 'verify X --probes probes.npy --subject nobody' 'enrol X --vectors other.npy' \
		'enrol X --vectors gallery.npy --model m2' 'enrol X --vectors gallery.npy --store float16' 'delete X --subject s1 --model m2'; do
		for gallery in local lineup://g; do
			# shellcheck disable=SC2086 # words
			status 1 lineup ${wrong/X/$gallery}
			grep -q '^lineup: ' err
			equal "$(cat out)" ''
		done
	done
	status 1 lineup search lineup://none --probes probes.npy
	says 'there is no such gallery'
	for option in '--backend scalar' '--threads 1' --stream --resident '--device 0'; do
		# shellcheck disable=SC2086 # words
		status 2 lineup search lineup://g --probes probes.npy $option
	done
	status 2 lineup info local --user someone --secret-file x
	status 2 lineup info lineup://
	status 2 lineup info lineup://g --user someone
	status 1 lineup info lineup://g --socket nowhere
	says 'lineupd at nowhere: '
	status 2 lineup info lineup://g --socket tcp:here
}

many_rows_are_several_operations_that_are_done_once()
{
	serve
	vectors random many.npy 40000 2 1
	lineup enrol lineup://g --vectors many.npy --op-id 0000000000000000000000000000000a >first
	grep -q '^operations      3,' first
	grep -q '^rows            40000$' first
	lineup enrol lineup://g --vectors many.npy --op-id 0000000000000000000000000000000a >again
	grep -q '^this operation was done before; nothing changed$' again
	lineup info lineup://g >info
	grep -q '^templates       40000 of 40000 subjects$' info
	lineup info lineup://g >info
	grep -q '^sequence        3$' info
}

a_lost_reply_does_not_enrol_twice()
{
	serve
	vectors random some.npy 100 8 1
	lineup enrol lineup://g --vectors some.npy >/dev/null
	peer lose "$PWD/socket" LINEUP.ENROL
	lineup enrol lineup://g --vectors some.npy --socket peer >out
	grep -q '^this operation was done before; nothing changed$' out
	lineup info lineup://g >info
	grep -q '^templates       200 of 200 subjects$' info
}

a_lost_reply_does_not_fail_a_deletion()
{
	serve
	vectors random some.npy 10 8 1
	lineup enrol lineup://g --vectors some.npy >/dev/null
	peer lose "$PWD/socket" LINEUP.DELETE
	lineup delete lineup://g --subject 3 --socket peer >out
	grep -q '^rows deleted    1$' out
}

a_lost_search_is_said()
{
	serve
	vectors random some.npy 10 8 1
	lineup enrol lineup://g --vectors some.npy >/dev/null
	peer lose "$PWD/socket" LINEUP.SEARCH
	status 1 lineup search lineup://g --probes some.npy --socket peer
	says 'lineupd at peer: the connection was closed'
	equal "$(cat out)" ''
}

busy_is_tried_again()
{
	serve
	vectors random some.npy 10 8 1
	lineup enrol lineup://g --vectors some.npy >/dev/null
	peer busy "$PWD/socket" LINEUP.ENROL
	lineup enrol lineup://g --vectors some.npy --socket peer >/dev/null
	lineup info lineup://g >info
	grep -q '^templates       20 of 20 subjects$' info
}

replies_that_make_no_sense_are_refused()
{
	vectors random some.npy 3 4 1
	for reply in ':1\r\n' '*0\r\n' '$-1\r\n' 'HTTP/1.1 400 Bad Request\r\n\r\n' '*2\r\n$3\r\ndim\r\n:4\r\n' '*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n'; do
		peer odd "$reply"
		for command in 'info' 'search --probes some.npy' 'verify --probes some.npy --subject x' 'compact' 'load --probes some.npy --rate 1'; do
			# shellcheck disable=SC2086 # words
			set -- $command
			first=$1
			shift
			status 1 lineup "$first" lineup://g --socket peer "$@"
			says
		done
		kill "${peers##* }"
		rm peer
	done
	daemon=
}

users_prove_who_they_are()
{
	[ -x "$lineupd" ] || skip 'this build has no lineupd'
	(umask 077 && printf 'open sesame\n' >secret && printf 'open says me\n' >wrong && "$lineupd" --hash-secret <secret >line)
	serve '[user watcher]' "secret_file = $PWD/line" 'roles = searcher' '[user boss]' "uid = $(id -u)" 'roles = admin'
	vectors random some.npy 10 8 1
	lineup enrol lineup://g --vectors some.npy >/dev/null
	lineup search lineup://g --probes some.npy --format tsv --user watcher --secret-file secret >found
	equal "$(wc -l <found)" 100
	status 1 lineup search lineup://g --probes some.npy --user watcher --secret-file wrong
	says WRONGPASS
	status 1 lineup delete lineup://g --subject 3 --user watcher --secret-file secret
	says NOPERM
	status 1 lineup info lineup://g --user watcher --secret-file none
	says 'none: No such file'
}

load_counts_the_requests_behind_a_stall()
{
	vectors random some.npy 3 4 1
	peer stall 1.5
	daemon=
	# 200 a second at equal intervals: of those due in the first second of the stall, 200, each waited half a second at least.
	lineup load lineup://g --socket peer --probes some.npy --rate 200 --constant --seconds 3 --warmup 0 --connections 1 --json - >out
	python3 - <<-'END'
		import json
		step = json.load(open("out"))["steps"][0]["search"]
		assert step["due"] == step["answered"] == 600 or step["due"] == step["answered"] == 599, step
		below = max([n for end, n in step["latency_ns_at_most"] if end <= 500e6], default=0)
		assert step["answered"] - below >= 195, below
		assert step["max_ms"] >= 1490, step["max_ms"]
		assert step["busy"] == step["unanswered"] == 0 and not step["errors"]
	END
}

load_measures_and_leaves_nothing_behind()
{
	serve
	vectors random gallery.npy 500 16 1
	lineup enrol lineup://g --vectors gallery.npy >/dev/null
	lineup load lineup://g --probes gallery.npy --rates 50,100 --seconds 1 --warmup 0.2 --enrol-rate 20 --batch 3 --json out.json --svg out.svg >table
	equal "$(grep -c '^search ' table)" 2
	equal "$(grep -c '^enrol ' table)" 2
	python3 - <<-'END'
		import json
		import xml.dom.minidom
		xml.dom.minidom.parse("out.svg")
		for step in json.load(open("out.json"))["steps"]:
		    for kind in ("search", "enrol"):
		        s = step[kind]
		        assert s["answered"] == s["due"] > 0 and not s["errors"] and not s["busy"] and not s["unanswered"], s
		        assert s["latency_ns_at_most"][-1][1] == s["due"], s
		        assert 0 < s["p50_ms"] <= s["p99_ms"] <= s["p99_9_ms"] <= s["max_ms"], s
	END
	lineup info lineup://g >info
	grep -q '^templates       500 of 500 subjects$' info
}

load_tells_errors_by_kind()
{
	serve
	vectors random gallery.npy 20 16 1
	lineup enrol lineup://g --vectors gallery.npy >/dev/null
	peer busy "$PWD/socket" LINEUP.SEARCH
	lineup load lineup://g --socket peer --probes gallery.npy --rate 40 --seconds 1 --warmup 0 --json - >out
	python3 -c 'import json; s = json.load(open("out"))["steps"][0]["search"]; assert s["busy"] == 2 and s["answered"] == s["due"] - 2, s'
}

top_shows_what_lineupd_does()
{
	serve
	vectors random gallery.npy 500 16 1
	lineup enrol lineup://one --vectors gallery.npy >/dev/null
	lineup enrol lineup://two --vectors gallery.npy >/dev/null
	lineup top --once --interval 0.2 >out
	grep -q '^lineupd .* up ' out
	grep -q '^one  *500 ' out
	grep -q '^two  *500 ' out
	grep -q '^search  ' out
	lineup top --once --interval 0.2 lineup://two >out
	no grep -q "^one " out
	# In a terminal: a screen of its own, which is left again.
	python3 - "$LINEUP" <<-'END'
		import os, pty, sys, time
		pid, fd = pty.fork()
		if not pid:
		    os.execv(sys.argv[1], [sys.argv[1], "top", "--interval", "0.1"])
		shown = b""
		while b"two " not in shown:
		    shown += os.read(fd, 65536)
		os.write(fd, b"q")
		try:
		    while data := os.read(fd, 65536):
		        shown += data
		except OSError:
		    pass
		assert os.waitpid(pid, 0)[1] == 0
		assert b"\033[?1049h" in shown and shown.endswith(b"\033[?25h\033[?1049l"), shown[-80:]
	END
}

daemon=
peers=
facts every_command_prints_what_it_prints_of_a_directory what_is_refused_is_refused_there_too many_rows_are_several_operations_that_are_done_once \
	a_lost_reply_does_not_enrol_twice a_lost_reply_does_not_fail_a_deletion a_lost_search_is_said busy_is_tried_again \
	replies_that_make_no_sense_are_refused users_prove_who_they_are load_counts_the_requests_behind_a_stall \
	load_measures_and_leaves_nothing_behind load_tells_errors_by_kind top_shows_what_lineupd_does
