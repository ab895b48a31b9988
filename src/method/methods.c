/*
 * The table of named methods. A new method is a row. Rates are what a small encoder wants
 * (MiniLM-L6 on GLUE at 0.17 %, docs/results.md): the less of the gradient is in the parameters
 * that move, the longer the steps.
 */

#include "method/method.h"

#include <math.h>

const struct um_method um_methods[] = {
    {.name = "id3",
     .rate = 3e-3,
     .summary = "unmask a few parameters at every step, by D3 computed anew (Agarwal et al. 2025)",
     .strategy = "increment",
     .importance = "d3"},
    {.name = "d3",
     .rate = 3e-3,
     .summary = "ID3's importance, but all at once, at the first step",
     .strategy = "static",
     .importance = "d3"},
    {.name = "repeat",
     .rate = 3e-3,
     .summary = "a fresh choice by D3 every few steps",
     .strategy = "repeat",
     .importance = "d3"},
    {.name = "pafi",
     .rate = 3e-2,
     .summary = "the smallest weights (PaFi, Liao et al. 2023)",
     .strategy = "static",
     .importance = "magnitude-smallest"},
    {.name = "magnitude",
     .rate = 5e-3,
     .summary = "the largest weights",
     .strategy = "static",
     .importance = "magnitude-largest"},
    {.name = "fish",
     .rate = 1e-3,
     .summary = "greatest empirical Fisher information (FISH mask, Sung et al. 2021)",
     .strategy = "static",
     .importance = "fisher",
     .samples = 128},
    {.name = "sam",
     .rate = 1e-3,
     .summary = "greatest gradient of the whole training loss (SAM, Fu et al. 2023)",
     .strategy = "static",
     .importance = "gradient",
     .samples = INT64_MAX},
    {.name = "gradient",
     .rate = 1e-3,
     .summary = "greatest gradient of the first step",
     .strategy = "static",
     .importance = "gradient"},
    {.name = "random",
     .rate = 3e-2,
     .summary = "by chance",
     .strategy = "static",
     .importance = "random"},
    {.name = "lt-sft",
     .rate = 3e-3,
     .summary = "those that full fine-tuning moves most, from the start again (Ansell et al. 2022)",
     .strategy = "static",
     .importance = "movement"},
    {.name = "bitfit",
     .rate = 5e-3,
     .summary = "all biases (BitFit, Ben Zaken et al. 2022)",
     .strategy = "whole",
     .region = "biases"},
    {.name = "bitfit-norms",
     .rate = 5e-3,
     .summary = "all biases and norm weights",
     .strategy = "whole",
     .region = "vectors"},
    {.name = "top-layers",
     .rate = 5e-4,
     .summary = "the last scope.layers layers, and the head",
     .strategy = "whole",
     .region = "top-layers"},
    {.name = "head",
     .rate = 1e-3,
     .summary = "the head alone",
     .strategy = "whole",
     .region = "head"},
    {.name = "full",
     .rate = 1e-4,
     .summary = "full fine-tuning: every parameter in scope",
     .strategy = "whole"},
    {.name = "lora",
     .rate = 1e-3,
     .summary = "low-rank changes of maps, the model itself as it is (Hu et al. 2022)",
     .strategy = "whole",
     .addition = "lora"},
    {.name = "dora",
     .rate = 1e-3,
     .summary = "LoRA with the lengths of rows apart (Liu et al. 2024)",
     .strategy = "whole",
     .addition = "dora"},
    {.name = "adalora",
     .rate = 2e-3,
     .summary = "LoRA whose ranks are allotted by importance (Zhang et al. 2023)",
     .strategy = "whole",
     .addition = "adalora"},
    {.name = "houlsby",
     .rate = 1e-3,
     .summary =
         "bottleneck adapters behind attention and feed-forward layers (Houlsby et al. 2019)",
     .strategy = "whole",
     .addition = "houlsby"},
    {.name = "pfeiffer",
     .rate = 1e-3,
     .summary = "bottleneck adapters behind feed-forward layers (Pfeiffer et al. 2021)",
     .strategy = "whole",
     .addition = "pfeiffer"},
};
const size_t um_n_methods = UM_COUNT(um_methods);

const struct um_method *um_method_find(const char *name)
{
    return um_find_row(um_methods, um_n_methods, sizeof(*um_methods), name);
}

/* Adam moves every parameter by about the rate, so the more of them there are, the shorter the
 * steps must be: from the rate of all of them it may rise by the share's power of -0.9, which is as
 * steep as what was seen (STS-B, docs/results.md: 3e-2 for 0.17 %, 1e-2 for 1 %, 1e-3 for 10 %).
 * One digit is as much as is meant. */
double um_method_rate(const struct um_method *method, double share)
{
    const double of_all = 1e-4, steepness = 0.9;
    double most = of_all * pow(share, -steepness), digit = pow(10, floor(log10(most)));
    return fmin(method->rate, round(most / digit) * digit);
}
