// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.layer;

import dev.nacelle.image.ext4.Directory;
import dev.nacelle.image.ext4.FileName;
import dev.nacelle.image.ext4.Inode;
import dev.nacelle.image.ext4.SymbolicLink;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Paths of layers in the tree of an image, resolved as container engines do it: a symbolic link on
 * the way is followed with the image's root as "/", and ".." ends there too. So no path can mean
 * anything outside the tree.
 */
final class TreePaths {
  /** As many as Go's securejoin and containerd follow. */
  private static final int MAX_LINKS = 255;

  /** What following links may cost for a whole image: bytes of targets. */
  private static final long MAX_FOLLOWED_BYTES = 1L << 28;

  private final Directory root;
  private final Maker maker;
  private long followedBytes;

  /** Makes a directory that a path uses and that is not there. */
  @FunctionalInterface
  interface Maker {
    Directory make(Directory parent, FileName name);
  }

  /** One step of a path; null is "..". */
  private record Step(@Nullable FileName name) {}

  TreePaths(Directory root, Maker maker) {
    this.root = root;
    this.maker = maker;
  }

  /**
   * The components of a path from a layer, relative to the root; "." and empty ones are nothing.
   *
   * @throws IllegalArgumentException when it has a ".." or another component that is no file name
   */
  static List<FileName> split(byte[] path) {
    List<FileName> names = new ArrayList<>();
    for (Step step : steps(path)) {
      if (step.name == null) {
        throw new IllegalArgumentException("'" + FileName.printable(path) + "' has a '..'");
      }
      names.add(step.name);
    }
    return names;
  }

  private static List<Step> steps(byte[] path) {
    List<Step> steps = new ArrayList<>();
    for (int from = 0, to; from < path.length; from = to + 1) {
      to = from;
      while (to < path.length && path[to] != '/') {
        to++;
      }
      boolean dot = to - from == 1 && path[from] == '.';
      boolean dotDot = to - from == 2 && path[from] == '.' && path[from + 1] == '.';
      if (dotDot) {
        steps.add(new Step(null));
      } else if (to > from && !dot) {
        steps.add(new Step(FileName.of(path, from, to)));
      }
    }
    return steps;
  }

  /**
   * The directory at a path.
   *
   * @param create whether to make what is missing
   * @return null where something is missing, or in the way and not a directory
   * @throws IllegalArgumentException when there are too many symbolic links
   */
  @Nullable Directory resolve(List<FileName> path, boolean create) {
    Deque<Step> pending = new ArrayDeque<>();
    path.forEach(name -> pending.add(new Step(name)));
    Directory current = root;
    int links = 0;
    while (!pending.isEmpty()) {
      FileName name = pending.pop().name;
      if (name == null) {
        current = current.parent();
        continue;
      }
      Inode there = current.get(name);
      if (there instanceof Directory directory) {
        current = directory;
      } else if (there instanceof SymbolicLink link) {
        if (++links > MAX_LINKS) {
          throw new IllegalArgumentException("its path leads through too many symbolic links");
        }
        current = follow(link, current, pending);
      } else if (there == null && create) {
        current = maker.make(current, name);
      } else {
        return null;
      }
    }
    return current;
  }

  private Directory follow(SymbolicLink link, Directory current, Deque<Step> pending) {
    byte[] target = link.target();
    followedBytes += target.length;
    if (followedBytes > MAX_FOLLOWED_BYTES) {
      throw new IllegalArgumentException(
          "the image's paths lead through symbolic links of more than "
              + MAX_FOLLOWED_BYTES
              + " bytes");
    }
    List<Step> steps = steps(target);
    for (int i = steps.size() - 1; i >= 0; i--) {
      pending.push(steps.get(i));
    }
    return target[0] == '/' ? root : current;
  }
}
