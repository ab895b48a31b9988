/*
 * A recipe: for each row of the option table its value, as canonical text and as the member of
 * struct um_config that it fills. Both are changed together, by um_recipe_set_option alone.
 */
#define _POSIX_C_SOURCE 200809L /* strtok_r */
#include "train/recipe_private.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"

struct um_recipe {
    struct um_config config; /* its strings and lists point into `texts` and `items` */
    char **texts;            /* one for each option; owned */
    char ***items;           /* one for each option; owned: of a LIST, pointers and then text */
    bool *is_asked;          /* one for each option: set on its own; owned */
};

const struct um_config *um_recipe_config(const struct um_recipe *recipe)
{
    return &recipe->config;
}

const char *um_recipe_text(const struct um_recipe *recipe, const struct um_option *option)
{
    return recipe->texts[option - um_options];
}

const char *um_recipe_get(const struct um_recipe *recipe, const char *key)
{
    const struct um_option *option = um_option_find(key);
    return option ? um_recipe_text(recipe, option) : NULL;
}

/* ------------------------------------------------------------------ values, from text and back */

/* A value on its way in: `text` as it will be kept, and what goes into the config. */
struct value {
    const char *text;
    char buffer[64]; /* for canonical numbers */
    int64_t i;
    double f;
    bool b;
};

static enum um_status fail_value(const struct um_option *option, const char *expected,
                                 const char *found, struct um_error *err)
{
    return um_fail(err, UM_E_USAGE, "'%s' takes %s, found '%s'", option->info.key, expected, found);
}

static bool is_in_range(const struct um_option *option, double x)
{
    return x <= option->high && (option->above_low ? x > option->low : x >= option->low);
}

static enum um_status parse_int(struct value *value, const struct um_option *option,
                                const char *text, struct um_error *err)
{
    if (option->word && strcmp(text, option->word) == 0) {
        value->i = -1;
        value->text = option->word;
        return UM_OK;
    }
    if (!um_parse_i64(&value->i, text) || !is_in_range(option, (double)value->i)) {
        char expected[96];
        (void)snprintf(expected, sizeof(expected), "a whole number from %.0f to %.0f%s%s",
                       option->low, option->high, option->word ? ", or " : "",
                       option->word ? option->word : "");
        return fail_value(option, expected, text, err);
    }
    (void)snprintf(value->buffer, sizeof(value->buffer), "%lld", (long long)value->i);
    value->text = value->buffer;
    return UM_OK;
}

static enum um_status parse_float(struct value *value, const struct um_option *option,
                                  const char *text, struct um_error *err)
{
    if (option->word && strcmp(text, option->word) == 0) {
        value->f = -1;
        value->text = option->word;
        return UM_OK;
    }
    if (!um_parse_f64(&value->f, text) || !is_in_range(option, value->f)) {
        char expected[128];
        (void)um_snprintf(expected, sizeof(expected), "a number %s %g and at most %.7g%s%s",
                          option->above_low ? "above" : "of at least", option->low, option->high,
                          option->word ? ", or " : "", option->word ? option->word : "");
        return fail_value(option, expected, text, err);
    }
    /* The fewest digits that read back to the same number. */
    for (int digits = 6; digits <= 17; digits++) {
        double again;
        (void)um_snprintf(value->buffer, sizeof(value->buffer), "%.*g", digits, value->f);
        if (um_parse_f64(&again, value->buffer) && again >= value->f && again <= value->f)
            break;
    }
    value->text = value->buffer;
    return UM_OK;
}

static enum um_status parse_bool(struct value *value, const struct um_option *option,
                                 const char *text, struct um_error *err)
{
    static const char *const words[] = {"off", "on", "false", "true", "no", "yes"};
    for (size_t i = 0; i < UM_COUNT(words); i++) {
        if (strcmp(text, words[i]) == 0) {
            value->b = i % 2;
            value->text = words[i % 2];
            return UM_OK;
        }
    }
    return fail_value(option, "on or off", text, err);
}

/* Splits "a|b|c" into names that point into `copy`. Returns how many. */
static size_t split_choices(const char **names, size_t capacity, char *copy)
{
    size_t n = 0;
    for (char *name = strtok_r(copy, "|", &copy); name && n < capacity;
         name = strtok_r(NULL, "|", &copy))
        names[n++] = name;
    return n;
}

