// SPDX-License-Identifier: Apache-2.0
//
// computecore.dll: machines that have a state and a name, operations that end on threads of their own, events from
// threads of their own, strings whose every allocation must be freed once.
#include "machines.h"
#include "stand_in.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uchar.h>

typedef int32_t HRESULT;

#define S_OK 0
#define E_INVALIDARG ((HRESULT)0x80070057)
#define HCS_E_INVALID_STATE ((HRESULT)0x80370105)
#define HCS_E_SYSTEM_NOT_FOUND ((HRESULT)0x8037010E)
#define HCS_E_SYSTEM_ALREADY_EXISTS ((HRESULT)0x8037010F)
#define HCS_E_SYSTEM_ALREADY_STOPPED ((HRESULT)0x80370110)
#define HCS_E_OPERATION_NOT_STARTED ((HRESULT)0x80370115)
#define HCS_E_OPERATION_ALREADY_STARTED ((HRESULT)0x80370116)
#define HCS_E_OPERATION_TIMEOUT ((HRESULT)0x80370118)
#define GENERIC_ALL 0x10000000

#define SYSTEM_EXITED 1

enum state { CREATED, RUNNING, PAUSED, STOPPED };

typedef struct {
  int32_t type;
  const char16_t *data;
  void *operation;
} HCS_EVENT;
_Static_assert(sizeof(HCS_EVENT) == 24, "as on 64-bit Windows");

typedef void (*event_callback)(HCS_EVENT *event, void *context);

struct machine {
  struct machine *next;
  char16_t *id;
  enum state state;
};

// Never freed, so that a use after the close is seen.
struct handle {
  struct handle *next;
  struct machine *machine;
  int open;
  int calls;
  int delivering;
  int told; // events, and those that were delivered or dropped
  int delivered;
  event_callback callback;
  void *context;
};

struct operation {
  int open;
  int started;
  int done;
  HRESULT result;
  char16_t *document;
};

struct string {
  struct string *next;
  char16_t *text;
};

struct fault {
  struct fault *next;
  char name[64];
  HRESULT call;
  HRESULT result;
  char16_t *document;
  int held;
  int times;
};

