/* The table of named methods. A new method is a row. */
#include <string.h>

#include "method/method.h"

static const struct um_method methods[] = {
    {.name = "id3",
     .summary = "unmask a few parameters at every step, by D3 computed anew (Agarwal et al. 2025)",
     .strategy = "increment",
     .importance = "d3"},
    {.name = "d3",
     .summary = "ID3's importance, but all at once, at the first step",
     .strategy = "static",
     .importance = "d3"},
    {.name = "repeat",
     .summary = "a fresh choice by D3 every few steps",
     .strategy = "repeat",
     .importance = "d3"},
    {.name = "pafi",
     .summary = "the smallest weights (PaFi, Liao et al. 2023)",
     .strategy = "static",
     .importance = "magnitude-smallest"},
    {.name = "magnitude",
     .summary = "the largest weights",
     .strategy = "static",
     .importance = "magnitude-largest"},
    {.name = "fish",
     .summary = "greatest empirical Fisher information (FISH mask, Sung et al. 2021)",
     .strategy = "static",
     .importance = "fisher",
     .samples = 128},
    {.name = "sam",
     .summary = "greatest gradient of the whole training loss (SAM, Fu et al. 2023)",
     .strategy = "static",
     .importance = "gradient",
     .samples = INT64_MAX},
    {.name = "gradient",
     .summary = "greatest gradient of the first step",
     .strategy = "static",
     .importance = "gradient"},
    {.name = "random", .summary = "by chance", .strategy = "static", .importance = "random"},
    {.name = "lt-sft",
     .summary = "those that full fine-tuning moves most, from the start again (Ansell et al. 2022)",
     .strategy = "static",
     .importance = "movement"},
    {.name = "bitfit",
     .summary = "all biases (BitFit, Ben Zaken et al. 2022)",
     .strategy = "whole",
     .region = "biases"},
    {.name = "bitfit-norms",
     .summary = "all biases and norm weights",
     .strategy = "whole",
     .region = "vectors"},
    {.name = "top-layers",
     .summary = "the last scope.layers layers, and the head",
     .strategy = "whole",
     .region = "top-layers"},
    {.name = "head", .summary = "the head alone", .strategy = "whole", .region = "head"},
    {.name = "full", .summary = "full fine-tuning: every parameter in scope", .strategy = "whole"},
    {.name = "lora",
     .summary = "low-rank changes of maps, the model itself as it is (Hu et al. 2022)",
     .strategy = "whole",
     .addition = "lora"},
    {.name = "dora",
     .summary = "LoRA with the lengths of rows apart (Liu et al. 2024)",
     .strategy = "whole",
     .addition = "dora"},
    {.name = "adalora",
     .summary = "LoRA whose ranks are allotted by importance (Zhang et al. 2023)",
     .strategy = "whole",
     .addition = "adalora"},
    {.name = "houlsby",
     .summary = "bottleneck adapters behind attention and feed-forward layers (Houlsby et al. 2019)",
     .strategy = "whole",
     .addition = "houlsby"},
    {.name = "pfeiffer",
     .summary = "bottleneck adapters behind feed-forward layers (Pfeiffer et al. 2021)",
     .strategy = "whole",
     .addition = "pfeiffer"},
};
const struct um_method *const um_methods[] = {
    &methods[0],  &methods[1],  &methods[2],  &methods[3],  &methods[4],  &methods[5],
    &methods[6],  &methods[7],  &methods[8],  &methods[9],  &methods[10], &methods[11],
    &methods[12], &methods[13], &methods[14], &methods[15], &methods[16], &methods[17],
    &methods[18], &methods[19]};
const size_t um_n_methods = UM_COUNT(um_methods);

const struct um_method *um_method_find(const char *name)
{
    for (size_t i = 0; i < um_n_methods; i++)
        if (strcmp(methods[i].name, name) == 0)
            return &methods[i];
    return NULL;
}
