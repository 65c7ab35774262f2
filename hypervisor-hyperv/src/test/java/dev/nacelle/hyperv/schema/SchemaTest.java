// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.schema;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What is asked of the service, and what it answers. Machines: MachineDocumentTest. */
class SchemaTest {
  /** What the service says, by its types. */
  private static final Map<Class<? extends Record>, String> ANSWERS =
      Map.of(
          ServiceProperties.class, "ServiceProperties",
          ServiceProperties.BasicInformation.class, "BasicInformation",
          SystemProperties.class, "Properties",
          SystemExitStatus.class, "SystemExitStatus",
          CrashReport.class, "CrashReport",
          ResultError.class, "ResultError");

  @ParameterizedTest
  @ValueSource(strings = {"18362", "19041", "20348", "22000"})
  void whatIsAskedIsInTheSchema(String build) throws Exception {
    Schema schema = new Schema(build);
    ObjectMapper mapper = new ObjectMapper();
    String query = PropertyQuery.BASIC.toJson();
    assertEquals("{\"PropertyTypes\":[\"Basic\"]}", query);
    assertEquals(List.of(), schema.check(mapper.readTree(query), "Service_PropertyQuery"));
    query = SystemQuery.MACHINES.toJson();
    assertEquals("{\"Types\":[\"VirtualMachine\"]}", query);
    assertEquals(List.of(), schema.check(mapper.readTree(query), "SystemQuery"));
  }

  /** A misspelt one would never be seen. */
  @ParameterizedTest
  @ValueSource(strings = {"18362", "19041", "20348", "22000"})
  void whatIsReadIsInTheSchema(String build) throws Exception {
    Schema schema = new Schema(build);
    List<String> unknown = new ArrayList<>();
    ANSWERS.forEach((type, name) -> compare(type, name, schema, unknown));
    assertEquals(List.of(), unknown);
  }

  private static void compare(Class<?> type, String name, Schema schema, List<String> unknown) {
    for (RecordComponent component : type.getRecordComponents()) {
      String field =
          Character.toUpperCase(component.getName().charAt(0)) + component.getName().substring(1);
      if (!schema.has(name, field)) {
        unknown.add(name + "." + field);
        continue;
      }
      Type item = component.getGenericType();
      if (item instanceof ParameterizedType list) {
        item = list.getActualTypeArguments()[0];
      }
      // Of the service's properties the schema says nothing: they are of any type.
      if (item instanceof Class<?> nested && nested.isRecord() && type != ServiceProperties.class) {
        compare(nested, schema.type(name, field), schema, unknown);
      }
    }
  }

  @Test
  void highestVersionIsFound() {
    assertEquals(
        Optional.of(new Version(2, 10)),
        ServiceProperties.highestVersion(
            "{\"Properties\":[null,{\"SupportedSchemaVersions\":[{\"Major\":1,\"Minor\":11},"
                + "{\"Major\":2,\"Minor\":10},null,{\"Major\":2,\"Minor\":9}]},{}],\"New\":[]}"));
    assertEquals(Optional.empty(), ServiceProperties.highestVersion("{}"));
  }

  @Test
  void machinesAreRead() {
    String document =
        "[{\"Id\":\"a\",\"Owner\":\"me\",\"State\":\"Running\","
            + "\"RuntimeId\":\"5F8C1C5D-59A3-4F4C-8B6E-0F5D2B9C7A11\"},null]";
    SystemProperties machine =
        new SystemProperties("a", UUID.fromString("5f8c1c5d-59a3-4f4c-8b6e-0f5d2b9c7a11"), "me");
    assertEquals(List.of(machine), SystemProperties.parseList(document));
    assertEquals(
        machine,
        SystemProperties.parse(document.substring(1, document.length() - ",null]".length())));
  }

  @Test
  void endIsRead() {
    assertEquals(
        new SystemExitStatus(-1070137080, SystemExitStatus.NotificationType.UNEXPECTED_EXIT),
        SystemExitStatus.parse(
            "{\"Status\":-1070137080,\"ExitType\":\"UnexpectedExit\",\"Attribution\":[{}]}"));
    assertEquals(
        new SystemExitStatus(0, SystemExitStatus.NotificationType.UNKNOWN),
        SystemExitStatus.parse("{\"ExitType\":\"Melted\"}"));
    assertEquals(new SystemExitStatus(0, null), SystemExitStatus.parse("{}"));
    assertEquals(
        "Kernel panic\n",
        CrashReport.parse(
                "{\"CrashLog\":\"Kernel panic\\n\",\"CrashParameters\":[18446744073709551615]}")
            .crashLog());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"", "null", "[]", "{", "{\"Id\":[]}", "{\"Id\":\"a\"", "{\"RuntimeId\":\"x\"}"})
  void whatIsNoDocumentIsRefused(String document) {
    assertThrows(DocumentException.class, () -> SystemProperties.parse(document));
  }

  @Test
  void whatGuestsSayHasBounds() {
    for (String document :
        List.of(
            "{\"CrashLog\":\"" + "x".repeat(2 << 20) + "\"}",
            "{\"A\":" + "[".repeat(1000) + "]".repeat(1000) + "}",
            "{\"A\":" + "1".repeat(1000) + "}")) {
      assertThrows(DocumentException.class, () -> CrashReport.parse(document));
    }
    assertTrue(new Version(2, 2).compareTo(new Version(2, 10)) < 0);
  }
}
