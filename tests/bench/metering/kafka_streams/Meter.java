import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/**
 * Usage events counted with Kafka Streams, exactly_once_v2: the tokens of each (pool, entitlement)
 * in windows, and, when asked to, each event by (source, id) once and totals as the ledger has them.
 *
 * <p>Stores are in memory with a changelog; those of tokens are cached, so that a key is written once
 * per commit. It prints when it has counted half of the events and all of them.
 *
 * <p>Arguments: bootstrap, topic, application id, events, threads, state folder, and "window" (10 s
 * windows only) or "ledger" (deduplicated; totals, seconds, minutes and hours).
 */
public final class Meter {
  private static final JsonFactory JSON = new JsonFactory();
  private static final AtomicLong COUNTED = new AtomicLong();
  private static final CountDownLatch DONE = new CountDownLatch(1);
  private static final String TOKENS = "tokens";
  private static final String MARKS = "marks";
  private static final long SECOND_US = 1_000_000L;
  private static final long[] LEDGER_US = {SECOND_US, 60 * SECOND_US, 3_600 * SECOND_US};
  private static final long[] WINDOW_US = {10 * SECOND_US};

  private Meter() {}

  public static void main(String[] args) throws Exception {
    long events = Long.parseLong(args[3]);
    boolean asLedger = args[6].equals("ledger");
    Properties settings = new Properties();
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, args[2]);
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
    settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, args[4]);
    settings.put(StreamsConfig.STATE_DIR_CONFIG, args[5]);
    settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
    settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");

    Topology topology = new Topology();
    topology.addSource(
        "usage", Serdes.ByteArray().deserializer(), Serdes.ByteArray().deserializer(), args[1]);
    topology.addProcessor("meter", new Supplier(asLedger, events), "usage");
    try (KafkaStreams streams = new KafkaStreams(topology, settings)) {
      streams.setUncaughtExceptionHandler(
          error -> {
            error.printStackTrace();
            DONE.countDown();
            return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler
                .StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
          });
      streams.start();
      DONE.await();
    }
  }

  private record Supplier(boolean asLedger, long events)
      implements ProcessorSupplier<byte[], byte[], Void, Void> {
    @Override
    public Processor<byte[], byte[], Void, Void> get() {
      return new Counting(asLedger, events);
    }

    @Override
    public Set<StoreBuilder<?>> stores() {
      StoreBuilder<?> tokens =
          Stores.keyValueStoreBuilder(
                  Stores.inMemoryKeyValueStore(TOKENS), Serdes.String(), Serdes.ByteArray())
              .withCachingEnabled();
      StoreBuilder<?> marks =
          Stores.keyValueStoreBuilder(
              Stores.inMemoryKeyValueStore(MARKS), Serdes.String(), Serdes.ByteArray());
      return asLedger ? Set.of(tokens, marks) : Set.of(tokens);
    }
  }

  private static final class Counting extends ContextualProcessor<byte[], byte[], Void, Void> {
    private static final byte[] SEEN = {1};
    private static final int COUNTS = 6;
    private final boolean asLedger;
    private final long events;
    private final Event event = new Event();
    private KeyValueStore<String, byte[]> tokens;
    private KeyValueStore<String, byte[]> marks;

    Counting(boolean asLedger, long events) {
      this.asLedger = asLedger;
      this.events = events;
    }

    @Override
    public void init(ProcessorContext<Void, Void> context) {
      super.init(context);
      tokens = context.getStateStore(TOKENS);
      marks = asLedger ? context.getStateStore(MARKS) : null;
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
      event.read(record.value());
      if (!asLedger || marks.putIfAbsent(event.source + '\0' + event.id, SEEN) == null) {
        String key = event.pool + '\0' + event.entitlement;
        if (asLedger) {
          add(key);
        }
        for (long widthUs : asLedger ? LEDGER_US : WINDOW_US) {
          add(key + '\0' + widthUs + '\0' + event.endUs / widthUs * widthUs);
        }
      }
      long counted = COUNTED.incrementAndGet();
      if (counted == events / 2 || counted == events) {
        System.out.printf("counted %d at %.6f%n", counted, System.currentTimeMillis() / 1e3);
        if (counted == events) {
          DONE.countDown();
        }
      }
    }

    private void add(String key) {
      byte[] stored = tokens.get(key);
      ByteBuffer before = stored == null ? null : ByteBuffer.wrap(stored);
      ByteBuffer after = ByteBuffer.allocate(COUNTS * Long.BYTES);
      for (int place = 0; place < COUNTS; place++) {
        after.putLong((before == null ? 0 : before.getLong()) + event.counts[place]);
      }
      tokens.put(key, after.array());
    }
  }

  /** What is read of an event; used again for each. */
  private static final class Event {
    private final long[] counts = new long[6];
    private String source;
    private String id;
    private String pool;
    private String entitlement;
    private long endUs;

    void read(byte[] value) {
      java.util.Arrays.fill(counts, 0);
      counts[5] = 1;
      try (JsonParser parser = JSON.createParser(value)) {
        while (parser.nextToken() != null) {
          if (parser.currentToken() == JsonToken.FIELD_NAME) {
            String name = parser.currentName();
            parser.nextToken();
            take(name, parser);
          }
        }
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
    }

    private void take(String name, JsonParser parser) throws IOException {
      switch (name) {
        case "source" -> source = parser.getText();
        case "id" -> id = parser.getText();
        case "pool" -> pool = parser.getText();
        case "entitlement" -> entitlement = parser.getText();
        case "end_us" -> endUs = parser.getLongValue();
        case "input_tokens" -> counts[0] = parser.getLongValue();
        case "cache_read_tokens" -> counts[1] = parser.getLongValue();
        case "cache_write_tokens" -> counts[2] = parser.getLongValue();
        case "output_tokens" -> counts[3] = parser.getLongValue();
        case "reasoning_tokens" -> counts[4] = parser.getLongValue();
        default -> {}
      }
    }
  }
}
