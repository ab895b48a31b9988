/*
 * The resolved settings of a run: what the option table (recipe_options.c) fills, one member per
 * key. Strings and lists are owned by the recipe; a string that is not set is "".
 */
#ifndef UM_TRAIN_CONFIG_H
#define UM_TRAIN_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct um_list {
    char **items; /* owned by the recipe */
    size_t n;
};

struct um_config {
    char *model, *task, *out;
    int64_t threads;
    struct {
        char *path;               /* `data: DIR`, also `data.path` */
        char *train, *eval;       /* files; "" = the task's own names in the folder */
        char *text, *pair, *label; /* columns by name or number; "" = the task's own */
        char *format;             /* "" = by the file's name; tsv, csv, jsonl */
        char *header;             /* yes, no; "" = the task's own */
        char *template; /* of conversations; "" = as the task has it, model = the model's */
        char *loss;               /* completion, all: what of a text is learnt */
        bool pack;                /* short texts share a row */
        double holdout;           /* share of the training rows that evaluation gets instead */
    } data;
    struct {
        char *name, *budget;
        double exp, eps;
        char *strategy, *schedule, *importance; /* "" = the method's own */
        double until;
        int64_t every, samples; /* -1 = the method's own */
        char *ranking; /* global, matrix */
        char *dropped; /* restore, keep: elements that leave the set */
        double trial, trial_lr; /* of lt-sft: times the run's steps; its learning rate */
        char *on;    /* what is put beside the model, to be tuned in its place; base = nothing */
        int64_t rank, init_rank, bottleneck;
        double alpha, dropout;
        bool rslora;
        int64_t tinit, tfinal, delta_t; /* adalora: steps */
        double beta1, beta2, orthogonality;
        char *activation;       /* "" = the method's own */
        struct um_list targets; /* none = the architecture's */
        char *bound; /* auto, rank-1, segments, tiles: which selection bound (all give one mask) */
    } method;
    struct {
        char *region; /* "" = the method's own */
        int64_t layers;
        struct um_list include, exclude, whole;
    } scope;
    struct {
        char *name;
        double lr, beta1, beta2, eps, momentum, weight_decay, clip;
        char *bias_correction; /* reference, per-parameter */
    } optimizer;
    struct {
        char *name;
        double warmup; /* share of the steps if below 1, else steps */
    } lr_schedule;
    struct {
        double epochs;
        int64_t rows; /* of the training data, from its start; 0 = all */
        int64_t max_steps, batch, accumulate, max_length;
        char *order;   /* shuffle, sequential, grouped */
        double dropout; /* negative = the model's own ("model") */
        int64_t seed;
        char *precision; /* float32, bfloat16 */
        bool recompute;
        int64_t log_every;
    } train;
    struct {
        int64_t every, batch;
        char *best; /* metric name; "" = the task's main one */
        int64_t patience;
        bool before; /* evaluate before the first step */
        int64_t rows; /* of the evaluation data, from its start; 0 = all */
        int64_t max_new_tokens; /* of an answer */
    } eval;
    struct {
        int64_t every, keep;
    } checkpoint;
};

#endif
