/*
 * Merging, in parts: what is to be written (merge_plan.c), its bytes (merge_rows.c), how they go to
 * files and are read back (merge_write.c), and what belongs with them in a folder (merge_folder.c)
 * or a GGUF file (merge_gguf.c).
 */
#ifndef UM_DELTA_MERGE_PRIVATE_H
#define UM_DELTA_MERGE_PRIVATE_H

#include "delta/attached.h"

/* A tensor to be written: of the base, changed for the other form, with the delta over it. */
struct um_merge_tensor {
    const char *name;
    enum um_dtype dtype;
    int n_dims;
    int64_t dims[UM_DIMS_MAX], n_elements;
    size_t n_bytes;
    size_t shard;                       /* of a folder */
    const struct um_tensor_view *base;  /* NULL: a parameter that the delta adds */
    const struct um_delta_entry *entry; /* what the delta changes in it, or NULL */
    const struct um_param *folded; /* the map with its low-rank change (and the entry), or NULL */
    enum um_gguf_change change;         /* on the way to GGUF, or, */
    bool is_undone;                     /* from it */
    int64_t head_rows;                  /* of UM_GGUF_PAIRED: rows of a head */
    bool is_made;                       /* the base's view is of m->arena, not of a file */
};

struct um_merge {
    const char *out;
    char *partial; /* OUT.partial */
    bool is_gguf;
    bool has_type;
    enum um_dtype type; /* asked for */
    struct um_delta *delta;
    struct um_folder base;
    struct um_model model; /* the base, where it changes its form */
    struct um_model attached; /* base + delta, if low-rank changes are to be folded */
    struct um_merge_tensor *tensors;
    size_t n_tensors, tensors_capacity;
    char **shard_names; /* of a folder */
    size_t n_shards;
    struct um_arena arena; /* names and the like */
    struct um_merge_report *report;
    /* One piece of a tensor: base + delta, the base alone, a stored value each, and as stored. */
    float *values, *before, *now, *column, *norms;
    unsigned char *bytes;
    size_t values_capacity, before_capacity, now_capacity, column_capacity, bytes_capacity,
        norms_capacity;
};

/* Whether it is other than in the base. */
static inline bool um_merge_is_touched(const struct um_merge_tensor *t)
{
    return t->entry || t->folded;
}

/* Lists the tensors of the merged model. UM_E_USAGE: GGUF has no place for one. */
enum um_status um_merge_plan(struct um_merge *m, struct um_error *err);
int64_t um_merge_plan_bytes(const struct um_merge *m);

/* One piece of a merged tensor, as stored. */
typedef enum um_status um_merge_visit(struct um_merge *m, const struct um_merge_tensor *t,
                                      const unsigned char *bytes, size_t n, void *user,
                                      struct um_error *err);
/* Calls `visit` for all pieces of a tensor in order; counts changed and rounded values into the
 * report if `is_counted`. */
enum um_status um_merge_walk(struct um_merge *m, const struct um_merge_tensor *t, bool is_counted,
                             um_merge_visit *visit, void *user, struct um_error *err);

/* Puts a line to the report's note. */
void um_merge_note(struct um_merge *m, const char *fmt, ...) UM_PRINTF(2, 3);

/* All that belongs to a folder, or a GGUF file, into m->partial. */
enum um_status um_merge_write_folder(struct um_merge *m, struct um_error *err);
enum um_status um_merge_write_gguf(struct um_merge *m, struct um_error *err);
/* Of it, the tensors: all shards of a folder; or those of a GGUF file, whose pairs are declared. */
enum um_status um_merge_write_shards(struct um_merge *m, struct um_error *err);
enum um_status um_merge_write_tensors(struct um_merge *m, struct um_gguf_writer *w,
                                      struct um_error *err);
/* Reads all tensors back and compares them with base + delta, byte by byte. */
enum um_status um_merge_verify(struct um_merge *m, struct um_error *err);
/* Checks that what was written is a model of the base's own settings. UM_E_USAGE: the form cannot
 * say one of them. */
enum um_status um_merge_check_settings(struct um_merge *m, struct um_error *err);

#endif
