/* The list of architectures: a new one is a line here and a file beside. */
#include "model/model.h"

#include <string.h>

extern const struct um_arch um_arch_bert, um_arch_distilbert, um_arch_gemma, um_arch_gemma2,
    um_arch_gemma3, um_arch_gpt2, um_arch_llama, um_arch_mistral, um_arch_qwen2, um_arch_qwen3;

const struct um_arch *const um_archs[] = {
    &um_arch_bert,  &um_arch_distilbert, &um_arch_gemma,   &um_arch_gemma2, &um_arch_gemma3,
    &um_arch_gpt2,  &um_arch_llama,      &um_arch_mistral, &um_arch_qwen2,  &um_arch_qwen3,
};
const size_t um_n_archs = UM_COUNT(um_archs);

const struct um_arch *um_arch_find(const char *model_type)
{
    for (size_t a = 0; model_type && a < um_n_archs; a++)
        for (const char *const *t = um_archs[a]->model_types; *t; t++)
            if (strcmp(*t, model_type) == 0)
                return um_archs[a];
    return NULL;
}
