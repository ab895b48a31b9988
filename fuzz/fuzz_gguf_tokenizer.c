/* Any bytes as a GGUF file: its tokenizer is built; a text that has something for every part (and
 * the file's own general.name, if it is there) is encoded, alone and as a pair, and decoded. What
 * the file's vocabulary becomes as a tokenizer.json is read again, and put to the same use. */
#define _GNU_SOURCE /* memfd_create */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "format/gguf.h"
#include "text/gguf_vocabulary.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t n);

static const char fixed[] = "Hello, abba's  12345\n\n\t<s>[MASK] caf\xc3\xa9 \xe2\x96\x81x "
                            "\xf0\x9f\x99\x82\xe4\xb8\xad A\xcc\x8a";

static void use(const struct um_tokenizer *tokenizer, const char *text, size_t n)
{
    struct um_error err;
    struct um_tokens tokens = {0};
    struct um_decoder *decoder;
    const char *decoded;
    size_t n_decoded;
    enum um_status status =
        um_tokenizer_encode(&tokens, tokenizer, text, n, text, n, true, 0, &err);
    status = um_decoder_new(&decoder, tokenizer, false, &err);
    for (size_t i = 0; status == UM_OK && i < tokens.n; i++) {
        (void)um_tokenizer_token(tokenizer, tokens.ids[i]);
        status = um_decoder_put(&decoded, &n_decoded, decoder, tokens.ids + i, 1, &err);
    }
    if (status == UM_OK)
        status = um_decoder_end(&decoded, &n_decoded, decoder, &err);
    um_decoder_free(decoder);
    um_tokens_free(&tokens);
}

/* As merging out into a folder does. */
static void convert(const struct um_gguf *gguf)
{
    struct um_error err;
    json_t *tokenizer = NULL, *config = NULL;
    const char *reason = NULL;
    struct um_tokenizer *again = NULL;
    char *text = NULL;
    enum um_status status;
    UM_TRY(um_vocabulary_from_gguf(&tokenizer, &config, &reason, gguf, "fuzz", &err));
    text = tokenizer ? json_dumps(tokenizer, JSON_COMPACT) : NULL;
    if (!text)
        goto out;
    UM_TRY(um_tokenizer_new(&again, &err));
    UM_TRY(um_tokenizer_parse_json(again, text, strlen(text), "fuzz", &err));
    use(again, fixed, strlen(fixed));
out:
    um_tokenizer_free(again);
    free(text);
    json_decref(tokenizer);
    json_decref(config);
}

static void read_file(const char *path)
{
    struct um_gguf gguf;
    struct um_error err;
    struct um_tokenizer *tokenizer = NULL;
    if (um_gguf_open(&gguf, path, &err) != UM_OK)
        return;
    if (um_tokenizer_new(&tokenizer, &err) == UM_OK &&
        um_tokenizer_parse_gguf(tokenizer, &gguf, "fuzz", &err) == UM_OK) {
        const struct um_gguf_pair *own = um_gguf_pair(&gguf, "general.name");
        use(tokenizer, fixed, strlen(fixed));
        if (own && own->type == UM_GGUF_STRING)
            use(tokenizer, own->text, own->n);
    }
    convert(&gguf);
    um_tokenizer_free(tokenizer);
    um_gguf_close(&gguf);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t n)
{
    char path[64];
    int fd = memfd_create("fuzz", 0);
    if (fd < 0)
        return 0;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (write(fd, bytes, n) == (ssize_t)n)
        read_file(path);
    close(fd);
    return 0;
}
