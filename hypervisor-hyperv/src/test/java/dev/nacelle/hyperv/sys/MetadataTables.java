// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The tables of a .winmd file: what a compiler of .NET would know of a library. Section numbers are
 * those of part II of ECMA-335.
 */
final class MetadataTables {
  // II.22: numbers of the tables that are asked for
  static final int TYPE_REF = 0x01;
  static final int TYPE_DEF = 0x02;
  static final int FIELD = 0x04;
  static final int METHOD_DEF = 0x06;
  static final int MEMBER_REF = 0x0a;
  static final int CONSTANT = 0x0b;
  static final int CUSTOM_ATTRIBUTE = 0x0c;
  static final int CLASS_LAYOUT = 0x0f;
  static final int FIELD_LAYOUT = 0x10;
  static final int MODULE_REF = 0x1a;
  static final int TYPE_SPEC = 0x1b;
  static final int IMPL_MAP = 0x1c;
  static final int NESTED_CLASS = 0x29;

  // II.24.2.6: coded indexes, by how many bits say which of the tables is meant
  private static final String TYPE_DEF_OR_REF = "2:02,01,1b";
  private static final String HAS_CONSTANT = "2:04,08,17";
  private static final String HAS_CUSTOM_ATTRIBUTE =
      "5:06,04,01,02,08,09,0a,00,0e,17,14,11,1a,1b,20,23,26,27,28,2a,2c,2b";
  private static final String HAS_FIELD_MARSHAL = "1:04,08";
  private static final String HAS_DECL_SECURITY = "2:02,06,20";
  private static final String MEMBER_REF_PARENT = "3:02,01,1a,06,1b";
  private static final String HAS_SEMANTICS = "1:14,17";
  private static final String METHOD_DEF_OR_REF = "1:06,0a";
  private static final String MEMBER_FORWARDED = "1:04,06";
  private static final String IMPLEMENTATION = "2:26,23,27";
  private static final String CUSTOM_ATTRIBUTE_TYPE = "3:,,06,0a,";
  private static final String RESOLUTION_SCOPE = "2:00,1a,23,01";

  /** II.22: columns by table. 2 and 4 are bytes; S, G, B heaps; tNN a table; others are coded. */
  private static final Map<Integer, String[]> COLUMNS = new HashMap<>();

  static {
    columns(0x00, "2", "S", "G", "G", "G");
    columns(TYPE_REF, RESOLUTION_SCOPE, "S", "S");
    columns(TYPE_DEF, "4", "S", "S", TYPE_DEF_OR_REF, "t04", "t06");
    columns(FIELD, "2", "S", "B");
    columns(METHOD_DEF, "4", "2", "2", "S", "B", "t08");
    columns(0x08, "2", "2", "S");
    columns(0x09, "t02", TYPE_DEF_OR_REF);
    columns(MEMBER_REF, MEMBER_REF_PARENT, "S", "B");
    columns(CONSTANT, "2", HAS_CONSTANT, "B");
    columns(CUSTOM_ATTRIBUTE, HAS_CUSTOM_ATTRIBUTE, CUSTOM_ATTRIBUTE_TYPE, "B");
    columns(0x0d, HAS_FIELD_MARSHAL, "B");
    columns(0x0e, "2", HAS_DECL_SECURITY, "B");
    columns(CLASS_LAYOUT, "2", "4", "t02");
    columns(FIELD_LAYOUT, "4", "t04");
    columns(0x11, "B");
    columns(0x12, "t02", "t14");
    columns(0x14, "2", "S", TYPE_DEF_OR_REF);
    columns(0x15, "t02", "t17");
    columns(0x17, "2", "S", "B");
    columns(0x18, "2", "t06", HAS_SEMANTICS);
    columns(0x19, "t02", METHOD_DEF_OR_REF, METHOD_DEF_OR_REF);
    columns(MODULE_REF, "S");
    columns(TYPE_SPEC, "B");
    columns(IMPL_MAP, "2", MEMBER_FORWARDED, "S", "t1a");
    columns(0x1d, "4", "t04");
    columns(0x20, "4", "2", "2", "2", "2", "4", "B", "S", "S");
    columns(0x23, "2", "2", "2", "2", "4", "B", "S", "S", "B");
    columns(0x27, "4", "4", "S", "S", IMPLEMENTATION);
    columns(NESTED_CLASS, "t02", "t02");
  }

  private static void columns(int table, String... columns) {
    COLUMNS.put(table, columns);
  }

  private final ByteBuffer file;
  private final int[] rows = new int[64];
  private final Map<Integer, Table> tables = new HashMap<>();
  private int strings;
  private int blobs;
  private int heapSizes;

  private record Table(int start, int rowSize, int[] offsets, int[] widths) {}

  /** An index into one of several tables: II.24.2.6. */
  record Coded(int table, int row) {}

  /**
   * Reads a file that is a resource on the class path.
   *
   * @throws IOException when it is not there, or is none
   */
  static MetadataTables ofResource(String name) throws IOException {
    try (@Nullable InputStream in = MetadataTables.class.getResourceAsStream(name)) {
      if (in == null) {
        throw new IOException("not on the class path: " + name);
      }
      return new MetadataTables(in.readAllBytes());
    }
  }

