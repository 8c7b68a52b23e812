/* Command lines: numbers, version, exit status. */
#include "tools/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"

cg_err cg_cli_int(const char *text, const char *option, int least, int most,
                  int *out)
{
    char *end;
    errno = 0;
    long v = strtol(text, &end, 10);
    if (end == text || *end || errno || v < least || v > most)
        return cg_fail(CG_EUSAGE, "%s wants a number from %d to %d, not '%s'",
                       option, least, most, text);
    *out = (int)v;
    return CG_OK;
}

const char *cg_cli_version(const char *program)
{
    static char text[80];
    snprintf(text, sizeof text, "%s (gennape) " GENNAPE_VERSION "\n", program);
    return text;
}

cg_err cg_cli_try_output(const char *path)
{
    struct stat st;
    cg_out out;
    if (strcmp(path, "-") == 0 ||
        (stat(path, &st) == 0 && !S_ISREG(st.st_mode)))
        return CG_OK;
    cg_out_sweep(path);
    CG_TRY(cg_out_open(&out, path));
    cg_out_abandon(&out);
    return CG_OK;
}

int cg_cli_end(const char *program, cg_err err)
{
    if (err != CG_OK)
        fprintf(stderr, "%s: %s\n", program, cg_error());
    if (fflush(stdout) == 0 && !ferror(stdout))
        return err == CG_OK ? 0 : err == CG_EUSAGE ? 2 : 1;
    fprintf(stderr, "%s: cannot write standard output: %s\n", program,
            strerror(errno));
    return 1;
}
