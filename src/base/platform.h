// SPDX-License-Identifier: Apache-2.0
//
// Which system this is compiled for, in the one place where the compiler is asked. Files that call a system include it
// and say what is done elsewhere; everything else is the same code everywhere. (Which processor it is decides the
// build: cmake/Processor.cmake.)
#pragma once

#if defined(__linux__)
#define NIBBLE_LINUX 1
#else
#define NIBBLE_LINUX 0
#endif
#if defined(__APPLE__)
#define NIBBLE_APPLE 1
#else
#define NIBBLE_APPLE 0
#endif
#if defined(_WIN32)
#define NIBBLE_WINDOWS 1
#else
#define NIBBLE_WINDOWS 0
#endif
