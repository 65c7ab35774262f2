// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks.virtio;

import dev.nacelle.kvm.device.virtio.DescriptorChain;
import dev.nacelle.kvm.device.virtio.VirtQueue;
import dev.nacelle.kvm.memory.GuestMemory;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/** One buffer through a queue: offered, taken, returned, taken back. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 5, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class VirtQueueBenchmark {
  private static final int SIZE = 128;
  private static final long FEATURES = 1L << 32 | 1L << 29;

  private GuestMemory memory;
  private DriverRing ring;
  private VirtQueue queue;
  private DescriptorChain chain;

  /** JMH calls {@link #setUp}. */
  @SuppressWarnings("NullAway.Init")
  public VirtQueueBenchmark() {}

  /** Makes the queue. */
  @Setup
  public void setUp() {
    memory = GuestMemory.allocate(4 << 20);
    ring = new DriverRing(memory, SIZE, 0x1000, 4096, true);
    queue = new VirtQueue(memory, "benchmark", ring.layout(), FEATURES);
    chain = new DescriptorChain(memory, SIZE);
  }

  /** Unmaps. */
  @TearDown
  public void tearDown() {
    memory.close();
  }

  /** The driver's part included. */
  @Benchmark
  public int oneBuffer() {
    ring.offer();
    if (!queue.pop(chain)) {
      throw new IllegalStateException();
    }
    queue.push(chain, 1);
    boolean interrupt = queue.interruptNeeded();
    boolean more = queue.requestNotifications();
    return ring.take() + (interrupt ? 1 : 0) + (more ? 1 : 0);
  }
}
