// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import dev.nacelle.kvm.device.DeviceResources;
import dev.nacelle.kvm.device.EventLoop;
import dev.nacelle.kvm.device.InterruptLine;
import dev.nacelle.kvm.device.LoopResources;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.sys.FileDescriptor;
import dev.nacelle.kvm.sys.PassedEvent;
import dev.nacelle.kvm.sys.PassingSocket;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import java.util.function.Function;

/**
 * A virtio device of ours in a machine of another monitor's: the back end of vhost-user (QEMU's
 * docs/interop/vhost-user.rst), with as much of it as QEMU asks for. It drives the device's
 * registers as a driver would. For one life of a machine.
 *
 * @param <D> the device
 */
public final class VhostUserBackEnd<D extends VirtioDevice> implements AutoCloseable {
  // Requests
  private static final int GET_FEATURES = 1;
  private static final int SET_FEATURES = 2;
  private static final int SET_MEM_TABLE = 5;
  private static final int SET_VRING_NUM = 8;
  private static final int SET_VRING_ADDR = 9;
  private static final int GET_VRING_BASE = 11;
  private static final int SET_VRING_KICK = 12;
  private static final int SET_VRING_CALL = 13;
  private static final int GET_PROTOCOL_FEATURES = 15;
  private static final int SET_VRING_ENABLE = 18;
  private static final int GET_CONFIG = 24;

  private static final int HEADER_BYTES = 12;
  private static final int MAXIMUM_BYTES = 4096;
  private static final int VERSION_AND_REPLY = 1 | 4;
  private static final int NO_DESCRIPTOR = 1 << 8;

  /** VHOST_USER_F_PROTOCOL_FEATURES */
  private static final long F_PROTOCOL_FEATURES = 1L << 30;

  /** VHOST_USER_PROTOCOL_F_CONFIG */
  private static final long PROTOCOL_CONFIG = 1L << 9;

  // Registers and states of the transport, as MmioTransport has them
  private static final int DRIVER_FEATURES = 0x020;
  private static final int DRIVER_FEATURES_SEL = 0x024;
  private static final int QUEUE_SEL = 0x030;
  private static final int QUEUE_SIZE = 0x038;
  private static final int QUEUE_READY = 0x044;
  private static final int QUEUE_DESC = 0x080;
  private static final int QUEUE_DRIVER = 0x090;
  private static final int QUEUE_DEVICE = 0x0a0;
  private static final int STATUS = 0x070;
  private static final int CONFIG = 0x100;

  private final GuestMemory memory;
  private final EventLoop loop;
  private final D device;
  private final MmioTransport transport;
  private final PassingSocket listening;
  private final Thread thread;

  private final Map<Integer, Runnable> doorbells = new HashMap<>();
  private final Map<Integer, PassedEvent> calls = new ConcurrentHashMap<>();
  private final List<PassedEvent> kicks = new ArrayList<>();
  private final List<Region> regions = new ArrayList<>();
  private final Map<Integer, Ring> rings = new HashMap<>();
  private long features;
  private boolean active;

  /** A part of the guest's memory, at the monitor's address. */
  private record Region(long gpa, long size, long userAddress) {}

  private static final class Ring {
    int size;
    long descriptors;
    long available;
    long used;
    boolean kicked;
    boolean enabled;

    boolean isComplete() {
      return size > 0 && descriptors != 0 && kicked && enabled;
    }
  }

  /**
   * Waits for the monitor, on a thread of its own.
   *
   * @param memory the guest's, shared with the monitor: offsets in it are the guest's addresses
   * @param socket where the monitor connects
   * @param queues how many of the device's queues the monitor has driven from here
   * @param onFailure called on the event loop when the guest broke a rule
   */
  public VhostUserBackEnd(
      GuestMemory memory,
      Path socket,
      int queues,
      Function<DeviceResources, D> make,
      Consumer<Throwable> onFailure) {
    this.memory = memory;
    loop = new EventLoop("vhost-user-device", onFailure);
    device = make.apply(new Resources());
    transport = new MmioTransport(device);
    for (int i = 0; i < queues; i++) {
      rings.put(i, new Ring());
    }
    listening = PassingSocket.listen(socket);
    thread = new Thread(this::serve, "vhost-user");
    thread.setDaemon(true);
    thread.start();
  }

  public D device() {
    return device;
  }

  private final class Resources extends LoopResources {
    Resources() {
      super(memory, VhostUserBackEnd.this.loop);
    }

    @Override
    public InterruptLine interrupt() {
      // Of which queue is not told. One that had nothing to tell of does no harm.
      return () -> {
        synchronized (calls) {
          calls.values().forEach(PassedEvent::signal);
        }
      };
    }

    @Override
    public void doorbell(long offset, int value, Runnable onWrite) {
      doorbells.put(value, onWrite);
    }
  }

  // ---- the front end's requests

