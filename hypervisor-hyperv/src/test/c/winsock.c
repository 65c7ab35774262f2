// SPDX-License-Identifier: Apache-2.0
//
// ws2_32.dll: sockets of Hyper-V as abstract Unix sockets, by the bytes of their addresses. Events are recorded as
// Windows does: once, and again only after the call that re-enables them (WSAEventSelect's documentation). The calls'
// own names are those of libc's, so the system calls are made directly.
#include "machines.h"
#include "stand_in.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef uint64_t SOCKET;
typedef uint64_t WSAEVENT;

#define SOCKET_ERROR (-1)
#define WSAEINVAL 10022
#define WSAEWOULDBLOCK 10035
#define WSAENOTSOCK 10038
#define WSAEADDRINUSE 10048
#define WSAECONNRESET 10054
#define WSAETIMEDOUT 10060
#define WSAECONNREFUSED 10061

#define FD_READ 1
#define FD_WRITE 2
#define FD_ACCEPT 8
#define FD_CONNECT 16
#define FD_CLOSE 32
#define FD_CONNECT_BIT 4

#define WSA_WAIT_TIMEOUT 258

// Linux's, whose headers declare functions of the same names
#define AF_UNIX 1
#define SOCK_STREAM 1
#define SOCK_CLOEXEC 02000000
#define MSG_DONTWAIT 0x40
#define MSG_NOSIGNAL 0x4000

struct address {
  uint16_t family;
  uint16_t reserved;
  uint8_t vm[16];
  uint8_t service[16];
};
_Static_assert(sizeof(struct address) == 36, "SOCKADDR_HV");

struct unix_address {
  uint16_t family;
  char name[33];
};

struct event {
  int open;
  int set;
};

struct socket {
  int open;
  int fd;
  uint64_t serial; // of all that were ever opened
  int listening;
  int connected;
  int hung; // nothing is waited for any more: both directions have ended, or it was reset
  struct event *event;
  int armed;
  int recorded;
  int connect_error;
  uint32_t connect_limit;
  struct address local;
  // Of a machine that really boots
  machines_socket listens; // where MachineHost tells of connections
  struct incoming *incoming;
};

// A connection of a guest that is not accepted yet.
struct incoming {
  struct incoming *next;
  int fd;
  uint32_t port;
};

#define MOST 4096
// Numbers that do not fit in 32 bits, as handles may not.
#define FIRST_SOCKET 0x1000000000
#define FIRST_EVENT 0x2000000000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct socket sockets[MOST];
static struct event events[MOST];
static int epoll = -1;
static int started;

static int fail(int error) {
  errno = error;
  return SOCKET_ERROR;
}

static struct socket *socket_of(SOCKET number) {
  uint64_t index = (number - FIRST_SOCKET) / 4;
  if (index >= MOST || !sockets[index].open) {
    violation("a call on a closed socket");
    return NULL;
  }
  return &sockets[index];
}

static struct event *event_of(WSAEVENT number) {
  uint64_t index = (number - FIRST_EVENT) / 4;
  if (index >= MOST || !events[index].open) {
    violation("a call on a closed event");
    return NULL;
  }
  return &events[index];
}

static void record(struct socket *s, int flags) {
  s->recorded |= flags;
  if (s->event) {
    s->event->set = 1;
    pthread_cond_broadcast(&changed);
  }
}

static void arm(struct socket *s, int flags) {
  s->armed |= flags;
  if (!s->event || !(s->connected || s->listening)) return;
  if (s->listens != MACHINES_NO_SOCKET) {
    if (s->incoming) record(s, FD_ACCEPT);
    return;
  }
  if (s->hung) {
    if (s->armed & (FD_READ | FD_WRITE)) record(s, s->armed & (FD_READ | FD_WRITE));
    s->armed = 0;
    return;
  }
  struct epoll_event wanted = {EPOLLONESHOT, {.u64 = s - sockets}};
  if (s->armed & (FD_READ | FD_ACCEPT)) wanted.events |= EPOLLIN | EPOLLRDHUP;
  if (s->armed & FD_WRITE) wanted.events |= EPOLLOUT;
  if (epoll_ctl(epoll, EPOLL_CTL_MOD, s->fd, &wanted)) epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &wanted);
}

static void *watch(void *unused) {
  while (1) {
    struct epoll_event ready;
    if (epoll_wait(epoll, &ready, 1, -1) != 1) continue;
    pthread_mutex_lock(&lock);
    struct socket *s = &sockets[ready.data.u64];
    if (s->open) {
      int flags = 0;
      if (ready.events & EPOLLIN) flags |= s->listening ? FD_ACCEPT : FD_READ;
      if (ready.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) flags |= FD_CLOSE;
      if (ready.events & EPOLLOUT) flags |= FD_WRITE;
      // Which epoll tells again and again, asked or not.
      if (ready.events & (EPOLLHUP | EPOLLERR)) s->hung = 1;
      s->armed &= ~flags;
      if (flags & FD_CLOSE) s->armed &= ~FD_READ;
      record(s, flags);
      arm(s, 0);
    }
    pthread_mutex_unlock(&lock);
  }
  return NULL;
}

