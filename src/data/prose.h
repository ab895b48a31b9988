/*
 * Rows that are gone on with token by token: a row's texts put together as the model will see them,
 * which of it is to be learnt, and both as tokens.
 */
#ifndef UM_DATA_PROSE_H
#define UM_DATA_PROSE_H

#include "data/task.h"
#include "text/chat.h"
#include "unmask.h"

/* Bytes start..end-1 of a text. */
struct um_span {
    size_t start, end;
};

/* A row's text. Owned memory is reused from row to row (free with um_prose_free). */
struct um_prose {
    struct um_str text;
    struct um_span *learnt; /* what is to be predicted, in order, not overlapping */
    size_t n_learnt, learnt_capacity;
    size_t n_prompt;        /* bytes of a prompt whose completion follows; 0: none */
    bool takes_special;     /* the tokenizer puts its special tokens around the text */
    bool takes_end;         /* the end token follows, and is learnt */
};
void um_prose_free(struct um_prose *prose);
void um_prose_clear(struct um_prose *prose); /* keeps the memory */
/* Appends n bytes of text. Out of memory shows as text.failed. */
void um_prose_add(struct um_prose *prose, const char *text, size_t n, bool is_learnt);

/* How rows become prose. */
struct um_prose_options {
    enum um_style style;
    const struct um_chat *chat; /* how conversations are written (borrows); NULL: records as Alpaca,
                                   prompts as they are */
    bool learns_all;  /* prompts too */
    int32_t end_id;   /* ends a text; -1 = none */
};

/* Puts a row together. `is_prompt`: only up to where the model is to go on; of a conversation, all
 * but its last answer. UM_E_INPUT with the row's line: an empty completion, or messages that are
 * none or out of order. `path` names the file in errors. */
enum um_status um_prose_render(struct um_prose *prose, const struct um_row *row,
                               const struct um_prose_options *options, bool is_prompt,
                               const char *path, struct um_error *err);

/* Puts a conversation together. UM_E_INPUT: its messages are out of order, or one is empty. */
enum um_status um_prose_write_chat(struct um_prose *prose, const struct um_chat *chat,
                                   const struct um_chat_message *messages, size_t n,
                                   bool learns_all, bool is_prompt, struct um_error *err);
/* A row by the options' chat template: its messages, or the two that its texts make. */
enum um_status um_prose_render_chat(struct um_prose *prose, const struct um_row *row,
                                    const struct um_prose_options *options, bool is_prompt,
                                    struct um_error *err);

/* Tokens, each learnt or not. Owned memory is reused (free with um_marked_free). */
struct um_marked {
    int32_t *ids;
    uint8_t *learnt;
    size_t n, ids_capacity, learnt_capacity;
    struct um_tokens tokens, part; /* scratch */
};
void um_marked_free(struct um_marked *marked);

/* The tokens of a prose: those of the whole text; but where they would join a prompt's end with its
 * completion (newlines, say), prompt and completion apart, as a model that answers the prompt sees
 * them. Within a conversation a token that an answer begins in is learnt, one that it ends in is
 * not. */
enum um_status um_prose_encode(struct um_marked *marked, const struct um_prose *prose,
                               const struct um_tokenizer *tokenizer, int32_t end_id,
                               struct um_error *err);

#endif