struct received {
  struct received *next;
  char name[64];
  char16_t *text;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct machine *machines;
static struct handle *handles;
static struct string *strings;
static struct fault *faults;
static struct received *received;
static int open_operations, running_threads, violations, strings_ever;
static char first_violation[256];
static __thread struct handle *delivering_for;

void violation(const char *what) {
  if (!violations++) strncpy(first_violation, what, sizeof first_violation - 1);
}

static size_t length(const char16_t *text) {
  size_t n = 0;
  while (text[n]) n++;
  return n;
}

static char16_t *copy(const char16_t *text) {
  if (!text) return NULL;
  size_t size = (length(text) + 1) * sizeof *text;
  return memcpy(malloc(size), text, size);
}

static int equal(const char16_t *a, const char16_t *b) {
  size_t n = length(a);
  return n == length(b) && !memcmp(a, b, n * sizeof *a);
}

static char16_t *wide(const char *text) {
  size_t n = strlen(text);
  char16_t *result = malloc((n + 1) * sizeof *result);
  for (size_t i = 0; i <= n; i++) result[i] = (unsigned char)text[i];
  return result;
}

// A string that the caller must give to LocalFree.
static char16_t *hand_out(const char16_t *text) {
  if (!text) return NULL;
  struct string *entry = malloc(sizeof *entry);
  entry->text = copy(text);
  entry->next = strings;
  strings = entry;
  strings_ever++;
  return entry->text;
}

void *LocalFree(void *memory) {
  pthread_mutex_lock(&lock);
  struct string **at = &strings;
  while (*at && (*at)->text != memory) at = &(*at)->next;
  if (*at) {
    struct string *entry = *at;
    *at = entry->next;
    memset(entry->text, 0x5a, length(entry->text) * sizeof *entry->text);
    free(entry->text);
    free(entry);
  } else {
    violation("LocalFree of what was not handed out, or was freed");
  }
  pthread_mutex_unlock(&lock);
  return NULL;
}

// The fault that is due for a function; NULL when there is none. It stays valid until the reset.
static struct fault *due(const char *name) {
  for (struct fault *f = faults; f; f = f->next) {
    if (!strcmp(f->name, name) && f->times) {
      f->times--;
      return f;
    }
  }
  return NULL;
}

static void receive(const char *name, const char16_t *text) {
  struct received *entry = calloc(1, sizeof *entry);
  strncpy(entry->name, name, sizeof entry->name - 1);
  entry->text = copy(text);
  entry->next = received;
  received = entry;
}

// The lock is held.
static void start_thread(void *(*run)(void *), void *argument) {
  running_threads++;
  machines_start_thread(run, argument);
}

static void end_thread(void) {
  running_threads--;
  pthread_cond_broadcast(&changed);
}

// ---- Events

struct delivery {
  struct handle *to;
  int number;
  int type;
  char16_t *data;
};

static void *deliver(void *argument) {
  struct delivery *d = argument;
  pthread_mutex_lock(&lock);
  while (d->to->delivered != d->number) pthread_cond_wait(&changed, &lock);
  if (d->to->open && d->to->callback) {
    d->to->delivering++;
    event_callback callback = d->to->callback;
    void *context = d->to->context;
    pthread_mutex_unlock(&lock);
    HCS_EVENT event = {d->type, d->data, NULL};
    delivering_for = d->to;
    callback(&event, context);
    delivering_for = NULL;
    pthread_mutex_lock(&lock);
    d->to->delivering--;
  }
  // What is kept of it after the callback is garbage.
  if (d->data) memset(d->data, 0x5a, length(d->data) * sizeof *d->data);
  free(d->data);
  d->to->delivered++;
  free(d);
  end_thread();
  pthread_mutex_unlock(&lock);
  return NULL;
}

static void tell(struct machine *machine, int type, const char16_t *data) {
  if (due("event")) return;
  for (struct handle *h = handles; h; h = h->next) {
    if (h->machine != machine || !h->open) continue;
    struct delivery *d = malloc(sizeof *d);
    *d = (struct delivery){h, h->told++, type, copy(data)};
    start_thread(deliver, d);
  }
}

// ---- Operations

struct operation *HcsCreateOperation(void *context, void *callback) {
  pthread_mutex_lock(&lock);
  if (context || callback) violation("HcsCreateOperation with a callback");
  struct operation *operation = NULL;
  if (!due("HcsCreateOperation")) {
    operation = calloc(1, sizeof *operation);
    operation->open = 1;
    open_operations++;
  }
  pthread_mutex_unlock(&lock);
  return operation;
}

void HcsCloseOperation(struct operation *operation) {
  pthread_mutex_lock(&lock);
  if (operation->open) {
    operation->open = 0;
    open_operations--;
  } else {
    violation("HcsCloseOperation of a closed one");
  }
  pthread_mutex_unlock(&lock);
}

HRESULT HcsWaitForOperationResult(struct operation *operation, uint32_t milliseconds, char16_t **document) {
  struct timespec deadline;
  clock_gettime(CLOCK_REALTIME, &deadline);
  deadline.tv_sec += milliseconds / 1000;
  deadline.tv_nsec += milliseconds % 1000 * 1000000L;
  if (deadline.tv_nsec >= 1000000000L) {
    deadline.tv_sec++;
    deadline.tv_nsec -= 1000000000L;
  }
  pthread_mutex_lock(&lock);
  if (!operation->open) violation("HcsWaitForOperationResult of a closed operation");
  if (*document) violation("a result's pointer that is not NULL before");
  HRESULT result = operation->started ? HCS_E_OPERATION_TIMEOUT : HCS_E_OPERATION_NOT_STARTED;
  while (operation->started && !operation->done) {
    if (pthread_cond_timedwait(&changed, &lock, &deadline) == ETIMEDOUT) break;
  }
  if (operation->done) {
    result = operation->result;
    *document = hand_out(operation->document);
  }
  if (!operation->open) violation("an operation closed while it is waited for");
  pthread_mutex_unlock(&lock);
  return result;
}

struct work {
  struct operation *operation;
  const char *name;
  const char16_t *given;
  char16_t *copy;
  struct handle *handle;
  HRESULT (*effect)(struct handle *handle, char16_t **document);
  struct fault *fault;
};

// ---- Machines that really boot

static HRESULT name_taken(struct handle *handle, char16_t **document);

static HRESULT do_terminate(struct handle *handle, char16_t **document);

static char16_t *widen(const char *text) { return text ? (char16_t *)machines_widen(text) : NULL; }

// Asks for something about a machine, with a body where that is not NULL. With the lock held, which it releases
// meanwhile.
static HRESULT ask(const char *what, const char16_t *id, const char16_t *body, char16_t **document) {
  char request[128], *told = NULL;
  char *name = machines_narrow(id), *text = body ? host_paths(machines_narrow(body)) : NULL;
  snprintf(request, sizeof request, "%s %s", what, name);
  pthread_mutex_unlock(&lock);
  HRESULT result = machines_request(request, text, &told);
  if (!result && !strcmp(what, "start")) machines_stream_console(name);
  pthread_mutex_lock(&lock);
  if (document) *document = widen(told);
  free(told);
  free(name);
  free(text);
  return result;
}

// What a function asks for; NULL for one that is only played.
static const char *request_of(const char *function) {
  static const char *const asked[][2] = {{"HcsCreateComputeSystem", "create"}, {"HcsStartComputeSystem", "start"},
                                         {"HcsTerminateComputeSystem", "terminate"}, {"HcsPauseComputeSystem", "pause"},
                                         {"HcsResumeComputeSystem", "resume"}};
  for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
    if (!strcmp(asked[i][0], function)) return machines_boot() ? asked[i][1] : NULL;
  }
  return NULL;
}

