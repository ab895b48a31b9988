/*
 * GGUF's names for what Hugging Face folders hold: tensors ("blk.3.attn_q.weight" is
 * "model.layers.3.self_attn.q_proj.weight") and settings ("llama.block_count" is
 * config.json's "num_hidden_layers"), as llama.cpp's gguf-py/gguf/tensor_mapping.py and
 * constants.py have them; and what its converter does to the values on the way.
 */
#ifndef UM_FORMAT_GGUF_MODEL_H
#define UM_FORMAT_GGUF_MODEL_H

#include "base/json.h"
#include "format/gguf.h"

/* How a converter changes a tensor on its way from a folder to a GGUF file. */
enum um_gguf_change {
    UM_GGUF_SAME,
    UM_GGUF_PAIRED,     /* rows of each head from halves to neighbours, for rotary positions */
    UM_GGUF_PLUS_ONE,   /* Gemma's norms: w + 1 */
    UM_GGUF_TRANSPOSED, /* GPT-2's maps */
};

/* An architecture that both know. */
struct um_gguf_family;

/* By config.json's model_type; NULL if GGUF files of it are not read or written. */
const struct um_gguf_family *um_gguf_family_of(const char *model_type);
const char *um_gguf_family_name(const struct um_gguf_family *family); /* general.architecture */

/* The folder's name of a GGUF tensor, and the other way; false if there is none. `out` holds
 * UM_GGUF_NAME_BYTES. */
enum { UM_GGUF_NAME_BYTES = 256 };
bool um_gguf_name_to_folder(char *out, const struct um_gguf_family *family, const char *name);
bool um_gguf_name_from_folder(char *out, enum um_gguf_change *change,
                              const struct um_gguf_family *family, const char *name);

/* Which row of a folder's UM_GGUF_PAIRED map is row `row` of the GGUF file's, heads of E rows each:
 * halves (i, i + E/2) become neighbours (2i, 2i + 1); and the other way. */
int64_t um_gguf_paired_row(int64_t row, int64_t E);
int64_t um_gguf_unpaired_row(int64_t row, int64_t E);

/* Writes the settings of config.json as metadata pairs. UM_E_INPUT: one is missing. */
enum um_status um_gguf_declare_config(struct um_gguf_writer *w,
                                      const struct um_gguf_family *family, const json_t *config,
                                      const char *where, struct um_error *err);

/* What config.json would say of a GGUF file, with "is_gguf": true, and its family. Owned (free with
 * json_decref). UM_E_INPUT: an unknown architecture, missing or absurd settings. */
enum um_status um_gguf_config(json_t **config, const struct um_gguf_family **family,
                              const struct um_gguf *gguf, const char *path, struct um_error *err);

/* The same as transformers wants it, for a folder made of the file (without "architectures"): its
 * keys, layer by layer where it wants that, LLaMA 3.1's frequencies as rope_scaling. Owned (free
 * with json_decref, also after a failure). UM_E_USAGE: other rotary factors, which it cannot
 * say. */
enum um_status um_gguf_folder_config(json_t **out, const json_t *config, const struct um_gguf *gguf,
                                     const char *path, struct um_error *err);

#endif
