/*
 * GGUF files with nothing but a tokenizer, from a line of text: fields "key kind values" between
 * semicolons, values between commas; every key gets "tokenizer.ggml." in front. Kinds: text, texts,
 * u32, i32s, f32s, bool.
 */
#ifndef UM_TEST_GGUF_SPEC_H
#define UM_TEST_GGUF_SPEC_H

#include "format/gguf.h"

enum { SPEC_VALUES_MAX = 64 };

/* The values, cut apart in place. */
static inline size_t spec_values(char *values[SPEC_VALUES_MAX], char *text)
{
    size_t n = 0;
    for (char *stop; n < SPEC_VALUES_MAX; text = stop + 1) {
        stop = strchr(text, ',');
        values[n++] = text;
        if (!stop)
            break;
        *stop = '\0';
    }
    return n;
}

static inline void spec_declare(struct um_gguf_writer *w, const char *name, const char *kind,
                                char *text)
{
    char key[4200], *values[SPEC_VALUES_MAX];
    const char *texts[SPEC_VALUES_MAX];
    size_t lengths[SPEC_VALUES_MAX], n = spec_values(values, text);
    int32_t integers[SPEC_VALUES_MAX];
    float reals[SPEC_VALUES_MAX];
    (void)snprintf(key, sizeof(key), "tokenizer.ggml.%s", name);
    for (size_t i = 0; i < n; i++) {
        texts[i] = values[i];
        lengths[i] = strlen(values[i]);
        integers[i] = (int32_t)strtol(values[i], NULL, 10);
        reals[i] = strtof(values[i], NULL);
    }
    if (!strcmp(kind, "text"))
        um_gguf_declare_text(w, key, texts[0], lengths[0]);
    else if (!strcmp(kind, "texts"))
        um_gguf_declare_texts(w, key, texts, lengths, n);
    else if (!strcmp(kind, "u32"))
        um_gguf_declare_u32(w, key, (uint32_t)integers[0]);
    else if (!strcmp(kind, "bool"))
        um_gguf_declare_bool(w, key, integers[0] != 0);
    else if (!strcmp(kind, "i32s"))
        um_gguf_declare_i32s(w, key, integers, n);
    else
        um_gguf_declare_f32s(w, key, reals, n);
}

static inline enum um_status spec_write(const char *path, const char *spec, struct um_error *err)
{
    struct um_gguf_writer w;
    enum um_status status;
    char copy[4096];
    (void)snprintf(copy, sizeof(copy), "%s", spec);
    UM_TRY(um_gguf_create(&w, err));
    for (char *field = copy, *stop; *field; field = stop) {
        stop = field + strcspn(field, ";");
        if (*stop)
            *stop++ = '\0';
        char *kind = strchr(field, ' '), *values = strchr(kind + 1, ' ');
        *kind++ = *values++ = '\0';
        spec_declare(&w, field, kind, values);
    }
    UM_TRY(um_gguf_begin(&w, path, err));
    UM_TRY(um_gguf_commit(&w, err));
out:
    um_gguf_abandon(&w);
    return status;
}

#endif