static HRESULT perform(struct work *w, char16_t **document) {
  const char *request = request_of(w->name);
  if (!request || w->effect == name_taken) return w->effect(w->handle, document);
  struct machine *m = w->handle->machine;
  HRESULT result = ask(request, m->id, strcmp(request, "create") ? NULL : w->given, document);
  // Its end is told by an event, which may have come.
  if (!result && w->effect != do_terminate && m->state != STOPPED) w->effect(w->handle, document);
  return result;
}

static void *work(void *argument) {
  struct work *w = argument;
  pthread_mutex_lock(&lock);
  while (w->fault && w->fault->held) pthread_cond_wait(&changed, &lock);
  if (w->given && memcmp(w->given, w->copy, (length(w->copy) + 1) * sizeof *w->copy)) {
    violation("a string was freed before the operation had ended");
  }
  free(w->copy);
  if (w->fault && w->fault->result) {
    w->operation->result = w->fault->result;
    w->operation->document = copy(w->fault->document);
  } else {
    w->operation->result = perform(w, &w->operation->document);
    if (w->fault && w->fault->document) w->operation->document = copy(w->fault->document);
  }
  w->operation->done = 1;
  if (w->handle) {
    if (!w->handle->open) violation("a handle was closed under a call");
    w->handle->calls--;
  }
  free(w);
  end_thread();
  pthread_mutex_unlock(&lock);
  return NULL;
}

// Starts what ends with an effect. With the lock held.
static HRESULT begin(const char *name, struct operation *operation, struct handle *handle, const char16_t *document,
                     HRESULT (*effect)(struct handle *, char16_t **)) {
  if (!operation || !operation->open) {
    violation("a call with a closed operation");
    return E_INVALIDARG;
  }
  if (operation->started) {
    violation("an operation used twice");
    return HCS_E_OPERATION_ALREADY_STARTED;
  }
  if (handle && !handle->open) {
    violation("a call on a closed handle");
    return E_INVALIDARG;
  }
  receive(name, document);
  struct fault *f = due(name);
  if (f && f->call) return f->call;
  operation->started = 1;
  if (handle) handle->calls++;
  struct work *w = malloc(sizeof *w);
  *w = (struct work){operation, name, document, copy(document), handle, effect, f};
  start_thread(work, w);
  return S_OK;
}

