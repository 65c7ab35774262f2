// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.schema;

import java.util.List;
import java.util.Objects;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Why a call failed, in the service's words.
 *
 * @param errorMessage of the whole
 * @param errorEvents what went wrong, from the whole to the part: the last ones name the file or
 *     device
 */
public record ResultError(
    @Nullable String errorMessage, @Nullable List<@Nullable ErrorEvent> errorEvents) {
  private static final int MAX_TEXT = 1000;

  /**
   * One thing that went wrong.
   *
   * @param message what
   */
  public record ErrorEvent(@Nullable String message) {}

  /**
   * What a ResultError says, in one line of bounded length without control characters. Of a
   * document that is none, the beginning.
   */
  public static String details(String document) {
    String text;
    try {
      ResultError error = Json.read(document, ResultError.class);
      List<@Nullable ErrorEvent> events = Objects.requireNonNullElse(error.errorEvents, List.of());
      text =
          Stream.concat(
                  Stream.ofNullable(error.errorMessage),
                  events.stream()
                      .filter(event -> event != null && event.message != null)
                      .map(event -> event.message))
              .map(message -> message.strip())
              .filter(message -> !message.isEmpty())
              .distinct()
              .collect(Collectors.joining(" "));
    } catch (DocumentException e) {
      text = document;
    }
    String printable = text.substring(0, Math.min(text.length(), MAX_TEXT));
    return printable.replaceAll("\\p{Cntrl}+", " ").strip();
  }
}
