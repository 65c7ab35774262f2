// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.check.Cidr;
import dev.nacelle.internal.check.DomainNames;
import dev.nacelle.internal.check.Ip;
import dev.nacelle.net.Decision.Candidate;
import dev.nacelle.net.Decision.Check;
import dev.nacelle.net.NameRules.NameRule;
import dev.nacelle.network.DenialReason;
import dev.nacelle.network.DnsRecordType;
import dev.nacelle.network.Egress;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.Transport;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * A policy as it is asked: may this sandbox connect there, may it have this name resolved.
 * Immutable; what changes is given with each question: the host's own addresses, and the pins.
 *
 * <p>Questions of DNS, to port 53 of whatever address, are no flows: they end at the host's
 * resolver, which asks {@link #resolve}. The decision about any other flow, of which the first that
 * applies counts:
 *
 * <ol>
 *   <li>It stands for a service of the host's: that is connected to, on its port alone.
 *   <li>Its class is closed: FLOOR.
 *   <li>A deny rule by address is for it, or for one that is written in it: RULE.
 *   <li>A rule by address allows it. Where it is not public, the rule's block has to {@linkplain
 *       AddressClass#isMeantBy mean} it. UDP to a public address does not go through a proxy: where
 *       the policy has one, the rule has to name ports of UDP.
 *   <li>A rule by name allows it: for names that are pinned to it, which no deny rule is for.
 *   <li>What is missing is the reason: the name is denied (RULE), the address is not public and the
 *       rule does not say that it may (REBINDING), it would leave past the proxy (PROXY), no name
 *       is pinned to it (NOT_RESOLVED), or no rule is for that (NO_RULE).
 * </ol>
 */
final class CompiledPolicy {
  private final boolean allowsMetadata;
  private final boolean hasProxy;
  private final Set<DnsRecordType> records;
  private final List<AddressRule> allowedAddresses = new ArrayList<>();
  private final List<AddressRule> deniedAddresses = new ArrayList<>();
  private final NameRules allowedNames = new NameRules();
  private final NameRules deniedNames = new NameRules();
  private final @Nullable String internet;
  private final Map<Ip, Service> services = new HashMap<>();
  private final Map<String, Ip> serviceNames = new HashMap<>();

  /** Blocks and ports. */
  private record AddressRule(String name, List<Cidr> blocks, Egress.Addresses ports) {}

  private record Service(String name, InetSocketAddress address) {}

  private CompiledPolicy(NetworkPolicy policy, ServiceAddresses seeming) {
    allowsMetadata = policy.allowsMetadata();
    hasProxy = policy.upstreamProxy().isPresent();
    records = policy.dnsRecords();
    String all = null;
    for (Egress rule : policy.allowed()) {
      if (rule instanceof Egress.Names names) {
        allowedNames.add(names);
      } else if (rule instanceof Egress.Addresses addresses) {
        allowedAddresses.add(compile(addresses));
      } else if (all == null) {
        all = rule.name();
      }
    }
    internet = all;
    for (Egress rule : policy.denied()) {
      if (rule instanceof Egress.Names names) {
        deniedNames.add(names);
      } else if (rule instanceof Egress.Addresses addresses) {
        deniedAddresses.add(compile(addresses));
      }
    }
    policy
        .hostServices()
        .forEach(
            (label, address) -> {
              String name = label + "." + DomainNames.HOST_SERVICES;
              Ip seems = seeming.of(name);
              services.put(seems, new Service(name, address));
              serviceNames.put(name, seems);
            });
  }

  private static AddressRule compile(Egress.Addresses rule) {
    return new AddressRule(rule.name(), rule.blocks().stream().map(Cidr::parse).toList(), rule);
  }

  static CompiledPolicy of(NetworkPolicy policy) {
    return of(policy, new ServiceAddresses());
  }

  /**
   * One of a network that had others before.
   *
   * @param seeming of that network
   */
  static CompiledPolicy of(NetworkPolicy policy, ServiceAddresses seeming) {
    return new CompiledPolicy(policy, seeming);
  }

  /**
   * May a flow begin?
   *
   * @param port 0 of {@link Transport#ECHO}
   * @param isHosts whether an address is one of the host's interfaces
   */
  Decision decide(Transport transport, Ip address, int port, Predicate<Ip> isHosts, Pins pins) {
    Service service = services.get(address);
    if (service != null) {
      return decide(service, transport, address, port);
    }
    AddressClass of = AddressClass.of(address, isHosts);
    if (isClosed(of)) {
      return Decision.denied(DenialReason.FLOOR, "", List.of());
    }
    AddressRule denied = findDenied(transport, address, port);
    if (denied != null) {
      return Decision.denied(DenialReason.RULE, denied.name, List.of());
    }
    boolean passesProxy = hasProxy && transport == Transport.UDP && of == AddressClass.PUBLIC;
    String rule = ruleByAddress(transport, address, port, of, passesProxy);
    if (rule != null) {
      return Decision.byAddress(rule);
    }
    Decision named = byName(transport, port, of, pins.of(address));
    if (passesProxy && !named.isAllowed()) {
      String without = ruleByAddress(transport, address, port, of, false);
      return without == null ? named : Decision.denied(DenialReason.PROXY, without, named.names());
    }
    return named;
  }

  /**
   * The rule by address that allows it; null where none does.
   *
   * @param mustSayUdp whether only those do that name ports of UDP
   */
  private @Nullable String ruleByAddress(
      Transport transport, Ip address, int port, AddressClass of, boolean mustSayUdp) {
    for (AddressRule rule : allowedAddresses) {
      if (rule.ports.covers(transport, port)
          && means(rule, of, address)
          && !(mustSayUdp && rule.ports.udpPorts().isEmpty())) {
        return rule.name();
      }
    }
    return of == AddressClass.PUBLIC && !mustSayUdp ? internet : null;
  }

  private Decision decide(Service service, Transport transport, Ip address, int port) {
    List<String> names = List.of(service.name);
    Ip target = Ip.of(service.address.getAddress());
    AddressRule denied = findDenied(transport, address, port);
    if (denied == null) {
      denied = findDenied(transport, target, service.address.getPort());
    }
    if (denied != null) {
      return Decision.denied(DenialReason.RULE, denied.name, names);
    }
    return transport == Transport.TCP && port == service.address.getPort()
        ? new Decision(null, service.name, service.address, List.of(), names)
        : Decision.denied(DenialReason.NO_RULE, "", names);
  }

  private boolean isClosed(AddressClass of) {
    return of == AddressClass.FORBIDDEN
        || of == AddressClass.HOST
        || of == AddressClass.METADATA && !allowsMetadata;
  }

  private @Nullable AddressRule findDenied(Transport transport, Ip address, int port) {
    List<Ip> embedded = AddressClass.embedded(address);
    for (AddressRule rule : deniedAddresses) {
      if (rule.ports.covers(transport, port)) {
        for (Cidr block : rule.blocks) {
          if (block.contains(address) || embedded.stream().anyMatch(block::contains)) {
            return rule;
          }
        }
      }
    }
    return null;
  }

  private static boolean means(AddressRule rule, AddressClass of, Ip address) {
    for (Cidr block : rule.blocks) {
      if (of.isMeantBy(block, address)) {
        return true;
      }
    }
    return false;
  }

  private Decision byName(Transport transport, int port, AddressClass of, List<Pins.Pin> pinned) {
    List<Candidate> candidates = new ArrayList<>(pinned.size());
    List<String> names = new ArrayList<>(pinned.size());
    DenialReason reason = DenialReason.NO_RULE;
    String closest = "";
    for (Pins.Pin pin : pinned) {
      names.add(pin.name());
      NameRule denied = deniedNames.find(pin.name(), transport, port);
      for (NameRule rule : allowedNames.of(pin.name())) {
        if (rule.transport() != transport || rule.port() != port) {
          continue;
        }
        if (denied == null && (of == AddressClass.PUBLIC || rule.mayBePrivate())) {
          candidates.add(new Candidate(rule, pin));
        } else if (reason != DenialReason.RULE) {
          reason = denied == null ? DenialReason.REBINDING : DenialReason.RULE;
          closest = denied == null ? rule.name() : denied.name();
        }
      }
    }
    names = List.copyOf(names);
    if (!candidates.isEmpty()) {
      NameRule rule = candidates.get(0).rule();
      for (Candidate candidate : candidates) {
        rule = candidate.rule().check() == Check.NONE ? candidate.rule() : rule;
      }
      return new Decision(null, rule.name(), null, List.copyOf(candidates), names);
    }
    if (pinned.isEmpty() && allowedNames.isForPort(transport, port)) {
      reason = DenialReason.NOT_RESOLVED;
    }
    return Decision.denied(reason, closest, names);
  }

  /** What becomes of a question to the resolver. */
  enum Question {
    /** Somebody is asked. */
    ASK,
    /** The name may be asked for, and has no such records that it may be told: no error. */
    EMPTY,
    /** It is a service of the host's. */
    SERVICE,
    /** The name may not be asked for. */
    DENIED
  }

  /**
   * What becomes of a question.
   *
   * @param reason of {@link Question#DENIED}, and of {@link Question#EMPTY} where a type of records
   *     is not allowed; otherwise null
   * @param service of {@link Question#SERVICE}; otherwise null
   */
  record Resolution(Question question, @Nullable DenialReason reason, @Nullable Ip service) {}

  /**
   * May it be asked for?
   *
   * @param name in canonical form; null where it is no name
   * @param type of the records, as DNS numbers them
   */
  Resolution resolve(@Nullable String name, int type) {
    if (name == null) {
      return new Resolution(Question.DENIED, DenialReason.NO_RULE, null);
    }
    Ip service = serviceNames.get(name);
    if (service != null) {
      return type == DnsType.A
          ? new Resolution(Question.SERVICE, null, service)
          : new Resolution(Question.EMPTY, null, null);
    }
    DenialReason reason = denial(name);
    if (reason != null) {
      return new Resolution(Question.DENIED, reason, null);
    }
    if (type == DnsType.A || type == DnsType.AAAA) {
      return new Resolution(Question.ASK, null, null);
    }
    for (DnsRecordType record : records) {
      if (record.number() == type) {
        return new Resolution(Question.ASK, null, null);
      }
    }
    // A client asks for these beside addresses, and goes on without them.
    boolean usual = type == DnsType.HTTPS || type == DnsType.SVCB;
    return new Resolution(Question.EMPTY, usual ? null : DenialReason.RECORD_TYPE, null);
  }

  /** Why a name may not be asked for; null where it may. */
  private @Nullable DenialReason denial(String name) {
    if (DomainNames.isAtOrBelow(name, DomainNames.HOST_SERVICES)
        || DomainNames.isAtOrBelow(name, "localhost")) {
      return DenialReason.NO_RULE;
    }
    List<NameRule> rules = allowedNames.of(name);
    for (NameRule rule : rules) {
      if (deniedNames.find(name, rule.transport(), rule.port()) == null) {
        return null;
      }
    }
    if (internet != null && deniedNames.of(name).isEmpty()) {
      return null;
    }
    return rules.isEmpty() && internet == null ? DenialReason.NO_RULE : DenialReason.RULE;
  }

  /**
   * Which of a name's addresses the sandbox is told, and why not others.
   *
   * @param addresses that it may be told, in their order
   * @param reason of the first that was left out; null where none was
   */
  record Admitted(List<Ip> addresses, @Nullable DenialReason reason) {}

  /**
   * Leaves out what the sandbox could not connect to, whatever port: addresses of closed classes,
   * and others that are not public, unless a rule says that the name's may be private, or a rule by
   * address means them.
   */
  Admitted admit(String name, List<Ip> addresses, Predicate<Ip> isHosts) {
    boolean mayBePrivate = false;
    for (NameRule rule : allowedNames.of(name)) {
      mayBePrivate |= rule.mayBePrivate();
    }
    Set<Ip> admitted = new HashSet<>();
    List<Ip> told = new ArrayList<>(addresses.size());
    DenialReason reason = null;
    for (Ip address : addresses) {
      AddressClass of = AddressClass.of(address, isHosts);
      DenialReason why = null;
      if (isClosed(of)) {
        why = DenialReason.FLOOR;
      } else if (of != AddressClass.PUBLIC && !mayBePrivate && !isMeant(of, address)) {
        why = DenialReason.REBINDING;
      }
      if (why == null && admitted.add(address)) {
        told.add(address);
      }
      reason = reason == null ? why : reason;
    }
    return new Admitted(List.copyOf(told), reason);
  }

  private boolean isMeant(AddressClass of, Ip address) {
    for (AddressRule rule : allowedAddresses) {
      if (means(rule, of, address)) {
        return true;
      }
    }
    return false;
  }
}
