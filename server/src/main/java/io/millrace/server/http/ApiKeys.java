package io.millrace.server.http;

import io.millrace.server.openai.ApiException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.List;

/** Bearer keys. The comparison takes the same time whatever the key sent: digests of equal length, every key looked at. */
final class ApiKeys {
    private static final String SCHEME = "bearer ";
    private final List<byte[]> digests;

    ApiKeys(List<String> keys) {
        digests = keys.stream().map(ApiKeys::digest).toList();
    }

    /** @param authorization the header's value, or null
     *  @return the number of the key among those configured; 0 if none are
     *  @throws ApiException 401 unless it carries one of the keys, or none are set */
    int check(String authorization) {
        if (digests.isEmpty()) {
            return 0;
        }
        if (authorization == null) {
            throw refusal("An API key is required: send the header `Authorization: Bearer KEY`.");
        }
        boolean isBearer = authorization.regionMatches(true, 0, SCHEME, 0, SCHEME.length());
        byte[] sent = digest(isBearer ? authorization.substring(SCHEME.length()).trim() : "");
        int number = -1;
        for (int i = 0; i < digests.size(); i++) {
            number = MessageDigest.isEqual(digests.get(i), sent) ? i : number;
        }
        if (number < 0 || !isBearer) {
            throw refusal("The API key is not valid for this server.");
        }
        return number;
    }

    private static ApiException refusal(String message) {
        return new ApiException(401, "authentication_error", "invalid_api_key", null, message, 0);
    }

    private static byte[] digest(String key) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(key.getBytes(StandardCharsets.UTF_8));
        } catch (java.security.NoSuchAlgorithmException e) {
            throw new AssertionError("every Java platform has SHA-256", e);
        }
    }
}
