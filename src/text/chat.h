/*
 * Chat templates: how a conversation is written down for a model that was trained on conversations.
 *
 * A template is a const descriptor: what stands before and behind a message of each role, where a
 * system message goes, whether white space around messages is dropped. Which one a model uses is
 * read off its own template, a program in the Jinja language (tokenizer_config.json,
 * chat_template.jinja, GGUF's tokenizer.chat_template): a descriptor lists the expressions that its
 * programs hold. There is no interpreter, so a program that no descriptor knows is an error, never
 * a guess.
 */
#ifndef UM_TEXT_CHAT_H
#define UM_TEXT_CHAT_H

#include "format/folder.h"

enum um_chat_role { UM_CHAT_SYSTEM, UM_CHAT_USER, UM_CHAT_ASSISTANT, UM_CHAT_N_ROLES };
extern const char *const um_chat_role_names[UM_CHAT_N_ROLES];

struct um_chat_message {
    enum um_chat_role role;
    const char *text; /* n bytes (borrows) */
    size_t n;
};

/* Where a system message goes. */
enum um_chat_place {
    UM_CHAT_OWN_TURN,
    UM_CHAT_FIRST_USER, /* in front of the first user message */
    UM_CHAT_LAST_USER,
    UM_CHAT_NOWHERE,    /* the model knows none */
};

/* White space around messages, as Python's str.strip() has it. */
enum um_chat_trim {
    UM_CHAT_KEPT,
    UM_CHAT_TRIMMED,
    UM_CHAT_TRIMMED_JOINED, /* a user message is trimmed together with the system's before it */
};

/* What stands before and behind a message; "{bos}" and "{eos}" are the model's own tokens. */
struct um_chat_frame {
    const char *open, *close;
};

enum { UM_CHAT_MARKS = 4 };

struct um_chat_template {
    const char *name, *summary;
    struct um_chat_frame system, user;
    const char *prompt;          /* asks for an answer; stands before each */
    struct um_chat_frame answer; /* what the model itself writes around an answer's text */
    const char *gap;             /* behind an answer */
    enum um_chat_place place;
    enum um_chat_trim trim;
    const char *default_system; /* that the template itself has; NULL: none */
    bool begins;                /* with "{bos}" */
    bool is_plain;  /* if named: no tokens of its own, so the tokenizer puts its special ones */
    bool has_thoughts; /* answers open with <think>, which only the last one keeps (Qwen3) */
    /* Of a program in canonical form (um_chat_canonical): all of these stand in it, and none of
     * those. */
    const char *marks[UM_CHAT_MARKS], *foreign[UM_CHAT_MARKS];
};

extern const struct um_chat_template *const um_chat_templates[];
extern const size_t um_n_chat_templates;
const struct um_chat_template *um_chat_template_find(const char *name); /* NULL if unknown */

/* A template with what a model adds to it. */
struct um_chat {
    const struct um_chat_template *template;
    char *system;       /* text where a conversation has no system message; owned, NULL: none */
    char *bos, *eos;    /* owned */
    bool begins;        /* with bos */
    bool takes_special; /* the tokenizer puts its special tokens around the text */
};

/*
 * The model's own template (name "model"), or one by name; `*chat` is NULL if the model has none.
 * Tokens are those that the model's tokenizer settings name, else `begin` and `end` (NULL: nothing,
 * and
 * "</s>"). UM_E_INPUT: the model's own is not known; UM_E_USAGE: the name is not. Owned (free with
 * um_chat_free).
 */
enum um_status um_chat_open(struct um_chat **chat, const struct um_folder *folder,
                            const char *name, const char *begin, const char *end,
                            struct um_error *err);
void um_chat_free(struct um_chat *chat);
/* What an answer ends with, one token of the models that the template is of. Borrows. */
const char *um_chat_end(const struct um_chat *chat);

/* Recognises a program and what it says of its own (system, begins); the tokens stay as they are.
 * UM_E_INPUT if it is not known. */
enum um_status um_chat_recognise(struct um_chat *chat, const char *program, size_t n,
                                 struct um_error *err);
/*
 * A program with all that means nothing taken out: comments, white space outside of literals,
 * dashes of tags; literals in single quotes with \n for a line's end, joined where they are added
 * up; members as x.name. False if it writes text outside of tags, or is cut short.
 */
bool um_chat_canonical(struct um_str *out, const char *program, size_t n);

/* A piece of a conversation as it is written down; `is_learnt`: the model writes it itself. */
typedef void um_chat_piece_fn(void *user, const char *text, size_t n, bool is_learnt);

/* Writes a conversation: a system message or none, then user and assistant in turns. `is_prompt`:
 * the last message is the user's, and an answer is asked for; else the last is the assistant's.
 * UM_E_INPUT says which message is out of order or empty. */
enum um_status um_chat_write(const struct um_chat *chat, const struct um_chat_message *messages,
                             size_t n, bool is_prompt, um_chat_piece_fn *piece, void *user,
                             struct um_error *err);

#endif
