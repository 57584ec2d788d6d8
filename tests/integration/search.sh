#!/bin/bash
# SPDX-License-Identifier: MIT
# lineup search and lineup verify: results beside an independent search, options, formats.
# Facts are called by their names, arguments may be names of files, and $0 belongs to the inner shell:
# shellcheck disable=SC2317,SC2094,SC2016
# shellcheck source=tests/integration/tap
. "$(dirname "$0")/tap"

results_are_those_of_an_independent_search()
{
	vectors random gallery.npy 700 33 1
	vectors random probes.npy 20 33 2
	lineup enrol g --vectors gallery.npy
	lineup search g --probes probes.npy -k 12 --per template --format tsv >found
	vectors judge gallery.npy probes.npy 12 found
	# Each row is a subject of its own, named by the row.
	lineup search g --probes probes.npy -k 12 --format tsv >found
	vectors judge gallery.npy probes.npy 12 found
	awk -F '\t' '$3 != $4 { exit 1 }' found
}

backends_threads_and_residency_do_not_change_results()
{
	vectors random gallery.npy 2000 40 1
	vectors random probes.npy 7 40 2
	lineup enrol g --vectors gallery.npy
	lineup search g --probes probes.npy -k 20 --format tsv >want
	for backend in $(lineup info --build | sed -n 's/^backend *\(.*\): available$/\1/p'); do
		for more in --resident --stream '--threads 1' '--threads 3 --stream'; do
			# shellcheck disable=SC2086 # words
			lineup search g --probes probes.npy -k 20 --format tsv --backend "$backend" $more | diff want -
		done
	done
}

a_subject_appears_once_with_its_best_template()
{
	vectors rows gallery.npy '<f4' '1 0 0;0 1 0;1 1 0;0 0 1'
	printf 'subject\nann\nann\nbob\ncat\n' >g.csv
	lineup enrol g --vectors gallery.npy --subjects g.csv
	vectors rows probe.npy '<f4' '2 1 0'
	lineup search g --probes probe.npy --format tsv >found
	printf '0\t1\tbob\t2\t0.948683\n0\t2\tann\t0\t0.894427\n0\t3\tcat\t3\t0.000000\n' | diff - found
}

ties_go_to_the_lower_template()
{
	vectors rows gallery.npy '<f4' '3 4;6 8;3 4;-3 -4'
	lineup enrol g --vectors gallery.npy
	vectors rows probe.npy '<f4' '3 4'
	lineup search g --probes probe.npy -k 2 --per template --format tsv >found
	printf '0\t1\t0\t0\t1.000000\n0\t2\t1\t1\t1.000000\n' | diff - found
}

threshold_cuts_off()
{
	vectors rows gallery.npy '<f4' '1 0;1 1;0 1;-1 0'
	lineup enrol g --vectors gallery.npy
	vectors rows probes.npy '<f4' '1 0;-1 -1'
	lineup search g --probes probes.npy --threshold 0.7 --format tsv >found
	equal "$(cut -f1,4 found | tr '\t\n' ':;')" '0:0;0:1;1:3;'
	lineup search g --probes probes.npy --threshold=-1 --format tsv >found
	equal "$(wc -l <found)" 8
	lineup search g --probes probes.npy --threshold 0.999 >found
	grep -q '^probe 1: no candidate above the threshold$' found
}

lists_choose_templates()
{
	vectors rows gallery.npy '<f4' '1 0;1 1;0 1;1 2'
	printf 'subject,lists\na,red\nb,blue\nc,red;blue\nd,\n' >g.csv
	lineup enrol g --vectors gallery.npy --subjects g.csv
	lineup search g --probes gallery.npy --lists red --format tsv | cut -f3 | sort -u | tr '\n' ' ' >red
	lineup search g --probes gallery.npy --lists red,blue --format tsv | cut -f3 | sort -u | tr '\n' ' ' >both
	lineup search g --probes gallery.npy --lists red --lists blue --format tsv | cut -f3 | sort -u | tr '\n' ' ' >both_again
	equal "$(cat red)" 'a c '
	equal "$(cat both)" 'a b c '
	equal "$(cat both_again)" 'a b c '
}

expired_templates_do_not_match()
{
	vectors rows gallery.npy '<f4' '1 0;1 1;1 2'
	printf 'subject,expires\na,2030-06-01T12:00:00Z\nb,never\nc,2020-01-01\n' >g.csv
	lineup enrol g --vectors gallery.npy --subjects g.csv
	found_at()
	{
		lineup search g --probes gallery.npy --now "$1" --format tsv | cut -f3 | sort -u | tr '\n' ' '
	}
	equal "$(found_at 2019-12-31T23:59:59Z)" 'a b c '
	equal "$(found_at 2020-01-01)" 'a b '
	equal "$(found_at 2030-06-01T11:59:59Z)" 'a b '
	equal "$(found_at 2030-06-01T12:00:00Z)" 'b '
	lineup search g --probes gallery.npy --format tsv | cut -f3 >found
	no grep -qx c found
	status 1 lineup verify g --probes gallery.npy --subject a --now 2031-01-01
	says 'subject a' 'expired'
}

