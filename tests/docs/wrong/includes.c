/* includes.c: the language reads a pass. */
#include "../passes/pass.h"
