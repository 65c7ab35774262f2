// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import dev.nacelle.hyperv.sys.MetadataTables.Coded;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What Microsoft's own description of the Windows API (github.com/microsoft/win32metadata) says of
 * its functions, structures and constants, on 64-bit machines.
 */
final class WindowsMetadata {
  /** II.23.1.16. */
  private static final Map<Integer, Shape> PRIMITIVES =
      Map.ofEntries(
          Map.entry(0x01, new Shape(Kind.VOID, 0, 1)),
          Map.entry(0x02, value(1)),
          Map.entry(0x03, value(2)),
          Map.entry(0x04, value(1)),
          Map.entry(0x05, value(1)),
          Map.entry(0x06, value(2)),
          Map.entry(0x07, value(2)),
          Map.entry(0x08, value(4)),
          Map.entry(0x09, value(4)),
          Map.entry(0x0a, value(8)),
          Map.entry(0x0b, value(8)),
          Map.entry(0x0c, value(4)),
          Map.entry(0x0d, value(8)),
          Map.entry(0x18, value(8)),
          Map.entry(0x19, value(8)));

  private static final Shape POINTER = new Shape(Kind.POINTER, 8, 8);
  private static final int POINTER_TO = 0x0f;
  private static final int VALUE_TYPE = 0x11;
  private static final int CLASS = 0x12;
  private static final int ARRAY = 0x14;
  private static final int STATIC = 0x10;

  /** II.23.1.15: a union, all of whose fields are at its beginning. */
  private static final int EXPLICIT_LAYOUT = 0x10;

  /** The bit of SupportedArchitectureAttribute. */
  private static final int X64 = 2;

  enum Kind {
    VOID,
    POINTER,
    VALUE,
    STRUCTURE
  }

  /** How something is passed or stored: its size and alignment are in bytes. */
  record Shape(Kind kind, int size, int alignment) {}

  record Function(String library, Shape returned, List<Shape> parameters) {}

  /** Offsets by field. */
  record Layout(Map<String, Integer> offsets, int size, int alignment) {}

  private final MetadataTables tables;
  private final Map<String, List<Integer>> types = new HashMap<>();
  private final Map<String, List<Integer>> methods = new HashMap<>();
  private final Map<String, Integer> fields = new HashMap<>();
  private final Map<Coded, List<Integer>> attributes = new HashMap<>();
  private final Map<Integer, Integer> importByMethod = new HashMap<>();
  private final Map<Integer, Integer> constantByField = new HashMap<>();

  WindowsMetadata() throws IOException {
    tables = MetadataTables.ofResource("/Windows.Win32.winmd");
    for (int row = 1; row <= tables.rows(MetadataTables.TYPE_DEF); row++) {
      String name = tables.string(MetadataTables.TYPE_DEF, row, 1);
      types.computeIfAbsent(name, n -> new ArrayList<>()).add(row);
    }
    for (int row = 1; row <= tables.rows(MetadataTables.IMPL_MAP); row++) {
      int method = tables.coded(MetadataTables.IMPL_MAP, row, 1).row();
      importByMethod.put(method, row);
      String name = tables.string(MetadataTables.METHOD_DEF, method, 3);
      methods.computeIfAbsent(name, n -> new ArrayList<>()).add(method);
    }
    for (int row = 1; row <= tables.rows(MetadataTables.CONSTANT); row++) {
      Coded parent = tables.coded(MetadataTables.CONSTANT, row, 1);
      if (parent.table() == MetadataTables.FIELD) {
        constantByField.put(parent.row(), row);
      }
    }
    for (int row = 1; row <= tables.rows(MetadataTables.CUSTOM_ATTRIBUTE); row++) {
      Coded parent = tables.coded(MetadataTables.CUSTOM_ATTRIBUTE, row, 0);
      attributes.computeIfAbsent(parent, p -> new ArrayList<>()).add(row);
    }
    for (int row = 1; row <= tables.rows(MetadataTables.FIELD); row++) {
      if ((tables.get(MetadataTables.FIELD, row, 0) & STATIC) != 0) {
        fields.putIfAbsent(tables.string(MetadataTables.FIELD, row, 1), row);
      }
    }
  }

