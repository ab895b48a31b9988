/* The library's version. */
#include "unmask.h"

const char *um_version(void)
{
    return UNMASK_VERSION;
}
