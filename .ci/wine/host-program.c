// SPDX-License-Identifier: Apache-2.0
//
// A copy of this as NAME.exe on the PATH of Windows runs the program NAME of the Linux machine below Wine. Wine starts
// such programs too, but gives them no pipes of Windows, and their parents no exit code and no way to end them.
//
// So Wine starts ./host-program, whose connections on the loopback interface are the program's stdin, stdout and stderr, and
// one for its exit code, whose end ends the program. Paths of Windows in arguments become paths of Linux.
#include <winsock2.h>
#include <windows.h>
#include <stdio.h>
#include <wchar.h>

enum { LONGEST = 32767 }; // of CreateProcess

static char *(*__cdecl unix_name)(const WCHAR *);
static WCHAR command[LONGEST];
static size_t used;

static void die(const char *what) {
  fprintf(stderr, "host-program: %s failed: %lu\n", what, GetLastError());
  exit(125);
}

static void put(WCHAR c) {
  if (used == LONGEST - 1) {
    fputs("host-program: the command is too long\n", stderr);
    exit(125);
  }
  command[used++] = c;
}

// Appends an argument, quoted as CommandLineToArgvW reads it.
static void append(const WCHAR *argument) {
  if (used) put(' ');
  put('"');
  for (;; argument++) {
    int backslashes = 0;
    for (; *argument == '\\'; argument++) backslashes++;
    if (*argument == 0 || *argument == '"') backslashes *= 2;
    if (*argument == '"') backslashes++;
    while (backslashes--) put('\\');
    if (*argument == 0) break;
    put(*argument);
  }
  put('"');
}

static int is_letter(WCHAR c) {
  return (c | 32) >= 'a' && (c | 32) <= 'z';
}

// Appends an argument; each C:\PATH in it, as far as the next character that paths of Windows do not have, is translated.
static void append_translated(const WCHAR *argument) {
  WCHAR result[LONGEST] = L"", path[MAX_PATH], translated[4 * MAX_PATH];
  for (const WCHAR *at = argument; *at;) {
    size_t length = 0;
    if (is_letter(at[0]) && at[1] == ':' && at[2] == '\\' && (at == argument || !is_letter(at[-1]))) {
      length = 2 + wcscspn(at + 2, L":*?\"<>|@,'\n");
    }
    char *name = NULL;
    if (length && length < MAX_PATH) {
      wcsncpy(path, at, length);
      path[length] = 0;
      name = unix_name(path);
    }
    if (name && MultiByteToWideChar(CP_UTF8, 0, name, -1, translated, 4 * MAX_PATH)) {
      wcscat(result, translated);
      at += length;
    } else {
      wcsncat(result, at++, 1);
    }
  }
  append(result);
}

static SOCKET next(SOCKET listener) {
  SOCKET connection = accept(listener, NULL, NULL);
  if (connection == INVALID_SOCKET) die("accept");
  return connection;
}

static DWORD WINAPI feed(void *argument) {
  SOCKET to = (SOCKET)argument;
  char buffer[65536];
  DWORD count;
  while (ReadFile(GetStdHandle(STD_INPUT_HANDLE), buffer, sizeof buffer, &count, NULL) && count) {
    for (int done = 0, n; done < (int)count; done += n) {
      if ((n = send(to, buffer + done, count - done, 0)) <= 0) return 0;
    }
  }
  shutdown(to, SD_SEND);
  return 0;
}

struct output { SOCKET from; HANDLE to; };

static DWORD WINAPI drain(void *argument) {
  struct output *output = argument;
  char buffer[65536];
  for (int n; (n = recv(output->from, buffer, sizeof buffer, 0)) > 0;) {
    DWORD written;
    if (!WriteFile(output->to, buffer, n, &written, NULL)) break; // nobody reads it any more
  }
  closesocket(output->from);
  return 0;
}

int wmain(int argc, WCHAR **argv) {
  unix_name = (void *)GetProcAddress(GetModuleHandleA("kernel32"), "wine_get_unix_file_name");
  if (!unix_name) die("finding Wine");
  WSADATA data;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int length = sizeof address;
  WSAStartup(MAKEWORD(2, 2), &data);
  SOCKET listener = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4)
      || getsockname(listener, (void *)&address, &length)) die("listening");

  WCHAR script[MAX_PATH], name[MAX_PATH], port[8];
  if (!GetEnvironmentVariableW(L"NACELLE_HOST_PROGRAM", script, MAX_PATH)) die("finding the script");
  GetModuleFileNameW(NULL, name, MAX_PATH);
  WCHAR *base = wcsrchr(name, '\\') + 1;
  *wcsrchr(base, '.') = 0;
  swprintf(port, 8, L"%u", ntohs(address.sin_port));
  append(script);
  append(port);
  append(base);
  for (int i = 1; i < argc; i++) append_translated(argv[i]);
  STARTUPINFOW start = {.cb = sizeof start};
  PROCESS_INFORMATION process;
  if (!CreateProcessW(script, command, NULL, NULL, FALSE, 0, NULL, NULL, &start, &process)) die("starting the script");

  SOCKET control = next(listener);
  CreateThread(NULL, 0, feed, (void *)next(listener), 0, NULL);
  struct output out = {next(listener), GetStdHandle(STD_OUTPUT_HANDLE)}, err = {next(listener), GetStdHandle(STD_ERROR_HANDLE)};
  HANDLE drains[] = {CreateThread(NULL, 0, drain, &out, 0, NULL), CreateThread(NULL, 0, drain, &err, 0, NULL)};
  char code[8] = "";
  for (int done = 0, n; (n = recv(control, code + done, sizeof code - 1 - done, 0)) > 0;) done += n;
  // What a program leaves running may hold its outputs open: not for ever.
  WaitForMultipleObjects(2, drains, TRUE, 60000);
  return *code ? atoi(code) : 125;
}