more_probes_than_share_a_pass_come_in_order()
{
	vectors random gallery.npy 300 8 1
	vectors random probes.npy 2600 8 2
	lineup enrol g --vectors gallery.npy
	lineup search g --probes probes.npy -k 1 --format tsv >found
	cut -f1 found | diff <(seq 0 2599) -
	vectors take probes.npy 2047 3 few.npy
	lineup search g --probes few.npy -k 1 --format tsv | cut -f2- | diff <(sed -n 2048,2050p found | cut -f2-) -
	# Large k: fewer probes share a pass, the same answers.
	lineup search g --probes probes.npy -k 4096 --format tsv | awk -F '\t' '$2 == 1' | diff found -
}

probes_come_from_standard_input()
{
	vectors random a.fvecs 40 8 1
	lineup enrol g --vectors a.fvecs
	lineup search g --probes a.fvecs --format tsv >want
	lineup search g --probes - --format tsv < <(cat a.fvecs) | diff want -
	lineup search g --probes - --format tsv <a.fvecs | diff want -
}

a_gallery_emptied_by_deletion_has_no_candidates()
{
	vectors rows a.npy '<f4' '1 0'
	lineup enrol g --vectors a.npy
	lineup delete g --template 0
	status 0 lineup search g --probes a.npy --format tsv
	[ ! -s out ]
	status 0 lineup search g --probes a.npy
	grep -q '^probe 0: no candidate$' out
}

json_is_one_valid_object_a_probe_with_the_facts()
{
	vectors rows a.npy '<f4' '1 0 0;0 1 0;0 0 1'
	printf 'subject\n"a""\\/\xe2\x80\xa8"\n\xf0\x9f\x99\x82\n<&>\n' >a.csv
	lineup enrol g --vectors a.npy --subjects a.csv --model 'm "1"'
	lineup search g --probes a.npy -k 2 --format json >found
	lineup search g --probes a.npy -k 2 --format tsv >tsv
	lineup info g --format json >info
	python3 - <<-'END'
		import json
		answers = [json.loads(line) for line in open("found", encoding="utf-8").read().split("\n")[:-1]]
		info = json.load(open("info", encoding="utf-8"))
		lines = [f"{a['probe']}\t{c['rank']}\t{c['subject']}\t{c['template']}\t{c['score']:.6f}" for a in answers for c in a["candidates"]]
		assert lines == open("tsv", encoding="utf-8").read().split("\n")[:-1], lines
		assert [a["candidates"][0]["subject"] for a in answers] == ['a"\\/\u2028', "\U0001f642", "<&>"]
		for a in answers:
		    assert a["gallery_digest"] == info["digest"] and a["sequence"] == info["sequence"] == 1
		    assert a["model"] == info["model"] == 'm "1"'
		    assert a["rows"] == 3 and a["rows_scanned"] == 3 * a["passes"] and a["probes"] == 3
		    assert a["backend"] in ("scalar", "avx2", "avx512", "neon") and a["rows_reranked"] >= 3 and a["seconds"] > 0
	END
}

the_table_speaks_of_candidates_only()
{
	vectors random a.npy 5 8 1
	lineup enrol g --vectors a.npy
	lineup search g --probes a.npy >found
	grep -q 'candidates' found
	grep -q 'a person decides' found
	no grep -qiE 'match|identif|recogni' found
	grep -q "gallery $(lineup info g --format json | python3 -c 'import json; print(json.loads(input())["digest"][:12])')" found
}

verify_scores_the_best_template_of_the_subject()
{
	vectors rows a.npy '<f4' '1 0;1 1;0 1'
	printf 'subject\nann\nann\nbob\n' >a.csv
	lineup enrol g --vectors a.npy --subjects a.csv
	vectors rows probes.npy '<f4' '2 1;0 -1'
	lineup verify g --probes probes.npy --subject ann --format tsv >found
	printf '0\t1\tann\t1\t0.948683\n1\t1\tann\t0\t0.000000\n' | sed 's/\t-0\.0/\t0.0/' | diff - <(sed 's/-0\.000000/0.000000/' found)
	lineup verify g --probes probes.npy --subject bob --format json >found
	equal "$(field template found)" 2
	lineup verify g --probes probes.npy --subject bob >found
	grep -qE '^ +0 +2 +0\.447214$' found
	vectors random many.npy 3000 2 1
	lineup verify g --probes many.npy --subject bob --format tsv | cut -f1 | diff <(seq 0 2999) -
}

verify_agrees_with_search()
{
	vectors random a.npy 60 16 1
	lineup enrol g --vectors a.npy
	vectors random probes.npy 4 16 2
	for subject in 0 17 59; do
		lineup verify g --probes probes.npy --subject "$subject" --format json | python3 -c '
import json, sys
for line in sys.stdin:
    a = json.loads(line)
    print(a["probe"], a["template"], a["score"])' >verified
		lineup search g --probes probes.npy -k 60 --format json | python3 -c '
import json, sys
for line in sys.stdin:
    a = json.loads(line)
    print(*[(a["probe"], c["template"], c["score"]) for c in a["candidates"] if c["subject"] == sys.argv[1]][0])' "$subject" | diff verified -
	done
}

facts results_are_those_of_an_independent_search backends_threads_and_residency_do_not_change_results \
	a_subject_appears_once_with_its_best_template ties_go_to_the_lower_template threshold_cuts_off lists_choose_templates \
	expired_templates_do_not_match more_probes_than_share_a_pass_come_in_order probes_come_from_standard_input \
	a_gallery_emptied_by_deletion_has_no_candidates json_is_one_valid_object_a_probe_with_the_facts \
	the_table_speaks_of_candidates_only verify_scores_the_best_template_of_the_subject verify_agrees_with_search
