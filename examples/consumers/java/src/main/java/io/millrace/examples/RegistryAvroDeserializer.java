package io.millrace.examples;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Deserializer;

/**
 * Reads the Confluent wire format (a zero byte, the schema's id, Avro) with any registry that has Confluent's API.
 *
 * <p>Confluent's own io.confluent.kafka.serializers.KafkaAvroDeserializer does the same and more; it is not on Maven
 * Central, but in Confluent's repository. Setting: `registry.url`.
 */
public final class RegistryAvroDeserializer implements Deserializer<GenericRecord> {
  private static final int FRAME = 5;

  private final HttpClient http = HttpClient.newHttpClient();
  private final ObjectMapper json = new ObjectMapper();
  private final Map<Integer, Schema> schemas = new ConcurrentHashMap<>();
  private String registry;

  @Override
  public void configure(Map<String, ?> settings, boolean isKey) {
    registry = ((String) settings.get("registry.url")).replaceAll("/+$", "");
  }

  @Override
  public GenericRecord deserialize(String topic, byte[] value) {
    if (value == null) {
      return null; // a tombstone
    }
    if (value.length < FRAME || value[0] != 0) {
      throw new SerializationException("A message on " + topic + " is not in the Confluent wire format.");
    }
    int id = ByteBuffer.wrap(value).getInt(1);
    try {
      Schema schema = schemas.get(id);
      if (schema == null) {
        schema = fetch(id);
        schemas.put(id, schema);
      }
      var decoder = DecoderFactory.get().binaryDecoder(value, FRAME, value.length - FRAME, null);
      return new GenericDatumReader<GenericRecord>(schema).read(null, decoder);
    } catch (IOException broken) {
      throw new SerializationException("A message on " + topic + " cannot be read with schema " + id + ".", broken);
    }
  }

  private Schema fetch(int id) throws IOException {
    var request = HttpRequest.newBuilder(URI.create(registry + "/schemas/ids/" + id)).timeout(Duration.ofSeconds(10));
    try {
      var answer = http.send(request.build(), HttpResponse.BodyHandlers.ofString());
      if (answer.statusCode() != 200) {
        throw new IOException("The registry answers " + answer.statusCode() + " for schema " + id + ".");
      }
      return new Schema.Parser().parse(json.readTree(answer.body()).get("schema").asText());
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", stop);
    }
  }
}
