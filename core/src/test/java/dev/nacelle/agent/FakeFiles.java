// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import com.google.protobuf.ByteString;
import dev.nacelle.proto.agent.v1.FileDone;
import dev.nacelle.proto.agent.v1.FileEntry;
import dev.nacelle.proto.agent.v1.FileFailure;
import dev.nacelle.proto.agent.v1.FileMap;
import dev.nacelle.proto.agent.v1.FileOperation;
import dev.nacelle.proto.agent.v1.FilePart;
import dev.nacelle.proto.agent.v1.FileParts;
import dev.nacelle.proto.agent.v1.FileRequest;
import dev.nacelle.proto.agent.v1.FileResponse;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import org.jspecify.annotations.Nullable;

/**
 * Files of a guest without any: each call gets the answers that a test has given for its path, or
 * {@code done}. What takes content gets them after its end.
 */
public final class FakeFiles {
  /** Answers parts without an end. */
  public static final String ENDLESS = "/endless";

  /** Answers nothing, and takes no content. */
  public static final String SILENT = "/silent";

  private static final FileResponse DONE =
      FileResponse.newBuilder().setDone(FileDone.getDefaultInstance()).build();

  private final Map<String, List<FileResponse>> answers = new ConcurrentHashMap<>();
  private final List<FileOperation> operations = new CopyOnWriteArrayList<>();
  private final List<FilePart> received = new CopyOnWriteArrayList<>();
  private final CompletableFuture<Void> cancelled = new CompletableFuture<>();
  private volatile boolean stopped;

  /** What is endless ends all the same, without a word. */
  public void stop() {
    stopped = true;
  }

  /** What a call for this path is answered before {@code done}. */
  public void answer(String path, FilePart.Builder... parts) {
    FileParts.Builder all = FileParts.newBuilder();
    for (FilePart.Builder part : parts) {
      all.addParts(part);
    }
    answers.put(path, List.of(FileResponse.newBuilder().setParts(all).build(), DONE));
  }

  /** All that a call for this path is answered. */
  public void answerAll(String path, FileResponse... responses) {
    answers.put(path, List.of(responses));
  }

  /** A call for this path fails so. */
  public void fail(String path, int errno, String message) {
    answers.put(
        path,
        List.of(
            FileResponse.newBuilder()
                .setFailure(FileFailure.newBuilder().setErrno(errno).setMessage(message))
                .build()));
  }

  public static FilePart.Builder entry(FileEntry.Type type, String path) {
    return FilePart.newBuilder()
        .setEntry(
            FileEntry.newBuilder()
                .setType(type)
                .setPath(ByteString.copyFromUtf8(path))
                .setPermissions(0644));
  }

  public static FilePart.Builder data(String text) {
    return FilePart.newBuilder().setData(ByteString.copyFromUtf8(text));
  }

  public static FilePart.Builder hole(long bytes) {
    return FilePart.newBuilder().setHole(bytes);
  }

  /** Lengths of holes and data in turn, of the file whose entry is next. */
  public static FilePart.Builder map(Long... runs) {
    return FilePart.newBuilder().setMap(FileMap.newBuilder().addAllRuns(List.of(runs)));
  }

  /** What was asked for so far. */
  public List<FileOperation> operations() {
    return operations;
  }

  /** The content that came, of all calls. */
  public List<FilePart> received() {
    return received;
  }

  /** Completes when the host has cancelled a call. */
  public CompletableFuture<Void> cancelled() {
    return cancelled;
  }

  /** The call. */
  public StreamObserver<FileRequest> use(StreamObserver<FileResponse> responses) {
    var call = (ServerCallStreamObserver<FileResponse>) responses;
    call.disableAutoRequest();
    call.request(1);
    return new StreamObserver<>() {
      private @Nullable FileOperation operation;

      {
        call.setOnCancelHandler(() -> cancelled.complete(null));
        call.setOnReadyHandler(this::flood);
      }

      private void flood() {
        while (!stopped
            && operation != null
            && operation.getPath().toStringUtf8().equals(ENDLESS)
            && call.isReady()) {
          FileParts.Builder parts = FileParts.newBuilder();
          if (received.isEmpty()) {
            received.add(entry(FileEntry.Type.REGULAR, "").build());
            parts.addParts(entry(FileEntry.Type.REGULAR, ""));
          }
          parts.addParts(FilePart.newBuilder().setData(ByteString.copyFrom(new byte[32 * 1024])));
          call.onNext(FileResponse.newBuilder().setParts(parts).build());
        }
      }

      @Override
      public void onNext(FileRequest request) {
        if (operation == null) {
          operation = request.getStart();
          operations.add(operation);
          String path = operation.getPath().toStringUtf8();
          if (path.equals(SILENT)) {
            return;
          }
          if (path.equals(ENDLESS)) {
            flood();
            return;
          }
          if (operation.hasWrite() || operation.hasWriteTree()) {
            call.request(1);
            if (path.startsWith("/refused")) {
              answer(path);
            }
          } else {
            answer(path);
          }
        } else if (request.hasParts()) {
          received.addAll(request.getParts().getPartsList());
          call.request(1);
        } else {
          answer(operation.getPath().toStringUtf8());
        }
      }

      private void answer(String path) {
        List<FileResponse> given = new ArrayList<>(answers.getOrDefault(path, List.of(DONE)));
        given.forEach(call::onNext);
        call.onCompleted();
      }

      @Override
      public void onError(Throwable failure) {
        cancelled.complete(null);
      }

      @Override
      public void onCompleted() {}
    };
  }
}
