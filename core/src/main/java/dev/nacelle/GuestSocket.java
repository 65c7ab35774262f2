// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.io.InputStream;
import java.io.OutputStream;

/**
 * A connection to a port of a sandbox's guest on which a process listens (AF_VSOCK, SOCK_STREAM).
 * Made by {@link Sandbox#connect}; not meant to be implemented by others. Safe for use from several
 * threads; each stream by one at a time.
 *
 * <p>Either side waits where the other does not read: what is on its way is bounded in both
 * directions. Each direction ends by itself. When the guest resets the connection, or ends, reading
 * gives what had arrived and then throws a {@link GuestIOException}. A thread that waits here can
 * be interrupted, and gets an {@link java.io.InterruptedIOException}; the connection stays.
 */
public interface GuestSocket extends AutoCloseable {
  /** The guest's port, as an unsigned int. */
  int port();

  /**
   * What the guest sends. Ends when it has shut down its output. Closing this stream does nothing;
   * {@link #close} ends the connection.
   */
  InputStream input();

  /**
   * What is written here, the guest reads. Nothing is held back, so flushing does nothing. Closing
   * this stream has the guest read the end, and leaves {@link #input} open.
   */
  OutputStream output();

  /**
   * Ends the connection. The guest may not get what was written last; whoever has to know closes
   * {@link #output} and reads to the end before. Who waits in one of the streams gets a {@link
   * GuestIOException}. Idempotent, on any thread; does not wait and does not throw.
   */
  @Override
  void close();
}
