#!/bin/bash
# SPDX-License-Identifier: MIT
# lineup capture beside a preloaded fake camera: candidates, and the counts, whatever ends a run. Real drivers: tests/kselftest/vm/capture.sh.
# Facts are called by their names, arguments may be names of files, and $0 belongs to the inner shell:
# shellcheck disable=SC2317,SC2094,SC2016
# shellcheck source=tests/integration/tap
. "$(dirname "$0")/tap"

LINEUP_EXTRACTORS=$(dirname "$LINEUP")/extractors
export LINEUP_EXTRACTORS

# What each fact begins with: the camera, the gallery g, whose subjects are "ann" and "bob", and frames: ann bob ann dark bob. Each eighth of a frame is of one grey.
prepare()
{
	[ -x "$LINEUP_EXTRACTORS/lineup-extract" ] || skip "this build has no extractors"
	gcc -shared -fPIC -O1 -D_GNU_SOURCE "$here/fake_video.c" -o fake.so -ldl
	python3 - <<-'END'
		import struct
		grey = {"ann": [200, 10, 20, 130, 90, 250, 3, 60], "bob": [7, 220, 180, 30, 128, 127, 40, 255], "dark": [0, 0, 0, 0, 0, 0, 0, 1]}
		with open("frames", "wb") as f:
		    for name in "ann bob ann dark bob".split():
		        for g in grey[name]:
		            f.write(bytes([g]) * 384)
		with open("g.npy", "wb") as f:
		    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 8), }"
		    head += b" " * (117 - len(head)) + b"\n"
		    f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head)
		    for name in "ann", "bob":
		        f.write(struct.pack("<8f", *[g - 127.5 for g in grey[name]]))
	END
	printf 'subject\nann\nbob\n' >g.csv
	lineup enrol g --vectors g.npy --subjects g.csv --model lineup-pattern
	export FAKE_FRAMES=$PWD/frames
}

capture()
{
	env LD_PRELOAD="$PWD/fake.so" "$LINEUP" capture --device /dev/video99 --extractor pattern --deadline 60000 --search g "$@"
}

# The same, for the background: its process id is the program's.
live()
{
	exec env LD_PRELOAD="$PWD/fake.so" "$LINEUP" capture --device /dev/video99 --extractor pattern --deadline 60000 --search g --format json "$@"
}

# count FILE NAME: a number of the closing line of JSON.
count()
{
	tail -n 1 "$1" | python3 -c '
import json, sys
counts = json.load(sys.stdin)["counts"]
f = counts["frames"]
assert f["captured"] == f["failed"] + f["empty"] + f["searched"] + f["unsearched"], f
assert f["failed"] == sum(f["causes"].values()), f
print({**f, **f["causes"], "probes": counts["probes"], "candidates": counts["candidates"]}[sys.argv[1]])' "$2"
}

ended()
{
	tail -n 1 "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["ended"])'
}

each_frame_finds_whom_it_shows()
{
	prepare
	capture --frames 5 -k 1 --threshold 0.9 --format tsv >found 2>said
	printf '0\t0\t1\tann\t0\t1.000000\n1\t0\t1\tbob\t1\t1.000000\n2\t0\t1\tann\t0\t1.000000\n4\t0\t1\tbob\t1\t1.000000\n' | diff - found
	grep -q 'frames: 5 captured, 0 dropped by the device, 0 failed, 0 without a template, 5 searched' said
	grep -q 'probes: 5 searched, 4 candidates' said
}

json_tells_each_template_and_ends_with_the_counts()
{
	prepare
	capture --frames 2 -k 2 --format json >found
	[ "$(wc -l <found)" = 3 ]
	head -n 1 found | python3 -c '
import json, sys
a = json.load(sys.stdin)
assert a["frame"] == 0 and a["face"] == 0 and a["box"] == [0, 0, 64, 48] and a["quality"] == 1, a
assert [c["subject"] for c in a["candidates"]] == ["ann", "bob"] and a["model"] == "lineup-pattern" and a["sequence"] == 1, a'
	[ "$(count found captured) $(count found searched) $(count found probes) $(count found candidates)" = "2 2 2 4" ]
	[ "$(ended found)" = frames ]
}

a_table_is_for_people_and_ends_with_the_counts()
{
	prepare
	capture --frames 1 >found
	grep -q '^a fake camera (fake): GREY, 64 x 48, 4 frames of device' found
	grep -q 'frame 0, face 0 at 0,0 of 64 x 48' found
	grep -q '^frames: 1 captured' found
	grep -q 'a person decides' found
}

drops_damage_and_short_images_are_counted_apart()
{
	prepare
	FAKE_GAPS=,2,4, FAKE_DAMAGED=,1, FAKE_SHORT=,3, capture --frames 5 --format json >found
	[ "$(count found captured) $(count found dropped) $(count found failed) $(count found damaged) $(count found short) $(count found searched)" = "5 2 2 1 1 3" ]
}

