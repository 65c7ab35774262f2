// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;

/** What threads allocate on the Java heap: not what the JVM needs for itself, to compile or so. */
public final class Allocation {
  private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

  private Allocation() {}

  /** How many bytes this thread has allocated. Asking allocates nothing. */
  public static long ofThisThread() {
    return THREADS.getCurrentThreadAllocatedBytes();
  }
}
