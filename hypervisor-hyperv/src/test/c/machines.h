// SPDX-License-Identifier: Apache-2.0
//
// The client's side of MachineHost, a program on Linux that boots what documents say and relays what guests' sockets
// carry: its protocol, over TCP. Where there is no such program (NACELLE_HCS_MACHINES), machines are only played.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef _WIN32
typedef uintptr_t machines_socket; // a SOCKET
#else
typedef int machines_socket;
#endif

#define MACHINES_NO_SOCKET ((machines_socket)-1)

// Whether machines really boot.
int machines_boot(void);

// Where the program listens, as "127.0.0.1:PORT", whatever the environment says; NULL for what that says. Not while
// there are machines.
void machines_at(const char *address);

// Asks for something, as "start ID", with a body where that is not NULL. Waits for the answer, and so must not be called
// with a lock that machines_event or machines_console_write takes. Returns 0 or the HRESULT of the failure, whose
// document is malloc'd, or NULL.
int32_t machines_request(const char *request, const char *body, char **document);

// The line that asks for a machine's port, as "connect RUNTIME-ID PORT": 128 bytes hold it. The runtime ID and the service
// are GUIDs, as SOCKADDR_HV has them.
void machines_ask_for(char *line, const char *what, const uint8_t vm[16], const uint8_t service[16]);

// Opens a connection that begins with a line. It blocks.
machines_socket machines_open(const char *line);

// Reads a line without its end; its length, or -1 at the end of the connection, and where nothing came in time.
int machines_read_line(machines_socket socket, char *line, int size);

// Takes a connection of the guest: it has both directions then, whether its listener is closed or not. It blocks.
machines_socket machines_accept(const char *token);

// 0 for no limit.
void machines_limit_reading(machines_socket socket, uint32_t milliseconds);

// Ends what this side sends, and waits until the other has ended, too.
void machines_end(machines_socket socket);

void machines_close(machines_socket socket);

// Has the console of a machine that was started written to its pipe. Its end is told only when all was written.
void machines_stream_console(const char *id);

// A thread that nobody waits for.
void machines_start_thread(void *(*run)(void *), void *argument);

// UTF-16 as UTF-8 and back, malloc'd.
char *machines_narrow(const uint16_t *text);
uint16_t *machines_widen(const char *text);

// ---- What is called back, on threads of machines.c

// Something happened to a machine: an event's type, and its document. "" is every machine: the program has gone.
void machines_event(const char *id, int type, const char *document);

// Writes to a pipe as its client, who connects at first; 0 where there is none any more.
int machines_console_write(const char *pipe, const char *bytes, uint32_t length);

// And goes.
void machines_console_end(const char *pipe);
