/*
 * Models: architectures as const descriptors, and a loaded model with its parameters.
 *
 * An architecture's file holds one descriptor: the names it answers to, its config keys, its table
 * of weights and its forward function. Loader, memory plan, inspection and tests read the same
 * table. ARCHITECTURE.md shows how decoders, DeBERTa and encoder-decoders fit.
 */
#ifndef UM_MODEL_MODEL_H
#define UM_MODEL_MODEL_H

#include "format/folder.h"
#include "nn/ops.h"

enum { UM_LAYERS_MAX = 4096 };

/* A model's dimensions and settings; letters as in docs/glossary.md. */
struct um_dims {
    int64_t V, D, L, H, F, P,
        Y; /* vocabulary, model, layers, heads, feed-forward, positions, types */
    int64_t K, E;                /* key-value heads, features of a head */
    int64_t O;                   /* outputs of the task head, 0 = none */
    double norm_eps, dropout, attention_dropout, head_dropout, init_std;
    double embed_dropout;        /* of GPT-2: the others' embeddings have none, or `dropout` */
    enum um_activation activation;
    /* Decoders. 0 = none, or the usual. */
    bool is_tied;                /* the vocabulary head is the table of words */
    bool norm_adds_one, rope_is_interleaved;
    double embed_scale, attention_scale, attention_cap, logit_cap;
    struct um_rope_options rope, rope_windowed; /* theta 0: windowed layers as the others */
    int64_t window;                         /* tokens that windowed layers see */
    uint64_t windowed[UM_LAYERS_MAX / 64];  /* a bit for each layer */
};

static inline bool um_layer_is_windowed(const struct um_dims *dims, int64_t layer)
{
    return dims->window > 0 && (dims->windowed[layer / 64] >> (layer % 64) & 1);
}

enum um_key_need {
    UM_KEY_OPTIONAL,
    UM_KEY_REQUIRED,
    UM_KEY_OFF_BY_NULL, /* optional; null is 0, not the default */
};

/* One config.json key and the member it fills. */
struct um_config_key {
    const char *name;
    size_t offset;     /* in struct um_dims */
    bool is_real;      /* double, else int64_t */
    enum um_key_need need;
};

enum um_weight_flags {
    UM_WEIGHT_OPTIONAL = 1, /* left out if the file has none */
    UM_WEIGHT_HEAD = 2,     /* fresh if the file has none that fits */
    UM_WEIGHT_TASK = 4,     /* outside the base model: its name takes no prefix */
    UM_WEIGHT_VOCABULARY = 8, /* the vocabulary head; if tied, the table of words in its place */
    UM_WEIGHT_TURNED = 16,    /* [rows, cols] in folders, [cols, rows] in GGUF files */
    UM_WEIGHT_SEQUENCE = 32,  /* of a task head over whole sequences, not over single tokens */
};

/*
 * One row of a table of weights. `name` is transformers' name without the base model's prefix, with
 * %d for the layer. rows and cols are letters of struct um_dims, 'Q' and 'K' the features of all
 * query and key heads, '3' three times D, or '1': a vector is [rows].
 */
struct um_weight {
    int role; /* of the architecture's own enum */
    const char *name;
    char rows, cols;
    unsigned flags;
};

struct um_model;

/* A batch as a forward function sees it: T tokens of B sequences laid end to end. */
struct um_input {
    int64_t n_tokens;
    const int32_t *ids, *types, *positions; /* n_tokens each */
    const int32_t *first, *last;            /* column of each sequence's first and last token */
    int64_t n_sequences;
};

struct um_arch {
    const char *name, *summary;
    const char *const *model_types;  /* config.json "model_type", NULL at the end */
    const char *prefix;              /* of base weights inside a task model: "bert." */
    const char *task_class;          /* "BertForSequenceClassification" */
    const char *tag_class;           /* "BertForTokenClassification"; NULL: it tags no tokens */
    const char *text_class;          /* of a decoder: "LlamaForCausalLM" */
    const struct um_config_key *keys;
    size_t n_keys;
    const char *activation_key;
    struct um_dims defaults;         /* of what the config does not say */
    enum um_status (*check)(struct um_dims *dims, const json_t *config, const char *where,
                            struct um_error *err); /* what keys alone cannot say; may be NULL */
    const struct um_weight *weights; /* those without %d first, the layer's, then the rest */
    size_t n_weights;
    int n_roles;
    bool is_decoder;                 /* has a vocabulary head, and roles for it and its words */
    int words, vocabulary;
    const char *const
        *targets; /* modules that low-rank changes go to by default, NULL at the end */
    /* Records hidden states [D, T]; from them the task head's outputs [O, B]; and from those of n
     * tokens the outputs [O, n] of a head that tags them. */
    struct um_value *(*hidden)(const struct um_model *model, struct um_tape *tape,
                               const struct um_input *input);
    struct um_value *(*head)(const struct um_model *model, struct um_tape *tape,
                             const struct um_input *input, struct um_value *hidden);
    struct um_value *(*tag)(const struct um_model *model, struct um_tape *tape,
                            struct um_value *hidden);
};

