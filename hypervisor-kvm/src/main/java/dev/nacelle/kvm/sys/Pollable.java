// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

/** What an {@link Epoll} can wait for. */
public interface Pollable {
  /** What is polled; open. */
  FileDescriptor descriptor();
}
