// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.seccomp;

import dev.nacelle.container.Capability;
import dev.nacelle.container.SeccompAction;
import dev.nacelle.container.SeccompAction.Kind;
import dev.nacelle.container.SeccompProfile;
import dev.nacelle.container.SeccompProfile.Architecture;
import dev.nacelle.container.SeccompRule;
import dev.nacelle.container.SeccompRule.Condition;
import dev.nacelle.internal.check.SystemCalls;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Map.Entry;
import java.util.Set;
import java.util.TreeMap;

/**
 * Compiles a profile for a process: a search among ranges of system calls' numbers, for each
 * architecture, whose leaves compare arguments where a rule does. A few comparisons decide, however
 * long the profile.
 */
public final class SeccompCompiler {
  /** BPF_MAXINSNS of linux/bpf_common.h. */
  private static final int MAX_INSTRUCTIONS = 4096;

  /** AUDIT_ARCH_* of linux/audit.h. */
  private static final int ARCH_X86_64 = 0xc000_003e;

  private static final int ARCH_I386 = 0x4000_0003;

  /** __X32_SYSCALL_BIT of asm/unistd.h. */
  private static final int X32_BIT = 0x4000_0000;

  private static final int ENOSYS = 38;
  private static final SeccompAction KILL = new SeccompAction(Kind.KILL_PROCESS, 0);

  private final SeccompProfile profile;
  private final List<SeccompRule> rules;
  private final Set<Architecture> kernels;

  /** Conditions that all hold, and what becomes of the call then. */
  private record Case(List<Condition> conditions, SeccompAction action) {}

  private SeccompCompiler(
      SeccompProfile profile, List<SeccompRule> rules, Set<Architecture> kernels) {
    this.profile = profile;
    this.rules = rules;
    this.kernels = kernels;
  }

  /**
   * The filter of a process: struct sock_filter of linux/filter.h, 8 bytes each, little-endian.
   *
   * @param bounding its bounding set, by which some rules go
   * @param kernelRelease as {@code uname -r} of its kernel, by which some rules go
   * @param kernels whose system calls that kernel takes: for each process the kernel compiles the
   *     filter, which takes as long as it is long
   * @throws IllegalArgumentException when it takes more than 4096 instructions
   */
  public static byte[] compile(
      SeccompProfile profile,
      Set<Capability> bounding,
      String kernelRelease,
      Set<Architecture> kernels) {
    List<SeccompRule> rules =
        profile.rules().stream()
            .filter(rule -> bounding.containsAll(rule.capabilities()))
            .filter(rule -> rule.withoutCapabilities().stream().noneMatch(bounding::contains))
            .filter(rule -> isAtLeast(kernelRelease, rule.minimumKernel()))
            .toList();
    BpfProgram program = new SeccompCompiler(profile, rules, kernels).program();
    if (program.length() > MAX_INSTRUCTIONS) {
      throw new IllegalArgumentException(
          "the seccomp profile takes "
              + program.length()
              + " instructions, more than the kernel's "
              + MAX_INSTRUCTIONS);
    }
    return program.bytes();
  }

  /** Of a release that cannot be read nothing is known that a rule could go by. */
  private static boolean isAtLeast(String release, String series) {
    if (series.isEmpty()) {
      return true;
    }
    String[] wanted = series.split("\\.", -1);
    String[] there = release.split("[^0-9]", -1);
    for (int i = 0; i < wanted.length; i++) {
      if (i >= there.length || there[i].isEmpty() || there[i].length() > 9) {
        return false;
      }
      int order = Integer.compare(Integer.parseInt(there[i]), Integer.parseInt(wanted[i]));
      if (order != 0) {
        return order > 0;
      }
    }
    return true;
  }

  private BpfProgram program() {
    BpfProgram of64 = search(List.copyOf(ranges64().entrySet()));
    BpfProgram of32 =
        has(Architecture.X86) && kernels.contains(Architecture.X86)
            ? search(List.copyOf(ranges(SystemCalls.Architecture.X86, 0).entrySet()))
            : returning(KILL);
    return new BpfProgram()
        .loadArchitecture()
        .ifEqual(ARCH_X86_64, new BpfProgram().loadNumber().then(of64))
        .ifEqual(ARCH_I386, new BpfProgram().loadNumber().then(of32))
        .then(returning(KILL));
  }