extern const struct um_arch *const um_archs[];
extern const size_t um_n_archs;
/* By config.json's "model_type"; NULL if it is none of them, or NULL. */
const struct um_arch *um_arch_find(const char *model_type);

enum { UM_ENDS_MAX = 16 };

struct um_adapter;
struct um_attached;

struct um_model {
    const struct um_arch *arch;
    struct um_dims dims;
    struct um_folder folder;
    struct um_param *params; /* n_params, in table order: the parameter order */
    int64_t n_params;
    struct um_param **by_role; /* [L + 1][n_roles]: layer l at row l, others at row L */
    int32_t end_ids[UM_ENDS_MAX]; /* tokens that end a text: the config's, then generation's */
    int n_ends;
    struct um_attached *attached;  /* what was added (addition.h); NULL = nothing */
    struct um_adapter **adapters;  /* [L][UM_N_SITES], NULL where none stands; NULL = none at all */
    bool has_prefix;         /* the file's names carry the architecture's prefix */
    bool is_tagger;          /* its task head is over single tokens */
    bool is_shape; /* known by its config alone: parameters have shapes and types, no values */
    enum um_dtype planned_dtype; /* of its weights then */
    struct um_arena arena;
};

/* Which of its heads a model is opened with; the other's weights are then no parameters of it. */
enum um_heads {
    UM_HEADS_STORED,     /* whichever the file has */
    UM_HEADS_TASK,       /* the task's, and no vocabulary's but the table of words */
    UM_HEADS_TAGS,       /* the same, over single tokens; none where the architecture has no such */
    UM_HEADS_VOCABULARY, /* the vocabulary's */
};

struct um_model_options {
    enum um_heads heads;
    int64_t n_outputs;    /* of the task head; 0: as the file has it, or none */
    uint64_t seed;        /* of fresh weights */
    double dropout;       /* negative: the config's own */
    bool is_plan; /* weights may be missing: then config.json says it all (um_model.is_shape) */
    const char *dtype;    /* of missing weights; NULL or "": what config.json says */
};

/* Opens a folder as the architecture its config names. UM_E_INPUT: unknown model_type (lists the
 * known), missing tensors, wrong shapes. Close with um_model_close, also after a failure. */
enum um_status um_model_open(struct um_model *model, const char *path,
                             const struct um_model_options *options, struct um_error *err);
void um_model_close(struct um_model *model);

/* For a model without weights: the type that they would have, by name or by config.json's "dtype"
 * (once "torch_dtype"). UM_E_USAGE: an unknown name; UM_E_INPUT: the config does not say, or
 * something unknown. */
enum um_status um_model_plan_dtype(struct um_model *model, const char *name, struct um_error *err);
/* Whether such a model would have an optional weight. */
bool um_model_plan_has(const struct um_model *model, const char *name);
/* Makes `param`, whose shape is set, a parameter without values. */
enum um_status um_model_plan_param(struct um_model *model, struct um_param *param,
                                   const char *name, bool is_added, struct um_error *err);

/* The token that a text of the model's ends with; -1: none. */
static inline int32_t um_model_end(const struct um_model *model)
{
    return model->n_ends ? model->end_ids[0] : -1;
}

/* A parameter by role, of layer `layer` (-1: not of a layer); NULL if left out. */
struct um_param *um_model_param(const struct um_model *model, int role, int64_t layer);
/* The parameter of that name, as the base's file has it; NULL if there is none. */
struct um_param *um_model_find_param(const struct um_model *model, const char *name);
/* The vocabulary head's weight; NULL if the model has none, or was opened without. */
struct um_param *um_model_vocabulary(const struct um_model *model);
int64_t um_model_n_elements(const struct um_model *model, bool with_added);

/* The other name of a norm's weight or bias: checkpoints that were converted from TensorFlow
 * (bert-base-uncased among them) call them gamma and beta. false: it has none, or no room. */
bool um_model_other_norm(char *other, size_t size, const char *name);

/* config.json's "hidden_act" and the like. */
enum um_status um_activation_from_name(enum um_activation *out, const char *name,
                                       const char *where, struct um_error *err);

#endif
