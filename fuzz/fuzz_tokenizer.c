/*
 * Input: the content of a tokenizer.json (or, if it does not start with '{', of a vocab.txt), a NUL
 * byte, and a text to encode with it, alone and as a pair with itself, and to decode again.
 */
#include <string.h>

#include "base/str.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t n);

/* One id at a time. */
static void decode(const struct um_tokenizer *tokenizer, const struct um_tokens *tokens)
{
    struct um_error err;
    struct um_decoder *decoder;
    const char *text;
    size_t n_text;
    enum um_status status = um_decoder_new(&decoder, tokenizer, true, &err);
    for (size_t i = 0; status == UM_OK && i < tokens->n; i++)
        status = um_decoder_put(&text, &n_text, decoder, tokens->ids + i, 1, &err);
    if (status == UM_OK)
        status = um_decoder_end(&text, &n_text, decoder, &err);
    um_decoder_free(decoder);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t n)
{
    const char *file = (const char *)bytes;
    const char *stop = n ? memchr(file, '\0', n) : NULL;
    size_t n_file = stop ? (size_t)(stop - file) : n;
    const char *text = stop ? stop + 1 : "";
    size_t n_text = stop ? n - n_file - 1 : 0;
    struct um_tokenizer *tokenizer;
    struct um_tokens tokens = {0};
    struct um_error err;
    enum um_status status = um_tokenizer_new(&tokenizer, &err);
    if (status == UM_OK)
        status = n_file && file[0] == '{'
                     ? um_tokenizer_parse_json(tokenizer, file, n_file, "fuzz", &err)
                     : um_tokenizer_parse_vocab(tokenizer, file, n_file, NULL, "fuzz", &err);
    if (status == UM_OK) {
        status = um_tokenizer_encode(&tokens, tokenizer, text, n_text, NULL, 0, true, 0, &err);
        decode(tokenizer, &tokens);
        status =
            um_tokenizer_encode(&tokens, tokenizer, text, n_text, text, n_text, true, 16, &err);
        for (size_t i = 0; status == UM_OK && i < tokens.n; i++)
            (void)um_tokenizer_token(tokenizer, tokens.ids[i]);
    }
    um_tokens_free(&tokens);
    um_tokenizer_free(tokenizer);
    return 0;
}
