// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import java.lang.ref.Reference;

/**
 * An epoll(7) set of eventfds and the like, edge triggered: each signal is one event, and the
 * counter is never read, which saves a system call per event. One thread waits; any thread adds.
 * What is closed is gone.
 */
public final class Epoll implements AutoCloseable {
  // include/uapi/linux/eventpoll.h; struct epoll_event is packed on x86-64
  private static final int EPOLL_CLOEXEC = 0x80000;
  private static final int EPOLL_CTL_ADD = 1;
  private static final int EPOLLIN = 1;
  private static final int EPOLLET = 1 << 31;
  private static final int EVENT_SIZE = 12;
  private static final int EVENT_DATA = 4;

  private static final int CAPACITY = 64;

  /** A time limit that is none. */
  public static final int FOREVER = -1;

  private final FileDescriptor descriptor;
  private final NativeStruct ready = new NativeStruct(EVENT_SIZE * CAPACITY);

  /**
   * @throws ErrnoException when the host has no descriptor left
   */
  public Epoll() {
    int fd = Libc.epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0) {
      throw new ErrnoException("epoll_create1", Libc.errno());
    }
    descriptor = new FileDescriptor(fd, "epoll");
  }

  /** Adds one; {@link #event} will tell the key. An event that came before counts. */
  public void add(Pollable source, int key) {
    NativeStruct event = new NativeStruct(EVENT_SIZE);
    event.bytes().putInt(0, EPOLLIN | EPOLLET).putLong(EVENT_DATA, key);
    try {
      int fd = source.descriptor().fd();
      if (Libc.epoll_ctl(descriptor.fd(), EPOLL_CTL_ADD, fd, event.address()) < 0) {
        throw new ErrnoException("epoll_ctl", Libc.errno());
      }
    } finally {
      Reference.reachabilityFence(event);
    }
  }

  /**
   * Waits for events.
   *
   * @param milliseconds how long at most: 0 to look only, {@link #FOREVER} for as long as it takes
   * @return how many there are; 0 when the time is over, or where a signal cut it short
   */
  public int await(int milliseconds) {
    try {
      int n = Libc.epoll_wait(descriptor.fd(), ready.address(), CAPACITY, milliseconds);
      if (n >= 0) {
        return n;
      }
      int errno = Libc.errno();
      if (errno != Errno.EINTR) {
        throw new ErrnoException("epoll_wait", errno);
      }
      return 0;
    } finally {
      Reference.reachabilityFence(ready);
    }
  }

  /** The key of one of the events of the last {@link #await}. */
  public int event(int index) {
    return ready.bytes().getInt(index * EVENT_SIZE + EVENT_DATA);
  }

  @Override
  public void close() {
    descriptor.close();
  }
}
