#!/bin/bash
# SPDX-License-Identifier: MIT
# lineup bench: the gate before the figures, what it writes, and that it leaves nothing behind. No fact here depends on a speed.
# Facts are called by their names, and several stand under !:
# shellcheck disable=SC2317,SC2251
# shellcheck source=tests/integration/tap
. "$(dirname "$0")/tap"

small='--n 1000 --dim 64 --batch 1,9 --quick'

# checked PROGRAM FILE: python3 reads the JSON in FILE as r.
checked()
{
	python3 -c "import json, sys; r = json.load(open(sys.argv[1]))
$1" "$2"
}

the_report_begins_with_the_gate_which_the_baselines_fail()
{
	# shellcheck disable=SC2086 # words
	lineup bench $small --dir . --json r.json >report
	grep -q 'always-match baseline .*fails, as it must' report
	grep -q 'random baseline .*fails, as it must' report
	! grep -q 'FAILS\|MUST NOT' report
	[ "$(grep -n 'Exactness' report | cut -d: -f1)" -lt "$(grep -n 'Mcmp/s' report | head -n 1 | cut -d: -f1)" ]
	checked '
g = r["gate"]
assert g["pass"] and g["probes"] == 48, g
ours = [v for v in g["verdicts"] if not v["baseline"]]
base = [v for v in g["verdicts"] if v["baseline"]]
assert len(base) == 2 and not any(v["pass"] for v in base), base
assert len(ours) == 6 and all(v["pass"] and v["answers"] and not v["wrong"] for v in ours), ours
assert all(v["found"] == v["enrolled"] > 0 and v["alarms"] == 0 < v["strangers"] for v in ours), ours' r.json
}

json_holds_every_figure_with_its_rounds_and_limits()
{
	# shellcheck disable=SC2086 # words
	lineup bench $small --dir . --json r.json >/dev/null
	checked '
assert r["gallery"]["templates"] >= 1000 and r["gallery"]["dim"] == 64 and r["rounds"] == 7
assert [(s["where"], s["batch"]) for s in r["searches"]] == [("resident", 1), ("resident", 9), ("streamed", 1), ("streamed", 9)]
for s in r["searches"]:
    assert len(s["comparisons_per_second"]["rounds"]) == 7 and all(x > 0 for x in s["comparisons_per_second"]["rounds"])
    assert s["bound"] in ("RAM read", "multiply peak", "disk read") and s["fraction_of_bound"] > 0
    assert len(s["limit_ram"]["rounds"]) == 7 and (s["limit_disk"] is None) == (s["where"] == "resident")
    assert s["call_seconds"]["calls"] == 7 and s["call_seconds"]["p99_9"] is None
assert r["limits"]["ram_bytes_per_second"]["median"] > 0 and r["limits"]["disk_bytes_per_second"]["median"] > 0
assert r["enrolment"]["bulk_templates"] == 1000 and r["enrolment"]["single_seconds"]["calls"] >= 10
assert 0 < r["start"]["streaming_rss_bytes"] and r["start"]["load_bytes"] > 0' r.json
}

the_plot_is_well_formed()
{
	# shellcheck disable=SC2086 # words
	lineup bench $small --dir . --plot p.svg >/dev/null
	python3 -c '
import xml.etree.ElementTree as tree
root = tree.parse("p.svg").getroot()
texts = " ".join(t.text or "" for t in root.iter("{http://www.w3.org/2000/svg}text"))
for word in ("resident search", "streamed search", "RAM read", "disk read", "probes per call", "million comparisons a second"):
    assert word in texts, word
assert len(list(root.iter("{http://www.w3.org/2000/svg}polyline"))) == 2'
}

each_backend_passes_the_gate()
{
	for backend in $(lineup info --build | sed -n 's/^backend *\(.*\): available$/\1/p'); do
		# shellcheck disable=SC2086 # words
		lineup bench $small --dir . --backend "$backend" | grep -q "^backend $backend,"
	done
}

# A software device will do; the fact is skipped where there is none.
needs_device()
{
	lineup devices --format json >list 2>/dev/null || skip "no devices here"
	python3 -c 'import json, sys; sys.exit(not any(d["variant"] for d in json.load(open("list"))["devices"]))' || skip "no Vulkan device here"
}

a_batch_over_1024_takes_several_passes()
{
	# shellcheck disable=SC2086 # words
	lineup bench $small --batch 1025 --only resident --dir . --json r.json >report
	checked '
[s] = r["searches"]
assert (s["where"], s["batch"], s["passes"]) == ("resident", 1025, 2), s
assert r["start"] is None and r["devices"] is None and s["limit_device"] is None and s["limit_disk"] is None' r.json
	grep -q 'Start and memory: not measured' report
}