static HRESULT begin_locked(const char *name, struct operation *operation, struct handle *handle,
                            const char16_t *document, HRESULT (*effect)(struct handle *, char16_t **)) {
  pthread_mutex_lock(&lock);
  HRESULT result = begin(name, operation, handle, document, effect);
  pthread_mutex_unlock(&lock);
  return result;
}

// ---- Machines

static struct machine *find(const char16_t *id) {
  for (struct machine *m = machines; m; m = m->next) {
    if (m->state != STOPPED && equal(m->id, id)) return m;
  }
  return NULL;
}

static struct handle *new_handle(struct machine *machine) {
  struct handle *h = calloc(1, sizeof *h);
  h->machine = machine;
  h->open = 1;
  h->next = handles;
  handles = h;
  return h;
}

static HRESULT do_nothing(struct handle *handle, char16_t **document) { return S_OK; }

static HRESULT name_taken(struct handle *handle, char16_t **document) {
  return HCS_E_SYSTEM_ALREADY_EXISTS;
}

HRESULT HcsCreateComputeSystem(const char16_t *id, const char16_t *configuration, struct operation *operation,
                               void *security, struct handle **system) {
  pthread_mutex_lock(&lock);
  if (security || *system) violation("HcsCreateComputeSystem");
  int taken = find(id) != NULL;
  struct machine *m = calloc(1, sizeof *m);
  m->id = copy(id);
  m->state = taken ? STOPPED : CREATED;
  m->next = machines;
  machines = m;
  struct handle *h = new_handle(m);
  receive("id", id);
  HRESULT result = begin("HcsCreateComputeSystem", operation, h, configuration, taken ? name_taken : do_nothing);
  if (result < 0) {
    h->open = 0;
    m->state = STOPPED;
  } else {
    *system = h;
  }
  pthread_mutex_unlock(&lock);
  return result;
}

HRESULT HcsOpenComputeSystem(const char16_t *id, uint32_t access, struct handle **system) {
  pthread_mutex_lock(&lock);
  if (access != GENERIC_ALL || *system) violation("HcsOpenComputeSystem");
  struct machine *m = find(id);
  if (m) *system = new_handle(m);
  pthread_mutex_unlock(&lock);
  return m ? S_OK : HCS_E_SYSTEM_NOT_FOUND;
}

void HcsCloseComputeSystem(struct handle *handle) {
  pthread_mutex_lock(&lock);
  if (!handle->open) violation("HcsCloseComputeSystem of a closed handle");
  if (handle->calls) violation("HcsCloseComputeSystem under a call");
  if (delivering_for) {
    violation("HcsCloseComputeSystem in an event, which it waits for");
  } else {
    while (handle->delivering) pthread_cond_wait(&changed, &lock);
  }
  handle->open = 0;
  int others = 0;
  for (struct handle *h = handles; h; h = h->next) others += h->open && h->machine == handle->machine;
  if (!others) {
    handle->machine->state = STOPPED;
    if (machines_boot()) ask("close", handle->machine->id, NULL, NULL);
  }
  pthread_mutex_unlock(&lock);
}

static HRESULT move(struct handle *handle, enum state from, enum state to) {
  if (handle->machine->state == STOPPED) return HCS_E_SYSTEM_ALREADY_STOPPED;
  if (handle->machine->state != from) return HCS_E_INVALID_STATE;
  handle->machine->state = to;
  return S_OK;
}

static HRESULT do_start(struct handle *handle, char16_t **document) { return move(handle, CREATED, RUNNING); }

static HRESULT do_pause(struct handle *handle, char16_t **document) { return move(handle, RUNNING, PAUSED); }

static HRESULT do_resume(struct handle *handle, char16_t **document) { return move(handle, PAUSED, RUNNING); }

static HRESULT do_save(struct handle *handle, char16_t **document) { return move(handle, PAUSED, PAUSED); }

static HRESULT do_modify(struct handle *handle, char16_t **document) { return move(handle, RUNNING, RUNNING); }

