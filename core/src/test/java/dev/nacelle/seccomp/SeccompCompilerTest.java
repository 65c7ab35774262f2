// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.seccomp;

import static dev.nacelle.Refusals.assertRefused;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.container.Capabilities;
import dev.nacelle.container.Capability;
import dev.nacelle.container.ProcessSecurity;
import dev.nacelle.container.SeccompAction;
import dev.nacelle.container.SeccompAction.Kind;
import dev.nacelle.container.SeccompProfile;
import dev.nacelle.container.SeccompProfile.Architecture;
import dev.nacelle.container.SeccompRule;
import dev.nacelle.container.SeccompRule.Comparison;
import dev.nacelle.container.SeccompRule.Condition;
import dev.nacelle.internal.check.SystemCalls;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Programs are run, and compared with what the rules say. */
class SeccompCompilerTest {
  private static final int X86_64 = 0xc000_003e;
  private static final int I386 = 0x4000_0003;
  private static final int X32_BIT = 0x4000_0000;

  private static final int ALLOWED = SeccompAction.ALLOW.returned();
  private static final int EPERM = SeccompAction.errno(1).returned();
  private static final int ENOSYS = SeccompAction.errno(38).returned();
  private static final int KILLED = new SeccompAction(Kind.KILL_PROCESS, 0).returned();

  private static final Set<Capability> DOCKER = Capabilities.DOCKER.bounding();

  private static BpfMachine machine(SeccompProfile profile, Set<Capability> bounding) {
    return new BpfMachine(compile(profile, bounding, "6.1.0-50-cloud-amd64"));
  }

  private static byte[] compile(
      SeccompProfile profile, Set<Capability> bounding, String kernelRelease) {
    return SeccompCompiler.compile(
        profile, bounding, kernelRelease, EnumSet.allOf(Architecture.class));
  }

  private static SeccompProfile profile(SeccompAction otherwise, SeccompRule... rules) {
    return SeccompProfile.of(
        otherwise, EnumSet.allOf(Architecture.class), Set.of(), List.of(rules));
  }

  private static int number(String name) {
    return SystemCalls.number(name, SystemCalls.Architecture.X86_64).orElseThrow();
  }

  private static long[] arguments(long... first) {
    long[] all = new long[6];
    System.arraycopy(first, 0, all, 0, first.length);
    return all;
  }

  /** What the rules say, read one after the other. */
  private static final class Rules {
    private final SeccompProfile profile;
    private final Map<Integer, List<SeccompRule>> byNumber = new TreeMap<>();

    Rules(SeccompProfile profile, Set<Capability> bounding, SystemCalls.Architecture architecture) {
      this.profile = profile;
      for (SeccompRule rule : profile.rules()) {
        if (bounding.containsAll(rule.capabilities())
            && rule.withoutCapabilities().stream().noneMatch(bounding::contains)) {
          for (String name : rule.names()) {
            SystemCalls.number(name, architecture)
                .ifPresent(
                    number ->
                        byNumber.computeIfAbsent(number, none -> new ArrayList<>()).add(rule));
          }
        }
      }
    }

    int answer(int number, long[] arguments) {
      for (SeccompRule rule : byNumber.getOrDefault(number, List.of())) {
        if (holds(rule.conditions(), arguments)) {
          return rule.action().returned();
        }
      }
      boolean isNewer =
          profile.defaultAction().kind() == Kind.ERRNO
              && !byNumber.isEmpty()
              && number > Collections.max(byNumber.keySet());
      return isNewer ? ENOSYS : profile.defaultAction().returned();
    }
  }

  private static boolean holds(List<Condition> conditions, long[] arguments) {
    boolean isOnePerArgument =
        conditions.stream().map(Condition::index).distinct().count() == conditions.size();
    return isOnePerArgument
        ? conditions.stream().allMatch(condition -> holds(condition, arguments))
        : conditions.stream().anyMatch(condition -> holds(condition, arguments));
  }