  private MetadataTables(byte[] bytes) throws IOException {
    file = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    int root = metadataRoot();
    if (file.getInt(root) != 0x424a5342) { // II.24.2.1
      throw new IOException("no metadata root");
    }
    int at = root + 16 + file.getInt(root + 12);
    int streams = file.getShort(at + 2);
    int tableStream = 0;
    at += 4;
    for (int i = 0; i < streams; i++) {
      int start = root + file.getInt(at);
      String name = zeroTerminated(at + 8);
      switch (name) {
        case "#~" -> tableStream = start;
        case "#Strings" -> strings = start;
        case "#Blob" -> blobs = start;
        default -> {}
      }
      at += 8 + (name.length() + 4) / 4 * 4;
    }
    readTables(tableStream);
  }

  /** II.25: by way of the sections of the portable executable. */
  private int metadataRoot() {
    int header = file.getInt(0x3c) + 4;
    int sections = file.getShort(header + 2);
    int optional = header + 20;
    int directories = optional + (file.getShort(optional) == 0x20b ? 112 : 96);
    int sectionTable = optional + file.getShort(header + 16);
    int cliHeader = position(file.getInt(directories + 14 * 8), sectionTable, sections);
    return position(file.getInt(cliHeader + 8), sectionTable, sections);
  }

  private int position(int virtualAddress, int sectionTable, int sections) {
    for (int i = 0; i < sections; i++) {
      int section = sectionTable + i * 40;
      int offset = virtualAddress - file.getInt(section + 12);
      if (offset >= 0 && offset < file.getInt(section + 16)) {
        return file.getInt(section + 20) + offset;
      }
    }
    throw new IllegalStateException("not in the file: " + virtualAddress);
  }

  /** II.24.2.6. */
  private void readTables(int start) throws IOException {
    heapSizes = file.get(start + 6);
    long present = file.getLong(start + 8);
    int at = start + 24;
    for (int table = 0; table < 64; table++) {
      if ((present >>> table & 1) != 0) {
        rows[table] = file.getInt(at);
        at += 4;
      }
    }
    for (int table = 0; table < 64; table++) {
      if (rows[table] == 0) {
        continue;
      }
      String[] columns = COLUMNS.get(table);
      if (columns == null) {
        throw new IOException("no columns are known of table " + table);
      }
      int[] offsets = new int[columns.length];
      int[] widths = new int[columns.length];
      int size = 0;
      for (int i = 0; i < columns.length; i++) {
        offsets[i] = size;
        widths[i] = width(columns[i]);
        size += widths[i];
      }
      tables.put(table, new Table(at, size, offsets, widths));
      at += size * rows[table];
    }
  }

  private int width(String column) {
    return switch (column.charAt(0)) {
      case 'S' -> heap(1);
      case 'G' -> heap(2);
      case 'B' -> heap(4);
      case 't' -> rows[Integer.parseInt(column.substring(1), 16)] < 1 << 16 ? 2 : 4;
      default -> column.length() == 1 ? Integer.parseInt(column) : codedWidth(column);
    };
  }

  private int heap(int bit) {
    return (heapSizes & bit) == 0 ? 2 : 4;
  }

  private int codedWidth(String coded) {
    int bits = coded.charAt(0) - '0';
    int most = 0;
    for (String table : coded.substring(2).split(",")) {
      most = table.isEmpty() ? most : Math.max(most, rows[Integer.parseInt(table, 16)]);
    }
    return most < 1 << (16 - bits) ? 2 : 4;
  }

  /** How many rows a table has; they are counted from 1. */
  int rows(int table) {
    return rows[table];
  }

  /** A number, or an index into a heap or another table. */
  int get(int table, int row, int column) {
    Table layout = tables.get(table);
    if (layout == null || row < 1 || row > rows[table]) {
      throw new IllegalArgumentException("no row " + row + " in table " + table);
    }
    int at = layout.start + (row - 1) * layout.rowSize + layout.offsets[column];
    return layout.widths[column] == 2 ? file.getShort(at) & 0xffff : file.getInt(at);
  }

  Coded coded(int table, int row, int column) {
    return decode(COLUMNS.get(table)[column], get(table, row, column));
  }

  /** As it stands in signatures: II.23.2.8. */
  static Coded typeDefOrRef(int value) {
    return decode(TYPE_DEF_OR_REF, value);
  }

  private static Coded decode(String coded, int value) {
    int bits = coded.charAt(0) - '0';
    String which = coded.substring(2).split(",", -1)[value & (1 << bits) - 1];
    return new Coded(which.isEmpty() ? -1 : Integer.parseInt(which, 16), value >>> bits);
  }

  String string(int table, int row, int column) {
    return zeroTerminated(strings + get(table, row, column));
  }

  private String zeroTerminated(int at) {
    int end = at;
    while (file.get(end) != 0) {
      end++;
    }
    return new String(file.array(), at, end - at, UTF_8);
  }

  /** The bytes of an entry of the heap of blobs: II.24.2.4. */
  ByteBuffer blob(int table, int row, int column) {
    ByteBuffer at = file.duplicate().order(ByteOrder.LITTLE_ENDIAN);
    at.position(blobs + get(table, row, column));
    int length = compressed(at);
    return at.slice(at.position(), length).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** An unsigned number in one, two or four bytes: II.23.2. */
  static int compressed(ByteBuffer in) {
    int first = in.get() & 0xff;
    if (first < 0x80) {
      return first;
    }
    if (first < 0xc0) {
      return (first & 0x3f) << 8 | in.get() & 0xff;
    }
    return (first & 0x1f) << 24
        | (in.get() & 0xff) << 16
        | (in.get() & 0xff) << 8
        | in.get() & 0xff;
  }
}