a_bench_on_devices_says_what_is_where_beside_their_limits()
{
	needs_device
	# shellcheck disable=SC2086 # words
	lineup bench $small --searches-only --backend vulkan-scalar --device 0 --dir . --json r.json --plot p.svg >report
	checked '
d = r["devices"]
assert r["backend"] == "vulkan-scalar" and d["count"] == 1 and d["name"], d
assert d["resident"]["rows_on_device"] == d["resident"]["rows"] == r["gallery"]["templates"], d
assert d["resident"]["pass_disk_bytes"] == d["resident"]["pass_upload_bytes"] == 0, d
assert d["streamed"]["rows_on_device"] == 0 and d["streamed"]["pass_disk_bytes"] > 0, d
assert d["streamed"]["pass_upload_bytes"] >= 64 * d["streamed"]["rows"] and d["streamed"]["staging"], d
for s in r["searches"]:
    streamed = s["where"] == "streamed"
    assert s["limit_ram"] is None and s["limit_device"]["median"] > 0, s
    assert (s["limit_disk"] is not None) == streamed == (s["limit_upload"] is not None), s
    assert s["bound"] != "RAM read" and s["fraction_of_bound"] > 0, s' r.json
	if [ "$(python3 -c 'import json; print(json.load(open("r.json"))["devices"]["software"])')" = True ]; then
		grep -q 'A SOFTWARE DEVICE' report
		grep -q 'A SOFTWARE DEVICE' p.svg
	fi
	grep -q 'limit: device read' p.svg
}

what_does_not_fit_onto_a_device_streams()
{
	needs_device
	# shellcheck disable=SC2086 # words
	lineup bench $small --batch 1 --only resident --backend vulkan-scalar --device 0 --device-memory 1K --dir . --json r.json >/dev/null
	checked '
d = r["devices"]["resident"]
assert d["rows_on_device"] == 0 and d["bytes_on_device"] == 0 and d["pass_disk_bytes"] > 0 and d["pass_upload_bytes"] > 0, d
assert r["searches"][0]["limit_upload"]["median"] > 0' r.json
}

info_says_what_would_stay_on_a_device()
{
	needs_device
	vectors random gallery.npy 1200 64 1
	lineup enrol g --vectors gallery.npy >/dev/null
	lineup info g --device 0 --format json >all
	lineup info g --device 0 --device-memory 1K --format json >none
	checked '
[d] = r["devices"]
assert d["rows"] == d["rows_kept"] == 1200 and 1200 * 64 <= d["bytes_kept"] == d["bytes"] <= d["memory"], d' all
	checked '
[d] = r["devices"]
assert d["rows"] == 1200 and d["rows_kept"] == d["bytes_kept"] == 0 and d["memory"] == 1024, d' none
	lineup info g --device 0 | grep -q '^device 0 .*: 1200 of its 1200 rows stay'
	status 1 lineup info g --device 77
	says 'no Vulkan device'
	status 2 lineup info --build --device 0
	status 2 lineup info g --device-memory 1K
}

a_given_gallery_is_only_read()
{
	vectors random gallery.npy 1200 64 1
	lineup enrol g --vectors gallery.npy >/dev/null
	sum=$(cat g/* | cksum)
	lineup bench --gallery g --batch 1 --quick >report
	grep -q 'Enrolment: not measured' report
	[ "$sum" = "$(cat g/* | cksum)" ]
}

a_gallery_of_copies_is_not_judged()
{
	python3 -c 'import struct
open("copies.fvecs", "wb").write(1000 * struct.pack("<i64f", 64, *range(64)))'
	lineup enrol g --vectors copies.fvecs >/dev/null
	status=0
	lineup bench --gallery g --batch 1 --quick >report 2>message || status=$?
	[ "$status" = 1 ]
	grep -q 'cannot be judged' message
	! grep -q 'Mcmp' report
}

nothing_is_left_behind()
{
	mkdir scratch
	# shellcheck disable=SC2086 # words
	lineup bench $small --dir scratch >/dev/null
	[ -z "$(ls -A scratch)" ]
}

an_interrupted_run_leaves_nothing_behind()
{
	mkdir scratch
	"$LINEUP" bench --n 200000 --dim 512 --dir scratch >report 2>message &
	pid=$!
	until ls -d scratch/*/gallery >/dev/null 2>&1; do sleep 0.05; done
	kill -TERM "$pid"
	status=0
	wait "$pid" || status=$?
	[ "$status" = 1 ]
	[ -z "$(ls -A scratch)" ]
	! grep -q 'Mcmp' report
}

wrong_sizes_are_refused()
{
	for wrong in '--n 999' '--dim 63' '--dim 4097' '--batch 0' '--batch 4097' '--seconds -1' '--device-memory 0' '--rounds 6' '-k 0'; do
		status=0
		# shellcheck disable=SC2086 # words
		lineup bench $wrong --dir . 2>message || status=$?
		[ "$status" = 1 ]
		[ "$(wc -l <message)" = 1 ]
	done
	status=0
	lineup bench --gallery g --n 1000 2>/dev/null || status=$?
	[ "$status" = 2 ]
}

facts the_report_begins_with_the_gate_which_the_baselines_fail json_holds_every_figure_with_its_rounds_and_limits \
	the_plot_is_well_formed each_backend_passes_the_gate a_batch_over_1024_takes_several_passes \
	a_bench_on_devices_says_what_is_where_beside_their_limits what_does_not_fit_onto_a_device_streams info_says_what_would_stay_on_a_device a_given_gallery_is_only_read a_gallery_of_copies_is_not_judged \
	nothing_is_left_behind an_interrupted_run_leaves_nothing_behind wrong_sizes_are_refused
