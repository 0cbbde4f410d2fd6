/* What the native tests share. */
#ifndef MILLRACE_CHECK_H
#define MILLRACE_CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                \
        }                                                                           \
    } while (0)

/* Numbers that are the same in every run (an LCG, Numerical Recipes). */
static uint32_t state = 1;

/* In [-0.5, 0.5). */
static inline float uniform(void) {
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / 16777216.0f - 0.5f;
}

#endif
