/* Recipes: any bytes as YAML; what is taken must be the same in a copy. */
#include <stdlib.h>
#include <string.h>

#include "train/recipe_private.h"

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t n);

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t n)
{
    struct um_error err;
    struct um_recipe *recipe, *clone;
    if (um_recipe_new(&recipe, &err) != UM_OK)
        return 0;
    if (um_recipe_parse(recipe, (const char *)bytes, n, "fuzz.yaml", &err) == UM_OK &&
        um_recipe_clone(&clone, recipe, &err) == UM_OK) {
        for (size_t i = 0; i < um_n_options; i++)
            if (strcmp(um_recipe_text(recipe, &um_options[i]),
                       um_recipe_text(clone, &um_options[i])) != 0)
                abort();
        um_recipe_free(clone);
    }
    um_recipe_free(recipe);
    return 0;
}
