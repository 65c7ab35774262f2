// SPDX-License-Identifier: Apache-2.0
//
// ws2_32.dll: sockets of Hyper-V as TCP sockets of the loopback interface, so that Windows' own events are what the
// calls are judged by.
#include "../machines.h"
#include "../stand_in.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <winsock2.h>

#define AF_HYPERV 34
#define HV_PROTOCOL_RAW 1
#define HVSOCKET_CONNECT_TIMEOUT 1
#define HVSOCKET_CONNECTED_SUSPEND 4

// What VMBus has room for on the way of a connection.
#define RING (24 * 1024)

struct address {
  uint16_t family;
  uint16_t reserved;
  uint8_t vm[16];
  uint8_t service[16];
};
_Static_assert(sizeof(struct address) == 36, "SOCKADDR_HV");

struct hv_event {
  int open;
  WSAEVENT real;
};

struct hv_socket {
  int open;
  uint64_t serial; // of all that were ever opened
  SOCKET real;
  struct hv_event *event;
  int connected;
  // Of one that listens
  struct address local;
  uint16_t port;
  struct listening *listening; // to a machine that really boots
  // Of one that is connected with such a machine
  uint32_t connect_limit;
  int answered; // which FD_CONNECT has not told yet
  int connect_error;
};

#define MOST 4096
// Numbers that do not fit in 32 bits, as handles may not.
#define FIRST_SOCKET 0x1000000000
#define FIRST_EVENT 0x2000000000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct hv_socket sockets[MOST];
static struct hv_event events[MOST];
static int started;
// A port that nobody listens on.
static uint16_t nobody;

static int fail(int error) {
  WSASetLastError(error);
  return SOCKET_ERROR;
}

// Ends a call, whose error stays the last one.
static int64_t leave(int64_t result) {
  int error = WSAGetLastError();
  pthread_mutex_unlock(&lock);
  WSASetLastError(error);
  return result;
}

// With the lock held from then on.
static struct hv_socket *enter(uint64_t number) {
  uint64_t index = (number - FIRST_SOCKET) / 4;
  pthread_mutex_lock(&lock);
  if (index >= MOST || !sockets[index].open) {
    violation("a call on a closed socket");
    WSASetLastError(WSAENOTSOCK);
    return NULL;
  }
  return &sockets[index];
}

static struct hv_event *event_of(uint64_t number) {
  uint64_t index = (number - FIRST_EVENT) / 4;
  if (index >= MOST || !events[index].open) {
    violation("a call on a closed event");
    WSASetLastError(WSA_INVALID_HANDLE);
    return NULL;
  }
  return &events[index];
}

// The handle behind a socket's number; other handles are themselves.
HANDLE socket_of_handle(HANDLE handle) {
  uint64_t number = (uint64_t)handle;
  if (number < FIRST_SOCKET || number >= FIRST_EVENT) return handle;
  struct hv_socket *s = enter(number);
  return (HANDLE)leave(s ? (int64_t)s->real : -1);
}

