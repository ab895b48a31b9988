/* The tables: importances and named methods. A new method is a row. */
#include <string.h>

#include "method/method.h"

static const struct um_importance importances[] = {
    {"d3", "|gradient| / (|weight| + eps)^exp: ID3's D3", 1, true},
    {"gradient", "|gradient|", 1, false},
    {"fisher", "gradient squared", 2, false},
};
const struct um_importance *const um_importances[] = {&importances[0], &importances[1],
                                                      &importances[2]};
const size_t um_n_importances = UM_COUNT(um_importances);

const struct um_importance *um_importance_find(const char *name)
{
    for (size_t i = 0; i < um_n_importances; i++)
        if (strcmp(importances[i].name, name) == 0)
            return &importances[i];
    return NULL;
}

static const struct um_method methods[] = {
    {"id3", "unmask a few parameters at every step, by D3 computed anew (Agarwal et al. 2025)",
     UM_STRATEGY_INCREMENT, "d3", NULL},
    {"full", "full fine-tuning: every parameter in scope", UM_STRATEGY_ALL, NULL, NULL},
    {"lora", "low-rank changes of maps, the model itself as it is (Hu et al. 2022)",
     UM_STRATEGY_ALL, NULL, "lora"},
    {"dora", "LoRA with the lengths of rows apart (Liu et al. 2024)", UM_STRATEGY_ALL, NULL, "dora"},
    {"adalora", "LoRA whose ranks are allotted by importance (Zhang et al. 2023)", UM_STRATEGY_ALL,
     NULL, "adalora"},
    {"houlsby", "bottleneck adapters behind attention and feed-forward layers (Houlsby et al. 2019)",
     UM_STRATEGY_ALL, NULL, "houlsby"},
    {"pfeiffer", "bottleneck adapters behind feed-forward layers (Pfeiffer et al. 2021)",
     UM_STRATEGY_ALL, NULL, "pfeiffer"},
};
const struct um_method *const um_methods[] = {&methods[0], &methods[1], &methods[2], &methods[3],
                                              &methods[4], &methods[5], &methods[6]};
const size_t um_n_methods = UM_COUNT(um_methods);

const struct um_method *um_method_find(const char *name)
{
    for (size_t i = 0; i < um_n_methods; i++)
        if (strcmp(methods[i].name, name) == 0)
            return &methods[i];
    return NULL;
}
