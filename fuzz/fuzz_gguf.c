/* Any bytes as a GGUF file: opened, every pair read through, every tensor expanded, all declared to
 * a writer, which must take what the reader took. */
#define _GNU_SOURCE /* memfd_create */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "format/gguf.h"

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t n);

static unsigned sum_text(const char *text, size_t n)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (unsigned char)text[i];
    return sum;
}

static unsigned read_pair(const struct um_gguf_pair *pair)
{
    unsigned sum = (unsigned)pair->integer + (pair->real > 0);
    if (pair->type == UM_GGUF_STRING)
        return sum_text(pair->text, pair->n);
    for (size_t i = 0; pair->type == UM_GGUF_ARRAY && i < pair->n; i++) {
        if (pair->element == UM_GGUF_STRING)
            sum += sum_text(pair->strings[i], pair->lengths[i]);
        else
            sum += (unsigned)um_gguf_integer_at(pair, i) + (um_gguf_real_at(pair, i) > 0);
    }
    return sum;
}

static unsigned read_tensor(const struct um_tensor_view *t)
{
    float values[256];
    if (!um_dtype_is_weight(t->dtype))
        return sum_text((const char *)t->bytes, t->n_bytes);
    int64_t block = um_dtype_block(t->dtype);
    unsigned sum = 0;
    for (int64_t i = 0; i < t->n_elements; i += block) {
        um_to_f32(values, t->bytes + um_dtype_size(t->dtype, i), t->dtype, block);
        sum += values[block - 1] > 0;
    }
    return sum;
}

static void declare_again(const struct um_gguf *gguf)
{
    struct um_gguf_writer w;
    struct um_error err;
    if (um_gguf_create(&w, &err) != UM_OK)
        return;
    for (size_t i = 0; i < gguf->n_pairs; i++)
        um_gguf_declare_pair(&w, &gguf->pairs[i]);
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const struct um_tensor_view *t = &gguf->tensors[i];
        um_gguf_declare(&w, t->name, t->dtype, t->n_dims, t->dims);
    }
    if (w.status != UM_OK)
        abort();
    um_gguf_abandon(&w);
}

static unsigned read_file(const char *path)
{
    struct um_gguf gguf;
    struct um_error err;
    unsigned sum = 0;
    if (um_gguf_open(&gguf, path, &err) != UM_OK)
        return 0;
    for (size_t i = 0; i < gguf.n_pairs; i++)
        sum += read_pair(&gguf.pairs[i]) + (um_gguf_pair(&gguf, gguf.pairs[i].key) == NULL);
    for (size_t i = 0; i < gguf.n_tensors; i++)
        sum += read_tensor(&gguf.tensors[i]) + (um_gguf_find(&gguf, gguf.tensors[i].name) == NULL);
    declare_again(&gguf);
    um_gguf_close(&gguf);
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
        sum += read_file(path);
    close(fd);
    return 0;
}
