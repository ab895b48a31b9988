/* What the files of the recipe share: a row of the option table, and setting a row from text. */
#ifndef UM_TRAIN_RECIPE_PRIVATE_H
#define UM_TRAIN_RECIPE_PRIVATE_H

#include "base/str.h"
#include "train/recipe.h"

enum um_option_type {
    UM_OPTION_TEXT,
    UM_OPTION_PATH,   /* as text; kept apart for the sake of help */
    UM_OPTION_CHOICE, /* one of info.choices, or of the members of info.family */
    UM_OPTION_INT,
    UM_OPTION_FLOAT,
    UM_OPTION_BOOL,
    UM_OPTION_LIST, /* of texts without commas */
};

/* One option. Numbers lie in [low, high], or (low, high] where `above_low`. */
struct um_option {
    struct um_option_info info;
    enum um_option_type type;
    size_t offset; /* of the member of struct um_config */
    double low, high;
    bool above_low;
    const char *word;    /* a number's one word, which stands for -1 */
};

extern const struct um_option um_options[];
extern const size_t um_n_options;

/* The row of a key; a section alone means its `.path` or `.name` (`data`, `method`). NULL if
 * there is none. */
const struct um_option *um_option_find(const char *key);
/* The error of a key that has no row, with the nearest that has one. */
enum um_status um_option_fail_unknown(const char *key, struct um_error *err);

enum um_status um_recipe_set_option(struct um_recipe *recipe, const struct um_option *option,
                                    const char *value, struct um_error *err);
/* The option's value as canonical text (borrows). */
const char *um_recipe_text(const struct um_recipe *recipe, const struct um_option *option);

#endif
