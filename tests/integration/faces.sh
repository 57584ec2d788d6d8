#!/bin/bash
# SPDX-License-Identifier: MIT
# Real face embeddings: the bundled sample, and the whole set beside the repository, whose exact results were computed elsewhere.
# Facts are called by their names, arguments may be names of files, and $0 belongs to the inner shell:
# shellcheck disable=SC2317,SC2094,SC2016
# shellcheck source=tests/integration/tap
. "$(dirname "$0")/tap"

faces=${LINEUP_FACES:-$here/../../../shared/data/faces}

the_bundled_sample_gives_the_results_of_an_independent_search()
{
	lineup enrol g --vectors "$data/faces-sample.npy" --subjects "$data/faces-sample.csv" --model face-api-128
	lineup search g --probes "$data/faces-probes.npy" -k 25 --per template --format tsv >found
	vectors judge "$data/faces-sample.npy" "$data/faces-probes.npy" 25 found
	# The subject of a candidate is that of its row.
	while IFS=$'\t' read -r _ _ subject row _; do
		equal "$subject" "$(sed -n "$((row + 2))p" "$data/faces-sample.csv")"
	done <found
}

# top_five FILE: enrols all rows, searches rows 0 to 9, and compares with the list in stats.txt; a row is not its own neighbour.
top_five()
{
	[ -f "$faces/$1" ] || skip "no $faces/$1; LINEUP_FACES names the directory"
	awk -F, 'NR == 1 { print "subject"; next } { print $2 }' "$faces/subjects.csv" >subjects.csv
	lineup enrol g --vectors "$faces/$1" --subjects subjects.csv --model face-api-128
	lineup check g
	vectors take "$faces/$1" 0 10 probes.npy
	awk -v file="$1" '
		/^===/ { here = index($0, "=== " file ":") == 1 }
		here && /^ *[0-9]: / {
			probe = $1 + 0
			for (i = 2; i <= NF; i++) {
				gsub(/\*/, "", $i)
				split($i, part, ":")
				print probe "\t" i - 1 "\t" part[1] "\t" part[2]
			}
		}' "$faces/stats.txt" >want
	equal "$(wc -l <want)" 50
	for how in --resident --stream '--backend scalar --threads 1'; do
		# shellcheck disable=SC2086 # words
		lineup search g --probes probes.npy -k 6 --per template --format tsv $how >found
		# The row itself scores 1 and comes first.
		awk -F '\t' '$2 == 1 { if ($1 != $4 || $5 != "1.000000") exit 1; next } { print $1 "\t" $2 - 1 "\t" $4 "\t" $5 }' found | diff want -
	done
	# By subject: the best of each, the searched one first.
	lineup search g --probes probes.npy -k 500 --format tsv >found
	for probe in 0 1 2 3 4 5 6 7 8 9; do
		equal "$(awk -F '\t' -v p="$probe" '$1 == p { print $3 }' found | sort -u | wc -l)" 500
	done
}

the_whole_set_gives_the_published_top_five()
{
	top_five faces.npy
}

the_centred_set_gives_the_published_top_five()
{
	top_five faces_centered.npy
}

all_faces_survive_export_and_float16_keeps_who_is_first()
{
	[ -f "$faces/faces_centered.npy" ] || skip "no $faces/faces_centered.npy; LINEUP_FACES names the directory"
	lineup enrol g --vectors "$faces/faces_centered.npy"
	lineup export g --vectors out.npy
	vectors same "$faces/faces_centered.npy" out.npy
	lineup enrol h --vectors out.npy --store float16
	lineup search g --probes out.npy -k 1 --format tsv | cut -f1-4 >want
	lineup search h --probes out.npy -k 1 --format tsv | cut -f1-4 | diff want -
}

facts the_bundled_sample_gives_the_results_of_an_independent_search the_whole_set_gives_the_published_top_five \
	the_centred_set_gives_the_published_top_five all_faces_survive_export_and_float16_keeps_who_is_first
