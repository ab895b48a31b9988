/* A golden model with other tensors than it has. */
#ifndef UM_TESTS_EDITED_MODEL_H
#define UM_TESTS_EDITED_MODEL_H

#include "folder.h"

#include "format/folder.h"

/* Makes the test's folder TO of the model FROM: its config, its tensors less those with `without`
 * in their names, and `extra` behind them (NULL: none). */
static inline void put_edited_model(const char *to, const char *from, const char *without,
                                    const struct um_tensor_view *extra)
{
    struct um_folder folder;
    struct um_safetensors_writer w = {0};
    struct um_error err;
    char path[700];
    assert_ok(um_make_folder(to, &err), err);
    put_edited_config(to, from, "{}");
    (void)snprintf(path, sizeof(path), "%s/model.safetensors", to);
    assert_ok(um_folder_open(&folder, from, &err), err);
    const struct um_safetensors *st = &folder.shards[0];
    assert_ok(um_safetensors_create(&w, &err), err);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i <= st->n_tensors; i++) {
            const struct um_tensor_view *t = i < st->n_tensors ? &st->tensors[i] : extra;
            if (!t || strstr(t->name, without))
                continue;
            if (pass == 0)
                um_safetensors_declare(&w, t->name, t->dtype, t->n_dims, t->dims);
            else
                assert_ok(um_safetensors_put(&w, t->bytes, t->n_bytes, &err), err);
        }
        if (pass == 0)
            assert_ok(um_safetensors_begin(&w, path, &err), err);
    }
    assert_ok(um_safetensors_commit(&w, &err), err);
    um_safetensors_abandon(&w);
    um_folder_close(&folder);
}

#endif
