#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/arena.h"

static cg_err read_pipe(cg_file_map *m, int fd, size_t max)
{
    size_t cap = 1 << 16, len = 0;
    unsigned char *buf = cg_xrealloc(NULL, cap);
    for (;;) {
        ssize_t n = read(fd, buf + len, cap - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || len + (size_t)n > max) {
            cg_xfree(buf);
            return n < 0 ? cg_fail(CG_EIO, "cannot read: %s", strerror(errno))
                         : cg_fail(CG_ELIMIT,
                                   "more than %zu bytes from a pipe; "
                                   "give a file, which is mapped", max);
        }
        if (n == 0)
            break;
        len += (size_t)n;
        if (len == cap)
            buf = cg_xrealloc(buf, cap *= 2);
    }
    *m = (cg_file_map){.data = buf, .size = len, .heap = 1};
    return CG_OK;
}

static cg_err map_regular(cg_file_map *m, int fd, size_t size)
{
    *m = (cg_file_map){.size = size};
    if (size == 0)
        return CG_OK;
    void *p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return cg_fail(CG_EIO, "cannot map: %s", strerror(errno));
    /* Only headers between payloads are touched: read-ahead is waste. */
    madvise(p, size, MADV_RANDOM);
    m->data = p;
    return CG_OK;
}

cg_err cg_file_open(cg_file_map *m, const char *path, size_t max_pipe)
{
    *m = (cg_file_map){0};
    int std = strcmp(path, "-") == 0;
    int fd = std ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return cg_fail(CG_EIO, "cannot open: %s", strerror(errno));
    struct stat st;
    cg_err err;
    if (fstat(fd, &st) < 0)
        err = cg_fail(CG_EIO, "cannot stat: %s", strerror(errno));
    else if (S_ISDIR(st.st_mode))
        err = cg_fail(CG_EIO, "is a directory");
    else if (S_ISREG(st.st_mode))
        err = map_regular(m, fd, (size_t)st.st_size);
    else
        err = read_pipe(m, fd, max_pipe);
    if (!std)
        close(fd);
    return err;
}

void cg_file_close(cg_file_map *m)
{
    if (m->heap)
        cg_xfree((void *)m->data);
    else if (m->data)
        munmap((void *)m->data, m->size);
    *m = (cg_file_map){0};
}

static cg_err read_gz(gzFile f, size_t max, char **text, size_t *size)
{
    size_t cap = 1 << 16, len = 0;
    char *buf = cg_xrealloc(NULL, cap + 1);
    for (;;) {
        int n = gzread(f, buf + len, (unsigned)(cap - len < 1 << 30
                                                    ? cap - len : 1 << 30));
        if (n <= 0) {
            int code;
            const char *why = gzerror(f, &code);
            if (n == 0 && code == Z_OK)
                break;
            cg_xfree(buf);
            return cg_fail(CG_EIO, "cannot read: %s",
                           code == Z_ERRNO ? strerror(errno)
                           : n == 0        ? "the file is cut short"
                                           : why);
        }
        len += (size_t)n;
        if (len > max) {
            cg_xfree(buf);
            return cg_fail(CG_ELIMIT, "more than %zu bytes", max);
        }
        if (len == cap)
            buf = cg_xrealloc(buf, (cap *= 2) + 1);
    }
    buf[len] = '\0';
    *text = buf;
    *size = len;
    return CG_OK;
}

cg_err cg_read_text(const char *path, size_t max, char **text, size_t *size)
{
    *text = NULL;
    gzFile f = strcmp(path, "-") ? gzopen(path, "rbe")
                                 : gzdopen(dup(STDIN_FILENO), "rb");
    if (!f)
        return cg_fail(CG_EIO, "cannot open: %s", strerror(errno));
    cg_err err = read_gz(f, max, text, size);
    gzclose(f);
    return err;
}

/* -- output ---------------------------------------------------------------- */

static const char temp_end[] = ".XXXXXX.part";
enum { TEMP_END = sizeof temp_end - 1, PART = sizeof ".part" - 1 };

