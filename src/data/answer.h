/*
 * What a generated text answers, and whether that is right: the rules of LLM-Adapters (Hu et al.
 * 2023, evaluate.py). A number is an optional minus sign, digits, and an optional point with or
 * without digits behind it, all commas of the text taken out before. Digits are those of ASCII.
 */
#ifndef UM_DATA_ANSWER_H
#define UM_DATA_ANSWER_H

#include "data/task.h"

/* What was found in a text. */
struct um_found {
    bool is_there; /* false: the text answers nothing */
    double number; /* by UM_ANSWER_NUMBER */
    char letter;   /* by UM_ANSWER_LETTER */
};

/* Looks for the answer in text[0..n). A number too large for a double counts as none. */
enum um_status um_answer_find(struct um_found *found, enum um_answer rule, const char *text,
                              size_t n, struct um_error *err);

/* The truth as a data set has it: a number or a letter, or a text that ends in one. UM_E_INPUT if
 * it is neither. `path` and the row's line are for the message. */
enum um_status um_answer_truth(struct um_found *truth, enum um_answer rule,
                               const struct um_row *row, const char *path, struct um_error *err);

/* Letters must be equal, numbers differ by 0.001 at most; nothing found is wrong. */
bool um_answer_is_right(const struct um_found *found, const struct um_found *truth,
                        enum um_answer rule);

#endif
