// SPDX-License-Identifier: Apache-2.0
//
// A stand-in for what the module uses of Windows, for tests on Linux: strict about how it is called, with faults on
// request. Not a model of Hyper-V: what Windows does is taken from Microsoft's documentation.
#pragma once

#include <stdint.h>

// Notes that something was called as Windows must never be called; the first is kept.
void violation(const char *what);

// A path, or a document in JSON, with its paths as Linux has them, in place of what is freed.
#ifdef _WIN32
char *host_paths(char *text);
#else
static inline char *host_paths(char *text) { return text; }
#endif
