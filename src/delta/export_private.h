/*
 * Deltas for other programs: what is common to the formats (export.c), low-rank changes for PEFT
 * (export_peft.c), single weights for PEFT (export_sparse.c), low-rank changes for llama.cpp
 * (export_gguf.c).
 */
#ifndef UM_DELTA_EXPORT_PRIVATE_H
#define UM_DELTA_EXPORT_PRIVATE_H

#include "base/json.h"
#include "delta/attached.h"

struct um_export {
    const char *out;
    struct um_delta *delta; /* less what is attached */
    struct um_folder base;
    struct um_model model; /* the base, with what is attached laid over */
};

/* A format: what it takes is checked before anything is written. UM_E_USAGE: the delta holds
 * something that the format has no place for. */
typedef enum um_status um_export_fn(const struct um_export *x, struct um_error *err);
um_export_fn um_export_low_rank; /* LoRA, rsLoRA, DoRA, AdaLoRA */
um_export_fn um_export_supertuning;
um_export_fn um_export_shira;
um_export_fn um_export_gguf;

/* The name in PEFT's file (free with um_free); NULL = no memory. */
char *um_export_name(const struct um_delta *delta, const char *name);
/* Appends the module of a parameter, under its name in transformers' model, unless it is there.
 * false = no memory. */
bool um_export_add_module(json_t *list, const struct um_delta *delta, const char *name);
/* PEFT's name of what the model is for. */
const char *um_export_task(const struct um_export *x);
/* Writes OUT/adapter_config.json. NULL = no memory. */
enum um_status um_export_save_config(const struct um_export *x, const json_t *config,
                                     struct um_error *err);

/* Declares, or puts, all tensors of OUT/adapter_model.safetensors in one order. */
typedef enum um_status um_export_tensors(struct um_safetensors_writer *w, const void *user,
                                         bool is_declaring, struct um_error *err);
enum um_status um_export_save_tensors(const struct um_export *x, um_export_tensors *each,
                                      const void *user, struct um_error *err);
/* Of them, the entries of the delta that are whole (a task head). */
enum um_status um_export_whole(struct um_safetensors_writer *w, const struct um_export *x,
                               bool is_declaring, struct um_error *err);

#endif
