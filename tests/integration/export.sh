#!/bin/bash
# SPDX-License-Identifier: MIT
# lineup export: what comes out can be enrolled again, and files are never half there.
# Facts are called by their names, arguments may be names of files, and $0 belongs to the inner shell:
# shellcheck disable=SC2317,SC2094,SC2016
# shellcheck source=tests/integration/tap
. "$(dirname "$0")/tap"

an_export_enrols_again_to_the_same_answers()
{
	vectors random a.npy 200 24 1
	python3 - <<-'END'
		with open("a.csv", "w", encoding="utf-8") as f:
		    f.write("subject,lists,expires\n")
		    for i in range(200):
		        f.write(f"s{i // 3},{'odd;third' if i % 3 == 1 else 'odd' if i % 2 else ''},{'2030-01-02T03:04:05Z' if i % 5 == 0 else ''}\n")
	END
	lineup enrol g --vectors a.npy --subjects a.csv
	lineup delete g --subject s4
	status 0 lineup export g --vectors o.npy --subjects o.csv
	grep -qE '^rows +197$' out
	equal "$(vectors shape o.npy)" '197 24 <f4'
	lineup enrol h --vectors o.npy --subjects o.csv
	for more in '' '--lists odd' '--lists third' '--now 2031-01-01'; do
		# shellcheck disable=SC2086 # words
		lineup search g --probes a.npy -k 9 --format tsv $more | cut -f1-3,5 >want
		# shellcheck disable=SC2086
		lineup search h --probes a.npy -k 9 --format tsv $more | cut -f1-3,5 | diff want -
	done
	lineup export h --vectors p.npy --subjects p.csv
	diff o.csv p.csv
	vectors same o.npy p.npy
}

exported_vectors_are_those_enrolled()
{
	vectors random a.npy 30 7 3
	lineup enrol g --vectors a.npy
	lineup export g --vectors o.npy
	vectors same a.npy o.npy
}

subjects_are_quoted()
{
	vectors rows a.npy '<f4' '1 0;1 1;1 2;1 3;1 4'
	printf 'subject\n"a,b"\n"say ""x"""\n" lead; trail "\n\xf0\x9f\x99\x82\n""""\n' >a.csv
	lineup enrol g --vectors a.npy --subjects a.csv
	lineup export g --vectors o.npy --subjects o.csv
	python3 - <<-'END'
		import csv
		rows = list(csv.DictReader(open("o.csv", encoding="utf-8", newline="")))
		assert [r["subject"] for r in rows] == ["a,b", 'say "x"', " lead; trail ", "\U0001f642", '"'], rows
		assert all(r["lists"] == "" and r["expires"] == "" for r in rows)
	END
	lineup enrol h --vectors o.npy --subjects o.csv
	lineup export h --vectors p.npy --subjects p.csv
	diff o.csv p.csv
}

an_existing_file_is_replaced_by_force_only()
{
	vectors random a.npy 3 4 1
	lineup enrol g --vectors a.npy
	echo mine >o.csv
	refused g o.csv exists -- lineup export g --vectors o.npy --subjects o.csv
	[ ! -e o.npy ]
	equal "$(cat o.csv)" mine
	ln -s nowhere.npy l.npy
	refused g l.npy exists -- lineup export g --vectors l.npy
	lineup export g --vectors o.npy --subjects o.csv --force
	equal "$(wc -l <o.csv)" 4
	lineup export g --vectors o.npy --force
}

a_failed_export_leaves_nothing()
{
	vectors random a.npy 3 4 1
	lineup enrol g --vectors a.npy
	mkdir d
	before=$(ls -A . d)
	refused g 'd/none/o.csv' 'No such file' -- lineup export g --vectors d/o.npy --subjects d/none/o.csv
	refused g 'npy' -- lineup export g --vectors o.txt
	refused g 'npy' -- lineup export g --vectors -
	refused g 'one file' -- lineup export g --vectors o.npy --subjects o.npy
	rm -f out err
	equal "$before" "$(ls -A . d)"
	# A file larger than this process may write.
	vectors random big.npy 2000 64 1
	lineup enrol b --vectors big.npy
	status 1 bash -c 'ulimit -f 200; trap "" XFSZ; exec "$0" "$@"' "$LINEUP" export b --vectors d/o.npy --subjects d/o.csv
	says 'd/o.npy' 'too large'
	equal "$(ls -A d)" ''
}

exports_are_the_owners_only()
{
	vectors random a.npy 3 4 1
	lineup enrol g --vectors a.npy
	umask 000
	lineup export g --vectors o.npy --subjects o.csv
	equal "$(stat -c %a o.npy o.csv | sort -u)" 600
}

an_empty_gallery_exports_no_rows()
{
	vectors rows a.npy '<f4' '1 0'
	lineup enrol g --vectors a.npy
	lineup delete g --subject 0
	lineup export g --vectors o.npy --subjects o.csv
	equal "$(vectors shape o.npy)" '0 2 <f4'
	equal "$(cat o.csv)" 'subject,lists,expires'
}

facts an_export_enrols_again_to_the_same_answers exported_vectors_are_those_enrolled subjects_are_quoted \
	an_existing_file_is_replaced_by_force_only a_failed_export_leaves_nothing exports_are_the_owners_only \
	an_empty_gallery_exports_no_rows