  /** A function that some library exports. */
  Function function(String name) {
    int method = only(name, methods, MetadataTables.METHOD_DEF);
    int module = tables.get(MetadataTables.IMPL_MAP, importByMethod.get(method), 3);
    ByteBuffer signature = tables.blob(MetadataTables.METHOD_DEF, method, 4);
    return function(tables.string(MetadataTables.MODULE_REF, module, 0), signature);
  }

  /** A type of functions, such as those of callbacks. */
  Function functionType(String name) {
    int type = only(name, types, MetadataTables.TYPE_DEF);
    int end = firstOf(type + 1, 5, MetadataTables.METHOD_DEF);
    for (int method = firstOf(type, 5, MetadataTables.METHOD_DEF); method < end; method++) {
      if (tables.string(MetadataTables.METHOD_DEF, method, 3).equals("Invoke")) {
        return function("", tables.blob(MetadataTables.METHOD_DEF, method, 4));
      }
    }
    throw new IllegalArgumentException("no type of functions: " + name);
  }

  /** II.23.2.1. */
  private Function function(String library, ByteBuffer signature) {
    signature.get();
    int count = MetadataTables.compressed(signature);
    Shape returned = shape(signature);
    List<Shape> parameters = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      parameters.add(shape(signature));
    }
    return new Function(library, returned, parameters);
  }

  /** The fields of a structure, where a C compiler puts them. */
  Layout layout(String structure) {
    return layout(only(structure, types, MetadataTables.TYPE_DEF));
  }

  private Layout layout(int type) {
    Map<String, Integer> offsets = new LinkedHashMap<>();
    int packing = packing(type);
    boolean union = (tables.get(MetadataTables.TYPE_DEF, type, 0) & EXPLICIT_LAYOUT) != 0;
    int size = 0;
    int alignment = 1;
    int end = firstOf(type + 1, 4, MetadataTables.FIELD);
    for (int field = firstOf(type, 4, MetadataTables.FIELD); field < end; field++) {
      if ((tables.get(MetadataTables.FIELD, field, 0) & STATIC) != 0) {
        continue;
      }
      Shape shape = fieldShape(field);
      int aligned = packing == 0 ? shape.alignment() : Math.min(packing, shape.alignment());
      int offset = union ? 0 : (size + aligned - 1) / aligned * aligned;
      offsets.put(tables.string(MetadataTables.FIELD, field, 1), offset);
      size = Math.max(size, offset + shape.size());
      alignment = Math.max(alignment, aligned);
    }
    return new Layout(offsets, (size + alignment - 1) / alignment * alignment, alignment);
  }

  private int packing(int type) {
    for (int row = 1; row <= tables.rows(MetadataTables.CLASS_LAYOUT); row++) {
      if (tables.get(MetadataTables.CLASS_LAYOUT, row, 2) == type) {
        return tables.get(MetadataTables.CLASS_LAYOUT, row, 0);
      }
    }
    return 0;
  }

  /** The value of a constant or of a member of an enumeration. */
  long constant(String name) {
    Integer row = constantByField.get(field(name));
    if (row == null) {
      throw new IllegalArgumentException("without a value: " + name);
    }
    ByteBuffer value = tables.blob(MetadataTables.CONSTANT, row, 2);
    return switch (value.remaining()) {
      case 1 -> value.get();
      case 2 -> value.getShort();
      case 4 -> value.getInt();
      default -> value.getLong();
    };
  }

  /** The bytes of a constant that is a GUID, as they are in memory. */
  byte[] guid(String name) {
    Coded field = new Coded(MetadataTables.FIELD, field(name));
    ByteBuffer arguments = attribute(field, "GuidAttribute");
    if (arguments == null) {
      throw new IllegalArgumentException("no GUID: " + name);
    }
    byte[] bytes = new byte[16];
    arguments.get(bytes);
    return bytes;
  }

  private int field(String name) {
    Integer field = fields.get(name);
    if (field == null) {
      throw new IllegalArgumentException("Windows has no such constant: " + name);
    }
    return field;
  }

  /** Of several for different processors that for x64. */
  private int only(String name, Map<String, List<Integer>> among, int table) {
    List<Integer> found =
        among.getOrDefault(name, List.of()).stream()
            .filter(row -> isForX64(new Coded(table, row)))
            .toList();
    if (found.size() != 1) {
      throw new IllegalArgumentException("Windows has " + found.size() + " of " + name);
    }
    return found.get(0);
  }

  private boolean isForX64(Coded owner) {
    ByteBuffer arguments = attribute(owner, "SupportedArchitectureAttribute");
    return arguments == null || (arguments.getInt() & X64) != 0;
  }

  /** II.23.3: what stands after the prologue, or null where there is no such attribute. */
  private ByteBuffer attribute(Coded owner, String name) {
    for (int row : attributes.getOrDefault(owner, List.of())) {
      Coded constructor = tables.coded(MetadataTables.CUSTOM_ATTRIBUTE, row, 1);
      if (constructor.table() != MetadataTables.MEMBER_REF) {
        continue;
      }
      Coded type = tables.coded(MetadataTables.MEMBER_REF, constructor.row(), 0);
      if (tables.string(type.table(), type.row(), 1).equals(name)) {
        ByteBuffer arguments = tables.blob(MetadataTables.CUSTOM_ATTRIBUTE, row, 2);
        arguments.getShort();
        return arguments;
      }
    }
    return null;
  }

  private int firstOf(int type, int column, int table) {
    return type > tables.rows(MetadataTables.TYPE_DEF)
        ? tables.rows(table) + 1
        : tables.get(MetadataTables.TYPE_DEF, type, column);
  }

  private Shape fieldShape(int field) {
    ByteBuffer signature = tables.blob(MetadataTables.FIELD, field, 2);
    signature.get();
    return shape(signature);
  }

  /** II.23.2.12. */
  private Shape shape(ByteBuffer signature) {
    int element = signature.get();
    switch (element) {
      case POINTER_TO -> {
        shape(signature);
        return POINTER;
      }
      case VALUE_TYPE, CLASS -> {
        return named(MetadataTables.typeDefOrRef(MetadataTables.compressed(signature)));
      }
      case ARRAY -> {
        Shape item = shape(signature);
        signature.get(); // of one dimension, whose size is known
        signature.get();
        int length = MetadataTables.compressed(signature);
        int lowerBounds = MetadataTables.compressed(signature);
        for (int i = 0; i < lowerBounds; i++) {
          MetadataTables.compressed(signature);
        }
        return new Shape(Kind.STRUCTURE, length * item.size(), item.alignment());
      }
      default -> {
        Shape primitive = PRIMITIVES.get(element);
        if (primitive == null) {
          throw new IllegalArgumentException("element type " + element);
        }
        return primitive;
      }
    }
  }

  private Shape named(Coded type) {
    String name = tables.string(type.table(), type.row(), 1);
    if (name.equals("Guid")) {
      return new Shape(Kind.STRUCTURE, 16, 4);
    }
    int definition = definition(type);
    Coded base = tables.coded(MetadataTables.TYPE_DEF, definition, 3);
    String kind = tables.string(base.table(), base.row(), 1);
    int first = firstOf(definition, 4, MetadataTables.FIELD);
    if (kind.equals("MulticastDelegate")) {
      return POINTER;
    }
    boolean wrapped =
        attribute(new Coded(MetadataTables.TYPE_DEF, definition), "NativeTypedefAttribute") != null;
    if (kind.equals("Enum") || wrapped) {
      return fieldShape(first);
    }
    Layout layout = layout(definition);
    return new Shape(Kind.STRUCTURE, layout.size(), layout.alignment());
  }

  private int definition(Coded type) {
    if (type.table() == MetadataTables.TYPE_DEF) {
      return type.row();
    }
    String name = tables.string(type.table(), type.row(), 1);
    Coded scope = tables.coded(MetadataTables.TYPE_REF, type.row(), 0);
    if (scope.table() != MetadataTables.TYPE_REF) {
      return only(name, types, MetadataTables.TYPE_DEF);
    }
    int enclosing = definition(scope);
    for (int row = 1; row <= tables.rows(MetadataTables.NESTED_CLASS); row++) {
      int nested = tables.get(MetadataTables.NESTED_CLASS, row, 0);
      if (tables.get(MetadataTables.NESTED_CLASS, row, 1) == enclosing
          && tables.string(MetadataTables.TYPE_DEF, nested, 1).equals(name)) {
        return nested;
      }
    }
    throw new IllegalArgumentException("no type inside of another: " + name);
  }

  private static Shape value(int size) {
    return new Shape(Kind.VALUE, size, size);
  }
}