  private void serve() {
    try (PassingSocket monitor = listening.accept()) {
      List<FileDescriptor> passed = new ArrayList<>();
      ByteBuffer header = buffer(HEADER_BYTES);
      while (monitor.read(header.clear(), passed)) {
        int size = header.getInt(8);
        ByteBuffer payload = buffer(Math.min(size, MAXIMUM_BYTES));
        if (size > 0 && !monitor.read(payload, passed)) {
          break;
        }
        byte[] reply = answer(header.getInt(0), payload.flip(), passed);
        passed.forEach(FileDescriptor::close);
        passed.clear();
        if (reply.length > 0) {
          ByteBuffer message = buffer(HEADER_BYTES + reply.length);
          message.putInt(header.getInt(0)).putInt(VERSION_AND_REPLY).putInt(reply.length);
          monitor.write(message.put(reply).array());
        }
      }
    } catch (RuntimeException e) {
      // Closed, or the monitor has gone: its end is told elsewhere.
    }
  }

  private static ByteBuffer buffer(int size) {
    return ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static byte[] reply(long value) {
    return buffer(Long.BYTES).putLong(value).array();
  }

  /** Takes those of the descriptors that it keeps. */
  private byte[] answer(int request, ByteBuffer payload, List<FileDescriptor> passed) {
    switch (request) {
      case GET_FEATURES:
        return reply(device.features() | F_PROTOCOL_FEATURES);
      case SET_FEATURES:
        features = payload.getLong(0) & device.features();
        break;
      case GET_PROTOCOL_FEATURES:
        return reply(PROTOCOL_CONFIG);
      case GET_CONFIG:
        for (int i = 0; i < payload.getInt(4); i++) {
          payload.put(12 + i, (byte) transport.read(CONFIG + payload.getInt(0) + i, 1));
        }
        return payload.array();
      case SET_MEM_TABLE:
        regions.clear();
        for (int i = 0, at = 8; i < payload.getInt(0); i++, at += 32) {
          regions.add(
              new Region(payload.getLong(at), payload.getLong(at + 8), payload.getLong(at + 16)));
        }
        break;
      case SET_VRING_NUM:
        ring(payload).size = payload.getInt(4);
        break;
      case SET_VRING_ADDR:
        Ring ring = ring(payload);
        ring.descriptors = payload.getLong(8);
        ring.used = payload.getLong(16);
        ring.available = payload.getLong(24);
        break;
      case SET_VRING_ENABLE:
        ring(payload).enabled = payload.getInt(4) != 0;
        break;
      case SET_VRING_KICK:
        if (!passed.isEmpty()) {
          kick(payload.getInt(0), passed);
        }
        break;
      case SET_VRING_CALL:
        if ((payload.getInt(0) & NO_DESCRIPTOR) == 0) {
          call(payload.getInt(0), passed);
        }
        break;
      case GET_VRING_BASE:
        // The guest has reset the device, or the machine ends.
        transport.write(STATUS, 4, 0);
        active = false;
        return buffer(8).putInt(payload.getInt(0)).putInt(0).array();
      default:
        // What else is told changes nothing here.
    }
    activate();
    return new byte[0];
  }

  private Ring ring(ByteBuffer payload) {
    Ring ring = rings.get(payload.getInt(0));
    if (ring == null) {
      throw new IllegalArgumentException("no queue " + payload.getInt(0));
    }
    return ring;
  }

  private void kick(int queue, List<FileDescriptor> passed) {
    PassedEvent event = new PassedEvent(passed.remove(0));
    kicks.add(event);
    loop.register(event, doorbells.get(queue));
    rings.get(queue).kicked = true;
  }

  private void call(int queue, List<FileDescriptor> passed) {
    synchronized (calls) {
      PassedEvent former = calls.put(queue, new PassedEvent(passed.remove(0)));
      if (former != null) {
        former.close();
      }
    }
  }

  /** Does what a driver does, once all is told. */
  private void activate() {
    if (active || !rings.values().stream().allMatch(Ring::isComplete)) {
      return;
    }
    active = true;
    int status = MmioTransport.ACKNOWLEDGE | MmioTransport.DRIVER;
    write(STATUS, status);
    for (int half = 0; half < 2; half++) {
      write(DRIVER_FEATURES_SEL, half);
      write(DRIVER_FEATURES, (int) (features >>> 32 * half));
    }
    status |= MmioTransport.FEATURES_OK;
    write(STATUS, status);
    rings.forEach(
        (index, ring) -> {
          write(QUEUE_SEL, index);
          write(QUEUE_SIZE, ring.size);
          address(QUEUE_DESC, ring.descriptors);
          address(QUEUE_DRIVER, ring.available);
          address(QUEUE_DEVICE, ring.used);
          write(QUEUE_READY, 1);
        });
    write(STATUS, status | MmioTransport.DRIVER_OK);
  }

  private void write(int register, int value) {
    transport.write(register, 4, Integer.toUnsignedLong(value));
  }

  private void address(int register, long userAddress) {
    Region region =
        regions.stream()
            .filter(r -> Long.compareUnsigned(userAddress - r.userAddress, r.size) < 0)
            .findFirst()
            .orElseThrow();
    long gpa = userAddress - region.userAddress + region.gpa;
    write(register, (int) gpa);
    write(register + 4, (int) (gpa >>> 32));
  }

  /** Once the monitor has gone. The memory is no longer used when it returns. */
  @Override
  public void close() {
    listening.end();
    boolean interrupted = false;
    while (thread.isAlive()) {
      try {
        thread.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    transport.close();
    loop.close();
    listening.close();
    kicks.forEach(PassedEvent::close);
    synchronized (calls) {
      calls.values().forEach(PassedEvent::close);
      calls.clear();
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
