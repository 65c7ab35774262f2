// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.protobuf.MessageOrBuilder;
import com.google.protobuf.TextFormat;
import dev.nacelle.agent.FakeAgent;
import dev.nacelle.agent.NettyLeaks;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.oci.OciBundle;
import dev.nacelle.oci.OciRuntime;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The specification, clause by clause: what of it is applied, and what is an error; the table says
 * how it is read.
 */
@ExtendWith(NettyLeaks.class)
@Timeout(120)
class OciClausesTest {
  private static final String TABLE = "oci-clauses.txt";
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String LEAST =
      "{'ociVersion':'1.3.0','root':{'path':'rootfs'},'process':{'cwd':'/','args':['hang']}}";

  @TempDir Path bundle;
  private FakeNacelle fake;
  private OciRuntime runtime;

  @BeforeEach
  void start() throws IOException {
    fake = new FakeNacelle();
    runtime = new OciRuntime(fake.nacelle);
    Files.createDirectory(bundle.resolve("rootfs"));
  }

  @AfterEach
  void close() {
    fake.close();
  }

  /** A line of the table. */
  record Clause(int number, String section, String says, String config, String outcome) {
    static Clause parse(String line) {
      String[] columns = line.split("\\s*\\|\\s*", -1);
      assertEquals(5, columns.length, line);
      return new Clause(
          Integer.parseInt(columns[0]), columns[1], columns[2], columns[3], columns[4]);
    }

    @Override
    public String toString() {
      return number + ", " + section + ": " + says;
    }
  }

  static List<Clause> clauses() throws IOException {
    try (InputStream table = OciClausesTest.class.getResourceAsStream(TABLE)) {
      String text =
          new String(Objects.requireNonNull(table).readAllBytes(), StandardCharsets.UTF_8);
      return text.lines()
          .filter(line -> !line.isBlank() && !line.startsWith("#"))
          .map(Clause::parse)
          .toList();
    }
  }

  @Test
  void clausesAreNumbered() throws IOException {
    List<Integer> numbers = new ArrayList<>();
    List<Clause> clauses = clauses();
    for (int i = 1; i <= clauses.size(); i++) {
      numbers.add(i);
    }
    assertEquals(numbers, clauses.stream().map(Clause::number).toList());
  }

  @ParameterizedTest
  @MethodSource("clauses")
  void isAppliedOrAnError(Clause clause) throws Exception {
    String[] outcome = clause.outcome.split(": ?", 2);
    switch (outcome[0]) {
      case "told" -> assertTold(clause, outcome[1]);
      case "error" -> {
        IllegalArgumentException refusal =
            assertThrows(IllegalArgumentException.class, () -> create(clause.config));
        String message = String.valueOf(refusal.getMessage());
        assertTrue(message.startsWith(outcome[1]), message);
        assertEquals(List.of(), fake.hypervisor.machines());
      }
      case "test" -> assertIsATest(outcome[1]);
      default -> throw new AssertionError("no outcome: " + clause.outcome);
    }
  }

  /** Of texts with "*" between them, that each is there, in this order. */
  private void assertTold(Clause clause, String texts) throws IOException {
    create(clause.config);
    FakeAgent agent = fake.machine().agent();
    String told =
        line(agent.prepared().get(0)) + " " + line(agent.processes().iterator().next().spec());
    int from = 0;
    for (String text : texts.split(" \\*")) {
      int at = told.indexOf(text, from);
      assertTrue(at >= 0, () -> text + " is not in " + told);
      from = at + text.length();
    }
  }

  private static String line(MessageOrBuilder message) {
    return TextFormat.printer().emittingSingleLine(true).printToString(message);
  }

  private void create(String members) throws IOException {
    JsonNode config = JSON.readTree(LEAST.replace('\'', '"'));
    merge((ObjectNode) config, JSON.readTree("{" + members.replace('\'', '"') + "}"));
    Files.writeString(bundle.resolve("config.json"), config.toString());
    runtime.create(
        "one",
        OciBundle.read(bundle),
        spec -> spec.kernel(KernelRef.file(Path.of("/fake/vmlinux"))).stopGrace(Duration.ZERO));
  }

  private static void merge(ObjectNode into, JsonNode more) {
    for (Map.Entry<String, JsonNode> member : more.properties()) {
      if (into.get(member.getKey()) instanceof ObjectNode inner && member.getValue().isObject()) {
        merge(inner, member.getValue());
      } else {
        into.set(member.getKey(), member.getValue());
      }
    }
  }

  private static void assertIsATest(String name) throws ClassNotFoundException {
    String[] parts = name.split("#", -1);
    Class<?> type = Class.forName("dev.nacelle.engine." + parts[0]);
    assertTrue(
        Arrays.stream(type.getDeclaredMethods())
            .anyMatch(
                method ->
                    method.getName().equals(parts[1]) && method.isAnnotationPresent(Test.class)),
        name);
  }
}
