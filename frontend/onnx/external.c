/* External data: files beside the model that hold tensors.
 *
 * A model may come from anyone, so a location must not lead out of the model's
 * directory: no absolute path, no "..", no symbolic link that leaves it. The
 * kernel checks that while it opens (openat2), so nothing can be exchanged in
 * between; where that call is missing or forbidden every component is opened
 * by itself and no symbolic link is followed. Only the range asked for is read,
 * and only for tensors so small that a shape may depend on them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "frontend/onnx/import.h"

#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

typedef enum file_state { MISSING, REGULAR, OUTSIDE, IRREGULAR } file_state;

typedef struct file {
    file_state state;
    uint64_t size;
} file;

static bool relative_inside(const char *location)
{
    if (!*location || *location == '/' || strchr(location, '\\'))
        return false;
    for (const char *p = location; p;) {
        const char *slash = strchr(p, '/');
        size_t n = slash ? (size_t)(slash - p) : strlen(p);
        if (n == 2 && p[0] == '.' && p[1] == '.')
            return false;
        p = slash ? slash + 1 : NULL;
    }
    return true;
}

/* No symbolic link anywhere: stricter than needed, but safe by itself. */
static int open_by_component(int dir, const char *location)
{
    int at = dir;
    for (const char *p = location;;) {
        char part[256];
        const char *slash = strchr(p, '/');
        size_t n = slash ? (size_t)(slash - p) : strlen(p);
        int next = -1;
        if (n < sizeof part) {
            memcpy(part, p, n);
            part[n] = '\0';
            next = openat(at, n ? part : ".",
                          OPEN_FLAGS | O_NOFOLLOW | (slash ? O_DIRECTORY : 0));
        } else {
            errno = ENAMETOOLONG;
        }
        int saved = errno;
        if (at != dir)
            close(at);
        errno = saved;
        if (next < 0 || !slash)
            return next;
        at = next;
        p = slash + 1;
    }
}

static int open_beneath(int dir, const char *location)
{
    struct open_how how = {.flags = OPEN_FLAGS,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, dir, location, &how, sizeof how);
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM && errno != EINVAL))
        return fd;
    return open_by_component(dir, location);
}

/* Opens and looks; *fd is -1 unless the state is REGULAR. */
static file look(const cg_importer *imp, const char *location, int *fd)
{
    struct stat st;
    *fd = imp->dir < 0 ? -1 : open_beneath(imp->dir, location);
    if (*fd < 0)
        return (file){imp->dir >= 0 && (errno == EXDEV || errno == ELOOP)
                          ? OUTSIDE
                          : MISSING, 0};
    if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode))
        return (file){REGULAR, (uint64_t)st.st_size};
    close(*fd);
    *fd = -1;
    return (file){IRREGULAR, 0};
}

static const file *find_file(cg_importer *imp, const char *location)
{
    file *f = cg_map_get(&imp->files, location);
    if (f)
        return f;
    int fd;
    f = cg_arena_new(&imp->scratch, file);
    *f = look(imp, location, &fd);
    if (fd >= 0)
        close(fd);
    cg_map_put(&imp->files, location, f);
    if (f->state == MISSING)
        cg_warn(imp->g, NULL, "external data '%s' is not there%s", location,
                imp->dir < 0 ? " (the model has no directory)" : "");
    return f;
}

static bool decimal(const char *s, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(s, &end, 10);
    return *s >= '0' && *s <= '9' && *end == '\0' && errno == 0;
}

/* Entries other than these three carry nothing for us. */
static cg_err entries(const Onnx__TensorProto *t, cg_external *out,
                      bool *has_length)
{
    *has_length = false;
    for (size_t i = 0; i < t->n_external_data; i++) {
        const char *key = t->external_data[i]->key;
        const char *value = t->external_data[i]->value;
        key = key ? key : "";
        value = value ? value : "";
        bool ok = true;
        if (strcmp(key, "location") == 0)
            out->location = value;
        else if (strcmp(key, "offset") == 0)
            ok = decimal(value, &out->offset);
        else if (strcmp(key, "length") == 0)
            ok = *has_length = decimal(value, &out->length);
        if (!ok)
            return cg_fail(CG_EFORMAT, "external data: %s '%s' is not a "
                           "number of bytes", key, value);
    }
    return CG_OK;
}

cg_err cg_onnx_external(cg_importer *imp, const Onnx__TensorProto *t,
                        uint64_t want, cg_external *out)
{
    bool has_length;
    *out = (cg_external){.location = ""};
    CG_TRY(entries(t, out, &has_length));
    if (!relative_inside(out->location))
        return cg_fail(CG_EFORMAT, "external data: location '%s' is not "
                       "inside the model's directory", out->location);
    const file *f = find_file(imp, out->location);
    if (f->state == OUTSIDE)
        return cg_fail(CG_EFORMAT, "external data: '%s' is a symbolic link "
                       "out of the model's directory", out->location);
    if (f->state == IRREGULAR)
        return cg_fail(CG_EFORMAT, "external data: '%s' is not a regular file",
                       out->location);
    out->found = f->state == REGULAR;
    if (!has_length)
        out->length = want;
    uint64_t end;
    if (__builtin_add_overflow(out->offset, out->length, &end))
        return cg_fail(CG_EFORMAT, "external data: offset %llu and length "
                       "%llu overflow", (unsigned long long)out->offset,
                       (unsigned long long)out->length);
    if (out->found && end > f->size)
        return cg_fail(CG_EFORMAT, "external data: '%s' has %llu bytes, the "
                       "tensor ends at %llu", out->location,
                       (unsigned long long)f->size, (unsigned long long)end);
    return CG_OK;
}

bool cg_onnx_external_read(cg_importer *imp, const cg_external *e, void *to,
                           size_t n)
{
    int fd;
    if (!e->found || e->length < n || e->offset > INT64_MAX ||
        look(imp, e->location, &fd).state != REGULAR)
        return false;
    size_t got = 0;
    while (got < n) {
        ssize_t k = pread(fd, (char *)to + got, n - got,
                          (off_t)(e->offset + got));
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            break;
        got += (size_t)k;
    }
    close(fd);
    return got == n;
}
