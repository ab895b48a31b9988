/* Normalizers: BertNormalizer, the Unicode forms, and small ones that pipelines are made of. */
#include <stdlib.h>

#include <utf8proc.h>

#include "text/tokenizer.h"

/* ---- pieces shared by several */

static void add_lower(struct um_str *out, uint32_t code)
{
    if (code == 0x130) { /* the one letter whose lower case is two code points */
        um_str_add(out, "i\xCC\x87");
        return;
    }
    um_add_codepoint(out, code < 0x80 ? (code >= 'A' && code <= 'Z' ? code + 32 : code)
                                      : (uint32_t)utf8proc_tolower((utf8proc_int32_t)code));
}

/* A Unicode normal form, or the text itself where utf8proc refuses it. */
static void add_form(struct um_str *out, const char *text, size_t n, utf8proc_option_t options)
{
    utf8proc_uint8_t *mapped = NULL;
    utf8proc_ssize_t length = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n,
                                           &mapped, options);
    if (length >= 0)
        um_str_add_n(out, (const char *)mapped, (size_t)length);
    else
        um_str_add_n(out, text, n);
    free(mapped); /* utf8proc's own allocation */
}

static void add_without_marks(struct um_str *out, const char *text, size_t n)
{
    for (size_t i = 0, length; i < n; i += length) {
        uint32_t code = um_codepoint(text + i, n - i, &length);
        if (code < 0x80 ||
            utf8proc_category((utf8proc_int32_t)code) != UTF8PROC_CATEGORY_MN)
            um_str_add_n(out, text + i, length);
    }
}

/* ---- BertNormalizer */

struct bert {
    bool clean_text, handle_chinese_chars, strip_accents, lowercase;
};

static enum um_status bert_parse(struct um_step *step, const json_t *json, struct um_arena *arena,
                                 const char *where, struct um_error *err)
{
    struct bert *b = UM_ARENA_NEW(arena, 1, struct bert);
    if (!b)
        return um_fail_memory(err, where, sizeof(*b));
    *b = (struct bert){.clean_text = true, .handle_chinese_chars = true, .lowercase = true};
    step->state = b;
    UM_RETURN_IF(um_json_get_bool(&b->clean_text, json, "clean_text", where, err));
    UM_RETURN_IF(um_json_get_bool(&b->handle_chinese_chars, json, "handle_chinese_chars", where,
                                  err));
    UM_RETURN_IF(um_json_get_bool(&b->lowercase, json, "lowercase", where, err));
    b->strip_accents = b->lowercase; /* null: as lowercase */
    return um_json_get_bool(&b->strip_accents, json, "strip_accents", where, err);
}

static bool is_control(uint32_t code)
{
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)code);
    return c == UTF8PROC_CATEGORY_CC || c == UTF8PROC_CATEGORY_CF || c == UTF8PROC_CATEGORY_CS ||
           c == UTF8PROC_CATEGORY_CO || c == UTF8PROC_CATEGORY_CN;
}

