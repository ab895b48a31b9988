/* A Hugging Face model folder: config.json and weights in one or several safetensors files. */
#ifndef UM_FORMAT_FOLDER_H
#define UM_FORMAT_FOLDER_H

#include "format/safetensors.h"

struct um_folder {
    char *path;                    /* owned */
    json_t *config;                /* config.json, an object; owned */
    json_t *generation;            /* generation_config.json; owned, NULL if there is none */
    struct um_safetensors *shards; /* owned */
    char **shard_names;            /* file names within the folder; owned */
    size_t n_shards;
};

/* Opens and checks everything: config.json, model.safetensors or all shards of
 * model.safetensors.index.json. UM_E_INPUT names what is missing or wrong. */
enum um_status um_folder_open(struct um_folder *folder, const char *path, struct um_error *err);
void um_folder_close(struct um_folder *folder);
/* NULL if no shard has it. Borrows. */
const struct um_tensor_view *um_folder_find(const struct um_folder *folder, const char *name);
int64_t um_folder_bytes(const struct um_folder *folder); /* of all weight files */

#endif
