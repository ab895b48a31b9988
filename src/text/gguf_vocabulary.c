/* llama.cpp's names of pre-tokenizers (src/llama-vocab.cpp) and the patterns of the tokenizer.json files
 * that its converter gives them to. */
#include "text/gguf_vocabulary_private.h"

#define LLAMA3(digits)                                                                             \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                            \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

const struct um_pre_tokenizer_name um_pre_tokenizer_names[] = {
    {.name = "gpt-2"},
    {.name = "smollm", .digits_apart = true},
    {.name = "llama-bpe", .pattern = LLAMA3("\\p{N}{1,3}"), .ignores_merges = true, .starts = true},
    {.name = "qwen2", .pattern = LLAMA3("\\p{N}"), .composes = true},
};
const size_t um_n_pre_tokenizer_names = UM_COUNT(um_pre_tokenizer_names);
