// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import com.google.protobuf.ByteString;
import dev.nacelle.internal.FileNames;
import dev.nacelle.proto.agent.v1.ExtendedAttribute;
import dev.nacelle.proto.agent.v1.FileTime;
import java.time.DateTimeException;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A file of the guest. Of what a guest says, numbers are in their ranges; names and sizes are its
 * word.
 *
 * @param path as the contract has it, in the text of {@link FileNames}
 * @param permissions the low 12 bits of its mode
 * @param uid 0 to 2^32 - 1
 * @param gid likewise
 * @param size of a regular file in bytes, else 0
 * @param linkTarget of a symbolic link its text, of a hard link a path; else empty
 * @param allocated bytes on its disk
 * @param links how many names it has
 * @param major of a device
 * @param minor of a device
 * @param attributes extended ones; each character of a name is a byte
 */
public record FileEntry(
    Kind kind,
    String path,
    int permissions,
    long uid,
    long gid,
    long size,
    Instant modified,
    String linkTarget,
    long allocated,
    long links,
    long major,
    long minor,
    Map<String, byte[]> attributes) {
  /** What kind of file. */
  public enum Kind {
    REGULAR_FILE,
    DIRECTORY,
    SYMBOLIC_LINK,
    CHARACTER_DEVICE,
    BLOCK_DEVICE,
    FIFO,
    SOCKET,
    HARD_LINK,
    OTHER
  }

  /** One to be made in the guest. */
  public static FileEntry of(
      Kind kind, String path, int permissions, long uid, long gid, Instant modified) {
    return new FileEntry(kind, path, permissions, uid, gid, 0, modified, "", 0, 1, 0, 0, Map.of());
  }

  /** The same with another target. */
  public FileEntry withLinkTarget(String target) {
    return new FileEntry(
        kind,
        path,
        permissions,
        uid,
        gid,
        size,
        modified,
        target,
        allocated,
        links,
        major,
        minor,
        attributes);
  }

  static FileEntry of(dev.nacelle.proto.agent.v1.FileEntry entry) {
    Map<String, byte[]> attributes = new LinkedHashMap<>();
    for (ExtendedAttribute attribute : entry.getExtendedAttributesList()) {
      attributes.put(attribute.getName().toString(ISO_8859_1), attribute.getValue().toByteArray());
    }
    Kind kind =
        switch (entry.getType()) {
          case REGULAR -> Kind.REGULAR_FILE;
          case DIRECTORY -> Kind.DIRECTORY;
          case SYMBOLIC_LINK -> Kind.SYMBOLIC_LINK;
          case CHARACTER_DEVICE -> Kind.CHARACTER_DEVICE;
          case BLOCK_DEVICE -> Kind.BLOCK_DEVICE;
          case FIFO -> Kind.FIFO;
          case SOCKET -> Kind.SOCKET;
          case HARD_LINK -> Kind.HARD_LINK;
          case TYPE_UNSPECIFIED, UNRECOGNIZED -> Kind.OTHER;
        };
    return new FileEntry(
        kind,
        FileNames.decode(entry.getPath().toByteArray()),
        entry.getPermissions() & 07777,
        Integer.toUnsignedLong(entry.getUid()),
        Integer.toUnsignedLong(entry.getGid()),
        AgentInfo.notNegative(entry.getSize()),
        instant(entry.getModified()),
        FileNames.decode(entry.getLinkTarget().toByteArray()),
        AgentInfo.notNegative(entry.getAllocated()),
        Integer.toUnsignedLong(entry.getLinks()),
        Integer.toUnsignedLong(entry.getMajor()),
        Integer.toUnsignedLong(entry.getMinor()),
        attributes);
  }

  /** What is beyond Java's range is the epoch. */
  private static Instant instant(FileTime time) {
    try {
      return Instant.ofEpochSecond(
          time.getSeconds(), Math.floorMod(time.getNanos(), 1_000_000_000));
    } catch (DateTimeException | ArithmeticException e) {
      return Instant.EPOCH;
    }
  }

  static FileTime time(Instant instant) {
    return FileTime.newBuilder()
        .setSeconds(instant.getEpochSecond())
        .setNanos(instant.getNano())
        .build();
  }

  dev.nacelle.proto.agent.v1.FileEntry toProto() {
    var entry =
        dev.nacelle.proto.agent.v1.FileEntry.newBuilder()
            .setPath(ByteString.copyFrom(FileNames.encode(path)))
            .setPermissions(permissions)
            .setUid((int) uid)
            .setGid((int) gid)
            .setModified(time(modified))
            .setLinkTarget(ByteString.copyFrom(FileNames.encode(linkTarget)))
            .setMajor((int) major)
            .setMinor((int) minor)
            .setType(
                switch (kind) {
                  case REGULAR_FILE -> dev.nacelle.proto.agent.v1.FileEntry.Type.REGULAR;
                  case DIRECTORY -> dev.nacelle.proto.agent.v1.FileEntry.Type.DIRECTORY;
                  case SYMBOLIC_LINK -> dev.nacelle.proto.agent.v1.FileEntry.Type.SYMBOLIC_LINK;
                  case CHARACTER_DEVICE ->
                      dev.nacelle.proto.agent.v1.FileEntry.Type.CHARACTER_DEVICE;
                  case BLOCK_DEVICE -> dev.nacelle.proto.agent.v1.FileEntry.Type.BLOCK_DEVICE;
                  case FIFO -> dev.nacelle.proto.agent.v1.FileEntry.Type.FIFO;
                  case SOCKET -> dev.nacelle.proto.agent.v1.FileEntry.Type.SOCKET;
                  case HARD_LINK -> dev.nacelle.proto.agent.v1.FileEntry.Type.HARD_LINK;
                  case OTHER -> dev.nacelle.proto.agent.v1.FileEntry.Type.TYPE_UNSPECIFIED;
                });
    attributes.forEach(
        (name, value) ->
            entry.addExtendedAttributes(
                ExtendedAttribute.newBuilder()
                    .setName(ByteString.copyFrom(name.getBytes(ISO_8859_1)))
                    .setValue(ByteString.copyFrom(value))));
    return entry.build();
  }
}
