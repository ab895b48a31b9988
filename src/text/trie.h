/* A trie over bytes: texts to numbers, walked byte by byte so that a search stops early. */
#ifndef UM_TEXT_TRIE_H
#define UM_TEXT_TRIE_H

#include "base/mem.h"

struct um_trie_node {
    uint32_t child, sibling; /* indices, 0: none */
    uint32_t value;          /* of the text that ends here, 0: none does */
    char byte;
};

struct um_trie {
    struct um_trie_node *nodes; /* owned; [0] is unused */
    size_t n, capacity;
    uint32_t roots[256]; /* by first byte */
};

/* Maps a text that is not empty to value > 0, in place of a value that it had. False = no memory.
 */
bool um_trie_insert(struct um_trie *trie, const char *text, size_t n, uint32_t value);
void um_trie_free(struct um_trie *trie);

static inline uint32_t um_trie_root(const struct um_trie *trie, char byte)
{
    return trie->roots[(unsigned char)byte];
}

/* The node behind `node` for the next byte, 0 if no text goes on with it. */
static inline uint32_t um_trie_step(const struct um_trie *trie, uint32_t node, char byte)
{
    node = trie->nodes[node].child;
    while (node && trie->nodes[node].byte != byte)
        node = trie->nodes[node].sibling;
    return node;
}

#endif
