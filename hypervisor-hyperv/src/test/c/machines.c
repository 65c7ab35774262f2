// SPDX-License-Identifier: Apache-2.0
#include "machines.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HCS_E_SERVICE_DISCONNECT ((int32_t)0x8037011E)

// Types of events
#define SYSTEM_EXITED 1
#define CRASH_REPORT 3
#define SERVICE_DISCONNECT 0x02000000

// ---- Sockets: on Linux by system calls, since the stand-in has functions of libc's names

#ifdef _WIN32

#include <winsock2.h>

static machines_socket dial(uint16_t port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  WSADATA data;
  if (WSAStartup(0x202, &data)) return MACHINES_NO_SOCKET;
  machines_socket s = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
  if (s != MACHINES_NO_SOCKET && connect(s, (struct sockaddr *)&to, sizeof to)) {
    closesocket(s);
    s = MACHINES_NO_SOCKET;
  }
  return s;
}

static int put(machines_socket s, const char *bytes, int n) { return send(s, bytes, n, 0); }

static int get(machines_socket s, char *bytes, int n) { return recv(s, bytes, n, 0); }

void machines_limit_reading(machines_socket s, uint32_t milliseconds) {
  setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, (const char *)&milliseconds, sizeof milliseconds);
}

static void end_output(machines_socket s) { shutdown(s, SD_SEND); }

void machines_close(machines_socket s) { closesocket(s); }

#else

#include <netinet/in.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static machines_socket dial(uint16_t port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int s = syscall(SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (s >= 0 && syscall(SYS_connect, s, &to, sizeof to)) {
    close(s);
    s = MACHINES_NO_SOCKET;
  }
  return s;
}

static int put(machines_socket s, const char *bytes, int n) {
  return syscall(SYS_sendto, s, bytes, n, MSG_NOSIGNAL, NULL, 0);
}

static int get(machines_socket s, char *bytes, int n) { return syscall(SYS_recvfrom, s, bytes, n, 0, NULL, NULL); }

void machines_limit_reading(machines_socket s, uint32_t milliseconds) {
  struct timeval limit = {milliseconds / 1000, milliseconds % 1000 * 1000};
  syscall(SYS_setsockopt, s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

static void end_output(machines_socket s) { syscall(SYS_shutdown, s, SHUT_WR); }

void machines_close(machines_socket s) { close(s); }

#endif

static int put_all(machines_socket s, const char *bytes, size_t length) {
  while (length) {
    int n = put(s, bytes, length > 1 << 20 ? 1 << 20 : (int)length);
    if (n <= 0) return 0;
    bytes += n;
    length -= n;
  }
  return 1;
}

static int get_all(machines_socket s, char *bytes, size_t length) {
  while (length) {
    int n = get(s, bytes, length > 1 << 20 ? 1 << 20 : (int)length);
    if (n <= 0) return 0;
    bytes += n;
    length -= n;
  }
  return 1;
}

int machines_read_line(machines_socket s, char *line, int size) {
  for (int n = 0; n < size; n++) {
    if (get(s, line + n, 1) != 1) return -1;
    if (line[n] == '\n') {
      line[n] = 0;
      return n;
    }
  }
  return -1;
}

machines_socket machines_accept(const char *token) {
  char line[128], answer[32];
  snprintf(line, sizeof line, "accept %s", token);
  machines_socket s = machines_open(line);
  if (s == MACHINES_NO_SOCKET || machines_read_line(s, answer, sizeof answer) >= 0) return s;
  machines_close(s);
  return MACHINES_NO_SOCKET;
}

void machines_end(machines_socket s) {
  char ignored[256];
  end_output(s);
  while (get(s, ignored, sizeof ignored) > 0) {
  }
}

// ---- The program's place

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static char *place;

void machines_at(const char *address) {
  pthread_mutex_lock(&lock);
  free(place);
  place = NULL;
  if (address) {
    place = malloc(strlen(address) + 1);
    strcpy(place, address);
  }
  pthread_mutex_unlock(&lock);
}

// 0 where there is none.
static uint16_t port(void) {
  pthread_mutex_lock(&lock);
  const char *address = place ? place : getenv("NACELLE_HCS_MACHINES");
  const char *colon = address ? strrchr(address, ':') : NULL;
  int number = colon ? atoi(colon + 1) : 0;
  pthread_mutex_unlock(&lock);
  return (uint16_t)number;
}

int machines_boot(void) { return port() != 0; }

machines_socket machines_open(const char *line) {
  machines_socket s = dial(port());
  if (s == MACHINES_NO_SOCKET) return s;
  if (put_all(s, line, strlen(line)) && put_all(s, "\n", 1)) return s;
  machines_close(s);
  return MACHINES_NO_SOCKET;
}

// ---- Requests, and what comes unasked

// One request at a time is on its way; answers come in order.
static pthread_mutex_t requesting = PTHREAD_MUTEX_INITIALIZER;
static machines_socket control = MACHINES_NO_SOCKET;
static int answered;
static int32_t answer;
static char *answer_document;

// A console that is being written to its pipe.
struct console {
  struct console *next;
  char *id;
};
static struct console *consoles;

static char *copy(const char *text) { return strcpy(malloc(strlen(text) + 1), text); }

void machines_start_thread(void *(*run)(void *), void *argument) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, run, argument)) abort();
  pthread_detach(thread);
}