static struct sockaddr_in loopback(uint16_t port) {
  return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

// Gives it a port of the loopback interface, which is returned; 0 when there is none.
static uint16_t bind_loopback(SOCKET socket) {
  struct sockaddr_in name = loopback(0);
  int size = sizeof name;
  return bind(socket, (void *)&name, size) || getsockname(socket, (void *)&name, &size) ? 0 : name.sin_port;
}

int hv_WSAStartup(WORD version, WSADATA *data) {
  int result = WSAStartup(version, data);
  pthread_mutex_lock(&lock);
  if (!result && !started++) nobody = bind_loopback(socket(AF_INET, SOCK_STREAM, 0));
  pthread_mutex_unlock(&lock);
  return result;
}

static void bound(SOCKET real) {
  // TCP with so little room waits for its own timers, which takes too long with what guests send.
  if (machines_boot()) return;
  int room = RING;
  setsockopt(real, SOL_SOCKET, SO_SNDBUF, (void *)&room, sizeof room);
  setsockopt(real, SOL_SOCKET, SO_RCVBUF, (void *)&room, sizeof room);
}

static uint64_t add(SOCKET real) {
  static uint64_t ever;
  bound(real);
  for (int i = 0; i < MOST; i++) {
    if (!sockets[i].open) {
      sockets[i] = (struct hv_socket){.open = 1, .serial = ++ever, .real = real};
      return FIRST_SOCKET + i * 4;
    }
  }
  abort();
}

uint64_t hv_WSASocketW(int family, int type, int protocol, void *info, GROUP group, DWORD flags) {
  if (!started) violation("WSASocketW before WSAStartup");
  if (family != AF_HYPERV || type != SOCK_STREAM || protocol != HV_PROTOCOL_RAW || info || group
      || flags != (WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT)) {
    violation("WSASocketW");
  }
  SOCKET real = WSASocketW(AF_INET, SOCK_STREAM, IPPROTO_TCP, NULL, 0, flags);
  if (real == INVALID_SOCKET) return real;
  pthread_mutex_lock(&lock);
  return leave(add(real));
}

static int is_address(const struct address *address, int size) {
  int right = size == sizeof *address && address->family == AF_HYPERV && !address->reserved;
  if (!right) violation("an address that is none of Hyper-V's");
  return right;
}

// Who listens there; NULL where nobody does.
static struct hv_socket *listener(const struct address *address) {
  for (int i = 0; i < MOST; i++) {
    if (sockets[i].open && sockets[i].port && !memcmp(&sockets[i].local, address, sizeof *address)) return &sockets[i];
  }
  return NULL;
}

int hv_bind(uint64_t number, const struct address *address, int size) {
  struct hv_socket *s = enter(number);
  if (!s || !is_address(address, size)) return leave(SOCKET_ERROR);
  if (listener(address)) return leave(fail(WSAEADDRINUSE));
  s->local = *address;
  s->port = bind_loopback(s->real);
  return leave(s->port ? 0 : SOCKET_ERROR);
}

// ---- Sockets of machines that really boot

// A connect, during which the socket may be closed, and its place be another's.
struct attempt {
  struct hv_socket *socket;
  uint64_t serial;
  uint32_t limit;
  char line[128];
};

// Once there is an answer, the socket is the one that had it.
static void *connect_to_machine(void *argument) {
  struct attempt *a = argument;
  char answer[32];
  machines_socket host = machines_open(a->line);
  int error = WSAECONNREFUSED;
  if (host != MACHINES_NO_SOCKET) {
    machines_limit_reading(host, a->limit);
    error = machines_read_line(host, answer, sizeof answer) < 0 ? WSAETIMEDOUT : atoi(answer);
  }
  pthread_mutex_lock(&lock);
  struct hv_socket *s = a->socket;
  if (s->open && s->serial == a->serial) {
    s->answered = 1;
    s->connect_error = error;
    if (!error) {
      closesocket(s->real);
      s->real = host;
      host = MACHINES_NO_SOCKET;
      bound(s->real);
      if (s->event) WSAEventSelect(s->real, s->event->real, FD_READ | FD_WRITE | FD_CLOSE);
    }
    if (s->event) WSASetEvent(s->event->real);
  }
  pthread_mutex_unlock(&lock);
  if (host != MACHINES_NO_SOCKET) machines_close(host);
  free(a);
  return NULL;
}

// A connection of a guest, for which a socket of our own knocks at the one that listens: its events are Windows' own.
struct incoming {
  struct incoming *next;
  SOCKET host, knocking;
  uint32_t port;
};

// What is heard of a machine's connects.
struct listening {
  machines_socket host;
  uint16_t port;
  struct incoming *incoming;
  int ended;
};

static void *hear_of_connections(void *argument) {
  struct listening *l = argument;
  char line[128], token[64];
  unsigned int port;
  while (machines_read_line(l->host, line, sizeof line) >= 0 && sscanf(line, "incoming %63s %u", token, &port) == 2) {
    machines_socket accepted = machines_accept(token);
    if (accepted == MACHINES_NO_SOCKET) continue;
    struct incoming *incoming = malloc(sizeof *incoming);
    *incoming = (struct incoming){NULL, accepted, socket(AF_INET, SOCK_STREAM, 0), port};
    pthread_mutex_lock(&lock);
    struct incoming **last = &l->incoming;
    while (*last) last = &(*last)->next;
    *last = incoming;
    pthread_mutex_unlock(&lock);
    struct sockaddr_in name = loopback(l->port);
    connect(incoming->knocking, (void *)&name, sizeof name);
  }
  pthread_mutex_lock(&lock);
  l->ended = 1;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
  return NULL;
}

static struct incoming *first_incoming(struct listening *l) {
  struct incoming *first = l->incoming;
  l->incoming = first->next;
  closesocket(first->knocking);
  return first;
}

// Returns an error.
static int listen_to_machine(struct hv_socket *s) {
  char line[128], answer[32];
  machines_ask_for(line, "listen", s->local.vm, s->local.service);
  machines_socket host = machines_open(line);
  int error =
      host == MACHINES_NO_SOCKET || machines_read_line(host, answer, sizeof answer) < 0 ? WSAEINVAL : atoi(answer);
  if (error) {
    if (host != MACHINES_NO_SOCKET) machines_close(host);
    return error;
  }
  s->listening = calloc(1, sizeof *s->listening);
  s->listening->host = host;
  s->listening->port = s->port;
  machines_start_thread(hear_of_connections, s->listening);
  return 0;
}

// On return nobody listens any more.
static void end_listening(struct listening *l) {
  shutdown(l->host, SD_SEND);
  pthread_mutex_lock(&lock);
  while (!l->ended) pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
  machines_close(l->host);
  while (l->incoming) {
    struct incoming *first = first_incoming(l);
    if (first->host != MACHINES_NO_SOCKET) machines_close(first->host);
    free(first);
  }
  free(l);
}

int hv_listen(uint64_t number, int backlog) {
  struct hv_socket *s = enter(number);
  int error = s && machines_boot() ? listen_to_machine(s) : 0;
  return leave(error ? fail(error) : s ? listen(s->real, backlog) : SOCKET_ERROR);
}

uint64_t hv_accept(uint64_t number, struct address *address, int *size) {
  struct hv_socket *s = enter(number);
  SOCKET real = s ? accept(s->real, NULL, NULL) : INVALID_SOCKET;
  if (real == INVALID_SOCKET) return leave(INVALID_SOCKET);
  if (*size < (int)sizeof *address) violation("accept without room for the address");
  *size = sizeof *address;
  // A port that no number of a handle is.
  uint32_t port = 0x12345678;
  if (s->listening) {
    struct incoming *first = first_incoming(s->listening);
    closesocket(real);
    real = first->host;
    port = first->port;
    free(first);
  }
  // The other end: the same machine.
  *address = s->local;
  memcpy(address->service, &port, sizeof port);
  uint64_t accepted = add(real);
  sockets[(accepted - FIRST_SOCKET) / 4].connected = 1;
  return leave(accepted);
}

int hv_connect(uint64_t number, const struct address *address, int size) {
  struct hv_socket *s = enter(number);
  if (!s || !is_address(address, size)) return leave(SOCKET_ERROR);
  s->connected = 1;
  if (machines_boot()) {
    struct attempt *a = malloc(sizeof *a);
    *a = (struct attempt){.socket = s, .serial = s->serial, .limit = s->connect_limit};
    machines_ask_for(a->line, "connect", address->vm, address->service);
    machines_start_thread(connect_to_machine, a);
    return leave(fail(WSAEWOULDBLOCK));
  }
  struct hv_socket *to = listener(address);
  struct sockaddr_in name = loopback(to ? to->port : nobody);
  return leave(connect(s->real, (void *)&name, sizeof name));
}

int hv_send(uint64_t number, const char *bytes, int length, int flags) {
  struct hv_socket *s = enter(number);
  return leave(s ? send(s->real, bytes, length, flags) : SOCKET_ERROR);
}

int hv_recv(uint64_t number, char *bytes, int length, int flags) {
  struct hv_socket *s = enter(number);
  return leave(s ? recv(s->real, bytes, length, flags) : SOCKET_ERROR);
}

int hv_shutdown(uint64_t number, int how) {
  if (how != SD_SEND) violation("shutdown of more than the output");
  struct hv_socket *s = enter(number);
  return leave(s ? shutdown(s->real, how) : SOCKET_ERROR);
}

int hv_closesocket(uint64_t number) {
  struct hv_socket *s = enter(number);
  struct listening *listening = s ? s->listening : NULL;
  if (s) s->open = 0;
  int result = leave(s ? closesocket(s->real) : SOCKET_ERROR);
  if (listening) end_listening(listening);
  return result;
}

int hv_setsockopt(uint64_t number, int level, int option, const char *value, int size) {
  struct hv_socket *s = enter(number);
  ULONG n;
  memcpy(&n, value, sizeof n);
  int valid = s && level == HV_PROTOCOL_RAW && size == sizeof n
              && ((option == HVSOCKET_CONNECT_TIMEOUT && n && n <= 300000 && !s->connected)
                  || (option == HVSOCKET_CONNECTED_SUSPEND && n == 1));
  if (!valid) violation("setsockopt");
  if (valid && option == HVSOCKET_CONNECT_TIMEOUT) s->connect_limit = n;
  return leave(valid ? 0 : fail(WSAEINVAL));
}

uint64_t hv_WSACreateEvent(void) {
  WSAEVENT real = WSACreateEvent();
  if (!real) return 0;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < MOST; i++) {
    if (!events[i].open) {
      events[i] = (struct hv_event){1, real};
      return leave(FIRST_EVENT + i * 4);
    }
  }
  abort();
}