int WSAStartup(uint16_t version, void *data) {
  if (version != 0x202 || !data) return WSAEINVAL;
  memset(data, 0, 408);
  pthread_mutex_lock(&lock);
  if (!started++) {
    epoll = epoll_create1(EPOLL_CLOEXEC);
    machines_start_thread(watch, NULL);
  }
  pthread_mutex_unlock(&lock);
  return 0;
}

static SOCKET add(int fd) {
  static uint64_t ever;
  for (int i = 0; i < MOST; i++) {
    if (!sockets[i].open) {
      sockets[i] = (struct socket){.open = 1, .fd = fd, .serial = ++ever, .armed = FD_READ | FD_WRITE | FD_ACCEPT, .listens = MACHINES_NO_SOCKET};
      return FIRST_SOCKET + i * 4;
    }
  }
  abort();
}

SOCKET WSASocketW(int family, int type, int protocol, void *info, uint32_t group, uint32_t flags) {
  if (!started) violation("WSASocketW before WSAStartup");
  if (family != 34 || type != 1 || protocol != 1 || info || group || flags != 0x81) violation("WSASocketW");
  int fd = syscall(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  pthread_mutex_lock(&lock);
  SOCKET number = add(fd);
  pthread_mutex_unlock(&lock);
  return number;
}

static int name_of(const struct address *address, int size, struct unix_address *name) {
  if (size != sizeof *address || address->family != 34 || address->reserved) {
    violation("an address that is none of Hyper-V's");
    return 0;
  }
  *name = (struct unix_address){AF_UNIX, {0}};
  memcpy(name->name + 1, address->vm, 32);
  return sizeof *name;
}

int bind(SOCKET number, const struct address *address, int size) {
  struct unix_address name;
  int length = name_of(address, size, &name);
  pthread_mutex_lock(&lock);
  struct socket *s = socket_of(number);
  int result = s && length ? syscall(SYS_bind, s->fd, &name, length) : SOCKET_ERROR;
  if (!result) s->local = *address;
  pthread_mutex_unlock(&lock);
  return result ? fail(WSAEADDRINUSE) : 0;
}

// ---- Sockets of machines that really boot

// What threads have of a socket, which may be closed under them, and its place be another's.
struct task {
  struct socket *socket;
  uint64_t serial;
  machines_socket host;
  uint32_t limit;
  char line[128];
};

// With the lock held.
static int is_there(const struct task *t) { return t->socket->open && t->socket->serial == t->serial; }

static void *connect_to_machine(void *argument) {
  struct task *t = argument;
  char answer[32];
  machines_socket host = machines_open(t->line);
  int error = WSAECONNREFUSED;
  if (host != MACHINES_NO_SOCKET) {
    machines_limit_reading(host, t->limit);
    error = machines_read_line(host, answer, sizeof answer) < 0 ? WSAETIMEDOUT : atoi(answer);
  }
  pthread_mutex_lock(&lock);
  if (is_there(t)) {
    struct socket *s = t->socket;
    if (!error) {
      syscall(SYS_dup3, host, s->fd, 02000000 /* O_CLOEXEC */);
      fcntl(s->fd, F_SETFL, O_NONBLOCK);
    }
    s->connect_error = error;
    s->connected = !error;
    record(s, FD_CONNECT);
    arm(s, 0);
  }
  pthread_mutex_unlock(&lock);
  if (host != MACHINES_NO_SOCKET) machines_close(host);
  free(t);
  return NULL;
}

static void *hear_of_connections(void *argument) {
  struct task *t = argument;
  char line[128], token[64];
  unsigned int port;
  while (machines_read_line(t->host, line, sizeof line) >= 0 && sscanf(line, "incoming %63s %u", token, &port) == 2) {
    struct incoming *incoming = malloc(sizeof *incoming);
    *incoming = (struct incoming){NULL, machines_accept(token), port};
    pthread_mutex_lock(&lock);
    if (incoming->fd >= 0 && is_there(t)) {
      struct incoming **last = &t->socket->incoming;
      while (*last) last = &(*last)->next;
      *last = incoming;
      arm(t->socket, 0);
    } else {
      close(incoming->fd);
      free(incoming);
    }
    pthread_mutex_unlock(&lock);
  }
  machines_close(t->host);
  free(t);
  return NULL;
}

static int listen_to_machine(struct socket *s) {
  struct task *t = malloc(sizeof *t);
  machines_ask_for(t->line, "listen", s->local.vm, s->local.service);
  machines_socket host = machines_open(t->line);
  char answer[32];
  int error = host == MACHINES_NO_SOCKET || machines_read_line(host, answer, sizeof answer) < 0 ? WSAEINVAL : atoi(answer);
  if (error) {
    if (host != MACHINES_NO_SOCKET) machines_close(host);
    free(t);
    return error;
  }
  s->listens = host;
  t->socket = s;
  t->serial = s->serial;
  // Whoever closes the socket reads from it as well.
  t->host = fcntl(host, F_DUPFD_CLOEXEC, 0);
  machines_start_thread(hear_of_connections, t);
  return 0;
}

int listen(SOCKET number, int backlog) {
  pthread_mutex_lock(&lock);
  struct socket *s = socket_of(number);
  if (s && machines_boot()) {
    int error = listen_to_machine(s);
    s->listening = !error;
    pthread_mutex_unlock(&lock);
    return error ? fail(error) : 0;
  }
  int result = s ? syscall(SYS_listen, s->fd, backlog) : SOCKET_ERROR;
  if (!result) {
    s->listening = 1;
    arm(s, FD_ACCEPT);
  }
  pthread_mutex_unlock(&lock);
  return result ? fail(WSAEINVAL) : 0;
}

SOCKET accept(SOCKET number, struct address *address, int *size) {
  pthread_mutex_lock(&lock);
  struct socket *s = socket_of(number);
  // A port that no number of a file descriptor is.
  uint32_t port = 0x12345678;
  int fd = SOCKET_ERROR;
  if (s && s->incoming) {
    struct incoming *first = s->incoming;
    s->incoming = first->next;
    fd = first->fd;
    port = first->port;
    free(first);
  } else if (s && s->listens == MACHINES_NO_SOCKET) {
    fd = syscall(SYS_accept4, s->fd, NULL, NULL, SOCK_CLOEXEC);
  }
  SOCKET accepted = -1;
  if (fd >= 0) {
    if (*size < 36) violation("accept without room for the address");
    *size = 36;
    // The other end: the same machine.
    *address = s->local;
    memcpy(address->service, &port, sizeof port);
    accepted = add(fd);
    sockets[(accepted - FIRST_SOCKET) / 4].connected = 1;
  }
  if (s) arm(s, FD_ACCEPT);
  pthread_mutex_unlock(&lock);
  if (fd < 0) errno = s ? WSAEWOULDBLOCK : WSAENOTSOCK;
  return accepted;
}

int connect(SOCKET number, const struct address *address, int size) {
  struct unix_address name;
  int length = name_of(address, size, &name);
  pthread_mutex_lock(&lock);
  struct socket *s = socket_of(number);
  if (s && machines_boot()) {
    struct task *t = malloc(sizeof *t);
    *t = (struct task){.socket = s, .serial = s->serial, .limit = s->connect_limit};
    machines_ask_for(t->line, "connect", address->vm, address->service);
    machines_start_thread(connect_to_machine, t);
  } else if (s) {
    int result = length ? syscall(SYS_connect, s->fd, &name, length) : SOCKET_ERROR;
    s->connect_error = result ? WSAECONNREFUSED : 0;
    s->connected = !result;
    record(s, FD_CONNECT);
    arm(s, 0);
  }
  pthread_mutex_unlock(&lock);
  return fail(s ? WSAEWOULDBLOCK : WSAENOTSOCK);
}

static int error_of(int error) {
  return error == EAGAIN ? WSAEWOULDBLOCK : error == EPIPE || error == ECONNRESET ? WSAECONNRESET : WSAEINVAL;
}

int send(SOCKET number, const void *bytes, int length, int flags) {
  pthread_mutex_lock(&lock);
  struct socket *s = socket_of(number);
  errno = EINVAL;
  int n = s ? syscall(SYS_sendto, s->fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0) : SOCKET_ERROR;
  int error = errno;
  if (s && n < 0 && error == EAGAIN) arm(s, FD_WRITE);
  pthread_mutex_unlock(&lock);
  return n < 0 ? fail(error_of(error)) : n;
}

int recv(SOCKET number, void *bytes, int length, int flags) {
  pthread_mutex_lock(&lock);
  struct socket *s = socket_of(number);
  errno = EINVAL;
  int n = s ? syscall(SYS_recvfrom, s->fd, bytes, length, MSG_DONTWAIT, NULL, NULL) : SOCKET_ERROR;
  int error = errno;
  if (s && n != 0) arm(s, FD_READ);
  pthread_mutex_unlock(&lock);
  return n < 0 ? fail(error_of(error)) : n;
}

int shutdown(SOCKET number, int how) {
  if (how != 1) violation("shutdown of more than the output");
  pthread_mutex_lock(&lock);
  struct socket *s = socket_of(number);
  int result = s ? syscall(SYS_shutdown, s->fd, how) : SOCKET_ERROR;
  pthread_mutex_unlock(&lock);
  return result ? fail(WSAEINVAL) : 0;
}

int closesocket(SOCKET number) {
  pthread_mutex_lock(&lock);
  struct socket *s = socket_of(number);
  machines_socket listened = MACHINES_NO_SOCKET;
  if (s) {
    s->open = 0;
    close(s->fd);
    listened = s->listens;
    while (s->incoming) {
      struct incoming *first = s->incoming;
      s->incoming = first->next;
      close(first->fd);
      free(first);
    }
  }
  pthread_mutex_unlock(&lock);
  // On return nobody listens any more.
  if (listened != MACHINES_NO_SOCKET) {
    machines_end(listened);
    machines_close(listened);
  }
  return s ? 0 : fail(WSAENOTSOCK);
}

int setsockopt(SOCKET number, int level, int option, const void *value, int size) {
  pthread_mutex_lock(&lock);
  struct socket *s = socket_of(number);
  uint32_t n;
  memcpy(&n, value, sizeof n);
  int valid = level == 1 && size == 4 && ((option == 1 && n && n <= 300000 && !s->connected) || (option == 4 && n == 1));
  if (!valid) violation("setsockopt");
  if (valid && option == 1) s->connect_limit = n;
  pthread_mutex_unlock(&lock);
  return valid ? 0 : fail(WSAEINVAL);
}

WSAEVENT WSACreateEvent(void) {
  WSAEVENT result = 0;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < MOST && !result; i++) {
    if (!events[i].open) {
      events[i] = (struct event){.open = 1};
      result = FIRST_EVENT + i * 4;
    }
  }
  pthread_mutex_unlock(&lock);
  return result;
}

