// SPDX-License-Identifier: MIT
// Nothing lost: the machine stops at every step of groups, of replacements, and of maintenance with operations beside it.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crash_bed.h"
#include "internal.h"

static void groups_are_their_operations_in_order(void **state)
{
	struct crash_scenario scenario = { .name = "group" };
	struct ledger_op ops[5];

	(void)state;
	crash_furnish(&scenario);
	scenario.record_bytes = 20000;
	ops[0] = crash_enrol(21, 4);
	ops[1] = crash_delete_template(22, 20);
	ops[2] = crash_replace(23, 5);
	ops[3] = crash_delete_template(24, 108); /* of the first one's */
	ops[4] = crash_enrol(25, 30);
	scenario.op = (struct ledger_op) { .kind = LEDGER_GROUP, .ops = ops, .op_count = ARRAY_SIZE(ops) };
	crash_both_writers(scenario);
}

static void a_replacement_is_all_or_nothing(void **state)
{
	struct crash_scenario scenario = { .name = "replacement" };

	(void)state;
	crash_furnish(&scenario);
	scenario.op = crash_replace(9, 8);
	crash_both_writers(scenario);
}

static void maintenance_loses_nothing(void **state)
{
	struct crash_scenario scenario = { .name = "maintenance", .points_min = 20 };

	(void)state;
	crash_furnish(&scenario);
	for (uint32_t compact = getenv("LINEUP_TEST_FULL") ? 0 : 2; compact < 3; compact++) {
		scenario.op = (struct ledger_op) { .kind = LEDGER_MAINTAIN, .compact = compact };
		crash_everywhere(&scenario);
	}
}

static void beside(struct crash_scenario scenario)
{
	struct ledger_op ops[3];

	scenario.maintained = true;
	scenario.points_min = 40;
	crash_furnish(&scenario);
	ops[0] = crash_delete_template(32, 21);
	ops[1] = crash_replace(31, 6);
	ops[2] = crash_enrol(35, 9);
	for (uint32_t compact = 1; compact < (getenv("LINEUP_TEST_FULL") ? 3 : 2); compact++) {
		scenario.op = (struct ledger_op) { .kind = LEDGER_MAINTAIN, .compact = compact, .ops = ops, .op_count = ARRAY_SIZE(ops) };
		crash_everywhere(&scenario);
	}
}

static void maintenance_loses_nothing_of_what_is_done_beside_it(void **state)
{
	(void)state;
	beside((struct crash_scenario) { .name = "beside a seal" });
	/* The writer seals by himself in the middle, so that what is merged has a deleted-file by the end. */
	beside((struct crash_scenario) { .name = "beside a merge and a seal", .seal_bytes = 400 });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_replacement_is_all_or_nothing),
		cmocka_unit_test(groups_are_their_operations_in_order),
		cmocka_unit_test(maintenance_loses_nothing),
		cmocka_unit_test(maintenance_loses_nothing_of_what_is_done_beside_it),
	};

	crash_prepare();
	return cmocka_run_group_tests(tests, NULL, crash_totals);
}