static HRESULT do_terminate(struct handle *handle, char16_t **document) {
  if (handle->machine->state == STOPPED) return HCS_E_SYSTEM_ALREADY_STOPPED;
  handle->machine->state = STOPPED;
  char16_t *data = wide("{\"Status\":0,\"ExitType\":\"ForcedExit\"}");
  tell(handle->machine, SYSTEM_EXITED, data);
  free(data);
  return S_OK;
}

static HRESULT do_properties(struct handle *handle, char16_t **document) {
  char text[256] = "{\"SystemType\":\"VirtualMachine\",\"RuntimeId\":\"5F8C1C5D-59A3-4F4C-8B6E-0F5D2B9C7A11\"}";
  if (length(handle->machine->id) == 36) { // a GUID is the runtime ID as well
    char *id = strstr(text, "5F8C");
    for (int i = 0; i < 36; i++) id[i] = (char)handle->machine->id[i];
  }
  *document = wide(text);
  return S_OK;
}

HRESULT HcsStartComputeSystem(struct handle *system, struct operation *operation, const char16_t *options) {
  if (options) violation("options of HcsStartComputeSystem are reserved");
  return begin_locked("HcsStartComputeSystem", operation, system, options, do_start);
}

HRESULT HcsTerminateComputeSystem(struct handle *system, struct operation *operation, const char16_t *options) {
  if (options) violation("options of HcsTerminateComputeSystem are reserved");
  return begin_locked("HcsTerminateComputeSystem", operation, system, options, do_terminate);
}

HRESULT HcsPauseComputeSystem(struct handle *system, struct operation *operation, const char16_t *options) {
  return begin_locked("HcsPauseComputeSystem", operation, system, options, do_pause);
}

HRESULT HcsResumeComputeSystem(struct handle *system, struct operation *operation, const char16_t *options) {
  if (options) violation("options of HcsResumeComputeSystem are reserved");
  return begin_locked("HcsResumeComputeSystem", operation, system, options, do_resume);
}

HRESULT HcsSaveComputeSystem(struct handle *system, struct operation *operation, const char16_t *options) {
  return begin_locked("HcsSaveComputeSystem", operation, system, options, do_save);
}

HRESULT HcsGetComputeSystemProperties(struct handle *system, struct operation *operation, const char16_t *query) {
  return begin_locked("HcsGetComputeSystemProperties", operation, system, query, do_properties);
}

HRESULT HcsModifyComputeSystem(struct handle *system, struct operation *operation, const char16_t *configuration,
                               void *identity) {
  if (identity) violation("HcsModifyComputeSystem for somebody");
  return begin_locked("HcsModifyComputeSystem", operation, system, configuration, do_modify);
}

HRESULT HcsSetComputeSystemCallback(struct handle *system, int32_t options, void *context, event_callback callback) {
  pthread_mutex_lock(&lock);
  if (!system->open || options || !callback || system->callback) violation("HcsSetComputeSystemCallback");
  struct fault *f = due("HcsSetComputeSystemCallback");
  HRESULT result = f ? f->call : S_OK;
  if (result >= 0) {
    system->callback = callback;
    system->context = context;
  }
  pthread_mutex_unlock(&lock);
  return result;
}

HRESULT HcsEnumerateComputeSystems(const char16_t *query, struct operation *operation) {
  return begin_locked("HcsEnumerateComputeSystems", operation, NULL, query, do_nothing);
}

static HRESULT access_of(const char *name, const char *request, const char16_t *id, const char16_t *path) {
  pthread_mutex_lock(&lock);
  receive(name, path);
  receive("id", id);
  struct fault *f = due(name);
  HRESULT result = f ? f->call : machines_boot() ? ask(request, id, path, NULL) : S_OK;
  pthread_mutex_unlock(&lock);
  return result;
}

HRESULT HcsGrantVmAccess(const char16_t *id, const char16_t *path) {
  return access_of("HcsGrantVmAccess", "grant", id, path);
}

