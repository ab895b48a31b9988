/*
 * Decoding ids as they come. The text of a token depends on the tokens before it (is it the first?
 * does it end a character?), so a window of ids is decoded again: those of the last piece that was
 * given out, as context, and those since. What the window's text has beyond the context's text is
 * new, unless it ends within a character: then more ids are waited for.
 */
#include <string.h>

#include "text/pipeline_private.h"

struct um_decoder {
    const struct um_tokenizer *tokenizer;
    bool skips_special;
    struct um_scratch scratch;
    struct um_ids window;
    size_t n_context;      /* ids of the window that were given out */
    struct um_str context; /* their text */
    struct um_str text;    /* what the last call gave out */
};

enum um_status um_decoder_new(struct um_decoder **decoder, const struct um_tokenizer *tokenizer,
                              bool skip_special, struct um_error *err)
{
    *decoder = UM_NEW(1, struct um_decoder);
    if (!*decoder)
        return um_fail_memory(err, "a decoder", sizeof(**decoder));
    (*decoder)->tokenizer = tokenizer;
    (*decoder)->skips_special = skip_special;
    return UM_OK;
}

void um_decoder_free(struct um_decoder *decoder)
{
    if (!decoder)
        return;
    um_scratch_free(&decoder->scratch);
    um_free(decoder->window.items);
    um_str_free(&decoder->context);
    um_str_free(&decoder->text);
    um_free(decoder);
}

/* The text of an id; false if it has none, or is left out as special (which goes by the text). */
static bool find_text(struct um_text_option *text, const struct um_decoder *decoder, int32_t id)
{
    const struct um_tokenizer *t = decoder->tokenizer;
    const struct um_added_token *added = um_added_by_id(&t->added, id);
    if (added) {
        *text = added->content;
    } else {
        if (id < 0 || (size_t)id >= t->vocab.n_entries || !t->vocab.entries[id].text)
            return false;
        *text = (struct um_text_option){t->vocab.entries[id].text, t->vocab.entries[id].n_bytes};
        added = um_added_by_text(&t->added, text->text, text->n);
    }
    return !(added && added->is_special && decoder->skips_special);
}

/* The tokens of the ids as pieces; without a decoder, blanks go between them. */
static enum um_status put_tokens(struct um_scratch *s, const struct um_decoder *decoder,
                                 const int32_t *ids, size_t n, struct um_error *err)
{
    bool has_decoder = decoder->tokenizer->decoder.kind != NULL;
    struct um_text_option text;
    for (size_t i = 0; i < n; i++) {
        size_t start = s->text.length;
        if (!find_text(&text, decoder, ids[i]))
            continue;
        if (!has_decoder && s->pieces.n)
            um_str_add(&s->text, " ");
        um_str_add_n(&s->text, text.text, text.n);
        UM_RETURN_IF(um_pieces_add(&s->pieces, start, s->text.length, start == 0, err));
    }
    return um_scratch_check(s, err);
}

/* The text of n ids, appended to `out`. */
static enum um_status decode(struct um_str *out, struct um_decoder *decoder, const int32_t *ids,
                             size_t n, struct um_error *err)
{
    struct um_scratch *s = &decoder->scratch;
    um_scratch_adopt(s, decoder->tokenizer);
    s->pieces.n = s->spare_pieces.n = 0;
    UM_RETURN_IF(put_tokens(s, decoder, ids, n, err));
    UM_RETURN_IF(um_component_run(&decoder->tokenizer->decoder, s, err));
    um_str_add(out, "");
    for (size_t i = 0; i < s->pieces.n; i++)
        um_str_add_n(out, s->text.text + s->pieces.items[i].start,
                     s->pieces.items[i].end - s->pieces.items[i].start);
    return out->failed ? um_fail_memory(err, "decoding", out->length) : UM_OK;
}

static bool ends_within_character(const struct um_str *text)
{
    static const char mark[] = "\xef\xbf\xbd"; /* U+FFFD: what is left of half a character */
    return text->length >= 3 && !memcmp(text->text + text->length - 3, mark, 3);
}

static void clear(struct um_str *s)
{
    s->failed = false;
    um_str_clear(s);
}

/* Makes text[] what is new, and the new ids the context of the next call. */
static enum um_status give_out(struct um_decoder *decoder, struct um_error *err)
{
    size_t n_old = decoder->context.length, n_new = decoder->window.n - decoder->n_context;
    size_t n = decoder->text.length > n_old ? decoder->text.length - n_old : 0;
    memmove(decoder->text.text, decoder->text.text + decoder->text.length - n, n + 1);
    decoder->text.length = n;
    if (n_new == 0)
        return UM_OK;
    memmove(decoder->window.items, decoder->window.items + decoder->n_context,
            n_new * sizeof(*decoder->window.items));
    decoder->window.n = decoder->n_context = n_new;
    clear(&decoder->context);
    return decode(&decoder->context, decoder, decoder->window.items, n_new, err);
}

enum um_status um_decoder_put(const char **text, size_t *n_text, struct um_decoder *decoder,
                              const int32_t *ids, size_t n_ids, struct um_error *err)
{
    clear(&decoder->text);
    *text = "";
    *n_text = 0;
    for (size_t i = 0; i < n_ids; i++)
        UM_RETURN_IF(um_ids_add(&decoder->window, ids[i], err));
    UM_RETURN_IF(decode(&decoder->text, decoder, decoder->window.items, decoder->window.n, err));
    if (decoder->text.length <= decoder->context.length || ends_within_character(&decoder->text))
        return UM_OK;
    UM_RETURN_IF(give_out(decoder, err));
    *text = decoder->text.text;
    *n_text = decoder->text.length;
    return UM_OK;
}

enum um_status um_decoder_end(const char **text, size_t *n_text, struct um_decoder *decoder,
                              struct um_error *err)
{
    clear(&decoder->text);
    *text = "";
    *n_text = 0;
    UM_RETURN_IF(decode(&decoder->text, decoder, decoder->window.items, decoder->window.n, err));
    UM_RETURN_IF(give_out(decoder, err));
    *text = decoder->text.text;
    *n_text = decoder->text.length;
    decoder->window.n = decoder->n_context = 0;
    clear(&decoder->context);
    return UM_OK;
}
