package io.millrace.examples;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Keeps the newest event of each share as FOLDER/TOPIC/KEY.json: KeepResults FOLDER [--end] [TOPIC …]
 *
 * <p>MILLRACE_KAFKA and MILLRACE_REGISTRY say where; GROUP is the consumer group. With --end it stops where the topics
 * end. Nothing goes wrong when a message comes again: the file is written as it is.
 */
public final class KeepResults {
  private static final List<String> TOPICS =
      List.of("share.created", "media.ready", "transcript.ready", "summary.ready", "embedding.ready");
  private static final Pattern KEY = Pattern.compile("[0-9A-Za-z|-]+");
  private static final ObjectMapper JSON =
      new ObjectMapper().configure(SerializationFeature.ORDER_MAP_ENTRIES_BY_KEYS, true);

  public static void main(String[] arguments) throws IOException {
    var topics = new ArrayList<>(List.of(arguments));
    boolean toEnd = topics.remove("--end");
    Path folder = Path.of(topics.remove(0));
    try (var consumer = new KafkaConsumer<String, GenericRecord>(settings())) {
      consumer.subscribe(topics.isEmpty() ? TOPICS : topics);
      while (true) {
        var records = consumer.poll(Duration.ofSeconds(1));
        for (var one : records) {
          System.out.println(take(folder, one));
        }
        consumer.commitSync(); // of what is dealt with: who dies before reads it again
        if (toEnd && records.isEmpty() && ended(consumer)) {
          return;
        }
      }
    }
  }

  private static boolean ended(KafkaConsumer<?, ?> consumer) {
    var ends = consumer.endOffsets(consumer.assignment());
    return !ends.isEmpty() && ends.entrySet().stream().allMatch(end -> consumer.position(end.getKey()) >= end.getValue());
  }

  private static String take(Path folder, ConsumerRecord<String, GenericRecord> message) throws IOException {
    String key = message.key() == null ? "" : message.key();
    if (!KEY.matcher(key).matches()) { // it becomes the name of a file, and anybody may have written it
      return "odd " + message.topic() + " -";
    }
    return act(folder, message, key) + " " + message.topic() + " " + key;
  }

  private static String act(Path folder, ConsumerRecord<String, GenericRecord> message, String key) throws IOException {
    Path file = folder.resolve(message.topic()).resolve(key + ".json");
    if (message.value() == null) { // a tombstone: the share was deleted
      return Files.deleteIfExists(file) ? "removed" : "absent";
    }
    var id = message.headers().lastHeader("ce_id");
    var kept = new TreeMap<String, Object>();
    kept.put("ce_id", id == null ? null : new String(id.value(), StandardCharsets.UTF_8));
    kept.put("event", JSON.readValue(message.value().toString(), Map.class)); // times are milliseconds, as in Avro
    String text = JSON.writeValueAsString(kept);
    if (Files.exists(file) && Files.readString(file).equals(text)) {
      return "known";
    }
    Files.createDirectories(file.getParent());
    Path beside = file.resolveSibling(key + ".new");
    Files.writeString(beside, text);
    Files.move(beside, file, StandardCopyOption.ATOMIC_MOVE); // whole or not at all
    return "kept";
  }

  private static Map<String, Object> settings() {
    var found = new HashMap<String, Object>();
    found.put("bootstrap.servers", System.getenv("MILLRACE_KAFKA"));
    found.put("registry.url", System.getenv("MILLRACE_REGISTRY"));
    found.put("group.id", System.getenv().getOrDefault("GROUP", "my-team"));
    found.put("auto.offset.reset", "earliest");
    found.put("enable.auto.commit", "false");
    found.put("isolation.level", "read_committed"); // by default it reads what was aborted, too
    found.put("key.deserializer", StringDeserializer.class);
    found.put("value.deserializer", RegistryAvroDeserializer.class);
    String ca = setting("MILLRACE_KAFKA_CA");
    String user = setting("MILLRACE_KAFKA_USER");
    boolean tls = ca != null || "true".equals(setting("MILLRACE_KAFKA_TLS"));
    found.put("security.protocol", (user == null ? "" : "SASL_") + (tls ? "SSL" : "PLAINTEXT"));
    if (ca != null) {
      found.put("ssl.truststore.type", "PEM");
      found.put("ssl.truststore.location", ca);
    }
    if (user != null) {
      found.put("sasl.mechanism", "SCRAM-SHA-512");
      found.put(
          "sasl.jaas.config",
          "org.apache.kafka.common.security.scram.ScramLoginModule required username=%s password=%s;"
              .formatted(quoted(user), quoted(setting("MILLRACE_KAFKA_PASSWORD"))));
    }
    return found;
  }

  private static String setting(String name) {
    String value = System.getenv(name);
    return value == null || value.isEmpty() ? null : value;
  }

  private static String quoted(String text) {
    return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
  }
}