static int change(WSAEVENT number, int set, int close) {
  pthread_mutex_lock(&lock);
  struct event *e = event_of(number);
  if (e) {
    e->set = set;
    if (close) e->open = 0;
    pthread_cond_broadcast(&changed);
  }
  pthread_mutex_unlock(&lock);
  return e != NULL;
}

int WSASetEvent(WSAEVENT number) { return change(number, 1, 0); }

int WSAResetEvent(WSAEVENT number) { return change(number, 0, 0); }

int WSACloseEvent(WSAEVENT number) { return change(number, 0, 1); }

int WSAEventSelect(SOCKET number, WSAEVENT event, int32_t wanted) {
  pthread_mutex_lock(&lock);
  struct socket *s = socket_of(number);
  struct event *e = event_of(event);
  if (s && e) {
    if (wanted != 0x3b) violation("WSAEventSelect of other events");
    s->event = e;
    fcntl(s->fd, F_SETFL, O_NONBLOCK);
    arm(s, 0);
  }
  pthread_mutex_unlock(&lock);
  return s && e ? 0 : fail(WSAENOTSOCK);
}

int WSAEnumNetworkEvents(SOCKET number, WSAEVENT event, int32_t *result) {
  pthread_mutex_lock(&lock);
  struct socket *s = socket_of(number);
  memset(result, 0, 44);
  if (s) {
    result[0] = s->recorded;
    if (s->recorded & FD_CONNECT) result[1 + FD_CONNECT_BIT] = s->connect_error;
    s->recorded = 0;
  }
  if (event) violation("WSAEnumNetworkEvents that resets the event, which is shared");
  pthread_mutex_unlock(&lock);
  return s ? 0 : fail(WSAENOTSOCK);
}

uint32_t WSAWaitForMultipleEvents(uint32_t count, const WSAEVENT *which, int all, uint32_t milliseconds, int alertable) {
  struct timespec deadline;
  clock_gettime(CLOCK_REALTIME, &deadline);
  deadline.tv_sec += milliseconds / 1000;
  deadline.tv_nsec += milliseconds % 1000 * 1000000L;
  if (deadline.tv_nsec >= 1000000000L) {
    deadline.tv_sec++;
    deadline.tv_nsec -= 1000000000L;
  }
  if (count != 1 || all || alertable) violation("WSAWaitForMultipleEvents");
  pthread_mutex_lock(&lock);
  struct event *e = event_of(*which);
  while (e && !e->set && pthread_cond_timedwait(&changed, &lock, &deadline) != ETIMEDOUT) {
  }
  int set = e && e->set;
  pthread_mutex_unlock(&lock);
  return set ? 0 : WSA_WAIT_TIMEOUT;
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
