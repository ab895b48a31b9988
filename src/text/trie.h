/*
 * A trie over bytes: texts to numbers, walked byte by byte so that a search stops early. The
 * children of a node are a list, or, where there are many, a table by byte.
 */
#ifndef UM_TEXT_TRIE_H
#define UM_TEXT_TRIE_H

#include "base/mem.h"

struct um_trie_node {
    uint32_t children; /* the first child's index, or a table's | UM_TRIE_TABLE; 0: none */
    uint32_t sibling;  /* the next child of the same node; 0: none */
    uint32_t value;    /* of the text that ends here; 0: none does */
    unsigned char byte, n_listed;
};

#define UM_TRIE_TABLE 0x80000000U

struct um_trie_table {
    uint32_t by_byte[256]; /* node indices, 0: none */
};

/* Starts with all zero. Node 0 is the root. */
struct um_trie {
    struct um_trie_node *nodes;   /* owned */
    struct um_trie_table *tables; /* owned */
    size_t n, capacity, n_tables, tables_capacity;
};

/* Maps a text that is not empty to value > 0, in place of a value that it had. False when out of
 * memory. */
bool um_trie_insert(struct um_trie *trie, const char *text, size_t n, uint32_t value);
void um_trie_free(struct um_trie *trie);

/* The node behind `node` for the next byte, 0 if no text goes on with it. */
static inline uint32_t um_trie_step(const struct um_trie *trie, uint32_t node, char byte)
{
    uint32_t child = trie->nodes[node].children;
    if (child & UM_TRIE_TABLE)
        return trie->tables[child & ~UM_TRIE_TABLE].by_byte[(unsigned char)byte];
    while (child && trie->nodes[child].byte != (unsigned char)byte)
        child = trie->nodes[child].sibling;
    return child;
}

/* The node of a text's first byte. */
static inline uint32_t um_trie_root(const struct um_trie *trie, char byte)
{
    return trie->n ? um_trie_step(trie, 0, byte) : 0;
}

#endif
