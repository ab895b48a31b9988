"""Writes src/text/unicode_frozen.c: the classes of code points as Hugging Face `tokenizers` has them.

    python oracle/make_unicode_classes.py > src/text/unicode_frozen.c

Punctuation, control and nonspacing marks come from a table of Unicode 7 there, and BERT vocabularies
were made with it, so they are read off its behaviour once, code point by code point.
Needs: pip install tokenizers
"""
import unicodedata
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import Punctuation

punctuation = Punctuation()
clean = BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
strip = BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)


def is_punctuation(c):
    return len(punctuation.pre_tokenize_str("a" + c + "b")) == 3


def is_other(c):
    return c not in "\0\ufffd" and clean.normalize_str("a" + c + "b") == "ab"


def is_mark_nonspacing(c):
    # What decomposes is told by its parts, which are looked up one by one.
    return unicodedata.normalize("NFD", c) == c and strip.normalize_str(c + "b") == "b"


def ranges(test):
    found = []
    for code in range(0x80, 0x110000):
        if 0xD800 <= code < 0xE000 or not test(chr(code)):
            continue
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return found


print("""/*
 * Classes of code points beyond ASCII as BERT's tokenizers know them: of Unicode 7, for ever.
 * Made by oracle/make_unicode_classes.py; do not edit.
 */
#include "text/unicode.h"

struct range {
    uint32_t first, last;
};

static bool is_in(const struct range *ranges, size_t n, uint32_t c)
{
    size_t low = 0;
    while (n > 0) {
        size_t half = n / 2;
        if (ranges[low + half].last < c) {
            low += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return ranges[low].first <= c;
}
""")
for name, test in (("punctuation", is_punctuation), ("other", is_other),
                   ("mark_nonspacing", is_mark_nonspacing)):
    rows, row = [], "   "
    # The last range is a sentinel that no code point is in, so that `low` is always valid.
    for first, last in ranges(test) + [[0xFFFFFFFF, 0xFFFFFFFF]]:
        item = " {0x%x, 0x%x}," % (first, last)
        if len(row) + len(item) > 100:
            rows.append(row)
            row = "   "
        row += item
    rows.append(row)
    print("static const struct range %s[] = {" % name)
    print("\n".join(rows))
    print("};\n")
print("""bool um_is_punctuation(uint32_t c)
{
    if (c < 0x80)
        return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
               (c >= 123 && c <= 126);
    return is_in(punctuation, UM_COUNT(punctuation) - 1, c);
}

bool um_is_other(uint32_t c)
{
    return c < 0x20 || c == 0x7f || is_in(other, UM_COUNT(other) - 1, c);
}

bool um_is_mark_nonspacing(uint32_t c)
{
    return is_in(mark_nonspacing, UM_COUNT(mark_nonspacing) - 1, c);
}""")
