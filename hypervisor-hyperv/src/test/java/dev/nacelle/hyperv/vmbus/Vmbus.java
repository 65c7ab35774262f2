// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.vmbus;

import dev.nacelle.spi.MachineThread;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.Comparator;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.Queue;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * The bus: messages with the guest's driver, by which it connects, learns of channels, and opens
 * them. All of it on one thread of its own, but where it says otherwise.
 */
final class Vmbus implements Partition.Host {
  /** Of a SynIC message that is one of VMBus: the only type there is. */
  static final int MESSAGE_TYPE = 1;

  // enum vmbus_channel_message_type
  private static final int OFFER_CHANNEL = 1;
  private static final int RESCIND_OFFER = 2;
  private static final int REQUEST_OFFERS = 3;
  private static final int ALL_OFFERS_DELIVERED = 4;
  private static final int OPEN_CHANNEL = 5;
  private static final int OPEN_CHANNEL_RESULT = 6;
  private static final int CLOSE_CHANNEL = 7;
  private static final int GPADL_HEADER = 8;
  private static final int GPADL_BODY = 9;
  private static final int GPADL_CREATED = 10;
  private static final int GPADL_TEARDOWN = 11;
  private static final int GPADL_TORN_DOWN = 12;
  private static final int RELID_RELEASED = 13;
  private static final int INITIATE_CONTACT = 14;
  private static final int VERSION_RESPONSE = 15;
  private static final int UNLOAD = 16;
  private static final int UNLOAD_RESPONSE = 17;
  private static final int TL_CONNECT_REQUEST = 21;
  private static final int MODIFY_CHANNEL = 22;
  private static final int MODIFY_CHANNEL_RESPONSE = 24;

  /** Type and padding, at the head of each message. */
  private static final int HEADER = 8;

  /** struct vmbus_channel_offer_channel */
  private static final int OFFER_SIZE = 196;

  /** From here on the guest posts its messages to another connection. */
  private static final int VERSION_5_0 = 5 << 16;

  private static final int OLDEST_VERSION = 4 << 16;

  /** Windows Server 2022. */
  private static final int NEWEST_VERSION = 5 << 16 | 3;

  private static final int CONNECTION_BEFORE_5_0 = 1;
  private static final int CONNECTION_SINCE_5_0 = 4;

  /** Of the connection to which the guest signals a channel; its number is added. */
  private static final int EVENTS = 0x1_0000;

  private static final int MAX_CHANNELS = 2047;

  /** The guest does not tell when it has taken a message, unless asked by a flag. */
  private static final long SLOT_RETRY_NANOS = 200_000;

  /** Answers what sockets of the guest want. */
  interface Sockets {
    /** The guest's driver is there, and takes offers. */
    void connected();

    /** A socket of the guest connects to a service of the host. */
    void connectRequested(UUID guestEndpoint, UUID hostService);
  }

  /** Pages of the guest by a handle: a channel's rings. */
  private record Gpadl(int channel, int count, List<Long> pages) {}

  private record Later(long nanoTime, Runnable task) {}

  private final Partition partition;
  private final Sockets sockets;
  private final MachineThread thread;
  private final BlockingQueue<Runnable> tasks = new LinkedBlockingQueue<>();
  private final Deque<byte[]> outbox = new ArrayDeque<>();
  private final Map<Integer, Channel> channels = new HashMap<>();
  private final Map<Integer, Gpadl> gpadls = new HashMap<>();
  private final BitSet ids = new BitSet();
  private final Queue<Later> timers =
      new PriorityQueue<>(Comparator.comparingLong(Later::nanoTime));
  private final List<Channel.Service> devices;
  private int vcpu;
  private int version;
  private boolean connected;
  private boolean ended;

  /**
   * @param devices what is offered to the guest's driver when it has come
   */
  Vmbus(String name, Partition partition, List<Channel.Service> devices, Sockets sockets) {
    this.partition = partition;
    this.devices = List.copyOf(devices);
    this.sockets = sockets;
    ids.set(0);
    thread = new MachineThread(this::run, "nacelle-" + name + "-vmbus");
    thread.start();
  }

  // ---- from any thread

  /** Has the bus's thread do something. */
  void execute(Runnable task) {
    tasks.add(task);
  }

