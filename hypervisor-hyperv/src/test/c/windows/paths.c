// SPDX-License-Identifier: Apache-2.0
//
// Paths of Windows as Linux has them, below Wine.
#include "../machines.h"
#include "../stand_in.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

// Through a link that Wine has for each drive. NULL where there is no such path.
static char *unix_path(const char *path) {
  char *(CDECL * translate)(const WCHAR *) = (void *)GetProcAddress(
      GetModuleHandleA("C:\\windows\\system32\\kernel32.dll"), "wine_get_unix_file_name");
  WCHAR *wide = machines_widen(path);
  char *found = translate ? translate(wide) : NULL;
  char *result = found ? strdup(found) : NULL;
  if (found) HeapFree(GetProcessHeap(), 0, found);
  free(wide);
  // Drives' names have a colon, which means something to QEMU.
  char *drive = result ? strstr(result, "/dosdevices/c:/") : NULL;
  if (drive) {
    memcpy(drive, "/drive_c", 8);
    memmove(drive + 8, drive + 14, strlen(drive + 14) + 1);
  }
  drive = result ? strstr(result, "/dosdevices/z:/") : NULL;
  if (drive) memmove(result, drive + 14, strlen(drive + 14) + 1);
  return result;
}

// A string of JSON, behind its first quotation mark, that may be a path; returns what is behind its last.
static const char *put_string(const char *from, char **to) {
  const char *end = from;
  while (*end && *end != '"') end += *end == '\\' ? 2 : 1;
  char *path = NULL;
  if (isalpha((unsigned char)*from) && !strncmp(from + 1, ":\\\\", 3)) {
    char *text = calloc(1, end - from + 1), *at = text;
    for (const char *c = from; c < end; c++) *at++ = *c == '\\' ? *++c : *c;
    path = unix_path(text);
    free(text);
  }
  if (path) {
    strcpy(*to, path); // none of whose characters needs an escape in these tests
    *to += strlen(path);
    free(path);
  } else {
    memcpy(*to, from, end - from);
    *to += end - from;
  }
  *(*to)++ = '"';
  return end + 1;
}

char *host_paths(char *text) {
  char *result;
  if (*text != '{') {
    result = unix_path(text);
    if (!result) return text;
  } else {
    // No path of Linux' is longer than that.
    size_t quotes = 0;
    for (char *c = text; *c; c++) quotes += *c == '"';
    result = malloc(strlen(text) + 1 + quotes * 4096);
    char *to = result;
    for (const char *from = text; *from;) {
      *to++ = *from;
      from = *from == '"' ? put_string(from + 1, &to) : from + 1;
    }
    *to = 0;
  }
  free(text);
  return result;
}
