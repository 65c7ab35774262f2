// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal.jfr;

import jdk.jfr.Category;
import jdk.jfr.DataAmount;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.StackTrace;

/** Work whose result has a size. */
@Category("Nacelle")
@StackTrace(false)
abstract class SizedEvent extends Event {
  @Label("Size")
  @DataAmount
  long size;

  @Label("Succeeded")
  boolean succeeded;

  /**
   * Ends it.
   *
   * @param commit the event's own, which the recorder finds in its class alone
   */
  final Recordings.Ending ending(Runnable commit) {
    return bytes -> {
      size = Math.max(0, bytes);
      succeeded = bytes >= 0;
      commit.run();
    };
  }
}