  @Override
  public int posted(int connection, byte[] message) {
    if (connection != CONNECTION_BEFORE_5_0 && connection != CONNECTION_SINCE_5_0) {
      return Partition.INVALID_CONNECTION_ID;
    }
    execute(() -> received(connection, ByteBuffer.wrap(message).order(ByteOrder.LITTLE_ENDIAN)));
    return Partition.SUCCESS;
  }

  @Override
  public int signalled(int connection) {
    int id = connection - EVENTS;
    if (id <= 0 || id > MAX_CHANNELS) {
      return Partition.INVALID_CONNECTION_ID;
    }
    execute(
        () -> {
          Channel channel = channels.get(id);
          if (channel != null && channel.isOpen()) {
            channel.service().signalled(channel);
          }
        });
    return Partition.SUCCESS;
  }

  /** Signals a channel to the guest. */
  void signal(int interruptedVcpu, int channel) {
    partition.signal(interruptedVcpu, channel);
  }

  void awaitEnd() {
    Threads.join(thread);
  }

  // ---- on the bus's thread

  /** Ends the thread: no ring is touched any more. */
  void end() {
    channels.values().forEach(Channel::close);
    ended = true;
  }

  /** Does something when that time has passed. */
  void later(Duration time, Runnable task) {
    timers.add(new Later(System.nanoTime() + time.toNanos(), task));
  }

  private void run() {
    while (!ended) {
      try {
        Runnable task = tasks.poll(patience(), TimeUnit.NANOSECONDS);
        if (task != null) {
          task.run();
        }
        while (!timers.isEmpty() && timers.peek().nanoTime - System.nanoTime() <= 0) {
          timers.remove().task.run();
        }
        while (!outbox.isEmpty() && partition.deliver(vcpu, outbox.peek())) {
          outbox.remove();
        }
      } catch (InterruptedException | RuntimeException | Error e) {
        partition.fail("VMBus: " + e + " at " + e.getStackTrace()[0]);
      }
    }
  }

  private long patience() {
    long timer = timers.isEmpty() ? Long.MAX_VALUE : timers.peek().nanoTime - System.nanoTime();
    return outbox.isEmpty() ? timer : Math.min(timer, SLOT_RETRY_NANOS);
  }

