/*
 * A cursor over JSON text, for the two members of tokenizer.json that hold hundreds of thousands of
 * strings (the vocabulary and the merges). They are read in place; the rest of the document is cut
 * out and goes to jansson. (A tree of all 33 MB of Gemma's file takes jansson 0.45 s and 190 MB;
 * loading the whole tokenizer this way takes 0.3 s and half that memory.)
 */
#ifndef UM_TEXT_SCAN_H
#define UM_TEXT_SCAN_H

#include "base/str.h"

/* A stretch of the document; start is NULL if the member is not there. */
struct um_stretch {
    const char *start, *end;
};

struct um_scan {
    const char *text; /* the document, for line numbers */
    const char *at, *end;
    const char *where;
};

/* Skips white space; true and consumes it if `c` comes next. */
bool um_scan_take(struct um_scan *scan, char c);
/* The next character that is not white space, or '\0' at the end. Nothing is consumed. */
char um_scan_peek(struct um_scan *scan);
/* A string, unescaped into `out`, which must have room for (scan->end - scan->at) bytes: no string
 * is longer than its JSON. NUL-terminated. False if no valid string comes next. */
bool um_scan_string(char *out, size_t *n, struct um_scan *scan);
bool um_scan_i64(int64_t *value, struct um_scan *scan);
bool um_scan_f64(double *value, struct um_scan *scan);
/* Skips one value of any kind. */
bool um_scan_skip(struct um_scan *scan);
/* UM_E_INPUT: "cannot read WHERE: line N: expected ...". */
enum um_status um_scan_fail(const struct um_scan *scan, const char *expected, struct um_error *err);

/* Finds model.vocab and model.merges in a tokenizer.json, and appends to `rest` the document with
 * null in their place (same line numbers). What is malformed is left for the JSON parser to say. */
void um_scan_cut(struct um_stretch *vocab, struct um_stretch *merges, struct um_str *rest,
                 const char *text, size_t n);

#endif
