/* Building the trie. */
#include "text/trie.h"

/* A new node; 0 when out of memory. */
static uint32_t add_node(struct um_trie *trie, char byte, uint32_t sibling)
{
    if (!trie->n)
        trie->n = 1;
    if (!um_grow(&trie->nodes, &trie->capacity, trie->n + 1, sizeof(*trie->nodes)))
        return 0;
    trie->nodes[trie->n] = (struct um_trie_node){.byte = byte, .sibling = sibling};
    return (uint32_t)trie->n++;
}

bool um_trie_insert(struct um_trie *trie, const char *text, size_t n, uint32_t value)
{
    uint32_t *root = &trie->roots[(unsigned char)text[0]];
    if (!*root)
        *root = add_node(trie, text[0], 0);
    uint32_t node = *root;
    for (size_t i = 1; node && i < n; i++) {
        uint32_t child = um_trie_step(trie, node, text[i]);
        if (!child) {
            child = add_node(trie, text[i], trie->nodes[node].child);
            if (child)
                trie->nodes[node].child = child;
        }
        node = child;
    }
    if (node)
        trie->nodes[node].value = value;
    return node != 0;
}

void um_trie_free(struct um_trie *trie)
{
    um_free(trie->nodes);
    *trie = (struct um_trie){0};
}
