/* Building the trie. */
#include "text/trie.h"

enum { LISTED_MAX = 8 }; /* children; with more of them a node gets a table */

static bool add_node(uint32_t *index, struct um_trie *trie, unsigned char byte)
{
    if (trie->n >= UM_TRIE_TABLE ||
        !um_grow(&trie->nodes, &trie->capacity, trie->n + 1, sizeof(*trie->nodes)))
        return false;
    trie->nodes[trie->n] = (struct um_trie_node){.byte = byte};
    *index = (uint32_t)trie->n++;
    return true;
}

/* Turns the list of a node's children into a table. */
static bool make_table(struct um_trie *trie, uint32_t parent)
{
    if (!um_grow(&trie->tables, &trie->tables_capacity, trie->n_tables + 1, sizeof(*trie->tables)))
        return false;
    struct um_trie_table *table = &trie->tables[trie->n_tables];
    *table = (struct um_trie_table){0};
    for (uint32_t i = trie->nodes[parent].children; i; i = trie->nodes[i].sibling)
        table->by_byte[trie->nodes[i].byte] = i;
    trie->nodes[parent].children = UM_TRIE_TABLE | (uint32_t)trie->n_tables++;
    return true;
}

/* A child that is not there yet; 0 when out of memory. */
static uint32_t add_child(struct um_trie *trie, uint32_t parent, unsigned char byte)
{
    uint32_t child;
    if (!add_node(&child, trie, byte))
        return 0;
    struct um_trie_node *node = &trie->nodes[parent];
    if (!(node->children & UM_TRIE_TABLE) && node->n_listed == LISTED_MAX &&
        !make_table(trie, parent))
        return 0;
    if (node->children & UM_TRIE_TABLE) {
        trie->tables[node->children & ~UM_TRIE_TABLE].by_byte[byte] = child;
    } else {
        trie->nodes[child].sibling = node->children;
        node->children = child;
        node->n_listed++;
    }
    return child;
}

bool um_trie_insert(struct um_trie *trie, const char *text, size_t n, uint32_t value)
{
    uint32_t node = 0, child;
    if (!trie->n && !add_node(&node, trie, 0))
        return false;
    for (size_t i = 0; i < n; i++) {
        child = um_trie_step(trie, node, text[i]);
        if (!child)
            child = add_child(trie, node, (unsigned char)text[i]);
        if (!child)
            return false;
        node = child;
    }
    trie->nodes[node].value = value;
    return true;
}

void um_trie_free(struct um_trie *trie)
{
    um_free(trie->nodes);
    um_free(trie->tables);
    *trie = (struct um_trie){0};
}