// What is to be told, in the order in which it came.
struct event {
  struct event *next;
  int type;
  char *id;
  char *document;
};
static struct event *untold;

static int is_streaming(const char *id) {
  struct console *c = consoles;
  while (c && strcmp(c->id, id)) c = c->next;
  return c != NULL;
}

static void *tell(void *argument) {
  pthread_mutex_lock(&lock);
  while (1) {
    while (!untold) pthread_cond_wait(&changed, &lock);
    struct event *e = untold;
    while (e->type == SYSTEM_EXITED && is_streaming(e->id)) pthread_cond_wait(&changed, &lock);
    untold = e->next;
    pthread_mutex_unlock(&lock);
    machines_event(e->id, e->type, e->document);
    free(e->id);
    free(e->document);
    free(e);
    pthread_mutex_lock(&lock);
  }
  return NULL;
}

static void tell_later(const char *id, int type, char *document) {
  static int telling;
  struct event *e = malloc(sizeof *e);
  *e = (struct event){NULL, type, copy(id), document};
  pthread_mutex_lock(&lock);
  struct event **last = &untold;
  while (*last) last = &(*last)->next;
  *last = e;
  if (!telling++) machines_start_thread(tell, NULL);
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

// NULL at the end of the connection.
static char *body(machines_socket s, size_t length) {
  char *text = calloc(1, length + 1);
  if (get_all(s, text, length)) return text;
  free(text);
  return NULL;
}

static void settle(int32_t result, char *document) {
  pthread_mutex_lock(&lock);
  answered = 1;
  answer = result;
  answer_document = document;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

static void *read_control(void *argument) {
  machines_socket s = control;
  char line[256], id[128];
  unsigned int code, length;
  while (machines_read_line(s, line, sizeof line) >= 0) {
    if (!strcmp(line, "ok")) {
      settle(0, NULL);
    } else if (sscanf(line, "fail %x %u", &code, &length) == 2) {
      settle((int32_t)code, body(s, length));
    } else if (sscanf(line, "event exited %127s %u", id, &length) == 2) {
      tell_later(id, SYSTEM_EXITED, body(s, length));
    } else if (sscanf(line, "event crash %127s %u", id, &length) == 2) {
      tell_later(id, CRASH_REPORT, body(s, length));
    } else {
      break;
    }
  }
  pthread_mutex_lock(&lock);
  control = MACHINES_NO_SOCKET;
  pthread_mutex_unlock(&lock);
  machines_close(s);
  settle(HCS_E_SERVICE_DISCONNECT, NULL);
  tell_later("", SERVICE_DISCONNECT, NULL);
  return NULL;
}

int32_t machines_request(const char *request, const char *content, char **document) {
  pthread_mutex_lock(&requesting);
  if (control == MACHINES_NO_SOCKET) {
    machines_socket opened = machines_open("control");
    if (opened != MACHINES_NO_SOCKET) {
      control = opened;
      machines_start_thread(read_control, NULL);
    }
  }
  pthread_mutex_lock(&lock);
  machines_socket s = control;
  answered = 0;
  pthread_mutex_unlock(&lock);
  int32_t result = HCS_E_SERVICE_DISCONNECT;
  *document = NULL;
  char size[32] = "";
  if (content) snprintf(size, sizeof size, " %u", (unsigned int)strlen(content));
  if (s != MACHINES_NO_SOCKET && put_all(s, request, strlen(request)) && put_all(s, size, strlen(size)) &&
      put_all(s, "\n", 1) && (!content || put_all(s, content, strlen(content)))) {
    pthread_mutex_lock(&lock);
    while (!answered) pthread_cond_wait(&changed, &lock);
    result = answer;
    *document = answer_document;
    pthread_mutex_unlock(&lock);
  }
  pthread_mutex_unlock(&requesting);
  return result;
}

// ---- Consoles

static void *stream_console(void *argument) {
  struct console *mine = argument;
  char line[256], pipe[256], bytes[4096];
  snprintf(line, sizeof line, "console %s", mine->id);
  machines_socket s = machines_open(line);
  // It begins with the pipe's name.
  if (s != MACHINES_NO_SOCKET && machines_read_line(s, pipe, sizeof pipe) >= 0) {
    int n = get(s, bytes, sizeof bytes);
    while (n > 0 && machines_console_write(pipe, bytes, n)) n = get(s, bytes, sizeof bytes);
    machines_console_end(pipe);
  }
  if (s != MACHINES_NO_SOCKET) machines_close(s);
  pthread_mutex_lock(&lock);
  struct console **at = &consoles;
  while (*at != mine) at = &(*at)->next;
  *at = mine->next;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
  free(mine->id);
  free(mine);
  return NULL;
}

void machines_stream_console(const char *id) {
  struct console *mine = malloc(sizeof *mine);
  mine->id = copy(id);
  pthread_mutex_lock(&lock);
  mine->next = consoles;
  consoles = mine;
  pthread_mutex_unlock(&lock);
  machines_start_thread(stream_console, mine);
}

// ---- Text

char *machines_narrow(const uint16_t *text) {
  size_t n = 0;
  while (text[n]) n++;
  char *result = malloc(3 * n + 1), *to = result;
  for (; *text; text++) {
    uint32_t c = *text;
    if (c >= 0xd800 && c < 0xdc00 && text[1] >= 0xdc00 && text[1] < 0xe000) {
      c = 0x10000 + ((c - 0xd800) << 10) + (*++text - 0xdc00);
      *to++ = (char)(0xf0 | c >> 18);
      *to++ = (char)(0x80 | (c >> 12 & 0x3f));
      *to++ = (char)(0x80 | (c >> 6 & 0x3f));
      *to++ = (char)(0x80 | (c & 0x3f));
    } else if (c >= 0x800) {
      *to++ = (char)(0xe0 | c >> 12);
      *to++ = (char)(0x80 | (c >> 6 & 0x3f));
      *to++ = (char)(0x80 | (c & 0x3f));
    } else if (c >= 0x80) {
      *to++ = (char)(0xc0 | c >> 6);
      *to++ = (char)(0x80 | (c & 0x3f));
    } else {
      *to++ = (char)c;
    }
  }
  *to = 0;
  return result;
}

uint16_t *machines_widen(const char *text) {
  uint16_t *result = malloc((strlen(text) + 1) * sizeof *result), *to = result;
  for (const unsigned char *from = (const unsigned char *)text; *from;) {
    uint32_t c = *from++;
    int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
    if (more) c &= 0x3f >> more;
    while (more-- && (*from & 0xc0) == 0x80) c = c << 6 | (*from++ & 0x3f);
    if (c >= 0x10000) {
      *to++ = (uint16_t)(0xd800 + ((c - 0x10000) >> 10));
      *to++ = (uint16_t)(0xdc00 + ((c - 0x10000) & 0x3ff));
    } else {
      *to++ = (uint16_t)c;
    }
  }
  *to = 0;
  return result;
}

void machines_ask_for(char *line, const char *what, const uint8_t id[16], const uint8_t service[16]) {
  uint32_t port;
  memcpy(&port, service, sizeof port);
  // The first three numbers of a GUID are little endian.
  sprintf(line, "%s %02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x %u", what, id[3], id[2], id[1],
          id[0], id[5], id[4], id[7], id[6], id[8], id[9], id[10], id[11], id[12], id[13], id[14], id[15], port);
}