enum { CHOICES_MAX = 256 };

/* The names that a CHOICE may have; `copy` holds them if they are no family's. */
static size_t list_choices(const char *names[CHOICES_MAX], char copy[CHOICES_MAX],
                           const struct um_option *option)
{
    if (option->info.choices) {
        (void)snprintf(copy, CHOICES_MAX, "%s", option->info.choices);
        return split_choices(names, CHOICES_MAX, copy);
    }
    struct um_member_info members[CHOICES_MAX];
    size_t n = um_family_members(members, CHOICES_MAX, option->info.family);
    for (size_t i = 0; i < n; i++)
        names[i] = members[i].name;
    return n;
}

static enum um_status parse_choice(struct value *value, const struct um_option *option,
                                   const char *text, struct um_error *err)
{
    const char *names[CHOICES_MAX];
    char copy[CHOICES_MAX];
    size_t n = list_choices(names, copy, option);
    value->text = text;
    if (strcmp(text, option->info.default_value) == 0)
        return UM_OK;
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], text) == 0)
            return UM_OK;
    char list[512];
    size_t used = (size_t)snprintf(list, sizeof(list), "one of ");
    for (size_t i = 0; i < n && used < sizeof(list); i++)
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", names[i]);
    (void)fail_value(option, list, text, err);
    const char *nearest = um_nearest(text, names, n);
    if (nearest)
        um_error_hint(err, "did you mean '%s'?", nearest);
    return UM_E_USAGE;
}

static enum um_status parse_text(struct value *value, const struct um_option *option,
                                 const char *text, struct um_error *err)
{
    (void)option;
    (void)err;
    value->text = text;
    return UM_OK;
}

static enum um_status parse_list(struct value *value, const struct um_option *option,
                                 const char *text, struct um_error *err)
{
    size_t n = strlen(text);
    if (n && (text[0] == ',' || text[n - 1] == ',' || strstr(text, ",,")))
        return fail_value(option, "patterns with commas between them", text, err);
    value->text = text;
    return UM_OK;
}

typedef enum um_status parse_fn(struct value *value, const struct um_option *option,
                                const char *text, struct um_error *err);

static parse_fn *const parsers[] = {
    [UM_OPTION_TEXT] = parse_text,     [UM_OPTION_PATH] = parse_text,
    [UM_OPTION_CHOICE] = parse_choice, [UM_OPTION_INT] = parse_int,
    [UM_OPTION_FLOAT] = parse_float,   [UM_OPTION_BOOL] = parse_bool,
    [UM_OPTION_LIST] = parse_list,
};

/* ---------------------------------------------------------------------------- into the config */

/* The items of "a,b,c" in one block: the pointers, then the text they point into. NULL = no memory.
 */
static char **new_items(size_t *n_items, const char *text)
{
    size_t n = text[0] != '\0', n_text = strlen(text) + 1;
    for (const char *c = text; *c; c++)
        n += *c == ',';
    char **pointers = um_alloc(n * sizeof(char *) + n_text);
    if (!pointers)
        return NULL;
    char *copy = memcpy(pointers + n, text, n_text), *rest = copy;
    for (size_t i = 0; i < n; i++)
        pointers[i] = strtok_r(rest, ",", &rest);
    *n_items = n;
    return pointers;
}

/* Puts the value in place of the old one; takes `text` and `pointers`. */
static void store(struct um_recipe *recipe, const struct um_option *option,
                  const struct value *value, char *text, char **pointers, size_t n_items)
{
    size_t row = (size_t)(option - um_options);
    void *member = (char *)&recipe->config + option->offset;
    switch (option->type) {
    case UM_OPTION_TEXT:
    case UM_OPTION_PATH:
    case UM_OPTION_CHOICE:
        *(char **)member = text;
        break;
    case UM_OPTION_INT:
        *(int64_t *)member = value->i;
        break;
    case UM_OPTION_FLOAT:
        *(double *)member = value->f;
        break;
    case UM_OPTION_BOOL:
        *(bool *)member = value->b;
        break;
    case UM_OPTION_LIST:
        *(struct um_list *)member = (struct um_list){.items = pointers, .n = n_items};
        break;
    }
    um_free(recipe->texts[row]);
    um_free(recipe->items[row]);
    recipe->texts[row] = text;
    recipe->items[row] = pointers;
    recipe->is_asked[row] = false;
}