static int with_event(uint64_t number, BOOL (*call)(WSAEVENT)) {
  pthread_mutex_lock(&lock);
  struct hv_event *e = event_of(number);
  return leave(e ? call(e->real) : 0);
}

int hv_WSASetEvent(uint64_t number) { return with_event(number, WSASetEvent); }

int hv_WSAResetEvent(uint64_t number) { return with_event(number, WSAResetEvent); }

int hv_WSACloseEvent(uint64_t number) {
  pthread_mutex_lock(&lock);
  struct hv_event *e = event_of(number);
  if (e) e->open = 0;
  return leave(e ? WSACloseEvent(e->real) : 0);
}

int hv_WSAEventSelect(uint64_t number, uint64_t event, long wanted) {
  if (wanted != (FD_READ | FD_WRITE | FD_ACCEPT | FD_CONNECT | FD_CLOSE)) violation("WSAEventSelect of other events");
  struct hv_socket *s = enter(number);
  struct hv_event *e = event_of(event);
  if (s) s->event = e;
  return leave(s && e ? WSAEventSelect(s->real, e->real, wanted) : SOCKET_ERROR);
}

int hv_WSAEnumNetworkEvents(uint64_t number, uint64_t event, WSANETWORKEVENTS *result) {
  if (event) violation("WSAEnumNetworkEvents that resets the event, which is shared");
  struct hv_socket *s = enter(number);
  int failed = s ? WSAEnumNetworkEvents(s->real, NULL, result) : SOCKET_ERROR;
  if (!failed && s->answered) {
    s->answered = 0;
    result->lNetworkEvents |= FD_CONNECT;
    result->iErrorCode[FD_CONNECT_BIT] = s->connect_error;
  }
  return leave(failed);
}

DWORD hv_WSAWaitForMultipleEvents(DWORD count, const uint64_t *which, BOOL all, DWORD milliseconds, BOOL alertable) {
  if (count != 1 || all || alertable) violation("WSAWaitForMultipleEvents");
  pthread_mutex_lock(&lock);
  struct hv_event *e = event_of(*which);
  WSAEVENT real = e ? e->real : NULL;
  pthread_mutex_unlock(&lock);
  return WSAWaitForMultipleEvents(count, &real, all, milliseconds, alertable);
}

// ---- For the tests

int standin_open_sockets(void) {
  int n = 0;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < MOST; i++) n += sockets[i].open;
  pthread_mutex_unlock(&lock);
  return n;
}

int standin_open_events(void) {
  int n = 0;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < MOST; i++) n += events[i].open;
  pthread_mutex_unlock(&lock);
  return n;
}
