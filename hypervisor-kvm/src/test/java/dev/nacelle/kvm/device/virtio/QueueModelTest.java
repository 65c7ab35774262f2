// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.kvm.device.FakeDeviceResources;
import dev.nacelle.kvm.device.virtio.DriverQueue.Segment;
import dev.nacelle.kvm.device.virtio.DriverQueue.Used;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The queue against a model, under random schedules: every buffer comes back once, with what the
 * device wrote and how much that was, in whatever order; and neither side sleeps through what the
 * other has done.
 */
class QueueModelTest {
  private static final int STEPS = 20_000;
  private static final int SLOT = 8192;

  /** Returns buffers when told to, each with its readable bytes copied to its writable ones. */
  private static final class EchoDevice extends VirtioDevice {
    private final Random random;
    private final int size;
    private final List<DescriptorChain> held = new ArrayList<>();

    EchoDevice(FakeDeviceResources resources, int size, Random random) {
      super(resources, "echo", 99, 0, new byte[0], size);
      this.size = size;
      this.random = random;
    }

    @Override
    protected void process(int index) {
      VirtQueue queue = Objects.requireNonNull(queue(0));
      do {
        queue.suppressNotifications();
        DescriptorChain chain = new DescriptorChain(memory, size);
        while (queue.pop(chain)) {
          held.add(chain);
          chain = new DescriptorChain(memory, size);
        }
      } while (queue.requestNotifications());
    }

    void returnSome(int count) {
      VirtQueue queue = Objects.requireNonNull(queue(0));
      for (int i = 0; i < count && !held.isEmpty(); i++) {
        DescriptorChain chain = held.remove(random.nextInt(held.size()));
        byte[] in = new byte[(int) chain.readableBytes()];
        chain.read(0, in, 0, in.length);
        int length = (int) Math.min(in.length, chain.writableBytes());
        int half = random.nextInt(length + 1);
        chain.write(half, in, half, length - half);
        chain.write(0, in, 0, half);
        queue.push(chain, length);
      }
      interruptIfNeeded(queue);
    }
  }

  /** A driver that sleeps until it is interrupted, and never offers memory that is in use. */
  private static final class Driver {
    private final FakeDeviceResources resources;
    private final DriverFixture fixture;
    private final DriverQueue queue;
    private final Random random;
    private final boolean eventIndex;
    private final ArrayDeque<Long> freeSlots = new ArrayDeque<>();
    private final Map<Integer, Outstanding> outstanding = new HashMap<>();
    private boolean asleep;
    private int returned;

    private record Outstanding(long slot, byte[] sent, List<Segment> writable) {}

    Driver(
        FakeDeviceResources resources,
        DriverFixture fixture,
        DriverQueue queue,
        Random random,
        boolean eventIndex) {
      this.resources = resources;
      this.fixture = fixture;
      this.queue = queue;
      this.random = random;
      this.eventIndex = eventIndex;
      for (int i = 0; i < queue.size(); i++) {
        freeSlots.add(fixture.allocate(SLOT, 1));
      }
    }

    void offerSome() {
      for (int i = random.nextInt(4); i >= 0; i--) {
        offer();
      }
      queue.kick();
    }

    private void offer() {
      int readable = 1 + random.nextInt(3);
      int writable = random.nextInt(4);
      boolean indirect = random.nextInt(3) == 0;
      if (readable + writable > queue.size()
          || queue.freeDescriptors() < (indirect ? 1 : readable + writable)) {
        return;
      }
      long slot = freeSlots.remove();
      long next = slot;
      List<Segment> segments = new ArrayList<>();
      byte[] sent = new byte[0];
      for (int i = 0; i < readable + writable; i++) {
        byte[] content = new byte[1 + random.nextInt(1000)];
        random.nextBytes(content);
        fixture.memory().putBytes(next, content, 0, content.length);
        segments.add(new Segment(next, content.length, i >= readable));
        next += content.length + random.nextInt(3);
        if (i < readable) {
          int old = sent.length;
          sent = Arrays.copyOf(sent, old + content.length);
          System.arraycopy(content, 0, sent, old, content.length);
        }
      }
      Segment[] array = segments.toArray(Segment[]::new);
      int head = indirect ? queue.offerIndirect(array) : queue.offer(array);
      outstanding.put(
          head, new Outstanding(slot, sent, segments.subList(readable, segments.size())));
    }

    /** Goes to sleep as section 2.7.7 has it: ask, look once more, sleep. */
    void sleep() {
      if (!asleep) {
        takeAll();
        if (eventIndex) {
          queue.requestInterrupt();
        }
        resources.takeInterrupts();
        asleep = true;
      }
    }

    void wakeIfInterrupted() {
      if (asleep && resources.takeInterrupts() > 0) {
        asleep = false;
        assertTrue(takeAll() > 0, "interrupted for nothing");
      }
    }

    void assertNotForgotten() {
      if (asleep && resources.takeInterrupts() == 0) {
        assertEquals(0, takeAll(), "the device returned buffers and did not wake the driver");
      }
    }

    private int takeAll() {
      int taken = 0;
      for (var used = queue.take(); used.isPresent(); used = queue.take()) {
        check(used.get());
        taken++;
      }
      returned += taken;
      return taken;
    }

    private void check(Used used) {
      Outstanding buffer = Objects.requireNonNull(outstanding.remove(used.head()));
      int done = 0;
      for (Segment segment : buffer.writable()) {
        int n = Math.min(segment.length(), buffer.sent().length - done);
        assertArrayEquals(
            Arrays.copyOfRange(buffer.sent(), done, done + n), fixture.bytes(segment.address(), n));
        done += n;
      }
      assertEquals(done, used.written());
      freeSlots.add(buffer.slot());
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5, 6})
  void returnsEveryBufferAndWakesBothSides(long seed) {
    Random random = new Random(seed);
    int size = 4 << random.nextInt(4);
    boolean eventIndex = seed % 2 == 0;
    try (FakeDeviceResources resources = new FakeDeviceResources(64 << 20)) {
      EchoDevice device = new EchoDevice(resources, size, random);
      DriverFixture fixture = new DriverFixture(resources, new MmioTransport(device));
      fixture.negotiate(
          DriverFixture.VERSION_1
              | DriverFixture.INDIRECT_DESC
              | (eventIndex ? DriverFixture.EVENT_IDX : 0));
      Driver driver =
          new Driver(resources, fixture, fixture.configure(0, size), random, eventIndex);
      fixture.driverOk();

      for (int step = 0; step < STEPS; step++) {
        switch (random.nextInt(4)) {
          case 0 -> driver.offerSome();
          case 1 -> device.returnSome(random.nextInt(4));
          case 2 -> driver.sleep();
          default -> driver.wakeIfInterrupted();
        }
        assertEquals(
            driver.outstanding.size() - driver.queue.untaken(),
            device.held.size(),
            "unseen buffers");
      }
      driver.sleep();
      device.returnSome(Integer.MAX_VALUE);
      driver.assertNotForgotten();
      driver.wakeIfInterrupted();
      driver.takeAll();
      assertEquals(Map.of(), driver.outstanding);
      assertTrue(driver.returned > STEPS / 4, "too few to mean anything: " + driver.returned);
    }
  }
}
