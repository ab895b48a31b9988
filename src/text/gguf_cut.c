/*
 * The pre-tokenizers that GGUF files name in tokenizer.ggml.pre. Files hold only a name, given by
 * llama.cpp's converter to the expressions in the tokenizer.json that it came from; what each name
 * stands for was read from llama.cpp's src/llama-vocab.cpp and compared with the original files
 * where those were at hand (GPT-2, LLaMA 3.1, Qwen 3, SmolLM2). Names whose text is cut in more
 * than these ways (Falcon, DeepSeek, BLOOM, ...) are not known here.
 */
#include <string.h>

#include "text/gguf_words.h"

#define LETTERS_UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LETTERS_LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define SHORT_FORMS   "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define LEADING       "[^\\r\\n\\p{L}\\p{N}]?"
#define SPACES        "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LLAMA3(digits)                                                                             \
    SHORT_FORMS "|" LEADING "\\p{L}+|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" SPACES
#define BY_CASE(short_forms, digits)                                                               \
    LEADING LETTERS_UPPER "*" LETTERS_LOWER "+" short_forms "|" LEADING LETTERS_UPPER              \
                          "+" LETTERS_LOWER "*" short_forms "|" digits                             \
                          "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" SPACES

static const struct um_gguf_cut gpt2 = {0};
static const struct um_gguf_cut digits_gpt2 = {.digits_apart = true};
static const struct um_gguf_cut llama3 = {
    .pattern = LLAMA3("\\p{N}{1,3}"), .ignores_merges = true, .starts = true};
static const struct um_gguf_cut llama3_merging = {.pattern = LLAMA3("\\p{N}{1,3}")};
static const struct um_gguf_cut qwen2 = {.pattern = LLAMA3("\\p{N}"), .composes = true};
static const struct um_gguf_cut qwen2_as_is = {.pattern = LLAMA3("\\p{N}")};
static const struct um_gguf_cut qwen35 = {.pattern = SHORT_FORMS
                                          "|" LEADING "[\\p{L}\\p{M}]+|\\p{N}"
                                          "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" SPACES,
                                          .composes = true};
static const struct um_gguf_cut tekken = {
    .pattern = BY_CASE("", "\\p{N}"), .ignores_merges = true, .starts = true};
static const struct um_gguf_cut gpt4o = {.pattern = BY_CASE(SHORT_FORMS "?", "\\p{N}{1,3}")};

static const struct {
    const char *name;
    const struct um_gguf_cut *cut;
} names[] = {
    /* "default" is what converters wrote before they knew pre-tokenizers. */
    {"default", &gpt2},
    {"gpt-2", &gpt2},
    {"phi-2", &gpt2},
    {"mpt", &gpt2},
    {"olmo", &gpt2},
    {"jais", &gpt2},
    {"trillion", &gpt2},
    {"exaone4", &gpt2},
    {"granite-docling", &gpt2},
    {"gigachat", &gpt2},
    {"a.x-4.0", &gpt2},
    {"mellum", &gpt2},
    {"modern-bert", &gpt2},
    {"roberta-bpe", &gpt2},
    {"jina-es", &gpt2},
    {"jina-de", &gpt2},
    {"jina-v1-en", &gpt2},
    {"jina-v2-es", &gpt2},
    {"jina-v2-de", &gpt2},
    {"jina-v2-code", &gpt2},
    {"smollm", &digits_gpt2},
    {"starcoder", &digits_gpt2},
    {"refact", &digits_gpt2},
    {"command-r", &digits_gpt2},
    {"codeshell", &digits_gpt2},
    {"exaone", &digits_gpt2},
    {"minerva-7b", &digits_gpt2},
    {"mellum2", &digits_gpt2},
    {"llama-bpe", &llama3},
    {"llama3", &llama3},
    {"llama-v3", &llama3},
    {"falcon3", &llama3},
    {"falcon-h1", &llama3},
    {"pixtral", &llama3},
    {"midm-2.0", &llama3},
    {"lfm2", &llama3},
    {"jina-v5-nano", &llama3},
    {"dbrx", &llama3_merging},
    {"smaug-bpe", &llama3_merging},
    {"glm4", &llama3_merging},
    {"chatglm-bpe", &llama3_merging},
    {"qwen2", &qwen2},
    {"deepseek-r1-qwen", &qwen2},
    {"megrez", &qwen2},
    {"kormo", &qwen2_as_is},
    {"f2llmv2", &qwen2_as_is},
    {"stablelm2", &qwen2_as_is},
    {"hunyuan", &qwen2_as_is},
    {"solar-open", &qwen2_as_is},
    {"grok-2", &qwen2_as_is},
    {"qwen35", &qwen35},
    {"tekken", &tekken},
    {"gpt-4o", &gpt4o},
    {"llama4", &gpt4o},
    {"kanana2", &gpt4o},
    {"talkie", &gpt4o},
    {"minimax-m2", &gpt4o},
};

enum um_status um_gguf_cut_find(const struct um_gguf_cut **cut, const char *name, size_t n,
                                const char *where, struct um_error *err)
{
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        if (strlen(names[i].name) == n && !memcmp(names[i].name, name, n)) {
            *cut = names[i].cut;
            return UM_OK;
        }
    }
    struct um_str known = {0};
    for (size_t i = 0; i < UM_COUNT(names); i++)
        um_str_add_item(&known, names[i].name);
    enum um_status status = um_fail(
        err, UM_E_INPUT, "cannot read '%s': unknown tokenizer.ggml.pre '%.*s'; known are: %s",
        where, n < 100 ? (int)n : 100, name, known.text ? known.text : "");
    um_str_free(&known);
    return status;
}