  private static boolean holds(Condition condition, long[] arguments) {
    long argument = arguments[condition.index()];
    int order = Long.compareUnsigned(argument, condition.value());
    return switch (condition.comparison()) {
      case NE -> order != 0;
      case LT -> order < 0;
      case LE -> order <= 0;
      case EQ -> order == 0;
      case GE -> order >= 0;
      case GT -> order > 0;
      case MASKED_EQ -> (argument & condition.value()) == condition.valueTwo();
    };
  }

  private static void assertAsTheRulesSay(
      SeccompProfile profile, Set<Capability> bounding, List<long[]> arguments) {
    BpfMachine machine = machine(profile, bounding);
    for (SystemCalls.Architecture architecture : SystemCalls.Architecture.values()) {
      Rules rules = new Rules(profile, bounding, architecture);
      for (int number = 0; number < 600; number++) {
        for (long[] some : arguments) {
          int expected = rules.answer(number, some);
          int actual =
              switch (architecture) {
                case X86_64 -> machine.run(number, X86_64, some);
                case X32 -> machine.run(number | X32_BIT, X86_64, some);
                case X86 -> machine.run(number, I386, some);
              };
          if (expected != actual) {
            String what = architecture + " " + number + " " + List.of(some[0], some[1]);
            assertEquals(Integer.toHexString(expected), Integer.toHexString(actual), what);
          }
        }
      }
    }
  }

  @Test
  void dockersProfileIsWhatItsRulesSayForAnyCapabilities() {
    List<long[]> arguments =
        List.of(
            arguments(),
            arguments(38),
            arguments(40),
            arguments(0x1_0000_0000L),
            arguments(0x7e02_0000L),
            arguments(0x11),
            arguments(0x1000_0011),
            arguments(8),
            arguments(0xffff_ffffL));
    assertAsTheRulesSay(SeccompProfile.DOCKER, Set.of(), arguments);
    assertAsTheRulesSay(SeccompProfile.DOCKER, DOCKER, arguments);
    assertAsTheRulesSay(SeccompProfile.DOCKER, EnumSet.allOf(Capability.class), arguments);
    for (Capability one : Capability.values()) {
      assertAsTheRulesSay(SeccompProfile.DOCKER, Set.of(one), arguments.subList(0, 2));
    }
  }

  @Test
  void dockersProfileKeepsWhatDockerKeeps() {
    BpfMachine machine = machine(SeccompProfile.DOCKER, DOCKER);
    for (String name : List.of("read", "execve", "ptrace", "chroot", "setns")) {
      int expected = name.equals("setns") ? EPERM : ALLOWED;
      assertEquals(expected, machine.run(number(name), X86_64, arguments()), name);
    }
    for (String name : List.of("mount", "unshare", "bpf", "io_uring_setup", "keyctl", "reboot")) {
      assertEquals(EPERM, machine.run(number(name), X86_64, arguments()), name);
    }
    // A thread, and a user namespace.
    assertEquals(ALLOWED, machine.run(number("clone"), X86_64, arguments(0x3d0f00)));
    assertEquals(EPERM, machine.run(number("clone"), X86_64, arguments(0x1000_0000)));
    assertEquals(ENOSYS, machine.run(number("clone3"), X86_64, arguments()));
    // A socket of the kernel's cryptography, and one by which the host is talked to.
    assertEquals(EPERM, machine.run(number("socket"), X86_64, arguments(38)));
    assertEquals(ALLOWED, machine.run(number("socket"), X86_64, arguments(40)));
    // What comes after this version of the library.
    assertEquals(ENOSYS, machine.run(600, X86_64, arguments()));
    // Of another processor, and a call that a tracer took back.
    assertEquals(KILLED, machine.run(0, 0xc000_00b7, arguments()));
    assertEquals(EPERM, machine.run(-1, X86_64, arguments()));
    int length = compile(SeccompProfile.DOCKER, DOCKER, "6.1").length / 8;
    assertTrue(length < 1000, "instructions: " + length);
  }

