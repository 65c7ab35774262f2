// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

/**
 * Takes what a process writes, as it comes: see {@link Sandbox#exec(ProcessSpec, OutputConsumer)}.
 *
 * @param <X> what it throws; RuntimeException when it throws nothing checked
 */
@FunctionalInterface
public interface OutputConsumer<X extends Exception> {
  /**
   * Takes a piece of output. Where pieces begin and end means nothing: a character may be cut in
   * two.
   *
   * @param stream what the process wrote it to
   * @param bytes at least one; the array is the consumer's own
   * @throws X to have the process killed, and to be thrown to whom ran it
   */
  void accept(StandardStream stream, byte[] bytes) throws X;
}