HRESULT HcsRevokeVmAccess(const char16_t *id, const char16_t *path) {
  return access_of("HcsRevokeVmAccess", "revoke", id, path);
}

HRESULT HcsGetServiceProperties(const char16_t *query, char16_t **result) {
  pthread_mutex_lock(&lock);
  if (*result) violation("HcsGetServiceProperties");
  receive("HcsGetServiceProperties", query);
  struct fault *f = due("HcsGetServiceProperties");
  char16_t *document = f                 ? copy(f->document)
                       : machines_boot() ? wide("{\"Properties\":[{\"SupportedSchemaVersions\":[{\"Major\":2,\"Minor\":6}]}]}")
                                         : NULL;
  *result = hand_out(document);
  free(document);
  pthread_mutex_unlock(&lock);
  return f ? f->call : S_OK;
}

// ---- For the tests

// The next calls of a function fail at once (call), or end with a result and a document; where they are held, not before
// standin_release.
void standin_fault(const char *name, HRESULT call, HRESULT result, const char16_t *document, int held, int times) {
  struct fault *f = calloc(1, sizeof *f);
  strncpy(f->name, name, sizeof f->name - 1);
  f->call = call;
  f->result = result;
  f->document = copy(document);
  f->held = held;
  f->times = times;
  pthread_mutex_lock(&lock);
  f->next = faults;
  faults = f;
  pthread_mutex_unlock(&lock);
}

void standin_release(void) {
  pthread_mutex_lock(&lock);
  for (struct fault *f = faults; f; f = f->next) f->held = 0;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

// Something happens to a machine by itself.
void standin_event(const char16_t *id, int type, const char16_t *document) {
  pthread_mutex_lock(&lock);
  struct machine *m = find(id);
  if (m) {
    tell(m, type, document);
    if (type == SYSTEM_EXITED) m->state = STOPPED;
  }
  pthread_mutex_unlock(&lock);
}

void machines_event(const char *id, int type, const char *document) {
  char16_t *text = widen(document);
  char16_t *name = widen(id);
  if (*id) {
    standin_event(name, type, text);
  } else {
    pthread_mutex_lock(&lock);
    for (struct machine *m = machines; m; m = m->next) {
      if (m->state != STOPPED) tell(m, type, text);
    }
    pthread_mutex_unlock(&lock);
  }
  free(name);
  free(text);
}

// The string that a function was last given.
const char16_t *standin_received(const char *name) {
  const char16_t *text = NULL;
  pthread_mutex_lock(&lock);
  for (struct received *r = received; r && !text; r = r->next) text = strcmp(r->name, name) ? NULL : r->text;
  pthread_mutex_unlock(&lock);
  return text;
}

int standin_calls(const char *name) {
  int calls = 0;
  pthread_mutex_lock(&lock);
  for (struct received *r = received; r; r = r->next) calls += !strcmp(r->name, name);
  pthread_mutex_unlock(&lock);
  return calls;
}

int standin_open_operations(void) { return open_operations; }

int standin_strings_ever(void) { return strings_ever; }

int standin_open_strings(void) {
  int n = 0;
  pthread_mutex_lock(&lock);
  for (struct string *s = strings; s; s = s->next) n++;
  pthread_mutex_unlock(&lock);
  return n;
}

int standin_open_handles(void) {
  int n = 0;
  pthread_mutex_lock(&lock);
  for (struct handle *h = handles; h; h = h->next) n += h->open;
  pthread_mutex_unlock(&lock);
  return n;
}

// Waits for all that goes on in other threads.
void standin_quiesce(void) {
  pthread_mutex_lock(&lock);
  while (running_threads) pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
}

// NULL where nothing was called wrongly.
const char *standin_violation(void) { return violations ? first_violation : NULL; }

void standin_reset(void) {
  standin_quiesce();
  pthread_mutex_lock(&lock);
  machines = NULL;
  handles = NULL;
  strings = NULL;
  faults = NULL;
  received = NULL;
  open_operations = violations = strings_ever = 0;
  memset(first_violation, 0, sizeof first_violation);
  pthread_mutex_unlock(&lock);
}
