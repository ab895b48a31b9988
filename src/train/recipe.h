/*
 * Recipes: the one table of options behind flags, recipe files, --help, the man page, validation
 * and the run record. The public functions (um_recipe_*) are in unmask.h; this is what the rest of
 * the library sees of a recipe.
 */
#ifndef UM_TRAIN_RECIPE_H
#define UM_TRAIN_RECIPE_H

#include "base/error.h"
#include "train/config.h"

/* The settings as a struct, always whole: what is not set stands at its default. Borrowed until the
 * recipe is changed or freed. */
const struct um_config *um_recipe_config(const struct um_recipe *recipe);

/* Whether a key was set on its own (um_recipe_set), as a command line does, after any file that was
 * read. */
bool um_recipe_asks(const struct um_recipe *recipe, const char *key);

/* Returns an owned copy of the values (free with um_recipe_free), which asks for nothing. */
enum um_status um_recipe_clone(struct um_recipe **copy, const struct um_recipe *recipe,
                               struct um_error *err);

/* Reads text[0..n), the content of a recipe file at `path`, over what is set (um_recipe_load). */
enum um_status um_recipe_parse(struct um_recipe *recipe, const char *text, size_t n,
                               const char *path, struct um_error *err);

/* Paths of what is there, from the root on: then the recipe can be read from anywhere. */
enum um_status um_recipe_root_paths(struct um_recipe *recipe, struct um_error *err);

#endif
