// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.net.Frames.Hello;
import dev.nacelle.net.Frames.Refusal;
import dev.nacelle.net.Frames.Reset;
import java.nio.ByteBuffer;

/**
 * Is told of frames, as they come. Flows are unsigned. Addresses are as {@link
 * dev.nacelle.internal.check.Ip} has them, but for IPv4-mapped ones, which stay as they are. What
 * the other side does wrong beyond the form of a frame is thrown, and ends the link.
 */
interface FrameHandler {
  void hello(Hello hello) throws FrameException;

  void open(int flow, boolean v6, long high, long low, int remotePort, int localPort, int window)
      throws FrameException;

  void opened(int flow, int window);

  void refused(int flow, Refusal why) throws FrameException;

  void accept(int flow, boolean v6, long high, long low, int remotePort, int localPort, int window);

  void accepted(int flow, int window) throws FrameException;

  /**
   * A part of a DATA frame, for they are told as they come.
   *
   * @param bytes valid during the call; what is left of them counts as taken
   */
  void data(int flow, ByteBuffer bytes) throws FrameException;

  void fin(int flow) throws FrameException;

  void reset(int flow, Reset why);

  void credit(int flow, int amount) throws FrameException;

  /**
   * A datagram, whole.
   *
   * @param bytes valid during the call
   */
  void datagram(
      boolean v6,
      long high,
      long low,
      int remotePort,
      int localPort,
      boolean refused,
      ByteBuffer bytes);

  /**
   * A request of ping's or its answer, whole.
   *
   * @param bytes valid during the call
   */
  void echo(
      boolean v6,
      long high,
      long low,
      int sequence,
      int identifier,
      boolean refused,
      ByteBuffer bytes);

  void resetAll(long epochHigh, long epochLow);

  /**
   * A line for people in the guest, whole.
   *
   * @param line valid during the call
   */
  void denial(ByteBuffer line);
}
