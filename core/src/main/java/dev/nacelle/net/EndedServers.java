// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Flows whose server sends no more while their guest may: a reset of the server's ends them, too.
 * Reading tells nothing of it, and a selector of Java's does not wait for an error alone, so they
 * are asked now and then whether there is one. On the loop.
 */
final class EndedServers {
  static final Duration INTERVAL = Duration.ofSeconds(2);

  /** A selector tells of about a thousand sockets at a time, others among them. */
  private static final int AT_ONCE = 256;

  private final NetworkLoop loop;
  private final Set<TcpFlow> flows = new LinkedHashSet<>();
  private NetworkLoop.@Nullable Timer timer;

  EndedServers(NetworkLoop loop) {
    this.loop = loop;
  }

  /** Its server has ended. */
  void add(TcpFlow flow) {
    flows.add(flow);
    if (timer == null) {
      timer = loop.schedule(this::ask, INTERVAL);
    }
  }

  /** It has ended itself. */
  void forget(Flow flow) {
    flows.remove(flow);
  }

  private void ask() {
    timer = null;
    List<TcpFlow> all = new ArrayList<>(flows);
    for (int from = 0; from < all.size(); from += AT_ONCE) {
      List<TcpFlow> some = all.subList(from, Math.min(all.size(), from + AT_ONCE));
      some.forEach(TcpFlow::expectError);
      loop.serve();
      some.forEach(TcpFlow::listen);
    }
    if (!flows.isEmpty() && timer == null) {
      timer = loop.schedule(this::ask, INTERVAL);
    }
  }

  void close() {
    flows.clear();
    if (timer != null) {
      timer.cancel();
      timer = null;
    }
  }
}
