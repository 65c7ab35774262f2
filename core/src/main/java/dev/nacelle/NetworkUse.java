// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** What went through a network interface. Immutable. */
public final class NetworkUse {
  private final Traffic received;
  private final Traffic sent;

  private NetworkUse(Traffic received, Traffic sent) {
    this.received = Objects.requireNonNull(received);
    this.sent = Objects.requireNonNull(sent);
  }

  /** With what the getters of the same names tell. */
  public static NetworkUse of(Traffic received, Traffic sent) {
    return new NetworkUse(received, sent);
  }

  /** What came in. */
  public Traffic received() {
    return received;
  }

  /** What went out. */
  public Traffic sent() {
    return sent;
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof NetworkUse that
        && received.equals(that.received)
        && sent.equals(that.sent);
  }

  @Override
  public int hashCode() {
    return Objects.hash(received, sent);
  }

  @Override
  public String toString() {
    return "received " + received + ", sent " + sent;
  }

  /** One direction. Immutable. */
  public static final class Traffic {
    private final DataSize size;
    private final long packets;
    private final long errors;
    private final long dropped;

    private Traffic(DataSize size, long packets, long errors, long dropped) {
      this.size = Objects.requireNonNull(size);
      this.packets = packets;
      this.errors = errors;
      this.dropped = dropped;
    }

    /** With what the getters of the same names tell. */
    public static Traffic of(DataSize size, long packets, long errors, long dropped) {
      return new Traffic(size, packets, errors, dropped);
    }

    /** How much it was, with the packets' headers. */
    public DataSize size() {
      return size;
    }

    /** In how many packets. */
    public long packets() {
      return packets;
    }

    /** How many packets were lost, or not sent, because of errors. */
    public long errors() {
      return errors;
    }

    /** How many packets were lost, or not sent, for want of room. */
    public long dropped() {
      return dropped;
    }

    private List<Object> state() {
      return List.of(size, packets, errors, dropped);
    }

    @Override
    public boolean equals(@Nullable Object other) {
      return other instanceof Traffic that && state().equals(that.state());
    }

    @Override
    public int hashCode() {
      return state().hashCode();
    }

    @Override
    public String toString() {
      return size + " in " + packets + " packets";
    }
  }
}