  /** The kernel takes a fifth of a microsecond and more for each instruction, at each exec. */
  @Test
  void whatTheKernelHasNotIsNoPartOfTheFilter() {
    Set<String> options = new HashSet<>(Set.of("X86_64"));
    ProcessSecurity security = ProcessSecurity.DEFAULT;
    byte[] small = new SeccompFilters("6.12", options::contains).of(security);
    assertTrue(small.length / 8 < 250, () -> "instructions: " + small.length / 8);
    byte[] all = compile(SeccompProfile.DOCKER, DOCKER, "6.12");
    BpfMachine without = new BpfMachine(small);
    BpfMachine with = new BpfMachine(all);
    for (int number = -1; number < 1000; number++) {
      assertEquals(with.run(number, X86_64, arguments()), without.run(number, X86_64, arguments()));
    }
    assertEquals(ENOSYS, without.run(X32_BIT, X86_64, arguments()));
    assertEquals(KILLED, without.run(3, I386, arguments()));
    options.addAll(List.of("IA32_EMULATION", "X86_X32"));
    assertArrayEquals(all, new SeccompFilters("6.12", options::contains).of(security));
    assertArrayEquals(all, new SeccompFilters("6.12", option -> false).of(security));
  }

  @Test
  void capabilitiesBringTheirSystemCalls() {
    BpfMachine machine = machine(SeccompProfile.DOCKER, EnumSet.allOf(Capability.class));
    for (String name : List.of("mount", "unshare", "bpf", "reboot", "clone3", "init_module")) {
      assertEquals(ALLOWED, machine.run(number(name), X86_64, arguments()), name);
    }
    assertEquals(EPERM, machine.run(number("kexec_load"), X86_64, arguments()));
  }

  @ParameterizedTest
  @EnumSource(Comparison.class)
  void argumentsAreComparedAsWholeUnsignedNumbers(Comparison comparison) {
    List<Long> numbers =
        List.of(
            0L,
            1L,
            0xffff_ffffL,
            0x1_0000_0000L,
            0x1_0000_0001L,
            0x8000_0000L,
            -1L,
            0x1234_5678_9abc_def0L);
    for (long value : numbers) {
      Condition condition = new Condition(2, comparison, value, value & 0xf0f0_f0f0_f0f0_f0f0L);
      SeccompRule rule =
          SeccompRule.of(SeccompAction.errno(33), List.of("read"))
              .withConditions(List.of(condition));
      BpfMachine machine = machine(profile(SeccompAction.ALLOW, rule), Set.of());
      for (long argument : numbers) {
        long[] all = arguments(7, 7, argument);
        int expected = holds(condition, all) ? SeccompAction.errno(33).returned() : ALLOWED;
        assertEquals(expected, machine.run(0, X86_64, all), condition + " of " + argument);
      }
    }
  }

  @Test
  void anyProfileIsWhatItsRulesSay() {
    Random random = new Random(7);
    List<String> names = List.copyOf(SystemCalls.names());
    for (int round = 0; round < 60; round++) {
      List<SeccompRule> rules = new ArrayList<>();
      for (int i = random.nextInt(12); i >= 0; i--) {
        List<String> some = new ArrayList<>();
        for (int j = random.nextInt(8); j >= 0; j--) {
          some.add(names.get(random.nextInt(names.size())));
        }
        List<Condition> conditions = new ArrayList<>();
        for (int j = random.nextInt(4); j > 0; j--) {
          Comparison comparison = Comparison.values()[random.nextInt(7)];
          conditions.add(
              new Condition(random.nextInt(3), comparison, random.nextInt(4), random.nextInt(4)));
        }
        SeccompRule rule =
            SeccompRule.of(SeccompAction.errno(random.nextInt(100)), some)
                .withConditions(conditions);
        rules.add(random.nextInt(5) == 0 ? rule.only(Capability.CHOWN) : rule);
      }
      SeccompAction otherwise = random.nextBoolean() ? SeccompAction.ALLOW : SeccompAction.errno(1);
      List<long[]> arguments = new ArrayList<>();
      for (int i = 0; i < 6; i++) {
        arguments.add(arguments(random.nextInt(5), random.nextInt(5), random.nextInt(5)));
      }
      SeccompProfile profile =
          SeccompProfile.of(otherwise, EnumSet.allOf(Architecture.class), Set.of(), rules);
      assertAsTheRulesSay(profile, DOCKER, arguments);
    }
  }