without_a_module_it_says_what_it_uses_once()
{
	prepare
	[ ! -e /dev/lineup ] || skip "the module is loaded"
	capture --frames 5 --format json >found 2>said
	[ "$(grep -c 'using frames of device' said)" = 1 ]
	! capture --frames 5 --pool module >found 2>said
	grep -q 'no frames: ' said
}

# waits FILE N: until N lines are in it.
waits()
{
	until [ -e "$1" ] && [ "$(wc -l <"$1")" -ge "$2" ]; do sleep 0.1; done
}

an_interruption_is_how_it_ends()
{
	prepare
	live >found &
	waits found 5
	kill -TERM $!
	wait $!
	[ "$(count found captured) $(count found searched) $(ended found)" = "5 5 interrupted" ]
}

an_interruption_before_enough_frames_is_a_failure()
{
	prepare
	live --frames 100 >found 2>said &
	waits found 5
	kill -TERM $!
	! wait $!
	[ "$(count found captured) $(ended found)" = "5 interrupted" ]
	grep -q 'interrupted before 100 frames' said
}

unplugging_is_an_error_with_the_counts()
{
	prepare
	! FAKE_END=gone capture --format json >found 2>said
	grep -q '/dev/video99: the device is gone' said
	[ "$(count found captured) $(count found searched) $(ended found)" = "5 5 failed" ]
}

a_quiet_device_is_an_error_with_the_counts()
{
	prepare
	! capture --wait 1 --format json >found 2>said
	grep -q '/dev/video99: no frame for 1 s' said
	[ "$(count found captured) $(ended found)" = "5 failed" ]
}

counts_are_told_though_standard_output_is_full()
{
	prepare
	! capture --frames 5 --format json >/dev/full 2>said
	grep -q 'standard output: No space left on device' said
	grep -q 'frames: 1 captured, 0 dropped by the device, 0 failed, 0 without a template, 0 searched, 1 not searched to the end' said
}

who_is_enrolled_meanwhile_is_found()
{
	prepare
	# The fifth frame, bob, over and over; he is deleted first.
	lineup delete g --subject bob
	for _ in $(seq 12); do tail -c 3072 frames >>again; done
	cat frames again >all
	FAKE_FRAMES=$PWD/all live -k 1 --threshold 0.9 >found &
	pid=$!
	waits found 17
	! grep -q '"subject":"bob"' found
	printf 'subject\nann\nbob\n' >g.csv
	lineup enrol g --vectors g.npy --subjects g.csv --model lineup-pattern
	sleep 1.2
	cat again >>all
	waits found 29
	kill -TERM $pid
	wait $pid
	sed -n '18,$p' found | grep '"subject":"bob"' >/dev/null # not -q: it would end before sed has written all
}

another_model_is_refused_frame_by_frame()
{
	prepare
	lineup enrol other --vectors g.npy --model somebody-elses
	env LD_PRELOAD="$PWD/fake.so" "$LINEUP" capture --device /dev/video99 --extractor pattern --deadline 60000 --search other --frames 3 --format json >found 2>said
	[ "$(count found model) $(count found searched) $(count found probes)" = "3 0 0" ]
	[ "$(grep -c 'of some model; wanted: 8' said)" = 1 ]
	! lineup capture --device /dev/video99 --extractor pattern --search other --model lineup-pattern 2>said
	grep -q somebody-elses said
}

command_lines_are_checked()
{
	local status line

	while read -r line; do
		status=0
		# shellcheck disable=SC2086 # words
		lineup capture $line >found 2>said || status=$?
		[ $status = 2 ] || { echo "$line: $status"; cat said; return 1; }
		[ ! -s found ]
	done <<-'END'
		--extractor e --search g
		--device d --search g
		--device d --extractor e
		--device d --extractor e --search g more
		--device d --extractor e --search g --size 10
		--device d --extractor e --search g --pixel-format LARGE
		--device d --extractor e --search g --pool sea
		--device d --extractor e --search g --frames x
		--device d --extractor e --search g --resident --stream
	END
	! lineup capture --device /nonexistent --extractor pattern --search /nonexistent 2>said
	grep -q nonexistent said
}

pools_need_the_module()
{
	[ ! -e /dev/lineup ] || skip "the module is loaded"
	! lineup pool >found 2>said
	[ ! -s found ]
	grep -q 'the module lineup is not loaded' said
}

facts each_frame_finds_whom_it_shows json_tells_each_template_and_ends_with_the_counts a_table_is_for_people_and_ends_with_the_counts \
	drops_damage_and_short_images_are_counted_apart without_a_module_it_says_what_it_uses_once an_interruption_is_how_it_ends \
	an_interruption_before_enough_frames_is_a_failure unplugging_is_an_error_with_the_counts a_quiet_device_is_an_error_with_the_counts \
	counts_are_told_though_standard_output_is_full who_is_enrolled_meanwhile_is_found another_model_is_refused_frame_by_frame \
	command_lines_are_checked pools_need_the_module
