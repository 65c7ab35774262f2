// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import com.google.protobuf.ByteString;
import dev.nacelle.files.WriteOptions;
import dev.nacelle.internal.FileNames;
import dev.nacelle.internal.check.Bounds;
import dev.nacelle.proto.agent.v1.FileAttributes;
import dev.nacelle.proto.agent.v1.FileOperation;
import dev.nacelle.proto.agent.v1.LinkFile;
import dev.nacelle.proto.agent.v1.ListDirectory;
import dev.nacelle.proto.agent.v1.MakeDirectory;
import dev.nacelle.proto.agent.v1.MoveFile;
import dev.nacelle.proto.agent.v1.ReadFile;
import dev.nacelle.proto.agent.v1.ReadTree;
import dev.nacelle.proto.agent.v1.RemoveFile;
import dev.nacelle.proto.agent.v1.SetAttributes;
import dev.nacelle.proto.agent.v1.StatFile;
import dev.nacelle.proto.agent.v1.WriteFile;
import dev.nacelle.proto.agent.v1.WriteTree;
import java.time.Duration;
import java.time.Instant;
import org.jspecify.annotations.Nullable;

/**
 * One operation on files, as {@link AgentClient#files} takes it. The factories throw {@link
 * IllegalArgumentException} for what is no path. Immutable.
 */
public final class FileOrder {
  private final FileOperation operation;
  private final String feature;

  private FileOrder(FileOperation.Builder operation, String feature) {
    this.operation = operation.build();
    this.feature = feature;
  }

  /** What it is, in a word. */
  public String name() {
    return operation.getOperationCase().name();
  }

  private static FileOperation.Builder at(String path) {
    return FileOperation.newBuilder().setPath(path(path));
  }

  private static ByteString path(String path) {
    if (!path.startsWith("/") || path.indexOf('\0') >= 0) {
      throw new IllegalArgumentException("not an absolute path: '" + path.replace('\0', '?') + "'");
    }
    return bounded("path", path);
  }

  private static ByteString bounded(String what, String text) {
    ByteString bytes = ByteString.copyFrom(FileNames.encode(text));
    if (bytes.size() > Bounds.PATH_BYTES) {
      throw new IllegalArgumentException(
          "the " + what + " has " + bytes.size() + " bytes, more than " + Bounds.PATH_BYTES);
    }
    return bytes;
  }

  private static FileOrder files(FileOperation.Builder operation) {
    return new FileOrder(operation, AgentInfo.FILES);
  }

  /** Answers the file's entry and its content. */
  public static FileOrder read(String path) {
    return files(at(path).setRead(ReadFile.getDefaultInstance()));
  }

  /** Takes content. */
  public static FileOrder write(String path, WriteOptions options) {
    FileAttributes.Builder attributes = FileAttributes.newBuilder();
    options.permissions().ifPresent(attributes::setPermissions);
    options.uid().ifPresent(uid -> attributes.setUid((int) uid));
    options.gid().ifPresent(gid -> attributes.setGid((int) gid));
    return files(
        at(path)
            .setWrite(
                WriteFile.newBuilder()
                    .setExisting(
                        switch (options.existing()) {
                          case REPLACE -> WriteFile.Existing.REPLACE;
                          case FAIL -> WriteFile.Existing.FAIL;
                          case APPEND -> WriteFile.Existing.APPEND;
                        })
                    .setAtomic(options.atomic())
                    .setAttributes(attributes)));
  }

  /** Answers an entry. */
  public static FileOrder stat(String path, boolean follow) {
    return files(at(path).setStat(StatFile.newBuilder().setNoFollow(!follow)));
  }

  /** Answers entries. */
  public static FileOrder list(String path) {
    return files(at(path).setList(ListDirectory.getDefaultInstance()));
  }

  public static FileOrder makeDirectory(String path, boolean parents) {
    return files(at(path).setMakeDirectory(MakeDirectory.newBuilder().setParents(parents)));
  }

  public static FileOrder move(String from, String to) {
    return files(at(from).setMove(MoveFile.newBuilder().setTo(path(to))));
  }

  public static FileOrder remove(String path, boolean recursive) {
    return files(at(path).setRemove(RemoveFile.newBuilder().setRecursive(recursive)));
  }

  public static FileOrder link(String path, String existing) {
    return files(at(path).setLink(LinkFile.newBuilder().setExisting(path(existing))));
  }

  public static FileOrder symbolicLink(String path, String target) {
    if (target.isEmpty() || target.indexOf('\0') >= 0) {
      throw new IllegalArgumentException("a link's target is empty, or holds a NUL");
    }
    return files(
        at(path).setLink(LinkFile.newBuilder().setSymbolicTarget(bounded("target", target))));
  }

  /** What is null stays as it is. */
  public static FileOrder setAttributes(
      String path,
      @Nullable Integer permissions,
      @Nullable Long uid,
      @Nullable Long gid,
      @Nullable Instant modified) {
    FileAttributes.Builder attributes = FileAttributes.newBuilder();
    if (permissions != null) {
      attributes.setPermissions(permissions);
    }
    if (uid != null) {
      attributes.setUid(uid.intValue());
    }
    if (gid != null) {
      attributes.setGid(gid.intValue());
    }
    if (modified != null) {
      attributes.setModified(FileEntry.time(modified));
    }
    return files(at(path).setSetAttributes(SetAttributes.newBuilder().setAttributes(attributes)));
  }

  /** Answers entries, and content behind those of regular files. */
  public static FileOrder readTree(String path) {
    return readTree(path, false);
  }

  /** The same, and before the entry of a file with holes where its data is. */
  public static FileOrder readTreeWithMaps(String path) {
    return readTree(path, true);
  }

  private static FileOrder readTree(String path, boolean maps) {
    return new FileOrder(
        at(path).setReadTree(ReadTree.newBuilder().setMaps(maps)), AgentInfo.FILE_TREES);
  }

  /** Takes entries, and content behind those of regular files. */
  public static FileOrder writeTree(String path) {
    return new FileOrder(
        at(path).setWriteTree(WriteTree.getDefaultInstance()), AgentInfo.FILE_TREES);
  }

  /** Which ability of the agent's it takes. */
  String feature() {
    return feature;
  }

  FileOperation toProto(@Nullable Duration timeout) {
    return timeout == null
        ? operation
        : operation.toBuilder().setTimeoutNanos(timeout.toNanos()).build();
  }
}