  private static ByteBuffer message(int type, int size) {
    return ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN).putInt(0, type);
  }

  private void send(ByteBuffer message) {
    outbox.add(message.array());
  }

  private void received(int connection, ByteBuffer message) {
    int type = message.getInt(0);
    if (!connected && type != INITIATE_CONTACT && type != UNLOAD) {
      throw new IllegalStateException("message " + type + " before there is a version");
    }
    switch (type) {
      case INITIATE_CONTACT -> contact(connection, message.getInt(8), message.getInt(12));
      case REQUEST_OFFERS -> {
        devices.forEach(this::offer);
        send(message(ALL_OFFERS_DELIVERED, HEADER));
        sockets.connected();
      }
      case GPADL_HEADER -> {
        if (message.getShort(18) != 1 || message.getInt(24) != 0) {
          throw new IllegalStateException("a GPADL of other than one range of whole pages");
        }
        int count = message.getInt(20) / Ring.PAGE;
        gpadls.put(message.getInt(12), new Gpadl(message.getInt(8), count, new ArrayList<>()));
        addPages(message.getInt(12), message.position(28));
      }
      case GPADL_BODY -> addPages(message.getInt(12), message.position(16));
      case GPADL_TEARDOWN -> {
        gpadls.remove(message.getInt(12));
        send(message(GPADL_TORN_DOWN, 12).putInt(8, message.getInt(12)));
      }
      case OPEN_CHANNEL -> open(message);
      case CLOSE_CHANNEL -> {
        Channel channel = channels.get(message.getInt(8));
        if (channel != null) {
          close(channel);
        }
      }
      case RELID_RELEASED -> {
        channels.remove(message.getInt(8));
        ids.clear(message.getInt(8));
      }
      case TL_CONNECT_REQUEST -> sockets.connectRequested(guid(message, 8), guid(message, 24));
      case MODIFY_CHANNEL -> {
        Channel channel = channels.get(message.getInt(8));
        if (channel != null) {
          channel.interrupt(message.getInt(12));
        }
        if (version >= NEWEST_VERSION) {
          send(message(MODIFY_CHANNEL_RESPONSE, 16).putInt(8, message.getInt(8)));
        }
      }
      case UNLOAD -> {
        connected = false;
        List.copyOf(channels.values()).forEach(this::close);
        send(message(UNLOAD_RESPONSE, HEADER));
      }
      default -> throw new IllegalStateException("the guest sent a message of type " + type);
    }
  }

  private void contact(int connection, int wanted, int interruptedVcpu) {
    if (connection != (wanted >= VERSION_5_0 ? CONNECTION_SINCE_5_0 : CONNECTION_BEFORE_5_0)) {
      throw new IllegalStateException("version " + wanted + " by the connection " + connection);
    }
    vcpu = interruptedVcpu;
    connected = wanted >= OLDEST_VERSION && wanted <= NEWEST_VERSION;
    version = wanted;
    ByteBuffer response = message(VERSION_RESPONSE, 16);
    if (connected) {
      response.put(8, (byte) 1).putInt(12, connection);
    }
    send(response);
  }

  private void addPages(int handle, ByteBuffer numbers) {
    Gpadl gpadl = gpadls.get(handle);
    while (numbers.remaining() >= Long.BYTES && gpadl.pages.size() < gpadl.count) {
      gpadl.pages.add(numbers.getLong() * Ring.PAGE);
    }
    if (gpadl.pages.size() == gpadl.count) {
      send(message(GPADL_CREATED, 20).putInt(8, gpadl.channel).putInt(12, handle));
    }
  }

  private void open(ByteBuffer message) {
    int id = message.getInt(8);
    Channel channel = channels.get(id);
    if (channel == null) {
      return; // it has been rescinded, of which the guest will learn
    }
    Gpadl gpadl = gpadls.get(message.getInt(16));
    int toGuest = message.getInt(24);
    channel.open(
        new Ring(partition.memory(), pages(gpadl, 0, toGuest)),
        new Ring(partition.memory(), pages(gpadl, toGuest, gpadl.count)),
        message.getInt(20));
    send(message(OPEN_CHANNEL_RESULT, 20).putInt(8, id).putInt(12, message.getInt(12)));
    channel.service().opened(channel);
  }

  private static long[] pages(Gpadl gpadl, int from, int to) {
    return gpadl.pages.subList(from, to).stream().mapToLong(Long::longValue).toArray();
  }

  private void close(Channel channel) {
    if (channel.isOpen()) {
      channel.service().closed(channel);
      channel.close();
    }
  }

  /** Offers a channel. */
  Channel offer(Channel.Service service) {
    int id = ids.nextClearBit(1);
    if (id > MAX_CHANNELS) {
      throw new IllegalStateException("more than " + MAX_CHANNELS + " channels");
    }
    ids.set(id);
    Channel channel = new Channel(this, id, service);
    channels.put(id, channel);
    ByteBuffer offer = message(OFFER_CHANNEL, OFFER_SIZE);
    putGuid(offer, 8, service.type());
    putGuid(offer, 24, service.instance());
    offer.putShort(56, (short) service.flags());
    service.putData(offer, 60);
    // Its number; a dedicated interrupt, that is no bit in a page for all; where to signal it.
    send(offer.putInt(184, id).putShort(190, (short) 1).putInt(192, EVENTS + id));
    return channel;
  }

  /** Takes a channel back, of which the guest will hear. */
  void rescind(Channel channel) {
    if (channels.remove(channel.id(), channel)) {
      channel.close();
      send(message(RESCIND_OFFER, 12).putInt(8, channel.id()));
    }
  }

  // struct guid_t: the first three numbers little endian, then eight bytes

  static UUID guid(ByteBuffer bytes, int at) {
    long high =
        (long) bytes.getInt(at) << 32
            | (bytes.getShort(at + 4) & 0xffffL) << 16
            | bytes.getShort(at + 6) & 0xffffL;
    return new UUID(high, Long.reverseBytes(bytes.getLong(at + 8)));
  }

  static void putGuid(ByteBuffer bytes, int at, UUID guid) {
    long high = guid.getMostSignificantBits();
    bytes
        .putInt(at, (int) (high >>> 32))
        .putShort(at + 4, (short) (high >>> 16))
        .putShort(at + 6, (short) high)
        .putLong(at + 8, Long.reverseBytes(guid.getLeastSignificantBits()));
  }
}
