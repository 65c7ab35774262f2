// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.store;

import dev.nacelle.DataSize;
import dev.nacelle.PrunePolicy;
import dev.nacelle.PruneResult;
import dev.nacelle.PruneResult.Kind;
import dev.nacelle.PruneResult.Removed;
import dev.nacelle.internal.FileCache;
import dev.nacelle.internal.FileCache.Entry;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/** One pruning of a store, of images or of kernels. */
public final class StorePruner {
  /**
   * A file that may go.
   *
   * @param partial whether it is half-made
   */
  private record Candidate(Part part, Entry entry, boolean partial) {}

  /** Files of one kind in one directory. */
  public record Part(Kind kind, FileCache files) {
    /** Whether a half-made one is worth to be gone on with. */
    private boolean isResumable() {
      return kind == Kind.BLOB || kind == Kind.PACKAGE;
    }

    private boolean countsForTheSize() {
      return kind != Kind.NAME;
    }
  }

  private final List<Part> parts;
  private final boolean blobsInUse;
  private final PrunePolicy policy;
  private final Instant limit;
  private final List<Removed> removed = new ArrayList<>();
  private long freed;
  private long left;

  /**
   * @param parts what there is
   * @param blobsInUse whether blobs are only counted
   */
  public StorePruner(List<Part> parts, boolean blobsInUse, PrunePolicy policy, Instant now) {
    this.parts = parts;
    this.blobsInUse = blobsInUse;
    this.policy = policy;
    this.limit = before(now, policy.unusedFor().orElse(Duration.ZERO));
  }

  private static Instant before(Instant now, Duration time) {
    return time.compareTo(Duration.between(Instant.EPOCH, now)) < 0
        ? now.minus(time)
        : Instant.EPOCH;
  }

  /** Removes what the policy says, as far as nobody uses it. */
  public PruneResult prune() throws IOException {
    List<Candidate> candidates = new ArrayList<>();
    for (Part part : parts) {
      if (part.isResumable()) {
        part.files.partials().forEach(entry -> candidates.add(new Candidate(part, entry, true)));
      } else {
        freed += part.files.removePartials();
      }
      part.files.entries().forEach(entry -> candidates.add(new Candidate(part, entry, false)));
      part.files.removeMarks();
    }
    for (Candidate candidate : candidates) {
      left += candidate.part.countsForTheSize() ? candidate.entry.bytes() : 0;
    }
    candidates.sort(Comparator.comparing(candidate -> candidate.entry.lastUsed()));
    for (Candidate candidate : candidates) {
      boolean kept = blobsInUse && candidate.part.kind == Kind.BLOB;
      if (!kept && (isTooOld(candidate) || isTooMuch(candidate))) {
        remove(candidate);
      }
    }
    return PruneResult.of(removed, DataSize.bytes(freed), DataSize.bytes(left), blobsInUse);
  }

  private boolean isTooOld(Candidate candidate) {
    return policy.unusedFor().isPresent() && !candidate.entry.lastUsed().isAfter(limit);
  }

  private boolean isTooMuch(Candidate candidate) {
    return candidate.part.countsForTheSize()
        && policy.maximumSize().filter(size -> left > size.bytes()).isPresent();
  }

  private void remove(Candidate candidate) throws IOException {
    Part part = candidate.part;
    long bytes =
        (candidate.partial
                ? part.files.removePartial(candidate.entry)
                : part.files.remove(candidate.entry))
            .orElse(-1);
    if (bytes >= 0) {
      if (!candidate.partial) {
        removed.add(Removed.of(part.kind, candidate.entry.key(), DataSize.bytes(bytes)));
      }
      freed += bytes;
      left -= part.countsForTheSize() ? bytes : 0;
    }
  }
}
