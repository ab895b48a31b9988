/*
 * Questions of a data set whose task has an answer rule: put to a decoder, which goes on with each
 * prompt by its likeliest tokens; what it writes is searched for an answer and compared.
 */
#ifndef UM_TRAIN_QUESTIONS_H
#define UM_TRAIN_QUESTIONS_H

#include "data/answer.h"
#include "data/prose.h"
#include "train/prompts.h"
#include "train/task_model.h"

/* What was written for a row, and what of it is the answer. */
struct um_reply {
    struct um_generation generation; /* nothing if the prompt was too long */
    struct um_found found;
    bool is_right;
    bool is_awaited; /* the asking has not come to its end, or was stopped before */
};

struct um_questions {
    struct um_task_model *tm;      /* borrows */
    const struct um_dataset *data; /* borrows */
    struct um_prose_options prose;
    struct um_prompts prompts;
    int64_t *rows;            /* of each prompt */
    struct um_found *truths;  /* of each row */
    struct um_reply *replies; /* of each row, by the last um_questions_ask */
    int64_t n_too_long;       /* rows whose prompt leaves no room in the model's context: they
                                 are not put, and count as wrong */
};

/* Renders and encodes all prompts; reads all answers. UM_E_INPUT: an answer that is none. */
enum um_status um_questions_open(struct um_questions *questions, struct um_task_model *tm,
                                 const struct um_dataset *data,
                                 const struct um_prose_options *prose, struct um_error *err);
void um_questions_close(struct um_questions *questions);

struct um_ask_options {
    int64_t batch, max_new_tokens;
    um_answering_fn *answering; /* may be NULL */
    void *user;
};

/* The memory that asking takes. */
enum um_status um_questions_plan(struct um_generate_need *need,
                                 const struct um_questions *questions,
                                 const struct um_ask_options *options, struct um_error *err);
/* Asks all, for `replies`. UM_E_INTERRUPTED if the callback says so. */
enum um_status um_questions_ask(struct um_questions *questions,
                                const struct um_ask_options *options, struct um_error *err);
/* Writes a JSON object a row: row (from 1), line, prompt, text, prediction (null: none), answer,
 * correct, tokens. Where the asking was stopped, of the rows that were answered. */
enum um_status um_questions_save(const struct um_questions *questions, const char *path,
                                 struct um_error *err);

#endif
