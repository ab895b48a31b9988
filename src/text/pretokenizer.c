/* Pre-tokenizers: how a normalised text is cut into words. */
#include "text/tokenizer.h"

bool um_slices_add(struct um_slices *slices, size_t start, size_t n)
{
    if (!um_grow(&slices->items, &slices->capacity, slices->n + 1, sizeof(*slices->items)))
        return false;
    slices->items[slices->n++] = (struct um_slice){.start = start, .n = n};
    return true;
}

/* Cuts at white space (dropped) and, if `apart`, around each punctuation mark. */
static bool cut(struct um_slices *out, const char *text, struct um_slice slice, bool at_space,
                bool apart)
{
    size_t word = slice.start, end = slice.start + slice.n;
    for (size_t i = slice.start, length; i < end; i += length) {
        uint32_t code = um_codepoint(text + i, end - i, &length);
        bool is_space = at_space && um_is_space(code);
        bool is_mark = apart && !is_space && um_is_punctuation(code);
        if (!is_space && !is_mark)
            continue;
        if (i > word && !um_slices_add(out, word, i - word))
            return false;
        if (is_mark && !um_slices_add(out, i, length))
            return false;
        word = i + length;
    }
    return end == word || um_slices_add(out, word, end - word);
}

static bool bert_run(const struct um_step *step, struct um_slices *out, const char *text,
                     struct um_slice slice)
{
    (void)step;
    return cut(out, text, slice, true, true);
}

static bool whitespace_split_run(const struct um_step *step, struct um_slices *out,
                                 const char *text, struct um_slice slice)
{
    (void)step;
    return cut(out, text, slice, true, false);
}

static bool punctuation_run(const struct um_step *step, struct um_slices *out, const char *text,
                            struct um_slice slice)
{
    (void)step;
    return cut(out, text, slice, false, true);
}

/* Only the default behaviour of Punctuation, each mark apart, is known. */
static enum um_status punctuation_parse(struct um_step *step, const json_t *json,
                                        struct um_arena *arena, const char *where,
                                        struct um_error *err)
{
    const char *behavior = "Isolated";
    (void)step;
    (void)arena;
    UM_RETURN_IF(um_json_get_str(&behavior, json, "behavior", where, err));
    if (behavior[0] != 'I')
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': pre-tokenizer Punctuation with behavior '%s' is not "
                       "supported, only 'Isolated'",
                       where, behavior);
    return UM_OK;
}

static const struct um_pretokenizer_type bert = {"BertPreTokenizer", NULL, bert_run};
static const struct um_pretokenizer_type whitespace_split = {"WhitespaceSplit", NULL,
                                                             whitespace_split_run};
static const struct um_pretokenizer_type punctuation = {"Punctuation", punctuation_parse,
                                                        punctuation_run};

const struct um_pretokenizer_type *const um_pretokenizer_types[] = {&bert, &whitespace_split,
                                                                    &punctuation};
const size_t um_n_pretokenizer_types = UM_COUNT(um_pretokenizer_types);
