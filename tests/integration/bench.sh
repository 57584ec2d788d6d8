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
	the_plot_is_well_formed each_backend_passes_the_gate a_given_gallery_is_only_read a_gallery_of_copies_is_not_judged \
	nothing_is_left_behind an_interrupted_run_leaves_nothing_behind wrong_sizes_are_refused
