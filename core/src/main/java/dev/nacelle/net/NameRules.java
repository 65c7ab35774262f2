// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.check.DomainNames;
import dev.nacelle.net.Decision.Check;
import dev.nacelle.network.Egress;
import dev.nacelle.network.Transport;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Rules by name: by exact names, and by what wildcards are below. Not changed once it is asked. */
final class NameRules {
  /**
   * One name or wildcard on one port.
   *
   * @param name of the rule that it is of
   */
  record NameRule(
      String name,
      Transport transport,
      int port,
      Check check,
      boolean mayBePrivate,
      boolean mayHideName) {}

  private record Port(Transport transport, int number) {}

  private final Map<String, List<NameRule>> exact = new HashMap<>();
  private final Map<String, List<NameRule>> below = new HashMap<>();
  private final Set<Port> ports = new HashSet<>();
  private int longestBelow;

  void add(Egress.Names names) {
    Transport transport = names.kind() == Egress.Kind.UDP ? Transport.UDP : Transport.TCP;
    for (String pattern : names.patterns()) {
      String base = DomainNames.base(pattern);
      boolean isWildcard = DomainNames.isWildcard(pattern);
      longestBelow = isWildcard ? Math.max(longestBelow, base.length()) : longestBelow;
      List<NameRule> list =
          (isWildcard ? below : exact).computeIfAbsent(base, unused -> new ArrayList<>(1));
      for (int port : names.ports()) {
        ports.add(new Port(transport, port));
        list.add(
            new NameRule(
                names.name(),
                transport,
                port,
                check(names.kind(), port),
                names.allowsPrivate(),
                names.allowsHiddenName()));
      }
    }
  }

  private static Check check(Egress.Kind kind, int port) {
    return switch (kind) {
      case HTTPS -> Check.TLS;
      case HTTP -> Check.HTTP;
      case WEB -> port == 80 ? Check.HTTP : Check.TLS;
      case TCP, UDP -> Check.NONE;
    };
  }

  /** All that are for a name. A guest may make up names of many labels. */
  List<NameRule> of(String name) {
    List<NameRule> found = new ArrayList<>(exact.getOrDefault(name, List.of()));
    int start = Math.max(0, name.length() - longestBelow - 1);
    for (int dot = name.indexOf('.', start); dot >= 0; dot = name.indexOf('.', dot + 1)) {
      found.addAll(below.getOrDefault(name.substring(dot + 1), List.of()));
    }
    return found;
  }

  @Nullable NameRule find(String name, Transport transport, int port) {
    for (NameRule rule : of(name)) {
      if (rule.transport == transport && rule.port == port) {
        return rule;
      }
    }
    return null;
  }

  boolean isForPort(Transport transport, int port) {
    return ports.contains(new Port(transport, port));
  }
}
