// SPDX-License-Identifier: Apache-2.0
//
// kernel32.dll: Windows' own named pipes and events, counted, whose other end the tests are.
#include "../machines.h"
#include "../stand_in.h"

#include <pthread.h>
#include <stdlib.h>
#include <windows.h>

HANDLE socket_of_handle(HANDLE handle);

#define LONGEST 128

// What was made and is not closed.
struct object {
  struct object *next;
  HANDLE handle;
  WCHAR pipe[LONGEST]; // its name
  OVERLAPPED *pending;
};

// The tests' end of a pipe. A write that waits for room goes on after its call, for which its bytes stay.
struct client {
  struct client *next;
  WCHAR name[LONGEST];
  HANDLE pipe;
  OVERLAPPED writing;
  char *bytes;
  int users; // who write
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct object *objects;
static struct client *clients;

static struct object **place_of(HANDLE handle) {
  struct object **at = &objects;
  while (*at && (*at)->handle != handle) at = &(*at)->next;
  return at;
}

static void add(HANDLE handle, const WCHAR *pipe) {
  struct object *object = calloc(1, sizeof *object);
  object->handle = handle;
  wcsncpy(object->pipe, pipe, LONGEST - 1);
  pthread_mutex_lock(&lock);
  object->next = objects;
  objects = object;
  pthread_mutex_unlock(&lock);
}

// Notes what is under way on a handle, or that nothing is; keeps the call's error.
static int note(HANDLE handle, OVERLAPPED *pending, int result) {
  DWORD error = GetLastError();
  pthread_mutex_lock(&lock);
  struct object *object = *place_of(handle);
  if (!object) violation("a call on a closed handle");
  if (object && pending && object->pending) violation("two calls at a time");
  if (object) object->pending = pending;
  pthread_mutex_unlock(&lock);
  SetLastError(error);
  return result;
}

int hv_SetHandleInformation(HANDLE handle, DWORD mask, DWORD flags) {
  if (!handle || mask != HANDLE_FLAG_INHERIT || flags) violation("SetHandleInformation");
  return SetHandleInformation(socket_of_handle(handle), mask, flags);
}

HANDLE hv_CreateNamedPipeW(const WCHAR *name, DWORD open_mode, DWORD pipe_mode, DWORD most, DWORD out, DWORD in,
                           DWORD time_out, SECURITY_ATTRIBUTES *security) {
  if (open_mode != (PIPE_ACCESS_DUPLEX | FILE_FLAG_FIRST_PIPE_INSTANCE | FILE_FLAG_OVERLAPPED)
      || pipe_mode != PIPE_REJECT_REMOTE_CLIENTS || most != 1 || out || !in || time_out || security) {
    violation("CreateNamedPipeW");
  }
  HANDLE handle = CreateNamedPipeW(name, open_mode, pipe_mode, most, out, in, time_out, security);
  if (handle != INVALID_HANDLE_VALUE) add(handle, name);
  return handle;
}

static int begun(HANDLE handle, OVERLAPPED *o, int result) {
  return note(handle, !result && GetLastError() == ERROR_IO_PENDING ? o : NULL, result);
}

int hv_ConnectNamedPipe(HANDLE pipe, OVERLAPPED *o) { return begun(pipe, o, ConnectNamedPipe(pipe, o)); }

int hv_ReadFile(HANDLE file, void *buffer, DWORD length, DWORD *read, OVERLAPPED *o) {
  if (read) violation("ReadFile");
  return begun(file, o, ReadFile(file, buffer, length, read, o));
}

int hv_GetOverlappedResult(HANDLE file, OVERLAPPED *o, DWORD *transferred, int wait) {
  int result = GetOverlappedResult(file, o, transferred, wait);
  return !result && GetLastError() == ERROR_IO_INCOMPLETE ? result : note(file, NULL, result);
}

HANDLE hv_CreateEventW(SECURITY_ATTRIBUTES *attributes, int manual, int initial, const WCHAR *name) {
  if (attributes || !manual || initial || name) violation("CreateEventW");
  HANDLE handle = CreateEventW(attributes, manual, initial, name);
  if (handle) add(handle, L"");
  return handle;
}

static struct client *take_client(const WCHAR *name) {
  struct client **at = &clients;
  while (*at && wcscmp((*at)->name, name)) at = &(*at)->next;
  struct client *c = *at;
  if (c) *at = c->next;
  return c;
}

static void await_written(struct client *c) {
  WaitForSingleObject(c->writing.hEvent, INFINITE);
  free(c->bytes);
  c->bytes = NULL;
}

static void end_client(struct client *c) {
  if (!c) return;
  pthread_mutex_lock(&lock);
  while (c->users) pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
  await_written(c);
  CloseHandle(c->pipe);
  CloseHandle(c->writing.hEvent);
  free(c);
}

int hv_CloseHandle(HANDLE handle) {
  pthread_mutex_lock(&lock);
  struct object **at = place_of(handle);
  struct object *object = *at;
  struct client *client = NULL;
  if (!object) {
    violation("CloseHandle of a closed handle");
  } else {
    if (object->pending) violation("CloseHandle under a call");
    *at = object->next;
    client = take_client(object->pipe);
    free(object);
  }
  pthread_mutex_unlock(&lock);
  int result = object ? CloseHandle(handle) : 0;
  end_client(client); // whose write has failed by now
  return result;
}

// ---- For the tests

static struct client *client_of(const WCHAR *name) {
  for (struct client *c = clients; c; c = c->next) {
    if (!wcscmp(c->name, name)) return c;
  }
  HANDLE pipe = CreateFileW(name, GENERIC_WRITE, 0, NULL, OPEN_EXISTING, FILE_FLAG_OVERLAPPED, NULL);
  if (pipe == INVALID_HANDLE_VALUE) return NULL;
  struct client *c = calloc(1, sizeof *c);
  wcsncpy(c->name, name, LONGEST - 1);
  c->pipe = pipe;
  c->writing.hEvent = CreateEventW(NULL, TRUE, TRUE, NULL);
  c->next = clients;
  clients = c;
  return c;
}

// Somebody writes to a pipe, to which he connects at first; 0 where there is none.
int standin_pipe_write(const WCHAR *name, const char *bytes, DWORD length) {
  pthread_mutex_lock(&lock);
  struct client *c = client_of(name);
  if (c) c->users++;
  pthread_mutex_unlock(&lock);
  if (!c) return 0;
  await_written(c);
  c->bytes = memcpy(malloc(length), bytes, length);
  ResetEvent(c->writing.hEvent);
  int started = WriteFile(c->pipe, c->bytes, length, NULL, &c->writing) || GetLastError() == ERROR_IO_PENDING;
  if (!started) SetEvent(c->writing.hEvent);
  pthread_mutex_lock(&lock);
  c->users--;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
  return started;
}

// And goes.
void standin_pipe_end(const WCHAR *name) {
  pthread_mutex_lock(&lock);
  client_of(name);
  struct client *c = take_client(name);
  pthread_mutex_unlock(&lock);
  end_client(c);
}

int machines_console_write(const char *pipe, const char *bytes, uint32_t length) {
  WCHAR *name = machines_widen(pipe);
  int written = standin_pipe_write(name, bytes, length);
  free(name);
  return written;
}

void machines_console_end(const char *pipe) {
  WCHAR *name = machines_widen(pipe);
  standin_pipe_end(name);
  free(name);
}

int standin_open_objects(void) {
  int n = 0;
  pthread_mutex_lock(&lock);
  for (struct object *o = objects; o; o = o->next) n++;
  pthread_mutex_unlock(&lock);
  return n;
}
