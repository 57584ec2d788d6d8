#!/bin/sh
# SPDX-License-Identifier: MIT
# What `make demo` shows: the bundled faces enrolled, searched, and the candidates put beside who the probes really are.
set -eu
cd "$(dirname "$0")/.."
export LC_ALL=C

build=${BUILD:-build}
gallery=$build/demo/gallery

milliseconds()
{
	echo $(($(date +%s%N) / 1000000))
}

# Prints a command as one would type it, runs it, and says how long it took.
show()
{
	printf '\n$ lineup %s\n' "$*"
	begin=$(milliseconds)
	"$build/lineup" "$@"
	echo "  ($(($(milliseconds) - begin)) ms)"
}

rm -rf "$build/demo"
mkdir -p "$build/demo"
echo 'Enrolling 480 real face embeddings of 80 people, six images each (tests/data/README.md), and searching for eight more images.'
show enrol "$gallery" --vectors tests/data/faces-sample.npy --subjects tests/data/faces-sample.csv --model face-api-128
show info "$gallery"
show search "$gallery" --probes tests/data/faces-probes.npy -k 3

printf '\nWho the probes are:\n\n'
"$build/lineup" search "$gallery" --probes tests/data/faces-probes.npy -k 1 --format tsv |
	awk -F '\t' '
		FILENAME == "-" { best[$1] = $3; score[$1] = $5; next }
		{ split($0, field, ",") }
		FNR > 1 {
			printf "  probe %d is %s, %-13s first candidate %s with %s: %s\n", field[1], field[2],
				field[3] == "yes" ? "enrolled;" : "not enrolled;", best[field[1]], score[field[1]],
				best[field[1]] == field[2] ? "the same person" : "another person"
		}' - tests/data/faces-probes.csv
cat <<END

Two of the eight are of people who are not in the gallery, and still have candidates: a search ranks whoever is there.
A score is never a decision. Candidates are for a person to judge; --threshold cuts off those that are too far.

The gallery is $gallery, the program $build/lineup: 'lineup help' lists its commands.
END
