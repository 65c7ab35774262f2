// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.container;

import static dev.nacelle.Refusals.assertRefused;
import static dev.nacelle.Refusals.assertRefusedFor;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import dev.nacelle.container.SeccompAction.Kind;
import dev.nacelle.container.SeccompProfile.Architecture;
import dev.nacelle.container.SeccompProfile.Flag;
import dev.nacelle.container.SeccompRule.Comparison;
import dev.nacelle.container.SeccompRule.Condition;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

class SeccompProfileTest {
  private static SeccompProfile parse(String json) {
    return SeccompProfile.parse(json.replace('\'', '"'));
  }

  @Test
  void aProfileOfTheRuntimeSpecificationIsRead() {
    SeccompProfile profile =
        parse(
            "{'defaultAction':'SCMP_ACT_ERRNO','defaultErrnoRet':38,"
                + "'architectures':['SCMP_ARCH_X86_64','SCMP_ARCH_X32','SCMP_ARCH_ARM'],"
                + "'flags':['SECCOMP_FILTER_FLAG_LOG'],"
                + "'syscalls':[{'names':['read','write'],'action':'SCMP_ACT_ALLOW'},"
                + "{'names':['clone'],'action':'SCMP_ACT_TRACE','errnoRet':7,"
                + "'args':[{'index':5,'value':18446744073709551615,'valueTwo':3,"
                + "'op':'SCMP_CMP_MASKED_EQ'}]}]}");
    SeccompProfile expected =
        SeccompProfile.of(
            SeccompAction.errno(38),
            Set.of(Architecture.X32),
            Set.of(Flag.LOG),
            List.of(
                SeccompRule.of(SeccompAction.ALLOW, List.of("read", "write")),
                SeccompRule.of(new SeccompAction(Kind.TRACE, 7), List.of("clone"))
                    .withConditions(List.of(new Condition(5, Comparison.MASKED_EQ, -1, 3)))));
    assertEquals(expected, profile);
    assertEquals(expected.hashCode(), profile.hashCode());
    assertNotEquals(expected, SeccompProfile.DOCKER);
  }

  @Test
  void whatDockerAddsIsReadForThisProcessor() {
    SeccompProfile profile =
        parse(
            "{'defaultAction':'SCMP_ACT_KILL','archMap':["
                + "{'architecture':'SCMP_ARCH_AARCH64','subArchitectures':['SCMP_ARCH_X32']},"
                + "{'architecture':'SCMP_ARCH_X86_64','subArchitectures':['SCMP_ARCH_X86']}],"
                + "'syscalls':[{'name':'a','action':'SCMP_ACT_LOG','includes':{'arches':['s390']}},"
                + "{'names':['b'],'action':'SCMP_ACT_ALLOW',"
                + "'includes':{'caps':['CAP_BPF'],'minKernel':'4.8','arches':['amd64']},"
                + "'excludes':{'caps':['CAP_CHOWN'],'arches':['arm']}},"
                + "{'names':['c'],'action':'SCMP_ACT_TRAP','excludes':{'arches':['amd64']}}]}");
    SeccompRule rule =
        new SeccompRule(
            List.of("b"),
            SeccompAction.ALLOW,
            List.of(),
            Set.of(Capability.BPF),
            Set.of(Capability.CHOWN),
            "4.8");
    assertEquals(
        SeccompProfile.of(
            new SeccompAction(Kind.KILL_THREAD, 0),
            Set.of(Architecture.X86),
            Set.of(),
            List.of(rule)),
        profile);
  }

  @Test
  void withoutANumberAnErrorIsEperm() {
    assertEquals(
        SeccompAction.errno(1), parse("{'defaultAction':'SCMP_ACT_ERRNO'}").defaultAction());
  }

  @Test
  void whatCannotBeHadIsNamed() {
    assertRefusedFor("not JSON", () -> parse("{"));
    assertRefused("a seccomp profile is an object", () -> parse("[]"));
    assertRefused("defaultAction is missing, or no text", () -> parse("{}"));
    assertRefused(
        "defaultAction has no value SCMP_ACT_SING",
        () -> parse("{'defaultAction':'SCMP_ACT_SING'}"));
    assertRefused(
        "defaultErrnoRet is not for the action SCMP_ACT_ALLOW",
        () -> parse("{'defaultAction':'SCMP_ACT_ALLOW','defaultErrnoRet':1}"));
    String rest = "{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[%s]}";
    assertRefused(
        "action SCMP_ACT_NOTIFY needs a supervisor in the guest, which there is not",
        () -> parse(rest.formatted("{'names':['read'],'action':'SCMP_ACT_NOTIFY'}")));
    assertRefused(
        "syscalls.names is empty",
        () -> parse(rest.formatted("{'names':[],'action':'SCMP_ACT_ALLOW'}")));
    assertRefused(
        "errnoRet is not between 0 and 4095",
        () -> parse(rest.formatted("{'names':['a'],'action':'SCMP_ACT_ERRNO','errnoRet':4096}")));
    String condition = "{'names':['a'],'action':'SCMP_ACT_ALLOW','args':[%s]}";
    assertRefused(
        "index is not between 0 and 5",
        () -> parse(rest.formatted(condition.formatted("{'index':6,'op':'SCMP_CMP_EQ'}"))));
    assertRefused(
        "args.op has no value SCMP_CMP_LIKE",
        () -> parse(rest.formatted(condition.formatted("{'index':1,'op':'SCMP_CMP_LIKE'}"))));
    assertRefused(
        "value is no number of 64 bits without a sign",
        () ->
            parse(
                rest.formatted(condition.formatted("{'index':1,'value':-1,'op':'SCMP_CMP_EQ'}"))));
    assertRefused(
        "flags has no value SECCOMP_FILTER_FLAG_NEW_LISTENER",
        () ->
            parse(
                "{'defaultAction':'SCMP_ACT_ALLOW',"
                    + "'flags':['SECCOMP_FILTER_FLAG_NEW_LISTENER']}"));
  }
}