  private boolean has(Architecture architecture) {
    return profile.architectures().contains(architecture);
  }

  /** Both of 64 bits, which x32's bit tells apart. */
  private Map<Long, List<Case>> ranges64() {
    Map<Long, List<Case>> ranges = ranges(SystemCalls.Architecture.X86_64, 0);
    if (has(Architecture.X32) && kernels.contains(Architecture.X32)) {
      ranges.putAll(ranges(SystemCalls.Architecture.X32, X32_BIT));
    } else if (has(Architecture.X32)) {
      // What such a kernel answers itself.
      ranges.put((long) X32_BIT, always(SeccompAction.errno(ENOSYS)));
    } else {
      ranges.put((long) X32_BIT, always(KILL));
    }
    // What a tracer makes of a call that is not to be made.
    ranges.put(0xffff_ffffL, always(profile.defaultAction()));
    return ranges;
  }

  /** Where each range of numbers begins, and what becomes of the calls in it. */
  private Map<Long, List<Case>> ranges(SystemCalls.Architecture architecture, long base) {
    TreeMap<Long, List<Case>> calls = new TreeMap<>();
    for (SeccompRule rule : rules) {
      for (String name : new HashSet<>(rule.names())) {
        SystemCalls.number(name, architecture)
            .ifPresent(
                number ->
                    calls
                        .computeIfAbsent(base + number, unused -> new ArrayList<>())
                        .addAll(cases(rule)));
      }
    }
    TreeMap<Long, List<Case>> ranges = new TreeMap<>();
    ranges.put(base, always(profile.defaultAction()));
    calls.forEach(
        (number, cases) -> {
          ranges.put(number, reduced(cases));
          ranges.put(number + 1, always(profile.defaultAction()));
        });
    // Newer than any call that the profile's author knew.
    if (profile.defaultAction().kind() == Kind.ERRNO && !calls.isEmpty()) {
      ranges.put(calls.lastKey() + 1, always(SeccompAction.errno(ENOSYS)));
    }
    return ranges;
  }

  private static List<Case> cases(SeccompRule rule) {
    List<Condition> conditions = rule.conditions();
    long arguments = conditions.stream().map(Condition::index).distinct().count();
    if (arguments == conditions.size()) {
      return List.of(new Case(conditions, rule.action()));
    }
    return conditions.stream().map(one -> new Case(List.of(one), rule.action())).toList();
  }

  /** Up to the first that always holds, which is the last. */
  private List<Case> reduced(List<Case> cases) {
    List<Case> needed = new ArrayList<>();
    for (Case one : cases) {
      needed.add(one);
      if (one.conditions().isEmpty()) {
        return needed;
      }
    }
    needed.addAll(always(profile.defaultAction()));
    return needed;
  }

  private static List<Case> always(SeccompAction action) {
    return List.of(new Case(List.of(), action));
  }

  private static BpfProgram search(List<Entry<Long, List<Case>>> ranges) {
    List<Entry<Long, List<Case>>> sorted = new ArrayList<>();
    List<Case> last = List.of();
    List<Entry<Long, List<Case>>> all = new ArrayList<>(ranges);
    all.sort(Comparator.comparing(Entry::getKey));
    for (Entry<Long, List<Case>> range : all) {
      if (!range.getValue().equals(last)) {
        sorted.add(range);
        last = range.getValue();
      }
    }
    return half(sorted);
  }

  private static BpfProgram half(List<Entry<Long, List<Case>>> ranges) {
    if (ranges.size() == 1) {
      return decision(ranges.get(0).getValue());
    }
    int middle = ranges.size() / 2;
    int from = ranges.get(middle).getKey().intValue();
    return new BpfProgram()
        .ifLess(from, half(ranges.subList(0, middle)))
        .then(half(ranges.subList(middle, ranges.size())));
  }

  private static BpfProgram decision(List<Case> cases) {
    BpfProgram program = new BpfProgram();
    for (Case one : cases) {
      program.ifAll(one.conditions(), returning(one.action()));
    }
    return program;
  }

  private static BpfProgram returning(SeccompAction action) {
    return new BpfProgram().ret(action.returned());
  }
}
