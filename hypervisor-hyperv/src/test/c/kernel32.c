// SPDX-License-Identifier: Apache-2.0
//
// kernel32.dll: named pipes with overlapped calls, whose other end the tests are.
#include "machines.h"
#include "stand_in.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define ERROR_ACCESS_DENIED 5
#define ERROR_BROKEN_PIPE 109
#define ERROR_PIPE_CONNECTED 535
#define ERROR_OPERATION_ABORTED 995
#define ERROR_IO_PENDING 997
#define WAIT_FAILED 0xffffffff

struct overlapped {
  uint64_t internal;
  uint64_t transferred;
  uint64_t offset;
  uint64_t event;
};
_Static_assert(sizeof(struct overlapped) == 32, "OVERLAPPED");

enum kind { NOTHING, EVENT, PIPE };

struct object {
  enum kind kind;
  // An event's
  int set;
  // A pipe's
  uint16_t name[128];
  int connected;
  int ended;
  char bytes[1 << 16];
  uint32_t filled;
  struct overlapped *pending;
  char *destination; // NULL while it connects
  uint32_t room;
};

#define MOST 256
// Numbers that do not fit in 32 bits, as handles may not.
#define FIRST 0x3000000000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct object objects[MOST];

static struct object *object_of(uint64_t handle, enum kind kind) {
  uint64_t index = (handle - FIRST) / 4;
  if (index >= MOST || objects[index].kind != kind) {
    violation("a call on a closed handle, or one of another kind");
    return NULL;
  }
  return &objects[index];
}

static uint64_t new_object(enum kind kind) {
  for (int i = 0; i < MOST; i++) {
    if (!objects[i].kind) {
      memset(&objects[i], 0, sizeof objects[i]);
      objects[i].kind = kind;
      return FIRST + i * 4;
    }
  }
  return 0;
}

static void finish(struct object *pipe, int error, uint32_t transferred) {
  struct overlapped *o = pipe->pending;
  pipe->pending = NULL;
  o->internal = error;
  o->transferred = transferred;
  struct object *event = object_of(o->event, EVENT);
  if (event) event->set = 1;
  pthread_cond_broadcast(&changed);
}

// Ends what is pending, if it can end now.
static void advance(struct object *pipe) {
  if (!pipe->pending) return;
  if (!pipe->destination) {
    if (pipe->connected) finish(pipe, 0, 0);
  } else if (pipe->filled) {
    uint32_t n = pipe->filled < pipe->room ? pipe->filled : pipe->room;
    memcpy(pipe->destination, pipe->bytes, n);
    memmove(pipe->bytes, pipe->bytes + n, pipe->filled - n);
    pipe->filled -= n;
    finish(pipe, 0, n);
    pthread_cond_broadcast(&changed);
  } else if (pipe->ended) {
    finish(pipe, ERROR_BROKEN_PIPE, 0);
  }
}

static int same_name(const uint16_t *a, const uint16_t *b) {
  int i = 0;
  while (a[i] && a[i] == b[i]) i++;
  return a[i] == b[i];
}

static struct object *pipe_of(const uint16_t *name) {
  for (int i = 0; i < MOST; i++) {
    if (objects[i].kind == PIPE && same_name(objects[i].name, name)) return &objects[i];
  }
  return NULL;
}

int SetHandleInformation(void *handle, uint32_t mask, uint32_t flags) {
  if (!handle || mask != 1 || flags != 0) violation("SetHandleInformation");
  return 1;
}

uint64_t CreateNamedPipeW(const uint16_t *name, uint32_t open_mode, uint32_t pipe_mode, uint32_t most, uint32_t out,
                          uint32_t in, uint32_t time_out, void *security) {
  static const char prefix[] = "\\\\.\\pipe\\";
  for (int i = 0; prefix[i]; i++) {
    if (name[i] != prefix[i]) violation("a pipe's name");
  }
  if (open_mode != 0x40080003 || pipe_mode != 8 || most != 1 || out || !in || time_out || security) {
    violation("CreateNamedPipeW");
  }
  pthread_mutex_lock(&lock);
  uint64_t handle = pipe_of(name) ? 0 : new_object(PIPE);
  if (handle) {
    struct object *pipe = object_of(handle, PIPE);
    for (int i = 0; i < 127 && name[i]; i++) pipe->name[i] = name[i];
  }
  pthread_mutex_unlock(&lock);
  if (!handle) errno = ERROR_ACCESS_DENIED;
  return handle ? handle : (uint64_t)-1;
}

