// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import java.util.function.Consumer;

/**
 * What the guest wrote to its serial console. The guest writes as much as it likes; only the end is
 * kept. Safe for use from several threads.
 */
public interface Console {
  /**
   * The kept end of the output. Bytes that are not UTF-8 are replaced, control characters other
   * than tab and newline removed.
   */
  String tail();

  /**
   * Streams the output, raw: first what is kept, in one piece, and then what comes; nothing of it
   * twice, nothing left out.
   *
   * @param onOutput called with each piece, whose array is its own: with what is kept, where there
   *     is any, on the calling thread before this returns, then on a thread of the hypervisor. It
   *     must not block: the guest waits for it. What it throws is logged the first time, and
   *     otherwise ignored
   * @return stops the stream when closed
   */
  VirtualMachine.Listener stream(Consumer<byte[]> onOutput);
}