static bool is_chinese(uint32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
           (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
           (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

/* Cleans and spaces one code point; nothing is written for what is dropped. */
static void bert_clean(const struct bert *b, struct um_str *out, uint32_t code)
{
    bool is_plain_control = code == '\t' || code == '\n' || code == '\r';
    if (b->clean_text) {
        if (code == 0 || code == 0xFFFD || (!is_plain_control && is_control(code)))
            return;
        if (um_is_space(code))
            code = ' ';
    }
    bool is_apart = b->handle_chinese_chars && is_chinese(code);
    if (is_apart)
        um_str_add(out, " ");
    um_add_codepoint(out, code);
    if (is_apart)
        um_str_add(out, " ");
}

/* ASCII needs no tables: the common case in one pass. Returns false at the first other byte. */
static bool bert_ascii(const struct bert *b, struct um_str *out, const char *text, size_t n)
{
    char buffer[256];
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x80) {
            um_str_clear(out);
            return false;
        }
        bool is_blank = c == '\t' || c == '\n' || c == '\r';
        if (b->clean_text && (c < 0x20 || c == 0x7f) && !is_blank)
            continue;
        if (b->clean_text && is_blank)
            c = ' ';
        if (b->lowercase && c >= 'A' && c <= 'Z')
            c = (unsigned char)(c + 32);
        buffer[used++] = (char)c;
        if (used == sizeof(buffer)) {
            um_str_add_n(out, buffer, used);
            used = 0;
        }
    }
    um_str_add_n(out, buffer, used);
    return true;
}

static void bert_run(const struct um_step *step, struct um_str *out, const char *text, size_t n)
{
    const struct bert *b = step->state;
    struct um_str a = {0}, c = {0};
    if (bert_ascii(b, out, text, n))
        return;
    for (size_t i = 0, length; i < n; i += length)
        bert_clean(b, &a, um_codepoint(text + i, n - i, &length));
    if (b->strip_accents && a.length) {
        add_form(&c, a.text, a.length, UTF8PROC_DECOMPOSE | UTF8PROC_STABLE);
        um_str_clear(&a);
        if (c.length)
            add_without_marks(&a, c.text, c.length);
    }
    for (size_t i = 0, length; i < a.length; i += length) {
        uint32_t code = um_codepoint(a.text + i, a.length - i, &length);
        if (b->lowercase)
            add_lower(out, code);
        else
            um_add_codepoint(out, code);
    }
    out->failed = out->failed || a.failed || c.failed;
    um_str_free(&a);
    um_str_free(&c);
}

static const struct um_normalizer_type bert_type = {"BertNormalizer", bert_parse, bert_run};

/* ---- Unicode forms, lower case, accents */

static void nfc_run(const struct um_step *step, struct um_str *out, const char *text, size_t n)
{
    (void)step;
    add_form(out, text, n, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
}

static void nfd_run(const struct um_step *step, struct um_str *out, const char *text, size_t n)
{
    (void)step;
    add_form(out, text, n, UTF8PROC_DECOMPOSE | UTF8PROC_STABLE);
}

static void nfkc_run(const struct um_step *step, struct um_str *out, const char *text, size_t n)
{
    (void)step;
    add_form(out, text, n, UTF8PROC_COMPOSE | UTF8PROC_STABLE | UTF8PROC_COMPAT);
}

static void nfkd_run(const struct um_step *step, struct um_str *out, const char *text, size_t n)
{
    (void)step;
    add_form(out, text, n, UTF8PROC_DECOMPOSE | UTF8PROC_STABLE | UTF8PROC_COMPAT);
}

static void lowercase_run(const struct um_step *step, struct um_str *out, const char *text,
                          size_t n)
{
    (void)step;
    for (size_t i = 0, length; i < n; i += length)
        add_lower(out, um_codepoint(text + i, n - i, &length));
}

static void strip_accents_run(const struct um_step *step, struct um_str *out, const char *text,
                              size_t n)
{
    (void)step;
    add_without_marks(out, text, n);
}

static const struct um_normalizer_type nfc = {"NFC", NULL, nfc_run};
static const struct um_normalizer_type nfd = {"NFD", NULL, nfd_run};
static const struct um_normalizer_type nfkc = {"NFKC", NULL, nfkc_run};
static const struct um_normalizer_type nfkd = {"NFKD", NULL, nfkd_run};
static const struct um_normalizer_type lowercase = {"Lowercase", NULL, lowercase_run};
static const struct um_normalizer_type strip_accents = {"StripAccents", NULL, strip_accents_run};

const struct um_normalizer_type *const um_normalizer_types[] = {
    &bert_type, &nfc, &nfd, &nfkc, &nfkd, &lowercase, &strip_accents};
const size_t um_n_normalizer_types = UM_COUNT(um_normalizer_types);