static void out_free(cg_out *o)
{
    cg_xfree(o->path);
    cg_xfree(o->temp);
    *o = (cg_out){0};
}

/* A file of a name that is free, locked for as long as it is open: cg_out_sweep
 * may have taken it away before that. -1: none, see errno. */
static int open_temp(char *temp)
{
    for (size_t n = strlen(temp);;) {
        memcpy(temp + n - TEMP_END, temp_end, TEMP_END);
        int fd = mkostemps(temp, PART, O_CLOEXEC);
        struct stat st;
        if (fd < 0)
            return fd;
        while (flock(fd, LOCK_EX) < 0 && errno == EINTR)
            ; /* what cannot be locked cannot be swept either */
        if (fstat(fd, &st) < 0 || st.st_nlink > 0)
            return fd;
        close(fd);
    }
}

cg_err cg_out_open(cg_out *o, const char *path)
{
    *o = (cg_out){0};
    if (strcmp(path, "-") == 0) {
        o->f = stdout;
        return CG_OK;
    }
    size_t n = strlen(path);
    o->path = cg_xcalloc(1, n + 1);
    memcpy(o->path, path, n);
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        /* a device or a pipe: nothing to rename over */
        o->f = fopen(path, "we");
    } else {
        o->temp = cg_xcalloc(1, n + TEMP_END + 1);
        memcpy(o->temp, path, n);
        memcpy(o->temp + n, temp_end, TEMP_END);
        int fd = open_temp(o->temp);
        mode_t mask = umask(0);
        umask(mask);
        if (fd >= 0 && fchmod(fd, 0666 & ~mask) == 0)
            o->f = fdopen(fd, "w");
        if (fd >= 0 && !o->f) {
            close(fd);
            unlink(o->temp);
        }
    }
    if (!o->f) {
        cg_err err = cg_fail(CG_EIO, "cannot write %s: %s", path,
                             strerror(errno));
        out_free(o);
        return err;
    }
    return CG_OK;
}

cg_err cg_out_commit(cg_out *o)
{
    const char *name = o->path ? o->path : "standard output";
    int bad = fflush(o->f) != 0 || ferror(o->f);
    if (!o->path)
        return bad ? cg_fail(CG_EIO, "cannot write %s: %s", name,
                             strerror(errno))
                   : CG_OK;
    if (o->temp && !bad)
        bad = fsync(fileno(o->f)) != 0;
    if (o->temp && !bad)
        bad = rename(o->temp, o->path) != 0; /* still locked */
    bad |= fclose(o->f) != 0;
    cg_err err = CG_OK;
    if (bad) {
        err = cg_fail(CG_EIO, "cannot write %s: %s", name, strerror(errno));
        if (o->temp)
            unlink(o->temp);
    }
    out_free(o);
    return err;
}

void cg_out_abandon(cg_out *o)
{
    if (!o->path)
        return;
    fclose(o->f);
    if (o->temp)
        unlink(o->temp);
    out_free(o);
}

/* Whether `name` is BASE.XXXXXX.part, with any six characters. */
static bool is_temp(const char *name, const char *base)
{
    size_t n = strlen(base);
    return strlen(name) == n + TEMP_END && memcmp(name, base, n) == 0 &&
           name[n] == '.' &&
           strcmp(name + n + TEMP_END - PART, ".part") == 0;
}

/* Who writes it holds its lock until it is renamed, or until it is killed. */
static void sweep(int folder, const char *name)
{
    int fd = openat(folder, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        unlinkat(folder, name, 0);
    close(fd);
}

void cg_out_sweep(const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) + 1 : 0;
    char *folder = cg_xcalloc(1, n + 2);
    memcpy(folder, n ? path : ".", n ? n : 1);
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));)
        if (is_temp(e->d_name, path + n))
            sweep(dirfd(d), e->d_name);
    if (d)
        closedir(d);
    cg_xfree(folder);
}