enum um_status um_recipe_set_option(struct um_recipe *recipe, const struct um_option *option,
                                    const char *text, struct um_error *err)
{
    struct value value = {0};
    size_t n_items = 0;
    if (um_utf8_valid(text, strlen(text)) != strlen(text))
        return um_fail(err, UM_E_USAGE, "'%s' is not valid UTF-8", option->info.key);
    UM_RETURN_IF(parsers[option->type](&value, option, text, err));
    char *copy = um_strdup(value.text);
    char **pointers = option->type == UM_OPTION_LIST ? new_items(&n_items, value.text) : NULL;
    if (!copy || (option->type == UM_OPTION_LIST && !pointers)) {
        um_free(copy);
        um_free(pointers);
        return um_fail_memory(err, "a recipe", strlen(text));
    }
    store(recipe, option, &value, copy, pointers, n_items);
    return UM_OK;
}

enum um_status um_recipe_set(struct um_recipe *recipe, const char *key, const char *value,
                             struct um_error *err)
{
    const struct um_option *option = um_option_find(key);
    if (!option)
        return um_option_fail_unknown(key, err);
    UM_RETURN_IF(um_recipe_set_option(recipe, option, value, err));
    recipe->is_asked[option - um_options] = true;
    return UM_OK;
}

bool um_recipe_asks(const struct um_recipe *recipe, const char *key)
{
    return recipe->is_asked[um_option_find(key) - um_options];
}

/* ------------------------------------------------------------------------------- life of a recipe
 */

void um_recipe_free(struct um_recipe *recipe)
{
    if (!recipe)
        return;
    for (size_t i = 0; i < um_n_options; i++) {
        if (recipe->texts)
            um_free(recipe->texts[i]);
        if (recipe->items)
            um_free(recipe->items[i]);
    }
    um_free(recipe->texts);
    um_free(recipe->items);
    um_free(recipe->is_asked);
    um_free(recipe);
}

/* A recipe with the values of `from`, or with the defaults if that is NULL. */
static enum um_status new_recipe(struct um_recipe **recipe, const struct um_recipe *from,
                                 struct um_error *err)
{
    enum um_status status = UM_OK;
    *recipe = NULL;
    struct um_recipe *r = UM_NEW(1, struct um_recipe);
    if (!r)
        return um_fail_memory(err, "a recipe", sizeof(*r));
    r->texts = UM_NEW(um_n_options, char *);
    r->items = UM_NEW(um_n_options, char **);
    r->is_asked = UM_NEW(um_n_options, bool);
    if (!r->texts || !r->items || !r->is_asked)
        UM_TRY(um_fail_memory(err, "a recipe", um_n_options * sizeof(char *)));
    for (size_t i = 0; i < um_n_options; i++)
        UM_TRY(um_recipe_set_option(r, &um_options[i],
                                    from ? from->texts[i] : um_options[i].info.default_value, err));
    *recipe = r;
    return UM_OK;
out:
    um_recipe_free(r);
    return status;
}

enum um_status um_recipe_new(struct um_recipe **recipe, struct um_error *err)
{
    return new_recipe(recipe, NULL, err);
}

enum um_status um_recipe_clone(struct um_recipe **copy, const struct um_recipe *recipe,
                               struct um_error *err)
{
    return new_recipe(copy, recipe, err);
}

enum um_status um_recipe_root_paths(struct um_recipe *recipe, struct um_error *err)
{
    static const char *const keys[] = {"model", "data.path", "data.train", "data.eval"};
    for (size_t i = 0; i < UM_COUNT(keys); i++) {
        char *whole = um_path_whole(um_recipe_get(recipe, keys[i]));
        enum um_status status = whole ? um_recipe_set(recipe, keys[i], whole, err) : UM_OK;
        um_free(whole);
        UM_RETURN_IF(status);
    }
    return UM_OK;
}
