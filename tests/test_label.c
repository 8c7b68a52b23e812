/* Labels: the line from what a regressor says to them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/label.h"

/* Most points on a line, some far above it: squares would follow those. */
static void test_line(void **state)
{
    double y[50], label[50];
    (void)state;
    for (int i = 0; i < 50; i++) {
        y[i] = .1 * i - 2;
        label[i] = .25 - .5 * y[i] + (i % 5 == 0 ? 10 + i : 0);
    }
    cg_line line = cg_line_fit(y, label, 50);
    assert_true(fabs(line.at - .25) < 1e-3);
    assert_true(fabs(line.slope + .5) < 1e-3);
    for (int i = 0; i < 50; i++)
        y[i] = 3;
    line = cg_line_fit(y, label, 50);
    assert_true(line.at == 0 && line.slope == 1);
    line = cg_line_fit(y, label, 0);
    assert_true(line.at == 0 && line.slope == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
