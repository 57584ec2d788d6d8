#!/bin/bash
# SPDX-License-Identifier: MIT
# lineup delete and lineup compact: what goes, what stays, and that deleted templates leave the disk.
# Facts are called by their names, arguments may be names of files, and $0 belongs to the inner shell:
# shellcheck disable=SC2317,SC2094,SC2016
# shellcheck source=tests/integration/tap
. "$(dirname "$0")/tap"

# Twelve rows of three subjects.
people()
{
	vectors random a.npy 12 16 1
	printf 'subject\nann\nbob\ncat\nann\nbob\ncat\nann\nbob\ncat\nann\nbob\ncat\n' >a.csv
	lineup enrol g --vectors a.npy --subjects a.csv --op-id 00000000000000000000000000000001 >/dev/null
}

a_deleted_subject_is_not_found()
{
	people
	status 0 lineup delete g --subject ann
	grep -qE '^rows deleted +4$' out
	grep -qE '^sequence +2$' out
	lineup search g --probes a.npy --format tsv | cut -f3 | sort -u | tr '\n' ' ' >found
	equal "$(cat found)" 'bob cat '
	lineup info g --format json >info
	equal "$(field templates info)" 8
	equal "$(field templates_deleted info)" 4
	equal "$(field subjects info)" 2
	lineup check g
}

a_deleted_template_is_not_found()
{
	people
	status 0 lineup delete g --template 3
	grep -qE '^rows deleted +1$' out
	lineup search g --probes a.npy -k 12 --per template --format tsv | cut -f4 | sort -nu | tr '\n' ' ' >found
	equal "$(cat found)" '0 1 2 4 5 6 7 8 9 10 11 '
}

a_subject_can_come_back()
{
	people
	lineup delete g --subject ann
	vectors take a.npy 0 1 one.npy
	printf 'subject\nann\n' >one.csv
	lineup enrol g --vectors one.npy --subjects one.csv
	lineup search g --probes one.npy -k 1 --format tsv >found
	equal "$(cut -f3,4 found)" "$(printf 'ann\t12')"
}

a_repeated_op_id_deletes_once()
{
	people
	lineup delete g --subject ann --op-id 000000000000000000000000000000aa
	lineup enrol g --vectors a.npy --subjects a.csv
	before=$(fingerprint g)
	status 0 lineup delete g --subject ann --op-id 000000000000000000000000000000AA
	grep -q 'nothing changed' out
	equal "$before" "$(fingerprint g)"
}

compaction_keeps_answers_ids_and_digest()
{
	people
	lineup delete g --subject bob
	lineup search g --probes a.npy -k 12 --per template --format tsv >want
	lineup info g --format json >before
	status 0 lineup compact g
	grep -qE '^rows dropped +4$' out
	grep -qE '^files held +0$' out
	lineup search g --probes a.npy -k 12 --per template --format tsv | diff want -
	lineup info g --format json >after
	for name in digest sequence templates templates_next subjects model; do
		equal "$(field "$name" before)" "$(field "$name" after)"
	done
	equal "$(field templates_deleted after)" 0
	lineup check g
	status 0 lineup compact g
	grep -qE '^rows dropped +0$' out
}

operation_ids_are_known_after_compaction()
{
	people
	lineup delete g --subject bob --op-id 000000000000000000000000000000bb
	lineup compact g
	before=$(fingerprint g)
	lineup enrol g --vectors a.npy --subjects a.csv --op-id 00000000000000000000000000000001 >out
	grep -q 'nothing changed' out
	lineup delete g --subject bob --op-id 000000000000000000000000000000bb >out
	grep -q 'nothing changed' out
	equal "$before" "$(fingerprint g)"
}

# bytes_are_there FILE GALLERY: whether any row of a float32 .npy is in the gallery's files, as bytes.
bytes_are_there()
{
	python3 - "$@" <<-'END'
		import os, sys
		rows = open(sys.argv[1], "rb").read()[-64:]
		files = [os.path.join(sys.argv[2], f) for f in os.listdir(sys.argv[2])]
		sys.exit(0 if any(rows in open(f, "rb").read() for f in files) else 1)
	END
}

deleted_templates_leave_the_disk_with_compaction()
{
	# Rows of length 1 in exact powers of two are stored as they are, so that their bytes can be looked for.
	vectors rows keep.npy '<f4' '0.5 0.5 0.5 0.5 0 0 0 0 0 0 0 0 0 0 0 0'
	vectors rows gone.npy '<f4' '0 0 0 0 0.25 0.25 -0.25 0.25 0.25 0.25 0.25 -0.25 0.5 -0.5 0 0'
	printf 'subject\nKEPT-SUBJECT-7391\n' >keep.csv
	printf 'subject\nGONE-SUBJECT-7391\n' >gone.csv
	lineup enrol g --vectors keep.npy --subjects keep.csv
	lineup enrol g --vectors gone.npy --subjects gone.csv
	bytes_are_there keep.npy g
	bytes_are_there gone.npy g
	lineup delete g --subject GONE-SUBJECT-7391
	lineup compact g
	bytes_are_there keep.npy g
	grep -rq KEPT-SUBJECT-7391 g
	no bytes_are_there gone.npy g
	no grep -rq GONE-SUBJECT-7391 g
}

old_files_are_overwritten_not_only_unlinked()
{
	vectors rows gone.npy '<f4' '0 0 0 0 0.25 0.25 -0.25 0.25 0.25 0.25 0.25 -0.25 0.5 -0.5 0 0'
	lineup enrol g --vectors gone.npy
	lineup delete g --template 0
	# Other names for the same files keep what is on the disk.
	mkdir kept
	ln g/* kept/
	bytes_are_there gone.npy kept
	lineup compact g
	no bytes_are_there gone.npy kept
}

searches_go_on_beside_deletion_and_compaction()
{
	vectors random a.npy 400 16 1
	lineup enrol g --vectors a.npy
	for i in $(seq 40); do
		lineup delete g --template "$i" >/dev/null
		[ $((i % 10)) != 0 ] || lineup compact g >/dev/null
	done &
	for _ in $(seq 40); do
		lineup search g --probes a.npy -k 1 --per template --format json >found
		# One state of the gallery: as many rows are missing as operations went before.
		python3 - <<-'END'
			import json
			answers = [json.loads(line) for line in open("found")]
			deleted = answers[0]["sequence"] - 1
			assert all(a["sequence"] == deleted + 1 for a in answers)
			best = [a["candidates"][0]["template"] for a in answers]
			for row in range(400):
			    assert (best[row] == row) == (row == 0 or row > deleted), (row, best[row], deleted)
		END
	done
	wait $!
	lineup check g
}

facts a_deleted_subject_is_not_found a_deleted_template_is_not_found a_subject_can_come_back a_repeated_op_id_deletes_once \
	compaction_keeps_answers_ids_and_digest operation_ids_are_known_after_compaction \
	deleted_templates_leave_the_disk_with_compaction old_files_are_overwritten_not_only_unlinked \
	searches_go_on_beside_deletion_and_compaction
