// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.vmbus;

import dev.nacelle.kvm.memory.GuestMemory;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import java.util.UUID;

/**
 * A synthetic SCSI controller: packets of 64 bytes, struct vstor_packet, each answered by one as
 * long. Its disks are units of the target 0 on path 0.
 */
final class StorageController implements Channel.Service {
  private static final UUID TYPE = UUID.fromString("ba6163d9-04a1-4d29-b605-72e2ffb1dc7f");

  /** VMBUS_CHANNEL_ENUMERATE_DEVICE_INTERFACE */
  private static final int FLAGS = 1;

  private static final int PACKET = 64;

  // enum vstor_packet_operation
  private static final int COMPLETE_IO = 1;
  private static final int EXECUTE_SRB = 3;
  private static final int RESET_BUS = 6;
  private static final int BEGIN_INITIALIZATION = 7;
  private static final int END_INITIALIZATION = 8;
  private static final int QUERY_PROTOCOL_VERSION = 9;
  private static final int QUERY_PROPERTIES = 10;

  // Places in a packet.
  private static final int STATUS = 8;
  private static final int VERSION = 12;
  private static final int MAX_TRANSFER_BYTES = 24;
  private static final int SRB_STATUS = 14;
  private static final int SCSI_STATUS = 15;
  private static final int PATH = 17;
  private static final int TARGET = 18;
  private static final int LUN = 19;
  private static final int SENSE_LENGTH = 21;
  private static final int DATA_IN = 22;
  private static final int TRANSFER_LENGTH = 24;
  private static final int COMMAND = 28;

  /** VMSTOR_PROTO_VERSION_WIN10: 6.2. */
  private static final int WINDOWS_10 = 0x602;

  private static final int REVISION_MISMATCH = 0xc000_0059; // STATUS_REVISION_MISMATCH

  private static final int SRB_SUCCESS = 1;
  private static final int SRB_ERROR_WITH_SENSE = 0x84;
  private static final int SRB_INVALID_LUN = 0x20;
  private static final int CHECK_CONDITION = 2;

  private static final int INQUIRY = 0x12;
  private static final int REPORT_LUNS = 0xa0;

  private static final int TRANSFER = 256 << 10;

  private final UUID instance;
  private final Map<Integer, ScsiDisk> disks;
  private final GuestMemory memory;

  /**
   * @param disks by logical unit number
   */
  StorageController(UUID instance, Map<Integer, ScsiDisk> disks, GuestMemory memory) {
    this.instance = instance;
    this.disks = Map.copyOf(disks);
    this.memory = memory;
  }

  @Override
  public UUID type() {
    return TYPE;
  }

  @Override
  public UUID instance() {
    return instance;
  }

  @Override
  public int flags() {
    return FLAGS;
  }

  @Override
  public void opened(Channel channel) {}

  @Override
  public void closed(Channel channel) {}

  @Override
  public void signalled(Channel channel) {
    for (Channel.Packet packet = channel.receive(); packet != null; packet = channel.receive()) {
      byte[] answer = new byte[PACKET];
      packet.bytes().get(packet.offset(), answer);
      ByteBuffer content = Channel.littleEndian(answer);
      answer(content, packet);
      content.putInt(0, COMPLETE_IO);
      if (!channel.send(Channel.COMPLETION, packet.transaction(), answer)) {
        // The driver has fewer requests at once than its ring has room for answers.
        throw new IllegalStateException("no room for the answer to a request");
      }
    }
  }

  private void answer(ByteBuffer content, Channel.Packet packet) {
    int status = 0;
    switch (content.getInt(0)) {
      case BEGIN_INITIALIZATION, END_INITIALIZATION, RESET_BUS -> {}
      case QUERY_PROTOCOL_VERSION ->
          status = content.getShort(VERSION) == WINDOWS_10 ? 0 : REVISION_MISMATCH;
      case QUERY_PROPERTIES -> {
        content.put(VERSION, new byte[PACKET - VERSION]); // no more channels
        content.putInt(MAX_TRANSFER_BYTES, TRANSFER);
      }
      case EXECUTE_SRB -> execute(content, packet);
      default -> throw new IllegalStateException("operation " + content.getInt(0));
    }
    content.putInt(STATUS, status);
  }