static int begin(uint64_t handle, void *destination, uint32_t room, struct overlapped *o) {
  int error = ERROR_IO_PENDING;
  pthread_mutex_lock(&lock);
  struct object *pipe = object_of(handle, PIPE);
  struct object *event = object_of(o->event, EVENT);
  if (pipe && event) {
    if (pipe->pending) violation("two calls at a time");
    if (!destination && pipe->connected) {
      error = ERROR_PIPE_CONNECTED;
    } else if (destination && !pipe->filled && pipe->ended) {
      error = ERROR_BROKEN_PIPE;
    } else {
      event->set = 0;
      pipe->pending = o;
      pipe->destination = destination;
      pipe->room = room;
      advance(pipe);
      if (!pipe->pending) error = 0;
    }
  }
  pthread_mutex_unlock(&lock);
  errno = error;
  return !error;
}

int ConnectNamedPipe(uint64_t pipe, struct overlapped *o) { return begin(pipe, NULL, 0, o); }

int ReadFile(uint64_t file, void *buffer, uint32_t length, uint32_t *read, struct overlapped *o) {
  if (!buffer || !length || read) violation("ReadFile");
  return begin(file, buffer, length, o);
}

int GetOverlappedResult(uint64_t file, struct overlapped *o, uint32_t *transferred, int wait) {
  if (!wait) violation("GetOverlappedResult that does not wait");
  pthread_mutex_lock(&lock);
  struct object *pipe = object_of(file, PIPE);
  while (pipe && pipe->pending == o) pthread_cond_wait(&changed, &lock);
  int error = (int)o->internal;
  *transferred = (uint32_t)o->transferred;
  pthread_mutex_unlock(&lock);
  errno = error;
  return !error;
}

int CancelIoEx(uint64_t file, struct overlapped *o) {
  pthread_mutex_lock(&lock);
  struct object *pipe = object_of(file, PIPE);
  int cancelled = pipe && pipe->pending == o;
  if (cancelled) finish(pipe, ERROR_OPERATION_ABORTED, 0);
  pthread_mutex_unlock(&lock);
  return cancelled;
}

uint64_t CreateEventW(void *attributes, int manual, int initial, const uint16_t *name) {
  if (attributes || !manual || initial || name) violation("CreateEventW");
  pthread_mutex_lock(&lock);
  uint64_t handle = new_object(EVENT);
  pthread_mutex_unlock(&lock);
  return handle;
}

int SetEvent(uint64_t handle) {
  pthread_mutex_lock(&lock);
  struct object *event = object_of(handle, EVENT);
  if (event) event->set = 1;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
  return event != NULL;
}

uint32_t WaitForMultipleObjects(uint32_t count, const uint64_t *handles, int all, uint32_t milliseconds) {
  if (count != 2 || all || milliseconds != 0xffffffff) violation("WaitForMultipleObjects");
  uint32_t result = WAIT_FAILED;
  pthread_mutex_lock(&lock);
  struct object *first = object_of(handles[0], EVENT);
  struct object *second = object_of(handles[1], EVENT);
  if (first && second) {
    while (!first->set && !second->set) pthread_cond_wait(&changed, &lock);
    result = first->set ? 0 : 1;
  }
  pthread_mutex_unlock(&lock);
  return result;
}

int CloseHandle(uint64_t handle) {
  uint64_t index = (handle - FIRST) / 4;
  pthread_mutex_lock(&lock);
  if (index >= MOST || !objects[index].kind) {
    violation("CloseHandle of a closed handle");
  } else {
    if (objects[index].pending) violation("CloseHandle under a call");
    objects[index].kind = NOTHING;
    pthread_cond_broadcast(&changed);
  }
  pthread_mutex_unlock(&lock);
  return 1;
}

// ---- For the tests

// Somebody writes to a pipe, to which he connects at first; 0 where there is none.
int standin_pipe_write(const uint16_t *name, const char *bytes, uint32_t length) {
  pthread_mutex_lock(&lock);
  struct object *pipe = pipe_of(name);
  if (pipe) {
    pipe->connected = 1;
    advance(pipe);
    while (pipe == pipe_of(name) && pipe->filled + length > sizeof pipe->bytes) pthread_cond_wait(&changed, &lock);
  }
  pipe = pipe_of(name);
  if (pipe) {
    memcpy(pipe->bytes + pipe->filled, bytes, length);
    pipe->filled += length;
    advance(pipe);
  }
  pthread_mutex_unlock(&lock);
  return pipe != NULL;
}

// And goes.
void standin_pipe_end(const uint16_t *name) {
  pthread_mutex_lock(&lock);
  struct object *pipe = pipe_of(name);
  if (pipe) {
    pipe->connected = pipe->ended = 1;
    advance(pipe);
  }
  pthread_mutex_unlock(&lock);
}

int machines_console_write(const char *pipe, const char *bytes, uint32_t length) {
  uint16_t *name = machines_widen(pipe);
  int written = standin_pipe_write(name, bytes, length);
  free(name);
  return written;
}

void machines_console_end(const char *pipe) {
  uint16_t *name = machines_widen(pipe);
  standin_pipe_end(name);
  free(name);
}

int standin_open_objects(void) {
  int n = 0;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < MOST; i++) n += objects[i].kind != NOTHING;
  pthread_mutex_unlock(&lock);
  return n;
}
