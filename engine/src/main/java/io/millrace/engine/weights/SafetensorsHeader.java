package io.millrace.engine.weights;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import io.millrace.engine.EngineException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The JSON header of a safetensors file, parsed as untrusted input. Names, types and ranges are taken only if together they describe
 * the data section exactly: every byte belongs to one tensor, none to two.
 *
 * <pre>
 *   | u64 n | header: n bytes of JSON | data section                       |
 *   0       8                         8 + n                       file size
 *                                     | tensor 0 | tensor 1 | ... no holes |
 * </pre>
 */
final class SafetensorsHeader {
    /** The format's own limit on n. */
    static final long MAX_HEADER_BYTES = 100_000_000;
    /** Far above any real file; bounds the heap that a hostile header can ask for. */
    static final int MAX_TENSORS = 250_000;
    private static final int MAX_RANK = 16;

    private static final JsonFactory JSON = JsonFactory.builder()
            .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(8).maxNumberLength(20).maxNameLength(4096)
                    .maxStringLength(16 << 20).build())
            // Names come from outside: neither intern them nor keep them in the factory's shared table.
            .disable(JsonFactory.Feature.INTERN_FIELD_NAMES).disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES).build();

    private final Path file;
    private final long dataBytes;
    private final Map<String, TensorInfo> tensors = new LinkedHashMap<>();

    private SafetensorsHeader(Path file, long dataBytes) {
        this.file = file;
        this.dataBytes = dataBytes;
    }

    /**
     * @param json      the header bytes
     * @param dataBytes size of the data section, from the file's size
     */
    static SafetensorsHeader parse(Path file, byte[] json, long dataBytes) {
        SafetensorsHeader header = new SafetensorsHeader(file, dataBytes);
        try (JsonParser parser = JSON.createParser(json)) {
            header.readRoot(parser);
        } catch (IOException e) {
            throw new EngineException("ST-003", file + ": header is not valid JSON: " + firstLine(e.getMessage())
                    + ". The file is damaged or no safetensors file; download it again", e);
        }
        header.checkCoverage();
        return header;
    }

    Map<String, TensorInfo> tensors() {
        return tensors;
    }

    private void readRoot(JsonParser parser) throws IOException {
        expect(parser.nextToken(), JsonToken.START_OBJECT, "the header");
        while (parser.nextToken() != JsonToken.END_OBJECT) {
            String name = parser.currentName();
            if (name.equals("__metadata__")) {
                checkMetadata(parser);
            } else {
                if (tensors.size() == MAX_TENSORS) {
                    throw new EngineException("ST-003", file + ": header lists more than " + MAX_TENSORS + " tensors; split the file into shards");
                }
                TensorInfo tensor = readTensor(parser, name);
                if (tensors.put(name, tensor) != null) {
                    throw new EngineException("ST-003", file + ": header lists tensor " + quote(name) + " twice; write the file again");
                }
            }
        }
        if (parser.nextToken() != null) {
            throw new EngineException("ST-003", file + ": header has JSON after its closing brace; write the file again");
        }
    }

    /** Free-form strings that nothing here needs: checked, never kept, whatever their number. */
    private void checkMetadata(JsonParser parser) throws IOException {
        expect(parser.nextToken(), JsonToken.START_OBJECT, "__metadata__");
        while (parser.nextToken() != JsonToken.END_OBJECT) {
            String key = parser.currentName();
            JsonToken value = parser.nextToken();
            if (value != JsonToken.VALUE_STRING) {
                expect(value, JsonToken.VALUE_STRING, "__metadata__." + quote(key));
            }
        }
    }

    private TensorInfo readTensor(JsonParser parser, String name) throws IOException {
        String where = "tensor " + quote(name);
        expect(parser.nextToken(), JsonToken.START_OBJECT, where);
        StorageType type = null;
        List<Long> shape = null;
        List<Long> offsets = null;
        while (parser.nextToken() != JsonToken.END_OBJECT) {
            String key = parser.currentName();
            parser.nextToken();
            switch (key) {
                case "dtype" -> {
                    expect(parser.currentToken(), JsonToken.VALUE_STRING, where + " dtype");
                    String text = parser.getText();
                    type = StorageType.of(text).orElseThrow(
                            () -> new EngineException("ST-004", file + ": " + where + " has the unknown dtype " + quote(text)));
                }
                case "shape" -> shape = readLongs(parser, where + " shape", MAX_RANK);
                case "data_offsets" -> offsets = readLongs(parser, where + " data_offsets", 2);
                default -> throw new EngineException("ST-004", file + ": " + where + " has the unknown key " + quote(key));
            }
        }
        if (type == null || shape == null || offsets == null || offsets.size() != 2) {
            throw new EngineException("ST-004", file + ": " + where + " needs dtype, shape and two data_offsets");
        }
        return checkRange(new TensorInfo(name, type, shape, offsets.get(0), offsets.get(1)));
    }

    private List<Long> readLongs(JsonParser parser, String where, int maxSize) throws IOException {
        expect(parser.currentToken(), JsonToken.START_ARRAY, where);
        List<Long> values = new ArrayList<>(4);
        while (parser.nextToken() != JsonToken.END_ARRAY) {
            expect(parser.currentToken(), JsonToken.VALUE_NUMBER_INT, where);
            if (values.size() == maxSize) {
                throw new EngineException("ST-004", file + ": " + where + " has more than " + maxSize + " entries");
            }
            // Throws for values beyond long, which readers report as malformed JSON.
            long value = parser.getLongValue();
            if (value < 0) {
                throw new EngineException("ST-004", file + ": " + where + " has the negative value " + value);
            }
            values.add(value);
        }
        return values;
    }

    private TensorInfo checkRange(TensorInfo tensor) {
        String where = file + ": tensor " + quote(tensor.name()) + " " + tensor.type() + " " + tensor.shape();
        long bits = tensor.type().bits();
        try {
            for (long dimension : tensor.shape()) {
                bits = Math.multiplyExact(bits, dimension);
            }
        } catch (ArithmeticException e) {
            throw new EngineException("ST-005", where + " is larger than 2^63 bits", e);
        }
        if (tensor.begin() > tensor.end()) {
            throw new EngineException("ST-005", where + " has its data_offsets [" + tensor.begin() + ", " + tensor.end() + ") the wrong way round");
        }
        if (bits % 8 != 0 || bits / 8 != tensor.byteSize()) {
            throw new EngineException("ST-005", where + " takes " + bits / 8 + " bytes, but its data_offsets [" + tensor.begin() + ", "
                    + tensor.end() + ") span " + tensor.byteSize());
        }
        if (tensor.end() > dataBytes) {
            throw new EngineException("ST-006", where + " ends at byte " + tensor.end() + " of the data section, which has " + dataBytes
                    + ": the file is truncated; download it again");
        }
        return tensor;
    }

    private void checkCoverage() {
        List<TensorInfo> sorted = new ArrayList<>(tensors.values());
        sorted.sort(Comparator.comparingLong(TensorInfo::begin).thenComparingLong(TensorInfo::end));
        long covered = 0;
        String previous = "the start of the data";
        for (TensorInfo tensor : sorted) {
            if (tensor.begin() != covered) {
                throw new EngineException("ST-007", file + ": tensor " + quote(tensor.name()) + " begins at byte " + tensor.begin() + ", but "
                        + previous + " ends at " + covered + (tensor.begin() < covered ? ": they overlap" : ": the bytes between belong to no tensor")
                        + "; write the file again");
            }
            covered = tensor.end();
            previous = "tensor " + quote(tensor.name());
        }
        if (covered != dataBytes) {
            throw new EngineException("ST-007", file + ": " + previous + " ends at byte " + covered + " of the data section, which has " + dataBytes
                    + ": the bytes after it belong to no tensor; write the file again");
        }
    }

    private void expect(JsonToken found, JsonToken expected, String where) {
        if (found != expected) {
            throw new EngineException("ST-003", file + ": header: expected " + describe(expected) + " for " + where + ", found "
                    + (found == null ? "the end" : describe(found)));
        }
    }

    private static String describe(JsonToken token) {
        return switch (token) {
            case START_OBJECT -> "an object";
            case START_ARRAY -> "a list";
            case VALUE_STRING -> "a string";
            case VALUE_NUMBER_INT -> "a whole number";
            case VALUE_NUMBER_FLOAT -> "a fraction";
            default -> token.name().toLowerCase(java.util.Locale.ROOT).replace("value_", "");
        };
    }

    /** {@code text} fit for a message: quoted, cut, control characters replaced. */
    static String quote(String text) {
        String cut = text.length() <= 120 ? text : text.substring(0, 117) + "...";
        return "'" + cut.replaceAll("\\p{Cntrl}", "?") + "'";
    }

    private static String firstLine(String message) {
        String line = message == null ? "no details" : message.lines().findFirst().orElse("no details");
        return quote(line);
    }
}
