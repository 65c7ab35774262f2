// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import java.util.logging.SimpleFormatter;

/** What a class logs until this is closed, which is then shown nowhere else. */
public final class LogRecords extends Handler implements AutoCloseable {
  private final Logger logger;
  private final List<String> messages = new CopyOnWriteArrayList<>();

  private LogRecords(Logger logger) {
    this.logger = logger;
  }

  /** Of the class with this name. */
  public static LogRecords of(String className) {
    LogRecords records = new LogRecords(Logger.getLogger(className));
    records.logger.setUseParentHandlers(false);
    records.logger.addHandler(records);
    return records;
  }

  /** With their parameters. */
  public List<String> messages() {
    return messages;
  }

  @Override
  public void publish(LogRecord record) {
    messages.add(new SimpleFormatter().formatMessage(record));
  }

  @Override
  public void flush() {}

  @Override
  public void close() {
    logger.removeHandler(this);
    logger.setUseParentHandlers(true);
  }
}
