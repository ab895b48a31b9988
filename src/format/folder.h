/*
 * A model as it stands on disk: a Hugging Face folder (config.json and weights in one or several
 * safetensors files), or a GGUF file, which is shown by the same names.
 */
#ifndef UM_FORMAT_FOLDER_H
#define UM_FORMAT_FOLDER_H

#include "format/gguf_model.h"
#include "format/safetensors.h"

struct um_folder {
    char *path;                    /* owned */
    char *config_path;             /* what messages about settings name; owned */
    struct um_gguf *gguf;          /* owned; NULL if it is a folder */
    const struct um_gguf_family *family; /* of a GGUF file */
    struct um_tensor_view *tensors;      /* of a GGUF file, by their folder names; owned */
    struct um_arena arena;
    json_t *config;                /* config.json, an object; owned */
    json_t *generation;            /* generation_config.json; owned, NULL if there is none */
    struct um_safetensors *shards; /* owned */
    char **shard_names;            /* file names within the folder; owned */
    size_t n_shards;
};

/* Opens a GGUF file, or a folder, and checks everything: config.json, model.safetensors or all
 * shards of model.safetensors.index.json. UM_E_INPUT names what is missing or wrong. */
enum um_status um_folder_open(struct um_folder *folder, const char *path, struct um_error *err);
/* The same where settings may suffice: a folder whose weights are missing (n_shards 0), or the path
 * of a config.json, which then stands alone. */
enum um_status um_folder_open_config(struct um_folder *folder, const char *path,
                                     struct um_error *err);
void um_folder_close(struct um_folder *folder);
/* NULL if no shard has it. Borrows. */
const struct um_tensor_view *um_folder_find(const struct um_folder *folder, const char *name);
/* Tensor `index` of all, from 0; NULL past the end. Borrows. */
const struct um_tensor_view *um_folder_tensor(const struct um_folder *folder, size_t index);
int64_t um_folder_bytes(const struct um_folder *folder); /* of all weight files */

#endif
