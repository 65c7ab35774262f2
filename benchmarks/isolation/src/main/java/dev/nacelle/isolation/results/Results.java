// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.results;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonSerializer;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.SerializerProvider;
import com.fasterxml.jackson.databind.annotation.JsonSerialize;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * One run: what was measured, where, and every raw sample. What is derived from them is a report's.
 * Immutable; equal where all is equal.
 *
 * @param format of the file: {@value #FORMAT}
 * @param taken when the run ended, as in ISO 8601
 * @param where it ran
 * @param clock what its times are
 * @param shortened whether every figure was taken only to see that it can be
 * @param host the machine
 * @param nacelle its version, or commit
 * @param image what ran
 * @param command of a user's choice
 * @param isolations in the order of the report
 * @param figures in the order of the report
 * @param series one of each figure and isolation
 * @param rounds how many there were, in each of which all isolations had their turn; null where it
 *     is not known
 */
public record Results(
    int format,
    String taken,
    Where where,
    Clock clock,
    @JsonProperty("short") boolean shortened,
    Host host,
    String nacelle,
    Image image,
    List<String> command,
    List<Peer> isolations,
    List<Figure> figures,
    List<Series> series,
    @JsonInclude(JsonInclude.Include.NON_NULL) @Nullable Integer rounds) {
  /** The format that this class reads and writes. */
  public static final int FORMAT = 1;

  private static final long MAX_BYTES = 64 << 20;

  private static final ObjectMapper JSON =
      new ObjectMapper()
          .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
          .enable(DeserializationFeature.FAIL_ON_NUMBERS_FOR_ENUMS)
          .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
          .enable(SerializationFeature.INDENT_OUTPUT);

  /** Where a run was. */
  public enum Where {
    /** An emulated machine. */
    @JsonProperty("lab")
    LAB,
    /** A machine. */
    @JsonProperty("hardware")
    HARDWARE
  }

  /** What a time is. */
  public enum Clock {
    /** Emulated instructions, each for 1 ns. */
    @JsonProperty("instructions")
    INSTRUCTIONS,
    /** Time. */
    @JsonProperty("time")
    TIME
  }

  /**
   * The machine.
   *
   * @param kernel as uname -r has it
   * @param cpu its model
   * @param processors how many
   * @param jdk of this run
   * @param load of the last minute when the run began
   */
  public record Host(String kernel, String cpu, int processors, String jdk, double load) {}

  /**
   * What ran.
   *
   * @param reference as the user gave it
   * @param digest of its manifest
   */
  public record Image(String reference, String digest) {}

  /**
   * An isolation.
   *
   * @param name that series use
   * @param label for readers
   * @param version of what does it
   */
  public record Peer(String name, String label, String version) {}

  /** What samples are. */
  public enum Unit {
    /** Nanoseconds. */
    @JsonProperty("ns")
    NANOSECONDS,
    /** Bytes. */
    @JsonProperty("bytes")
    BYTES,
    /** Bytes a second. */
    @JsonProperty("bytes/s")
    BYTES_PER_SECOND,
    /** How often a second. */
    @JsonProperty("1/s")
    PER_SECOND,
    /** A number. */
    @JsonProperty("count")
    COUNT
  }

  /** Which of two samples one would rather have. */
  public enum Better {
    /** The lower. */
    @JsonProperty("lower")
    LOWER,
    /** The higher. */
    @JsonProperty("higher")
    HIGHER
  }

  /**
   * What is measured.
   *
   * @param name that series use
   * @param title for readers
   * @param group of figures that belong together
   * @param unit of its samples
   * @param better which sample is
   * @param from what the measured begins with
   * @param to what it ends with
   * @param blind what the lab cannot show of it; null for nothing in particular
   */
  @JsonInclude(JsonInclude.Include.NON_NULL)
  public record Figure(
      String name,
      String title,
      String group,
      Unit unit,
      Better better,
      String from,
      String to,
      @Nullable String blind) {}

  /**
   * What was measured of one figure under one isolation: samples, or why there are none.
   *
   * @param figure its name
   * @param isolation its name
   * @param samples each one, in the order in which they were taken, without warm-ups; null for none
   * @param warmup how many were taken before and do not count
   * @param none why there are none; null where there are
   * @param note what is to be known of the samples, such as a later round's failure; null for
   *     nothing
   */
  @JsonInclude(JsonInclude.Include.NON_NULL)
  public record Series(
      String figure,
      String isolation,
      @JsonSerialize(contentUsing = Shortest.class) @Nullable List<Double> samples,
      @Nullable Integer warmup,
      @Nullable String none,
      @Nullable String note) {
    /**
     * Copies the samples.
     *
     * @throws IllegalArgumentException when there are neither samples nor a reason, or both
     */
    public Series {
      samples = samples == null ? null : List.copyOf(samples);
      if ((samples == null || samples.isEmpty()) == (none == null)) {
        throw new IllegalArgumentException(
            figure + " of " + isolation + ": either samples or a reason why there are none");
      }
    }

    /** What was measured. */
    public static Series of(String figure, String isolation, List<Double> samples, int warmup) {
      return new Series(figure, isolation, samples, warmup, null, null);
    }

    /** Why nothing was. */
    public static Series none(String figure, String isolation, String reason) {
      return new Series(figure, isolation, null, null, reason, null);
    }
  }

  /**
   * Copies the lists.
   *
   * @throws IllegalArgumentException when it is of another format, or a series of a figure or an
   *     isolation that is not there, or two are of the same
   */
  public Results {
    if (format != FORMAT) {
      throw new IllegalArgumentException("results of format " + format + ", not " + FORMAT);
    }
    command = List.copyOf(command);
    isolations = List.copyOf(isolations);
    figures = List.copyOf(figures);
    series = List.copyOf(series);
    Set<String> peers = names("isolation", isolations.stream().map(Peer::name).toList());
    Set<String> known = names("figure", figures.stream().map(Figure::name).toList());
    Set<List<String>> seen = new HashSet<>();
    for (Series one : series) {
      if (!known.contains(one.figure()) || !peers.contains(one.isolation())) {
        throw new IllegalArgumentException(
            "a series of an unknown figure or isolation: " + one.figure() + ", " + one.isolation());
      }
      if (!seen.add(List.of(one.figure(), one.isolation()))) {
        throw new IllegalArgumentException(
            "two series of " + one.figure() + " of " + one.isolation());
      }
    }
  }

  private static Set<String> names(String what, List<String> names) {
    Set<String> set = new HashSet<>();
    for (String name : names) {
      if (!set.add(name)) {
        throw new IllegalArgumentException("two of " + what + " " + name);
      }
    }
    return set;
  }

  /**
   * Reads a file that {@link #write} wrote, or a person.
   *
   * @throws IOException when it cannot be read, or is no such file; the message names it
   */
  public static Results read(Path file) throws IOException {
    if (Files.size(file) > MAX_BYTES) {
      throw new IOException(file + " is larger than 64 MiB: no results");
    }
    try {
      return JSON.readValue(Files.readAllBytes(file), Results.class);
    } catch (JsonProcessingException e) {
      throw new IOException(file + " holds no results: " + e.getOriginalMessage(), e);
    }
  }

  /** Writes them; what was in the file is replaced once all is written. */
  public void write(Path file) throws IOException {
    Path part = part(file);
    Files.write(part, JSON.writeValueAsBytes(this));
    Files.move(part, file, StandardCopyOption.REPLACE_EXISTING);
  }

  private static Path part(Path file) {
    return file.resolveSibling(file.getFileName() + ".part");
  }

  /**
   * Makes the directory of a file, and finds out whether it can be written.
   *
   * @throws IOException when it cannot; the message says which file
   */
  public static void requireWritable(Path file) throws IOException {
    try {
      Files.createDirectories(file.toAbsolutePath().getParent());
      if (Files.isDirectory(file)) {
        throw new IOException("it is a directory");
      }
      Files.write(part(file), new byte[0]);
      Files.delete(part(file));
    } catch (IOException e) {
      throw new IOException("results cannot be written to " + file + ": " + e.getMessage(), e);
    }
  }

  /** 12, not 12.0. */
  static final class Shortest extends JsonSerializer<Double> {
    @Override
    public void serialize(Double value, JsonGenerator json, SerializerProvider provider)
        throws IOException {
      if (value == Math.rint(value) && Math.abs(value) < 1L << 53) {
        json.writeNumber(value.longValue());
      } else {
        json.writeNumber(value);
      }
    }
  }
}
