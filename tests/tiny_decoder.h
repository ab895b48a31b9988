/* A tiny LLaMA of random weights, with a tokenizer of single characters and a context long enough
 * for a prompt: what it writes makes no sense, but always the same. */
#ifndef UM_TESTS_TINY_DECODER_H
#define UM_TESTS_TINY_DECODER_H

#include "folder.h"

/* Copies a file of the golden ones into folder NAME. */
static inline void tiny_copy(const char *name, const char *file, const char *from)
{
    struct um_error err;
    char to[512];
    (void)snprintf(to, sizeof(to), "%s/%s", in_folder(name), file);
    assert_ok(um_file_copy(to, from, &err), err);
}

/* Makes the model in folder NAME of the test's own. `context`: three digits, its length in tokens.
 */
static inline void make_tiny_decoder(const char *name, const char *context)
{
    struct um_error err;
    char *config, file[128];
    size_t n;
    static const char key[] = "\"max_position_embeddings\": 64";
    assert_ok(um_file_read(&config, &n, GOLDEN_DIR "/models/llama_tied/model/config.json", &err),
              err);
    char *at = strstr(config, key);
    assert_non_null(at);
    struct um_str wider = {0};
    um_str_addf(&wider, "%.*s%s%s", (int)(at - config) + (int)sizeof(key) - 3, config, context,
                at + sizeof(key) - 1);
    (void)snprintf(file, sizeof(file), "%s/config.json", name);
    put_file(file, wider.text, wider.length);
    tiny_copy(name, "model.safetensors", GOLDEN_DIR "/models/llama_tied/model/model.safetensors");
    tiny_copy(name, "tokenizer.json", GOLDEN_DIR "/tokenizer/characters/tokenizer.json");
    um_str_free(&wider);
    um_free(config);
}

#endif
