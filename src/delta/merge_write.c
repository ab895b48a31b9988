/* Writing the planned tensors, and reading them back: every byte must be that of base + delta. */
#include <string.h>

#include "delta/merge_private.h"

static enum um_status fail_verify(const struct um_merge *m, const char *name, struct um_error *err)
{
    return um_fail(err, UM_E_RUNTIME,
                   "'%s' is not base + delta when it is read back (tensor '%s'); is the disk "
                   "sound?",
                   m->partial, name);
}

/* ---- safetensors */

static enum um_status put_safetensors(struct um_merge *m, const struct um_merge_tensor *t,
                                      const unsigned char *bytes, size_t n, void *user,
                                      struct um_error *err)
{
    (void)m;
    (void)t;
    return um_safetensors_put(user, bytes, n, err);
}

static enum um_status write_shard(struct um_merge *m, size_t s, struct um_error *err)
{
    struct um_safetensors_writer w = {0};
    char *path = um_path_join(m->partial, m->shard_names[s]);
    enum um_status status;
    if (!path)
        UM_TRY(um_fail_memory(err, m->partial, 0));
    UM_TRY(um_safetensors_create(&w, err));
    um_safetensors_declare_metadata(&w, "format", "pt"); /* what transformers asks for */
    for (size_t i = 0; i < m->n_tensors; i++) {
        const struct um_merge_tensor *t = &m->tensors[i];
        if (t->shard == s)
            um_safetensors_declare(&w, t->name, t->dtype, t->n_dims, t->dims);
    }
    UM_TRY(um_safetensors_begin(&w, path, err));
    for (size_t i = 0; i < m->n_tensors; i++)
        if (m->tensors[i].shard == s)
            UM_TRY(um_merge_walk(m, &m->tensors[i], true, put_safetensors, &w, err));
    m->report->bytes += w.declared_bytes;
    UM_TRY(um_safetensors_commit(&w, err));
out:
    um_safetensors_abandon(&w);
    um_free(path);
    return status;
}

enum um_status um_merge_write_shards(struct um_merge *m, struct um_error *err)
{
    for (size_t s = 0; s < m->n_shards; s++)
        UM_RETURN_IF(write_shard(m, s, err));
    return UM_OK;
}

/* ---- GGUF */

static enum um_status put_gguf(struct um_merge *m, const struct um_merge_tensor *t,
                               const unsigned char *bytes, size_t n, void *user,
                               struct um_error *err)
{
    (void)m;
    (void)t;
    return um_gguf_put(user, bytes, n, err);
}

enum um_status um_merge_write_tensors(struct um_merge *m, struct um_gguf_writer *w,
                                      struct um_error *err)
{
    for (size_t i = 0; i < m->n_tensors; i++) {
        const struct um_merge_tensor *t = &m->tensors[i];
        um_gguf_declare(w, t->name, t->dtype, t->n_dims, t->dims);
    }
    UM_RETURN_IF(um_gguf_begin(w, m->partial, err));
    for (size_t i = 0; i < m->n_tensors; i++)
        UM_RETURN_IF(um_merge_walk(m, &m->tensors[i], true, put_gguf, w, err));
    m->report->bytes = w->file.n_bytes;
    return um_gguf_commit(w, err);
}

/* ---- reading back */

static enum um_status compare(struct um_merge *m, const struct um_merge_tensor *t,
                              const unsigned char *bytes, size_t n, void *user,
                              struct um_error *err)
{
    const unsigned char **there = user;
    if (memcmp(*there, bytes, n) != 0)
        return fail_verify(m, t->name, err);
    um_map_forget(*there, n);
    *there += n;
    return UM_OK;
}

enum um_status um_merge_verify(struct um_merge *m, struct um_error *err)
{
    struct um_folder merged;
    UM_RETURN_IF(um_folder_open(&merged, m->partial, err));
    enum um_status status = UM_OK;
    for (size_t i = 0; i < m->n_tensors; i++) {
        const struct um_merge_tensor *t = &m->tensors[i];
        const struct um_tensor_view *view =
            merged.gguf ? um_gguf_find(merged.gguf, t->name) : um_folder_find(&merged, t->name);
        if (!view || view->dtype != t->dtype || view->n_dims != t->n_dims ||
            view->n_bytes != t->n_bytes ||
            memcmp(view->dims, t->dims, (size_t)t->n_dims * sizeof(*t->dims)) != 0)
            UM_TRY(fail_verify(m, t->name, err));
        const unsigned char *there = view->bytes;
        UM_TRY(um_merge_walk(m, t, false, compare, &there, err));
    }
out:
    um_folder_close(&merged);
    m->report->is_verified = status == UM_OK;
    return status;
}
