/*
 * Tasks: what a data set's files are called, which columns hold what, what the labels are, and what
 * it is scored by. GLUE tasks are read as GLUE ships them. A new task is a row of the table.
 *
 * A task is to tell something of a text (a class, a number: style PAIR), or of each of its words
 * (WORDS), or to go on with it token by token (the other styles, for decoders).
 */
#ifndef UM_DATA_TASK_H
#define UM_DATA_TASK_H

#include "data/table.h"

enum { UM_TASK_METRICS = 4, UM_TASK_LABELS = 9 };

/* What a row's texts are. */
enum um_style {
    UM_STYLE_PAIR,   /* text, pair; label */
    UM_STYLE_WORDS,  /* words; a tag for each */
    UM_STYLE_RECORD, /* an instruction, its input if it has one; the output that it asks for */
    UM_STYLE_PROMPT, /* a prompt; its completion, as they are */
    UM_STYLE_CHAT,   /* messages, as a JSON array */
    UM_STYLE_PLAIN,  /* a document */
};

/* How a generated text answers a question. */
enum um_answer {
    UM_ANSWER_NONE,
    UM_ANSWER_NUMBER, /* its last number */
    UM_ANSWER_LETTER, /* the first of A to E */
};

struct um_task {
    const char *name, *summary;
    const char *folder;            /* GLUE's name of it, for data: PARENT */
    const char *train, *eval;      /* file names; NULL: data.train and data.eval must be given */
    bool has_header;
    bool skips_short_rows; /* rows with too few fields are left out, as the data set needs */
    bool skips_empty;              /* and so are rows with an empty completion */
    const char *text, *pair, *label; /* columns by name or number; pair NULL if there is none */
    enum um_style style;
    enum um_answer answer;         /* that generated text is scored by, against column "answer" */
    bool is_regression;
    const char *labels[UM_TASK_LABELS + 1]; /* in order, NULL-terminated; none: learnt */
    const char *metrics[UM_TASK_METRICS];   /* the main one first */
};

extern const struct um_task um_tasks[];
extern const size_t um_n_tasks;
const struct um_task *um_task_find(const char *name); /* NULL if unknown */
int64_t um_task_n_labels(const struct um_task *task);  /* that it names itself */

/* Whether texts are gone on with. */
static inline bool um_style_is_prose(enum um_style style)
{
    return style != UM_STYLE_PAIR && style != UM_STYLE_WORDS;
}

/* Whether it tells classes, of texts or of words. */
static inline bool um_task_has_classes(const struct um_task *task)
{
    return !um_style_is_prose(task->style) && !task->is_regression;
}

/* One row of text and its truth. Texts are borrowed from the table, NULL where there is none. */
struct um_row {
    const char *text, *pair;
    const char *completion, *answer; /* of styles other than PAIR; of tasks with answers */
    size_t n_text, n_pair, n_completion;
    int64_t label;           /* class; -1 without label */
    double target;           /* regression */
    int64_t line;
    /* Style WORDS: is the text a list of them; classes of the n_words, NULL without; how many words
     * the rows before it have. */
    bool is_list;
    const int32_t *tags;
    int64_t n_words, first_word;
};

struct um_dataset {
    const struct um_task *task;
    struct um_table table;
    struct um_row *rows;
    int64_t n_rows;
    char **labels;     /* names by class; owned */
    int64_t n_labels;  /* 0 for regression */
    bool is_labelled;
    bool has_numbers;  /* labels are classes' numbers, though these have names */
    bool is_borrowed;  /* labels, tags and texts belong to another data set */
    int32_t *tags;     /* of all words, style WORDS; owned */
    size_t tags_capacity;
};

/* Words of all rows, style WORDS. */
static inline int64_t um_dataset_n_words(const struct um_dataset *data)
{
    const struct um_row *last = data->n_rows ? &data->rows[data->n_rows - 1] : NULL;
    return last ? last->first_word + last->n_words : 0;
}

struct um_data_options {
    const char *folder;            /* data.path, "" if files are given */
    const char *file;              /* data.train or data.eval, "" = the task's own */
    const char *text, *pair, *label; /* columns; "" = the task's own */
    const char *format;              /* "" = by the file's name */
    char *const *names; /* n_names; of a model's classes: their order, if they are the data's */
    int64_t n_names;                 /* 0: the model has none */
    int64_t n_classes;               /* that the model tells apart; 0: not known yet */
    const char *header;              /* is there one? yes, no; "" = the task's own */
    int64_t n_rows;                  /* the first so many; 0: all */
    bool is_train;
    bool needs_labels;             /* else a missing label column is fine, if none was named */
    bool may_lack_labels;          /* also one that was named; if there is one it is not read */
    char *const *labels;           /* known class names in order; NULL: the task's, or learnt */
    int64_t n_labels;
};

/* Reads the training or evaluation part of a task. UM_E_INPUT: labels that are empty or not known
 * (lists those that are), a single class in training data, targets that are not numbers, words and
 * tags that do not pair off. A label column named in the options must be there. */
enum um_status um_dataset_open(struct um_dataset *data, const struct um_task *task,
                               const struct um_data_options *options, struct um_error *err);
/* As um_dataset_open, from memory; `path` names it in errors and tells its format. */
enum um_status um_dataset_parse(struct um_dataset *data, const struct um_task *task,
                                const struct um_data_options *options, const char *text, size_t n,
                                const char *path, struct um_error *err);
/* Moves a share of the rows, chosen by chance (always the same), into `held`, which keeps the first
 * n_rows_max of them (0: all); its texts and labels are borrowed from `data`. UM_E_USAGE if none
 * would be left on one side. */
enum um_status um_dataset_hold_out(struct um_dataset *held, struct um_dataset *data, double share,
                                   int64_t n_rows_max, struct um_error *err);
/* Frees the texts when they are encoded; labels and counts stay. Nobody may have borrowed them. */
void um_dataset_drop_texts(struct um_dataset *data);
void um_dataset_close(struct um_dataset *data);

#endif
