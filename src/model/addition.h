/*
 * Additions: parameters that a method puts beside a model's own. A family of const descriptors:
 * low-rank changes of linear maps (LoRA, DoRA, AdaLoRA) and bottleneck adapters at sites (Houlsby,
 * Pfeiffer). Attached, they are ordinary parameters at the end of the model's table, named
 *   MODULE.lora_A.weight, .lora_B.weight, .lora_E (AdaLoRA), .lora_magnitude_vector (DoRA), as in
 * PEFT; adapters.LAYER.SITE.down.weight, .down.bias, .up.weight, .up.bias. Their first values are a
 * function of the seed and their place in the table, so that a run can tell at its end which of
 * them have changed.
 */
#ifndef UM_MODEL_ADDITION_H
#define UM_MODEL_ADDITION_H

#include "model/site.h"

enum um_addition_kind { UM_ADDITION_NONE, UM_ADDITION_LOW_RANK, UM_ADDITION_ADAPTER };

struct um_addition {
    const char *name, *summary;
    enum um_addition_kind kind;
    bool has_lambda, has_magnitude;  /* of a low-rank change */
    bool sites[UM_N_SITES];          /* of an adapter: where, unless targets say so */
    bool sees_joined;
    enum um_activation activation;
};
extern const struct um_addition um_additions[]; /* the first is "base": nothing is added */
extern const size_t um_n_additions;
const struct um_addition *um_addition_find(const char *name);

struct um_addition_options {
    const struct um_addition *addition; /* NULL = base */
    int64_t rank;               /* of a low-rank change */
    double alpha;               /* its scale is alpha / rank, */
    bool is_rank_stabilised;    /* or alpha / sqrt(rank) (rsLoRA, Kalajdzievski 2023) */
    double dropout;
    int64_t bottleneck;         /* features inside an adapter; 0 = a 16th of the model's */
    const char *activation;     /* as config.json names it; "" or NULL = the addition's own */
    char *const *targets;       /* patterns of maps (a name, or its end behind a dot), or of sites
                                   ("*.attention"); none = the architecture's or addition's own */
    size_t n_targets;
    uint64_t seed;
};

/* Adds the parameters. The model's table moves: pointers to its parameters taken before are void.
 * UM_E_USAGE: a target that matches nothing (names the nearest), settings out of range. */
enum um_status um_model_attach(struct um_model *model, const struct um_addition_options *options,
                               struct um_error *err);

/* The first values of an attached parameter, n_elements. */
void um_model_first_values(float *out, const struct um_model *model, const struct um_param *param);

/* How what is attached was asked for, targets resolved; NULL if nothing is (borrows). */
const struct um_addition_options *um_model_attached(const struct um_model *model);

/* What is attached as JSON text for a delta's metadata, NULL = no memory (free with free); "" if
 * nothing is. And attaching what such a text says (seed 0: the values follow). */
char *um_model_attached_text(const struct um_model *model);
enum um_status um_model_attach_text(struct um_model *model, const char *text, const char *where,
                                    struct um_error *err);

#endif