  @Test
  void programsAreLongerThanAJumpReaches() {
    List<SeccompRule> rules = new ArrayList<>();
    for (int value = 0; value < 300; value++) {
      Condition condition = new Condition(0, Comparison.EQ, value, 0);
      rules.add(
          SeccompRule.of(SeccompAction.errno(2 + value), List.of("read", "getpid"))
              .withConditions(List.of(condition)));
    }
    SeccompProfile profile = SeccompProfile.of(SeccompAction.ALLOW, Set.of(), Set.of(), rules);
    BpfMachine machine = machine(profile, Set.of());
    for (int value = 0; value < 300; value++) {
      int expected = SeccompAction.errno(2 + value).returned();
      assertEquals(expected, machine.run(0, X86_64, arguments(value)));
      assertEquals(expected, machine.run(number("getpid"), X86_64, arguments(value)));
    }
    assertEquals(ALLOWED, machine.run(0, X86_64, arguments(300)));
    assertEquals(ALLOWED, machine.run(number("write"), X86_64, arguments(3)));
  }

  @Test
  void aProfileThatTheKernelCannotHaveIsRefused() {
    List<SeccompRule> rules = new ArrayList<>();
    for (int value = 0; value < 2000; value++) {
      Condition condition = new Condition(0, Comparison.EQ, value, 0);
      rules.add(
          SeccompRule.of(SeccompAction.errno(2), List.of("read"))
              .withConditions(List.of(condition)));
    }
    SeccompProfile profile = SeccompProfile.of(SeccompAction.ALLOW, Set.of(), Set.of(), rules);
    assertRefused(
        "the seccomp profile takes 10017 instructions, more than the kernel's 4096",
        () -> compile(profile, Set.of(), "6.1"));
  }

  @Test
  void architecturesThatAreNotNamedEndTheProcess() {
    SeccompProfile profile = SeccompProfile.of(SeccompAction.ALLOW, Set.of(), Set.of(), List.of());
    BpfMachine machine = machine(profile, Set.of());
    assertEquals(ALLOWED, machine.run(0, X86_64, arguments()));
    assertEquals(KILLED, machine.run(X32_BIT, X86_64, arguments()));
    assertEquals(KILLED, machine.run(0, I386, arguments()));
    assertEquals(ALLOWED, machine.run(-1, X86_64, arguments()));
  }

  @Test
  void aRuleForNewerKernelsIsForThose() {
    SeccompRule rule =
        new SeccompRule(
            List.of("read"), SeccompAction.errno(5), List.of(), Set.of(), Set.of(), "5.10");
    SeccompProfile profile = profile(SeccompAction.ALLOW, rule);
    for (String release : List.of("5.10", "5.10.1-x", "6.1.0", "10.0")) {
      BpfMachine machine = new BpfMachine(compile(profile, Set.of(), release));
      assertEquals(SeccompAction.errno(5).returned(), machine.run(0, X86_64, arguments()), release);
    }
    for (String release : List.of("5.9.99", "4.19", "5", "", "unknown", "99999999999.1")) {
      BpfMachine machine = new BpfMachine(compile(profile, Set.of(), release));
      assertEquals(ALLOWED, machine.run(0, X86_64, arguments()), release);
    }
  }
}
