/* level.h: the instruction sets that this compilation may use, in the words of
 * cpu.c. NAME.c is compiled for a machine by its Makefile and says by this file,
 * in the program's description, what that machine must have.
 * SPDX-License-Identifier: 0BSD */
#ifndef LEVEL_H
#define LEVEL_H

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#define PROGRAM_TARGET "cpu x86-64-v4"
#define LEVEL_512 " avx512f avx512dq avx512cd avx512bw avx512vl"
#elif defined(__AVX2__) && defined(__FMA__)
#define PROGRAM_TARGET "cpu x86-64-v3"
#define LEVEL_512 ""
#elif defined(__aarch64__)
#define PROGRAM_TARGET "cpu aarch64"
#else
#define PROGRAM_TARGET "cpu x86-64"
#endif

/* Beyond the levels: what -march=native may add. */
#ifdef __AVX512IFMA__
#define LEVEL_IFMA " avx512ifma"
#else
#define LEVEL_IFMA ""
#endif
#ifdef __AVX512VBMI__
#define LEVEL_VBMI " avx512vbmi"
#else
#define LEVEL_VBMI ""
#endif
#ifdef __AVX512VBMI2__
#define LEVEL_VBMI2 " avx512vbmi2"
#else
#define LEVEL_VBMI2 ""
#endif
#ifdef __AVX512VNNI__
#define LEVEL_VNNI " avx512vnni"
#else
#define LEVEL_VNNI ""
#endif
#ifdef __AVX512BF16__
#define LEVEL_BF16 " avx512bf16"
#else
#define LEVEL_BF16 ""
#endif

#ifdef LEVEL_512
#define PROGRAM_FEATURES                                               \
    "sse3 ssse3 fma cx16 sse4.1 sse4.2 movbe popcnt avx f16c bmi1 avx2" \
    " bmi2 lzcnt" LEVEL_512 LEVEL_IFMA LEVEL_VBMI LEVEL_VBMI2 LEVEL_VNNI \
    LEVEL_BF16
#else
#define PROGRAM_FEATURES ""
#endif
#endif
