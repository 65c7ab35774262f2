// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

/** An eventfd(2) that another process made. */
public record PassedEvent(FileDescriptor descriptor) implements Pollable, AutoCloseable {
  /** Adds one; nothing once it is closed, but not at the same time. */
  public void signal() {
    int ignored = Libc.eventfd_write(descriptor.fd(), 1);
  }

  @Override
  public void close() {
    descriptor.close();
  }
}
