/* Any bytes as a safetensors file, and as a delta: opened, every view read through, closed. */
#define _GNU_SOURCE /* memfd_create */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "delta/delta.h"

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t n);

static unsigned sum_bytes(const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += at[i];
    return sum;
}

static unsigned read_views(const char *path)
{
    struct um_safetensors st;
    struct um_error err;
    unsigned sum = 0;
    if (um_safetensors_open(&st, path, &err) != UM_OK)
        return 0;
    for (size_t t = 0; t < st.n_tensors; t++) {
        sum += sum_bytes(st.tensors[t].bytes, st.tensors[t].n_bytes);
        sum += um_safetensors_find(&st, st.tensors[t].name) == NULL;
    }
    sum += um_safetensors_metadata(&st, "format") != NULL;
    um_safetensors_close(&st);
    return sum;
}

static unsigned read_delta(const char *path)
{
    struct um_delta *delta;
    struct um_delta_info info;
    struct um_delta_tensor tensor;
    struct um_error err;
    unsigned sum = 0;
    if (um_delta_open(&delta, path, &err) != UM_OK)
        return 0;
    um_delta_get_info(&info, delta);
    for (int64_t i = 0; um_delta_get_tensor(&tensor, delta, i); i++) {
        const struct um_delta_entry *e = &delta->entries[i];
        sum += sum_bytes(e->value, (size_t)e->n * sizeof(*e->value));
        sum += e->is_whole ? 0 : sum_bytes(e->index, (size_t)e->n * sizeof(*e->index));
    }
    um_delta_free(delta);
    return sum;
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t n)
{
    char path[64];
    volatile unsigned sum = 0;
    int fd = memfd_create("fuzz", 0);
    if (fd < 0)
        return 0;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (write(fd, bytes, n) == (ssize_t)n)
        sum += read_views(path) + read_delta(path);
    close(fd);
    return 0;
}
