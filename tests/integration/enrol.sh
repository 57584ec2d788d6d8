#!/bin/bash
# SPDX-License-Identifier: MIT
# lineup enrol: formats, subjects, lists, expiry, operation ids.
# Facts are called by their names, arguments may be names of files, and $0 belongs to the inner shell:
# shellcheck disable=SC2317,SC2094,SC2016
# shellcheck source=tests/integration/tap
. "$(dirname "$0")/tap"

enrol_creates_the_gallery()
{
	vectors random a.npy 7 12 1
	status 0 lineup enrol g --vectors a.npy --model m1
	grep -qE '^rows +7$' out
	grep -qE '^first template +0$' out
	grep -qE '^sequence +1$' out
	grep -qE '^op id +[0-9a-f]{32}$' out
	lineup info g --format json >info
	equal "$(field templates info)" 7
	equal "$(field dim info)" 12
	equal "$(field model info)" m1
	equal "$(field store info)" float32
}

without_a_file_of_subjects_rows_are_named_by_template()
{
	vectors random a.npy 3 8 1
	lineup enrol g --vectors a.npy
	lineup enrol g --vectors a.npy --op-id 0123456789abcdef0123456789ABCDEF
	lineup export g --vectors o.npy --subjects o.csv
	equal "$(cut -d, -f1 o.csv | tr -d '"' | tr '\n' ' ')" "subject 0 1 2 3 4 5 "
}

all_formats_of_vectors_are_read()
{
	vectors random a.fvecs 5 6 1
	vectors random b.bvecs 5 6 1
	vectors rows c.npy '<f8' '1 2 3 4 5 6;6 5 4 3 2 1'
	vectors rows d.npy '>f2' '1 2 3 4 5 6'
	for file in a.fvecs b.bvecs c.npy d.npy; do
		lineup enrol g --vectors "$file"
	done
	lineup enroll g --vectors - <c.npy
	lineup enrol g --vectors - < <(cat a.fvecs)
	lineup info g --format json >info
	equal "$(field templates info)" 20
	# The double precision row and the float16 row hold the same numbers: equal scores, the lower template first.
	lineup search g --probes d.npy -k 3 --per template --format tsv >found
	equal "$(cut -f4 found | head -3 | tr '\n' ' ')" "10 12 13 "
}

many_templates_may_share_a_subject()
{
	vectors random a.npy 4 8 1
	printf 'subject\nann\nbob\nann\nann\n' >a.csv
	lineup enrol g --vectors a.npy --subjects a.csv
	lineup info g --format json >info
	equal "$(field subjects info)" 2
	lineup search g --probes a.npy -k 4 --format tsv >found
	equal "$(grep -c '^0' found)" 2
}

subjects_are_read_from_standard_input()
{
	vectors random a.npy 2 8 1
	printf '\xef\xbb\xbfexpires,subject,note\r\n,"a ""q"", x",1\r\nnever,\xc3\xa9,2\r\n' | lineup enrol g --vectors a.npy --subjects -
	lineup search g --probes a.npy -k 1 --format tsv >found
	equal "$(cut -f3 found)" "$(printf 'a "q", x\n\303\251')"
}

lists_and_expiry_of_a_row_and_of_all_rows_add_up()
{
	vectors random a.npy 3 8 1
	printf 'subject,lists,expires\na,red;blue,2030-01-01\nb,,\nc,"red,green",1\n' >a.csv
	lineup enrol g --vectors a.npy --subjects a.csv --lists all,x.y --lists red --expires 2031-02-03T04:05:06Z
	lineup export g --vectors o.npy --subjects o.csv
	sed -n 2p o.csv | grep -q '2030-01-01T00:00:00Z$'
	sed -n 3p o.csv | grep -q '2031-02-03T04:05:06Z$'
	sed -n 4p o.csv | grep -q '1970-01-01T00:00:01Z$'
	equal "$(sed -n 2p o.csv | cut -d, -f2 | tr ';' '\n' | sort | tr '\n' ' ')" "all blue red x.y "
	equal "$(sed -n 3p o.csv | cut -d, -f2 | tr ';' '\n' | sort | tr '\n' ' ')" "all red x.y "
	equal "$(sed -n 4p o.csv | cut -d, -f2 | tr ';' '\n' | sort | tr '\n' ' ')" "all green red x.y "
}

a_repeated_op_id_changes_nothing()
{
	vectors random a.npy 3 8 1
	vectors random b.npy 5 8 2
	lineup enrol g --vectors a.npy --op-id 00000000000000000000000000000001
	lineup enrol g --vectors b.npy
	before=$(fingerprint g)
	status 0 lineup enrol g --vectors a.npy --op-id 00000000000000000000000000000001
	equal "$before" "$(fingerprint g)"
	grep -q 'nothing changed' out
	grep -qE '^first template +0$' out
	grep -qE '^sequence +1$' out
}

equal_histories_have_equal_digests()
{
	vectors random a.npy 3 8 1
	for g in g h; do
		lineup enrol "$g" --vectors a.npy --op-id 00000000000000000000000000000001
		lineup info "$g" --format json >"$g.info"
	done
	lineup enrol h --vectors a.npy
	lineup info h --format json >i.info
	equal "$(field digest g.info)" "$(field digest h.info)"
	[ "$(field digest g.info)" != "$(field digest i.info)" ]
}

float16_galleries_store_half()
{
	vectors random a.npy 50 64 1
	status 0 lineup enrol g --vectors a.npy --store float16
	lineup info g --format json >info
	equal "$(field store info)" float16
	refused g '--store' 'float16' -- lineup enrol g --vectors a.npy --store float32
	lineup enrol g --vectors a.npy --store=float16
	lineup check g
}

options_stand_anywhere_and_take_an_equals_sign()
{
	vectors random a.npy 3 8 1
	lineup enrol --vectors=a.npy --lists=one g
	lineup search --probes=a.npy g -k2 --format=tsv --lists one >found
	equal "$(wc -l <found)" 6
	lineup search --probes a.npy -- g >/dev/null
}

facts enrol_creates_the_gallery without_a_file_of_subjects_rows_are_named_by_template all_formats_of_vectors_are_read \
	many_templates_may_share_a_subject subjects_are_read_from_standard_input lists_and_expiry_of_a_row_and_of_all_rows_add_up \
	a_repeated_op_id_changes_nothing equal_histories_have_equal_digests float16_galleries_store_half \
	options_stand_anywhere_and_take_an_equals_sign
