/*
 * Sparse deltas: what a run changed, in O(changed) bytes. A safetensors file with, for each touched
 * tensor NAME of the base, NAME.index (I64, ascending flat row-major positions) and NAME.value
 * (F32, the new values); whole parameters stand under their own name. Metadata:
 *
 *   format = unmask.delta, version = 1, method, budget, task, labels (a JSON array)
 *   template            the chat template that the task's rows were written by, if one was named
 *   base_architecture   config.json's model_type
 *   base_sha256         SHA-256 over, for each touched base tensor in the delta's order: name, 0,
 *                       dtype, 0, and the SHA-256 of its bytes
 *   added               JSON array of whole parameters that the base does not have (a fresh head)
 *   attached            JSON object of what some of those are to the base (model/addition.h): a
 *                       low-rank change, adapters
 *   prefix              what merge puts before base names that lack it ("bert."), so that
 *                       transformers loads the result as task_class
 *   task_class          transformers' class of base and head ("BertForSequenceClassification"); of
 * a decoder that goes on with texts "LlamaForCausalLM" and the like problem_type config.json's, of
 * a classifier that was tuned elsewhere
 */
#ifndef UM_DELTA_DELTA_H
#define UM_DELTA_DELTA_H

#include "base/sha256.h"
#include "format/folder.h"

struct um_delta_entry {
    const char *name;
    int n_dims;                 /* of a whole parameter */
    int64_t dims[UM_DIMS_MAX];
    bool is_whole, is_added;
    int64_t n;                  /* values */
    const int64_t *index;       /* NULL if whole */
    const float *value;
};

struct um_delta {
    /* Metadata; texts are "" where there is none. */
    const char *method, *task, *template, *architecture, *base_sha256, *prefix, *task_class,
        *attached, *problem_type;
    int64_t budget;
    const char **labels;
    size_t n_labels;
    struct um_delta_entry *entries;
    size_t n_entries;
    /* What the above borrows from, for a delta that was opened. */
    struct um_safetensors file;
    struct um_arena arena;
    int64_t file_bytes;
};

/* Writes a delta (built in memory by the caller), atomically. */
enum um_status um_delta_save(const struct um_delta *delta, const char *path,
                             struct um_error *err);

/* The same, with the hash of what it stands on in `base` put in. */
enum um_status um_delta_write(struct um_delta *delta, const struct um_folder *base,
                              const char *path, struct um_error *err);

/* The hash of the touched base tensors as they stand in `base`. UM_E_INPUT if one is missing. */
enum um_status um_delta_hash(char text[UM_SHA256_TEXT], const struct um_delta *delta,
                             const struct um_folder *base, struct um_error *err);

/* Checks that a delta fits a base: architecture, tensors, shapes, positions, hash. */
enum um_status um_delta_check(const struct um_delta *delta, const struct um_folder *base,
                              struct um_error *err);

/* Lays an entry over the tensor's n fp32 values (checked before). */
void um_delta_apply(float *values, const struct um_delta_entry *entry);

/* What stands in a delta file now. */
enum um_status um_delta_read_info(struct um_delta_info *info, const char *path,
                                  struct um_error *err);

/* Puts an entry behind those of a delta that is being made, whose list is on the heap. */
enum um_status um_delta_add(struct um_delta *delta, size_t *capacity, struct um_delta_entry entry,
                            struct um_error *err);
/* Sorts entries by name, as the hash and a file have them. */
void um_delta_sort(struct um_delta *delta);
/* The entry of a tensor by name, of a sorted delta (as an opened one is); NULL if it is not
 * there. */
struct um_delta_entry *um_delta_find(const struct um_delta *delta, const char *name);

#endif