  private void execute(ByteBuffer srb, Channel.Packet packet) {
    int lun = srb.get(LUN) & 0xff;
    boolean here = srb.get(PATH) == 0 && srb.get(TARGET) == 0;
    ScsiDisk disk = here ? disks.get(lun) : null;
    int operation = srb.get(COMMAND) & 0xff;
    boolean fromGuest = srb.get(DATA_IN) == 0; // WRITE_TYPE
    int length = packet.type() == Channel.GPA_DIRECT ? srb.getInt(TRANSFER_LENGTH) : 0;
    ScsiDisk.Outcome outcome;
    if (operation == REPORT_LUNS) {
      outcome = ScsiDisk.Outcome.of(luns(here ? disks.keySet() : Set.of()));
    } else if (disk != null) {
      ByteBuffer command = ByteBuffer.wrap(srb.array(), COMMAND, 16).slice();
      byte[] written = fromGuest ? transfer(packet, new byte[length], true) : new byte[0];
      outcome = disk.execute(command, written);
    } else if (operation == INQUIRY) {
      outcome = ScsiDisk.Outcome.of(ScsiDisk.inquiryData(ScsiDisk.NO_UNIT));
    } else {
      srb.put(SRB_STATUS, (byte) SRB_INVALID_LUN).putInt(TRANSFER_LENGTH, 0);
      return;
    }
    int sense = outcome.sense();
    srb.put(SRB_STATUS, (byte) (sense == 0 ? SRB_SUCCESS : SRB_ERROR_WITH_SENSE));
    srb.put(SCSI_STATUS, (byte) (sense == 0 ? 0 : CHECK_CONDITION));
    if (sense != 0) {
      // Fixed format (SPC-4 section 4.5.3): key, additional length, code and qualifier.
      srb.put(COMMAND, new byte[20])
          .put(COMMAND, (byte) 0x70)
          .put(COMMAND + 2, (byte) (sense >>> 16))
          .put(COMMAND + 7, (byte) 10)
          .putShort(COMMAND + 12, Short.reverseBytes((short) sense))
          .put(SENSE_LENGTH, (byte) 18)
          .putInt(TRANSFER_LENGTH, 0);
    } else if (!fromGuest) {
      byte[] data = outcome.data();
      int n = Math.min(length, data.length);
      byte[] fitting = n == data.length ? data : Arrays.copyOf(data, n);
      byte[] ignored = transfer(packet, fitting, false);
      srb.putInt(TRANSFER_LENGTH, n);
    }
  }

  /** SPC-4 section 6.33. */
  private static byte[] luns(Set<Integer> luns) {
    ByteBuffer list = ByteBuffer.allocate(8 + 8 * luns.size()).putInt(8 * luns.size()).putInt(0);
    luns.stream().sorted().forEach(lun -> list.putLong((long) lun << 48));
    return list.array();
  }

  /**
   * Copies between an array and the guest's memory that a packet tells: behind the descriptor a
   * reserved field, 1 for one range, its length, where in the first page it begins, and the pages.
   */
  private byte[] transfer(Channel.Packet packet, byte[] bytes, boolean fromGuest) {
    ByteBuffer range = packet.bytes();
    for (int done = 0; done < bytes.length; ) {
      int at = range.getInt(28) + done;
      long page = range.getLong(32 + at / Ring.PAGE * 8) * Ring.PAGE;
      int offset = at % Ring.PAGE;
      int n = Math.min(bytes.length - done, Ring.PAGE - offset);
      if (fromGuest) {
        memory.getBytes(page + offset, bytes, done, n);
      } else {
        memory.putBytes(page + offset, bytes, done, n);
      }
      done += n;
    }
    return bytes;
  }
}
